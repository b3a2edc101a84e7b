//! The feed of a category: its topics in as few sets as the limits allow, and several connections for each set, with
//! one driver for each connection. The pipeline decides what they cover together.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use klines_domain::symbol::{Category, SymbolId, SymbolTable};
use klines_domain::time::LocalMillis;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use url::Url;

use super::driver::{Driver, FeedContext, Status};
use super::session::{Counters, Session, Timing};
use super::{connect, topic};

/// Bybit's limit on the market-data connections of one address, for each category.
const MAX_CONNECTIONS: usize = 1_000;

/// A handle to read the status of a running feed.
#[derive(Clone, Debug)]
pub struct Feed {
    category: Category,
    /// The number of sets of topics.
    sets: usize,
    /// In the order in which they are opened: one connection of every set, then another one of every set.
    connections: Vec<Connection>,
}

/// A handle to one connection.
#[derive(Clone, Debug)]
struct Connection {
    status: Arc<Mutex<Status>>,
    boundary: watch::Sender<LocalMillis>,
}

impl Feed {
    /// Spawns the drivers for a category's symbols: `feeds` connections for each set of topics, or fewer if those were
    /// more than the exchange allows. They end when the context's token is cancelled; join the tracker.
    #[must_use]
    pub fn spawn(
        context: &FeedContext,
        tracker: &TaskTracker,
        category: Category,
        url: &Url,
        symbols: &Arc<SymbolTable>,
        feeds: NonZeroUsize,
        timing: Timing,
    ) -> Self {
        let packed = topic::pack(symbols.iter(), |(_, name)| name);
        let (sets, wanted, feeds) = (packed.len(), feeds.get(), feeds_within_limit(packed.len(), feeds));
        if feeds < wanted {
            warn!(%category, sets, wanted, feeds, limit = MAX_CONNECTIONS, "fewer feeds, because the exchange allows no more connections");
        }
        let (total, url_text) = (sets * feeds, connect::redacted(url));
        info!(%category, symbols = symbols.len(), connections = total, feeds, url = url_text, "feed started");
        let contexts = (0..feeds).map(|feed| match feeds {
            1 => context.clone(),
            _ => FeedContext { dialer: context.dialer.clone().for_feed(feed), ..context.clone() },
        });
        let mut connections = Vec::with_capacity(total);
        // Coverage of a set begins with its first connection: no set gets a second one before all have one.
        for context in contexts {
            for symbols_here in &packed {
                let ids: Vec<SymbolId> = symbols_here.iter().map(|(id, _)| *id).collect();
                let session = Session::new(category, connections.len(), symbols.clone(), &ids, timing);
                let status = Arc::new(Mutex::new(Status::default()));
                let boundary = watch::Sender::new(LocalMillis::MAX);
                let driver = Driver::new(context.clone(), session, url.clone(), status.clone(), boundary.subscribe());
                tracker.spawn(driver.run());
                connections.push(Connection { status, boundary });
            }
        }
        Self { category, sets, connections }
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

    /// Returns the status of the connections of each set of topics, as [`Self::connections`] does.
    #[must_use]
    pub fn sets(&self) -> Vec<Vec<Status>> {
        let all = self.connections();
        (0..self.sets).map(|set| all.iter().skip(set).step_by(self.sets).copied().collect()).collect()
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

/// Returns how many connections each of `sets` sets of topics can have, at most `wanted` and at least one.
fn feeds_within_limit(sets: usize, wanted: NonZeroUsize) -> usize {
    (MAX_CONNECTIONS / sets.max(1)).clamp(1, wanted.get())
}

#[cfg(test)]
mod tests;
