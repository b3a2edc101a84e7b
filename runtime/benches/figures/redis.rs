//! Measures the throughput of the Redis consumer: one kline per boundary, one `PUBLISH` each, acknowledged by a server
//! in a separate process; compared with a loop that awaits each reply.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::encode::{Extras, streamer};
use klines_delivery::{Blueprint, Delivery};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_redis::{Address, RedisBlueprint, Settings};

use crate::{Runs, row};

const PUBLISHES: u32 = 1_000_000;
const AWAITED: u32 = 30_000;
const RUNS: usize = 3;

/// Prints the publishes per second by wall clock, without subscribers.
pub(crate) fn publishes() {
    let server = Server::start();
    let ours: Runs = (0..RUNS).map(|_| pipelined(&server) / 1e3).collect();
    let naive: Runs = (0..RUNS).map(|_| awaited(&server) / 1e3).collect();
    row(
        "Redis publishes a second, one kline each, acknowledged",
        ours,
        naive,
        "k",
        "300 / 450 k (baseline: awaited one by one)",
    );
}

/// Returns the rate of the consumer, from the first delivery to the last acknowledgement.
fn pipelined(server: &Server) -> f64 {
    let mut blueprint = blueprint(server);
    let tally = blueprint.tallies().publish;
    let mut consumer = blueprint.instantiate(&Arc::default()).unwrap();
    consumer.setup().unwrap();
    consumer.start().unwrap();
    let klines: Vec<_> = (0..1_000).map(|window| Arc::new(kline(window))).collect();
    let begun = Instant::now();
    for kline in klines.iter().cycle().take(PUBLISHES as usize) {
        consumer.consume(&Delivery { klines: [kline.clone()].into(), ..Delivery::default() }).unwrap();
    }
    while tally.totals().acknowledged < u64::from(PUBLISHES) {
        thread::park_timeout(Duration::from_micros(200));
    }
    let rate = f64::from(PUBLISHES) / begun.elapsed().as_secs_f64();
    consumer.stop();
    rate
}

/// Returns a consumer with only the output `publish`.
pub(crate) fn blueprint(server: &Server) -> RedisBlueprint {
    RedisBlueprint::new(Settings {
        name: "redis".to_owned(),
        address: Address::new(&server.url(), None).unwrap(),
        channel: "klines".to_owned(),
        first: Category::Linear,
        publish: true,
        extras: Extras::default(),
        stream: None,
        last_value: None,
        values: false,
        spill: None,
    })
}

/// Returns the rate of the naive loop.
fn awaited(server: &Server) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = redis::Client::open(server.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut text = String::new();
        let begun = Instant::now();
        for window in 0..AWAITED {
            text.clear();
            streamer([&kline(window.into())], &mut text);
            redis::cmd("PUBLISH").arg("klines").arg(&text).exec_async(&mut connection).await.unwrap();
        }
        f64::from(AWAITED) / begun.elapsed().as_secs_f64()
    })
}

fn kline(window: i64) -> Kline {
    let decimal = |mantissa, scale| Decimal::new(mantissa, scale);
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), Interval::MINUTE),
        start: window * 60_000,
        end: window * 60_000 + 59_999,
        open: decimal(6_425_820 + i128::from(window), 2),
        high: decimal(6_425_950, 2),
        low: decimal(6_425_010, 2),
        close: decimal(6_425_890, 2),
        volume: decimal(12_345, 3),
        turnover: decimal(79_327_612_050, 5),
        buy_volume: decimal(6_001, 3),
        buy_turnover: decimal(38_561_300_000, 5),
        price_decimals: 2,
        volume_decimals: 3,
        trades: 311,
        last_trade_time: window * 60_000 + 59_000,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: window * 60_000 + 60_080,
    }
}

/// A Redis server in a separate process; stops when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        let child = command.stdout(Stdio::null()).spawn();
        let server = Self { child: child.expect("redis-server; on Debian: apt-get install -y redis-server"), port };
        let client = redis::Client::open(server.url()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while client.get_connection().is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            thread::park_timeout(Duration::from_millis(20));
        }
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
