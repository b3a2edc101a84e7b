//! The WebSocket server over real sockets, fed with klines that the tests create: the promises to every client.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod abuse;
mod bybit;
mod greedy;
pub mod peer;
mod rest;
mod status;
mod stream;
mod streamer;
mod tls;
mod values;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::catalog::Catalog;
use klines_delivery::data_dir::DataDir;
use klines_delivery::emit::relay::Relay;
use klines_delivery::emit::{Emitter, Value};
use klines_delivery::encode::Extras;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec};
use klines_delivery::policy::OnError;
use klines_delivery::queue::Grouping;
use klines_delivery::{Failure, Subscription};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline, Quality};
use klines_domain::secret::Secret;
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_websocket::WebSocketBlueprint;
use klines_websocket::metrics::Metrics;
use klines_websocket::settings::Settings;
use peer::Peer;
use tempfile::TempDir;

pub const USER: &str = "tester";
pub const KEY: &str = "f3b1c0d9e8a7465c9b12";

/// A server on loopback, and the hub that feeds it. Dropping it ends it.
pub struct Served {
    pub address: SocketAddr,
    pub catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    hub: Hub,
    manager: Option<Manager>,
    emitters: [(&'static str, Emitter); 2],
    _folder: TempDir,
}

impl Served {
    /// Starts a server with the default settings.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// Starts a server with changed settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::try_with(change).unwrap()
    }

    pub fn try_with(change: impl FnOnce(&mut Settings)) -> Result<Self, Failure> {
        Self::watching(&[symbol("BTCUSDT"), symbol("ETHUSDT")], change)
    }

    /// Starts a server with changed settings and these symbols.
    pub fn watching(symbols: &[Symbol], change: impl FnOnce(&mut Settings)) -> Result<Self, Failure> {
        let mut settings = settings();
        change(&mut settings);
        let watched = |category: &Category| (*category, symbols.to_vec());
        let catalog = Arc::new(Catalog::new(settings.categories.iter().map(watched), true));
        catalog.make(&settings.intervals);
        let row = r#"{"symbol":"BTCUSDT","status":"Trading","baseCoin":"BTC"}"#;
        catalog.describe(Category::Linear, [(symbol("BTCUSDT"), row.to_owned())]);
        let logins = vec![(USER.to_owned(), Secret::new(KEY.to_owned()))];
        let blueprint = WebSocketBlueprint::new(settings, logins, catalog.clone());
        let metrics = blueprint.metrics();
        let bound = blueprint.bound();
        let (hub, folder) = (Hub::new(), TempDir::new().unwrap());
        let spec = Spec {
            name: "websocket".to_owned(),
            blueprint: Box::new(blueprint),
            allowed: Subscription::default(),
            queue: 100_000,
            grouping: Grouping::Boundary,
            on_error: OnError::default(),
            hub: None,
        };
        let relay = Relay::new(2);
        let emitters = ["mine", "other"].map(|name| (name, relay.emitter(name, 32)));
        let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
        manager.carry(relay).unwrap();
        let report = manager.started(Duration::from_secs(60)).pop().unwrap();
        report.result?;
        let address = bound.lock().unwrap()[0];
        Ok(Self { address, catalog, metrics, hub, manager: Some(manager), emitters, _folder: folder })
    }

    /// Publishes klines to the server as one batch.
    pub fn publish(&self, klines: impl IntoIterator<Item = Kline>) {
        self.hub.publish(&Batch { klines: klines.into_iter().map(Arc::new).collect() });
    }

    /// Returns how many clients have disconnected for this reason of the metrics.
    pub fn parted(&self, reason: &str) -> u64 {
        self.metrics.disconnects().iter().find(|(known, _)| *known == reason).unwrap().1
    }

    /// Returns how many closed klines were lost to clients that were disconnected for this reason.
    pub fn lost(&self, reason: &str) -> u64 {
        self.metrics.lost().iter().find(|(known, _)| *known == reason).unwrap().1
    }

    /// Publishes a value as a consumer does in one call.
    pub fn emit(&self, consumer: &str, name: &str, kline: &Kline, value: Value) {
        let (_, emitter) = self.emitters.iter().find(|(known, _)| *known == consumer).unwrap();
        let series = emitter.series(name).unwrap();
        emitter.publish(vec![emitter.point(series, kline, value)]);
    }

    /// Waits until the server holds this number of linear klines of a minute.
    pub fn until_it_has(&self, symbol: &str, klines: usize) {
        let target = format!("/v5/market/kline?category=linear&symbol={symbol}&interval=1&limit=1000");
        eventually("klines", || {
            let body = peer::get(self.address, &target, &format!("Authorization: Bearer {KEY}\r\n")).1;
            let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
            answer["result"]["list"].as_array().is_some_and(|list| list.len() == klines)
        });
    }

    /// Connects to a path without credentials.
    pub fn connect(&self, path: &str) -> Peer {
        Peer::connect(self.address, path, &[]).unwrap()
    }

    /// Connects to a path with credentials in the header.
    pub fn enter(&self, path: &str) -> Peer {
        Peer::connect(self.address, path, &[("Authorization", &format!("Bearer {KEY}"))]).unwrap()
    }

    /// Connects with credentials and a small receive buffer, for a client that reads little or nothing.
    pub fn enter_narrow(&self, path: &str) -> Peer {
        Peer::over(peer::narrow(self.address), path, &[("Authorization", &format!("Bearer {KEY}"))]).unwrap()
    }

    /// Shuts the server down.
    pub fn stop(mut self) {
        drop(self.manager.take().unwrap().shutdown(Duration::from_secs(10)));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(manager) = self.manager.take() {
            drop(manager.shutdown(Duration::from_secs(10)));
        }
    }
}

/// Returns the default settings, on any free port.
pub fn settings() -> Settings {
    Settings {
        host: "127.0.0.1".to_owned(),
        port: 0,
        advertised: None,
        certificate: None,
        auth: true,
        token_in_url: false,
        origins: Vec::new(),
        connections: 10_000,
        connections_per_address: 100,
        topics: 2_000,
        commands: 20,
        message: 64 << 10,
        queue: 1 << 20,
        memory: 64 << 20,
        values: 1 << 20,
        publishers: vec!["mine".into(), "other".into()],
        extras: Extras::default(),
        categories: vec![Category::Linear, Category::Spot],
        intervals: ["1s", "1m", "1h"].map(|interval| interval.parse().unwrap()).to_vec(),
        symbols: Vec::new(),
    }
}

pub fn symbol(name: &str) -> Symbol {
    Symbol::new(name).unwrap()
}

/// Returns the confirmed linear kline of the `window`-th window, with that number as its sequence.
pub fn closed(symbol: &str, interval: &str, window: u32) -> Kline {
    let interval: Interval = interval.parse().unwrap();
    let start = i64::from(window) * interval.nominal_millis();
    let decimal = |text| Decimal::parse(text).unwrap();
    Kline {
        series: SeriesId::new(Category::Linear, self::symbol(symbol), interval),
        start,
        end: interval.next(start) - 1,
        open: decimal("16578.5"),
        high: decimal("16580.25"),
        low: decimal("16578"),
        close: decimal("16580.0"),
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
        sequence: u64::from(window),
        emitted: interval.next(start) + 80,
    }
}

/// Returns an update of the same window.
pub fn open(symbol: &str, interval: &str, window: u32) -> Kline {
    Kline { confirm: false, ..closed(symbol, interval, window) }
}

/// Waits until a condition is true.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "waited long for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}
