//! A category's feed: its topics packed on as few connections as the limits allow, one driver for each.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use tracing::info;
use url::Url;

use super::driver::{Driver, Status, Uplink};
use super::session::{Counters, Session, Timing};
use super::{connect, topic};
use crate::domain::symbol::{Category, SymbolId, SymbolTable};

/// A handle on a running feed, to look at.
#[derive(Clone, Debug)]
pub struct Feed {
    category: Category,
    connections: Vec<Arc<Mutex<Status>>>,
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
            let session = Session::new(category, symbols.clone(), &ids, timing);
            let status = Arc::new(Mutex::new(Status::default()));
            let driver = Driver::new(uplink.clone(), session, url.clone(), category, number, status.clone());
            tracker.spawn(driver.run());
            status
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
        self.connections.iter().map(|status| *status.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// What all connections have seen together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.connections().into_iter().for_each(|status| sum += status.counters);
        sum
    }
}
