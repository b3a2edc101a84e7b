//! The handle: starts and stops the exchange, injects faults, and returns what was really traded.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    amount::Amount,
    category::Category,
    config::SimConfig,
    exchange::Exchange,
    fault::Injection,
    history::KlineQuery,
    instrument::Instrument,
    interval::Interval,
    journal::Entry,
    limits::Counters,
    listener::{ConnectionHandle, SimListener, bind},
    server,
    trade::{Side, SimTrade},
};

/// How often the market is processed up to now.
const TICK_PERIOD: Duration = Duration::from_millis(5);

/// The exchange cannot start.
#[derive(Debug, Error)]
pub enum SimError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Why it cannot be used.
        source: io::Error,
    },
    /// Not above 0 and at most 10,000.
    #[error("bad speed {0}: expected a number above 0 and at most 10000")]
    Speed(f64),
}

/// A kline of the exchange; the decimals have no trailing zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimKline {
    /// First ms of the window.
    pub start: i64,
    /// Last ms of the window.
    pub end: i64,
    /// Close of the previous window.
    pub open: String,
    /// Highest price, `open` included.
    pub high: String,
    /// Lowest price, `open` included.
    pub low: String,
    /// Last price.
    pub close: String,
    /// Sum of sizes.
    pub volume: String,
    /// Sum of turnovers.
    pub turnover: String,
}

/// A running exchange. Dropping it ends all its tasks; [`Sim::stop`] also waits for them.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    exchange: Arc<Exchange>,
    root: CancellationToken,
    tracker: TaskTracker,
}

impl Sim {
    /// Starts an exchange.
    ///
    /// # Errors
    /// If the address cannot be listened on or the speed is out of its range.
    pub async fn start(config: SimConfig) -> Result<Self, SimError> {
        let SimConfig { listen, speed, .. } = config;
        if !(speed > 0.0 && speed <= 10_000.0) {
            return Err(SimError::Speed(speed));
        }
        let bind_error = |source| SimError::Bind { address: listen, source };
        let listener = bind(listen).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let exchange = Arc::new(Exchange::open(config));
        let root = CancellationToken::new();
        let tracker = TaskTracker::new();

        let listener = SimListener::new(listener, address, exchange.down(), root.clone());
        let routes = server::router(Arc::clone(&exchange), tracker.clone());
        let serve = axum::serve(listener, routes.into_make_service_with_connect_info::<ConnectionHandle>());
        let cancelled = root.clone().cancelled_owned();
        tracker.spawn(async move {
            tokio::select! {
                () = cancelled => {}
                // Never ends by itself: the listener retries whenever the system refuses a socket.
                _ = async move { serve.await } => {}
            }
        });
        tracker.spawn(drive(Arc::clone(&exchange), root.clone()));
        tracker.close();
        tracing::info!(%address, "exchange open");
        Ok(Self { address, exchange, root, tracker })
    }

    /// Returns the address that the exchange listens on.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Base of the stream addresses, `ws://host:port`, without a path.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Base of the REST addresses, `http://host:port`, without a path.
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Base of the addresses of archives, `http://host:port`, without a path.
    pub fn archive_url(&self) -> String {
        self.rest_url()
    }

    /// Returns the market time in ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.exchange.clock.now()
    }

    /// Starts a fault now.
    pub fn inject(&self, fault: impl Into<Injection>) {
        self.exchange.inject(fault.into());
    }

    /// Lists an instrument now: it begins to trade, without any history. If the market has one of its category and
    /// symbol, that one is listed again. Returns `false` on a recording, to which nothing can be added.
    pub fn list(&self, instrument: Instrument) -> bool {
        self.exchange.list(instrument)
    }

    /// Moves the exchange's clock ahead. No trades happen in between.
    pub fn leap(&self, by: Duration) {
        self.exchange.leap(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Ends all lasting faults.
    pub fn heal(&self) {
        self.exchange.heal();
    }

    /// Executes one trade now, in addition to those of the market. Returns `None` if the symbol is not listed on a
    /// seeded market, or if `price` or `size` is not a positive plain decimal.
    pub fn trade(&self, category: Category, symbol: &str, side: Side, price: &str, size: &str) -> Option<SimTrade> {
        self.exchange.execute(category, symbol, side, price, size).map(|fill| SimTrade::from(&fill))
    }

    /// Returns the trades of a symbol, oldest first, whether or not a client saw them: the last
    /// [`Limits::tape`](crate::Limits::tape) of them. Empty for an unknown symbol. A symbol that is not listed does not
    /// trade.
    pub fn trades(&self, category: Category, symbol: &str) -> Vec<SimTrade> {
        self.exchange.with_symbols(category, |symbols| {
            symbols.get(symbol).map(|it| it.tape.iter().map(SimTrade::from).collect()).unwrap_or_default()
        })
    }

    /// Returns the last 1,000 klines of a listed symbol, oldest first, the open one last; those from before its tape are
    /// included, and all trades, also those that REST does not count yet. `code` is Bybit's code of the interval (`1`, `60`, `D`).
    pub fn klines(&self, category: Category, symbol: &str, code: &str) -> Vec<SimKline> {
        let Some(interval) = Interval::from_code(code) else { return Vec::new() };
        let history = self.exchange.with_symbol(category, symbol, |it, now| it.history(interval, now));
        let windows = history.map(|it| it.select(KlineQuery { start: None, end: None, limit: 1_000 }));
        let klines = windows.unwrap_or_default().into_iter().map(|window| {
            let [open, high, low, close, volume, turnover] =
                [window.open, window.high, window.low, window.close, window.volume, window.turnover]
                    .map(Amount::trimmed);
            SimKline { start: window.start, end: window.end, open, high, low, close, volume, turnover }
        });
        klines.collect()
    }

    /// Returns the topics that at least one client is subscribed to.
    pub fn topics(&self, category: Category) -> BTreeSet<String> {
        self.exchange.topics(category)
    }

    /// Returns the events on the stream connections since the start, in order. Empty unless [`SimConfig::journal`] is
    /// set.
    pub fn journal(&self) -> Vec<Entry> {
        self.exchange.journal.entries()
    }

    /// Returns the exchange's counters since its start.
    pub fn counters(&self) -> Counters {
        self.exchange.counters.snapshot()
    }

    /// Resets all connections, frees the port and waits for the exchange's tasks to end.
    pub async fn stop(self) {
        self.root.cancel();
        self.tracker.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.root.cancel();
    }
}

async fn drive(exchange: Arc<Exchange>, root: CancellationToken) {
    let mut steps = interval(TICK_PERIOD);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = root.cancelled() => break,
            _ = steps.tick() => exchange.tick(),
        }
    }
}
