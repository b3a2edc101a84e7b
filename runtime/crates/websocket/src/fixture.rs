//! A server with a fake store for tests of its REST routes, which are called without sockets.

#![allow(clippy::unwrap_used, reason = "a server for tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use klines_delivery::Delivery;
use klines_delivery::catalog::Catalog;
use klines_delivery::encode::Extras;
use klines_delivery::fixture;
use klines_delivery::history::{History, HistoryError, Query, Side};
use klines_domain::decimal::Decimal;
use klines_domain::kline::Kline;
use klines_domain::secret::Secret;
use klines_domain::symbol::{Category, Symbol};
use serde_json::Value;
use tower_service::Service;

use crate::keys::Keys;
use crate::routes;
use crate::server::Server;
use crate::settings::Settings;
use crate::upgrade::{Peer, Slot};

/// A key that the server accepts.
pub const KEY: &str = "f3b1c0d9e8a7465c9b12";

/// The number of milliseconds of a window.
pub const MINUTE: i64 = 60_000;

/// Stored klines, whose reads can be made to fail or to hang.
#[derive(Debug, Default)]
pub struct FakeHistory {
    klines: Vec<Kline>,
    /// Whether reads fail.
    pub fails: AtomicBool,
    /// Whether reads panic.
    pub panics: AtomicBool,
    /// Whether reads wait.
    pub hangs: AtomicBool,
    /// The number of reads that run now.
    pub running: AtomicUsize,
    /// The queries, in order.
    pub queries: Mutex<Vec<Query>>,
}

impl FakeHistory {
    /// Creates a store of klines.
    pub fn of(klines: impl IntoIterator<Item = Kline>) -> Arc<Self> {
        Arc::new(Self { klines: klines.into_iter().collect(), ..Self::default() })
    }

    fn find(&self, query: &Query) -> Vec<Arc<Kline>> {
        let is_asked = |kline: &&Kline| *kline.series == query.series && (query.from..=query.to).contains(&kline.start);
        let mut found: Vec<_> = self.klines.iter().filter(is_asked).cloned().map(Arc::new).collect();
        found.sort_by_key(|kline| kline.start);
        match query.side {
            Side::Oldest => found.truncate(query.limit),
            Side::Newest => drop(found.drain(..found.len().saturating_sub(query.limit))),
        }
        found
    }
}

impl History for FakeHistory {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        self.queries.lock().unwrap().push(query.clone());
        self.running.fetch_add(1, Ordering::SeqCst);
        while self.hangs.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(1));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "the store panics");
        if self.fails.load(Ordering::SeqCst) {
            return Err(HistoryError("the disk is gone".to_owned()));
        }
        Ok(self.find(query))
    }
}

/// A response of the server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// Parses the body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A server without sockets.
pub struct Served(Arc<Server>);

impl Served {
    /// Creates a server that requires a key.
    pub fn with(history: &Arc<FakeHistory>) -> Self {
        Self::create(Some(history.clone()), |_| {})
    }

    /// Creates a server with or without a store and with changed settings.
    pub fn create(history: Option<Arc<FakeHistory>>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let catalog = catalog(&settings);
        let keys = Keys::new(vec![("tester".to_owned(), Secret::new(KEY.to_owned()))]);
        let server = Server::new(settings, keys, catalog, 1, Arc::default());
        let history = history.map(|history| -> Arc<dyn History> { history });
        Self(Arc::new(server.with_history(history)))
    }

    /// Publishes klines to the server's memory.
    pub fn publish(&self, klines: impl IntoIterator<Item = Kline>) {
        self.0.publish(&Delivery { klines: klines.into_iter().map(Arc::new).collect(), ..Delivery::default() });
    }

    /// Sends a request with a valid key.
    pub async fn get(&self, target: &str) -> Answer {
        self.get_with(target, &[("authorization", &format!("Bearer {KEY}"))]).await
    }

    /// Sends a request with these headers.
    pub async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        let peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_encrypted: false, slot: Slot::default() };
        let mut request = Request::get(target).extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = routes::router(self.0.clone()).call(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

/// Returns a confirmed kline of the `window`-th minute of BTCUSDT; `close` tells versions apart.
pub fn closed(window: i64, revision: u32, close: &str) -> Kline {
    Kline { revision, close: Decimal::parse(close).unwrap(), ..fixture::kline("BTCUSDT", "1m", window, true) }
}

/// Returns the confirmed klines of some minutes.
pub fn minutes(windows: std::ops::RangeInclusive<i64>) -> impl Iterator<Item = Kline> {
    windows.map(|window| closed(window, 0, "16580"))
}

/// Returns an update of the `window`-th minute.
pub fn open(window: i64) -> Kline {
    fixture::kline("BTCUSDT", "1m", window, false)
}

/// Returns the catalog of two symbols in each category.
pub fn catalog(settings: &Settings) -> Arc<Catalog> {
    let symbols = ["BTCUSDT", "ETHUSDT"].map(|name| Symbol::new(name).unwrap());
    let catalog = Catalog::new(settings.categories.iter().map(|category| (*category, symbols.to_vec())), false);
    catalog.make(&settings.intervals);
    Arc::new(catalog)
}

/// Returns settings with a key that is required.
pub fn settings() -> Settings {
    Settings {
        host: "127.0.0.1".to_owned(),
        port: 0,
        advertised: None,
        certificate: None,
        auth: true,
        token_in_url: false,
        origins: Vec::new(),
        connections: 100,
        connections_per_address: 100,
        topics: 100,
        commands: 20,
        message: 64 << 10,
        queue: 1 << 20,
        memory: 8 << 20,
        values: 1 << 20,
        publishers: Vec::new(),
        extras: Extras::default(),
        categories: vec![Category::Linear, Category::Spot],
        intervals: ["1s", "1m", "1h"].map(|interval| interval.parse().unwrap()).to_vec(),
        symbols: Vec::new(),
    }
}
