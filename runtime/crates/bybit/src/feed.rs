//! A category's feed: its topics packed on as few connections as the limits allow, one driver for each.

use std::sync::{Arc, Mutex, PoisonError};

use klines_domain::symbol::{Category, SymbolId, SymbolTable};
use klines_domain::time::LocalMillis;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::info;
use url::Url;

use super::driver::{Driver, Status, Uplink};
use super::session::{Counters, Session, Timing};
use super::{connect, topic};

/// A handle on a running feed, to look at.
#[derive(Clone, Debug)]
pub struct Feed {
    category: Category,
    connections: Vec<Connection>,
}

/// A handle on one connection.
#[derive(Clone, Debug)]
struct Connection {
    status: Arc<Mutex<Status>>,
    boundary: watch::Sender<LocalMillis>,
}

impl Feed {
    /// Spawns the drivers of a category's symbols. They end when the uplink's token is cancelled; join the tracker.
    #[must_use]
    pub fn spawn(
        uplink: &Uplink,
        tracker: &TaskTracker,
        category: Category,
        url: &Url,
        symbols: &Arc<SymbolTable>,
        timing: Timing,
    ) -> Self {
        let packed = topic::pack(symbols.iter(), |(_, name)| name);
        info!(%category, symbols = symbols.len(), connections = packed.len(), url = connect::shown(url), "feed started");
        let connections = packed.iter().enumerate().map(|(number, symbols_here)| {
            let ids: Vec<SymbolId> = symbols_here.iter().map(|(id, _)| *id).collect();
            let session = Session::new(category, number, symbols.clone(), &ids, timing);
            let status = Arc::new(Mutex::new(Status::default()));
            let boundary = watch::Sender::new(LocalMillis::MAX);
            let driver = Driver::new(uplink.clone(), session, url.clone(), status.clone(), boundary.subscribe());
            tracker.spawn(driver.run());
            Connection { status, boundary }
        });
        Self { category, connections: connections.collect() }
    }

    /// Whose feed it is.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// How each connection stands, at most some 250 ms old; exact once the drivers have ended.
    #[must_use]
    pub fn connections(&self) -> Vec<Status> {
        self.connections
            .iter()
            .map(|connection| *connection.status.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    /// Where each connection is told the local time at which the next boundary could close, so that it says then
    /// whether everything has been read.
    #[must_use]
    pub fn boundaries(&self) -> Vec<watch::Sender<LocalMillis>> {
        self.connections.iter().map(|connection| connection.boundary.clone()).collect()
    }

    /// What all connections have seen together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.connections().into_iter().for_each(|status| sum += status.counters);
        sum
    }
}
