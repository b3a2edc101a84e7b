//! The feed of a category: its topics on as few connections as the limits allow, with one driver for each connection.

use std::sync::{Arc, Mutex, PoisonError};

use klines_domain::symbol::{Category, SymbolId, SymbolTable};
use klines_domain::time::LocalMillis;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::info;
use url::Url;

use super::driver::{Driver, FeedContext, Status};
use super::session::{Counters, Session, Timing};
use super::{connect, topic};

/// A handle to read the status of a running feed.
#[derive(Clone, Debug)]
pub struct Feed {
    category: Category,
    connections: Vec<Connection>,
}

/// A handle to one connection.
#[derive(Clone, Debug)]
struct Connection {
    status: Arc<Mutex<Status>>,
    boundary: watch::Sender<LocalMillis>,
}

impl Feed {
    /// Spawns the drivers for a category's symbols. They end when the context's token is cancelled; join the tracker.
    #[must_use]
    pub fn spawn(
        context: &FeedContext,
        tracker: &TaskTracker,
        category: Category,
        url: &Url,
        symbols: &Arc<SymbolTable>,
        timing: Timing,
    ) -> Self {
        let packed = topic::pack(symbols.iter(), |(_, name)| name);
        info!(%category, symbols = symbols.len(), connections = packed.len(), url = connect::redacted(url), "feed started");
        let connections = packed.iter().enumerate().map(|(number, symbols_here)| {
            let ids: Vec<SymbolId> = symbols_here.iter().map(|(id, _)| *id).collect();
            let session = Session::new(category, number, symbols.clone(), &ids, timing);
            let status = Arc::new(Mutex::new(Status::default()));
            let boundary = watch::Sender::new(LocalMillis::MAX);
            let driver = Driver::new(context.clone(), session, url.clone(), status.clone(), boundary.subscribe());
            tracker.spawn(driver.run());
            Connection { status, boundary }
        });
        Self { category, connections: connections.collect() }
    }

    /// Returns the category of the feed.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns the status of each connection, at most some 250 ms old; exact after the drivers have ended.
    #[must_use]
    pub fn connections(&self) -> Vec<Status> {
        self.connections
            .iter()
            .map(|connection| *connection.status.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    /// Returns a sender for each connection. Send it the local time at which the next boundary could be closed; the
    /// driver then reports whether everything has been read.
    #[must_use]
    pub fn boundaries(&self) -> Vec<watch::Sender<LocalMillis>> {
        self.connections.iter().map(|connection| connection.boundary.clone()).collect()
    }

    /// Returns the sum of the counters of all connections.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.connections().into_iter().for_each(|status| sum += status.counters);
        sum
    }
}
