//! The server processes of the benchmark: klines, klines with TLS, and the naive server. They read commands from
//! standard input: `publish N` publishes N klines and prints the number of bytes that each client receives; `cpu` and
//! `memory` print the usage of the process.

use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use klines_delivery::Subscription;
use klines_delivery::catalog::Catalog;
use klines_delivery::data_dir::DataDir;
use klines_delivery::encode::Extras;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec};
use klines_delivery::policy::OnError;
use klines_delivery::queue::Grouping;
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline, Quality};
use klines_domain::secret::Secret;
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_websocket::WebSocketBlueprint;
use klines_websocket::settings::Settings;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Runs a server until standard input ends.
pub(crate) fn serve(role: &str) {
    match role {
        "naive" => naive(),
        "relay" => super::latency::relay(),
        role => ours(role == "tls"),
    }
}

/// Executes commands; `publish` publishes klines and returns the number of bytes that each client receives.
fn answer(mut publish: impl FnMut(u64) -> usize) {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("publish", count)) => println!("{}", publish(count.parse().unwrap())),
            _ if line == "cpu" => {
                let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
                println!("{}.{:09}", time.tv_sec, time.tv_nsec);
            }
            _ => {
                let status = std::fs::read_to_string("/proc/self/status").unwrap();
                let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
                println!("{}", line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024);
            }
        }
    }
}

fn kline(sequence: u64) -> Kline {
    let decimal = |text| Decimal::parse(text).unwrap();
    // All klines have texts of the same length, so that the number of bytes is known.
    let start = 1_704_067_200_000 + i64::try_from(sequence).unwrap() * 60_000;
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), Interval::MINUTE),
        start,
        end: start + 59_999,
        open: decimal("16578.5"),
        high: decimal("16580.25"),
        low: decimal("16578.1"),
        close: decimal("16580.2"),
        volume: decimal("1.207"),
        turnover: decimal("20011.4375"),
        buy_volume: decimal("0.5"),
        buy_turnover: decimal("8289.25"),
        price_decimals: 2,
        volume_decimals: 3,
        trades: 7,
        last_trade_time: start + 5,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence,
        emitted: start + 60_080,
    }
}

/// The first sequence number; all later ones have the same number of digits.
const FIRST: u64 = 1_000_000;

fn ours(is_encrypted: bool) {
    let folder = tempfile::TempDir::new().unwrap();
    let certificate = is_encrypted.then(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&files.0, made.cert.pem()).unwrap();
        std::fs::write(&files.1, made.signing_key.serialize_pem()).unwrap();
        files
    });
    let blueprint = blueprint(certificate);
    let bound = blueprint.bound();
    let hub = Hub::new();
    let spec = Spec {
        name: "websocket".to_owned(),
        blueprint: Box::new(blueprint),
        allowed: Subscription::default(),
        queue: 4_096,
        grouping: Grouping::Boundary,
        on_error: OnError::default(),
        hub: None,
    };
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
    manager.started(Duration::from_secs(10)).pop().unwrap().result.unwrap();
    let address: SocketAddr = bound.lock().unwrap()[0];
    println!("{address}");
    let mut sequence = FIRST;
    answer(|count| {
        let klines: Vec<Arc<Kline>> = (sequence..sequence + count).map(|sequence| Arc::new(kline(sequence))).collect();
        sequence += count;
        hub.publish(&Batch { klines });
        push_length() * usize::try_from(count).unwrap()
    });
}

/// Returns a server on a free port without authentication.
pub(crate) fn blueprint(certificate: Option<(PathBuf, PathBuf)>) -> WebSocketBlueprint {
    let settings = Settings {
        host: "127.0.0.1".to_owned(),
        port: 0,
        advertised: None,
        certificate,
        auth: false,
        token_in_url: false,
        origins: Vec::new(),
        connections: 20_000,
        connections_per_address: 20_000,
        topics: 2_000,
        commands: 20,
        message: 64 << 10,
        queue: 1 << 20,
        memory: 64 << 20,
        values: 1 << 20,
        publishers: Vec::new(),
        extras: Extras::default(),
        categories: vec![Category::Linear],
        intervals: vec![Interval::MINUTE],
        symbols: Vec::new(),
    };
    let catalog = Arc::new(Catalog::new([(Category::Linear, vec![Symbol::new("BTCUSDT").unwrap()])], false));
    catalog.make(&[Interval::MINUTE]);
    let logins = vec![("bench".to_owned(), Secret::new("0123456789abcdef".to_owned()))];
    WebSocketBlueprint::new(settings, logins, catalog)
}

/// Returns the number of bytes of one push, including its frame header.
fn push_length() -> usize {
    text(FIRST).len() + 4
}

/// Returns the same text that klines sends.
fn text(sequence: u64) -> String {
    let mut data = String::new();
    klines_delivery::encode::object(&kline(sequence), &mut data);
    format!(
        r#"{{"v":1,"type":"kline","topic":"kline.1m.BTCUSDT","epoch":"0123456789abcdef","seq":{sequence},"data":{data}}}"#
    )
}

/// Runs the naive server: one task per client, a broadcast channel, one message at a time, default buffers.
fn naive() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (out, _) = broadcast::channel::<Utf8Bytes>(1_024);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let sender = out.clone();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut klines = sender.subscribe();
            tokio::spawn(async move {
                let (mut sink, mut stream) = tokio_tungstenite::accept_async(stream).await.unwrap().split();
                loop {
                    tokio::select! {
                        kline = klines.recv() => sink.send(Message::Text(kline.unwrap())).await.unwrap(),
                        heard = stream.next() => if heard.is_none_or(|heard| heard.is_err()) { return },
                    }
                }
            });
        }
    });
    let mut sequence = FIRST;
    answer(|count| {
        for _ in 0..count {
            out.send(text(sequence).into()).unwrap();
            sequence += 1;
        }
        push_length() * usize::try_from(count).unwrap()
    });
}
