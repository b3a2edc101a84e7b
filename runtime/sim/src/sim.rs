//! The handle: starts the exchange, injects faults, tells the truth about what was traded, and stops it.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    amount::Amount,
    category::Category,
    config::SimConfig,
    fault::Injection,
    floor::Floor,
    interval::Interval,
    journal::Entry,
    limits::Counters,
    listener::{Arrival, Door, bind},
    server,
    trade::{Side, SimTrade},
};

/// How often the market is run up to the present.
const STEP: Duration = Duration::from_millis(5);

/// The exchange cannot start.
#[derive(Debug, Error)]
pub enum SimError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// Address that was asked for.
        address: SocketAddr,
        /// Why it cannot be had.
        source: io::Error,
    },
    /// Not above 0 and at most 10,000.
    #[error("bad speed {0}: expected a number above 0 and at most 10000")]
    Speed(f64),
}

/// A kline as the exchange sees it, its texts without trailing zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimKline {
    /// First ms of the window.
    pub start: i64,
    /// Last ms of the window.
    pub end: i64,
    /// Close of the window before.
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

/// A running exchange. Dropping it ends all of its tasks; [`Sim::stop`] also waits for them.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    floor: Arc<Floor>,
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
        let floor = Arc::new(Floor::open(config));
        let root = CancellationToken::new();
        let tracker = TaskTracker::new();

        let door = Door::new(listener, address, floor.down(), root.clone());
        let routes = server::router(Arc::clone(&floor), tracker.clone());
        let serve = axum::serve(door, routes.into_make_service_with_connect_info::<Arrival>());
        let cancelled = root.clone().cancelled_owned();
        tracker.spawn(async move {
            tokio::select! {
                () = cancelled => {}
                // Never ends by itself: the door retries whatever the system refuses.
                _ = async move { serve.await } => {}
            }
        });
        tracker.spawn(drive(Arc::clone(&floor), root.clone()));
        tracker.close();
        tracing::info!(%address, "exchange open");
        Ok(Self { address, floor, root, tracker })
    }

    /// Address the exchange listens on.
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

    /// Market time, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.floor.clock.now()
    }

    /// Lets a fault happen now.
    pub fn inject(&self, fault: impl Into<Injection>) {
        self.floor.inject(fault.into());
    }

    /// Lets the exchange's clock jump ahead. Nothing trades in between.
    pub fn leap(&self, by: Duration) {
        self.floor.leap(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Ends all lasting faults.
    pub fn heal(&self) {
        self.floor.heal();
    }

    /// Trades once, now, beside what the market does by itself. `None` if the symbol is not listed on a seeded market,
    /// or price or size is not a positive plain decimal.
    pub fn trade(&self, category: Category, symbol: &str, side: Side, price: &str, size: &str) -> Option<SimTrade> {
        self.floor.print(category, symbol, side, price, size).map(|fill| SimTrade::from(&fill))
    }

    /// All trades of a symbol, oldest first, whether or not a client saw them; the last [`Limits::tape`](crate::Limits::tape) of them.
    /// Empty for a symbol that never existed. Trades while a symbol is not listed do not happen.
    pub fn trades(&self, category: Category, symbol: &str) -> Vec<SimTrade> {
        self.floor.with_books(category, |books| {
            books.get(symbol).map(|book| book.tape.iter().map(SimTrade::from).collect()).unwrap_or_default()
        })
    }

    /// The exchange's klines of a listed symbol, oldest first, the open one last. `code` is Bybit's (`1`, `60`, `D`).
    pub fn klines(&self, category: Category, symbol: &str, code: &str) -> Vec<SimKline> {
        let Some(interval) = Interval::from_code(code) else { return Vec::new() };
        let windows = self.floor.with_book(category, symbol, |book| book.klines.windows(interval));
        let klines = windows.unwrap_or_default().into_iter().map(|window| {
            let [open, high, low, close, volume, turnover] =
                [window.open, window.high, window.low, window.close, window.volume, window.turnover]
                    .map(Amount::trimmed);
            SimKline { start: window.start, end: window.end, open, high, low, close, volume, turnover }
        });
        klines.collect()
    }

    /// Topics at least one client listens to.
    pub fn topics(&self, category: Category) -> BTreeSet<String> {
        self.floor.topics(category)
    }

    /// What happened on the stream connections since the start, in order, if [`SimConfig::journal`] asked for it.
    pub fn journal(&self) -> Vec<Entry> {
        self.floor.journal.entries()
    }

    /// What the exchange has seen since its start.
    pub fn counters(&self) -> Counters {
        self.floor.tally.snapshot()
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

async fn drive(floor: Arc<Floor>, root: CancellationToken) {
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = root.cancelled() => break,
            _ = steps.tick() => floor.tick(),
        }
    }
}
