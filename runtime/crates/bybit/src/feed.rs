//! The feed of a category: its topics in as few sets as the limits allow, and several connections for each set, with
//! one driver for each connection. Symbols that join later get connections of their own. The pipeline decides what the
//! connections cover together.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use klines_domain::feed::Renewals;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::LocalMillis;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use url::Url;

use super::driver::{Driver, FeedContext, Orders, Status};
use super::session::{Counters, Session, Timing};
use super::{connect, topic};

/// Bybit's limit on the market-data connections of one address, for each category.
const MAX_CONNECTIONS: usize = 1_000;

/// A handle to a running feed: to read its status, to add symbols and to leave them.
#[derive(Clone, Debug)]
pub struct Feed {
    category: Category,
    /// In the order in which they are opened: one connection of every set, then another one of every set.
    connections: Vec<Connection>,
    /// For the connections of each addition, the symbols that are no longer watched.
    left: Vec<watch::Sender<Vec<SymbolId>>>,
    renewals: watch::Sender<Renewals>,
}

/// The drivers of connections that are not opened yet.
#[derive(Debug)]
#[must_use = "the connections of these drivers are opened when they are spawned"]
pub struct Drivers(Vec<Driver>);

impl Drivers {
    /// Spawns the drivers. They end when the context's token is cancelled, or when none of their symbols is watched any
    /// more; join the tracker.
    pub fn spawn(self, tracker: &TaskTracker) {
        self.0.into_iter().for_each(|driver| {
            tracker.spawn(driver.run());
        });
    }
}

/// How the connections of a feed are opened.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// Address of the stream.
    pub url: Url,
    /// How many connections carry each set of topics.
    pub feeds: NonZeroUsize,
    /// The timeouts of their sessions.
    pub timing: Timing,
}

/// A handle to one connection.
#[derive(Clone, Debug)]
struct Connection {
    /// The number of its set of topics.
    set: usize,
    status: Arc<Mutex<Status>>,
    boundary: watch::Sender<LocalMillis>,
}

impl Feed {
    /// Builds the feed of a category without symbols.
    #[must_use]
    pub fn new(category: Category) -> Self {
        let renewals = watch::Sender::new(Renewals::new());
        Self { category, connections: Vec::new(), left: Vec::new(), renewals }
    }

    /// Adds symbols of `table`, and returns their drivers, which have to be [spawned](Drivers::spawn): the configured number of
    /// connections for each set of topics, or fewer if those were more than the exchange allows. Their numbers follow those
    /// of the connections before. A symbol that was left and is watched again gets new connections, too.
    pub fn add(
        &mut self,
        context: &FeedContext,
        settings: &FeedSettings,
        table: &Arc<SymbolTable>,
        symbols: &[SymbolId],
    ) -> Drivers {
        let category = self.category;
        let named: Vec<(SymbolId, &Symbol)> = symbols.iter().filter_map(|id| Some((*id, table.name(*id)?))).collect();
        let packed = topic::pack(named, |(_, name)| name);
        let (sets, wanted) = (packed.len(), settings.feeds.get());
        let feeds = feeds_within_limit(sets, self.open_connections(), settings.feeds);
        if feeds < wanted {
            warn!(%category, sets, wanted, feeds, limit = MAX_CONNECTIONS, "fewer feeds, because the exchange allows no more connections");
        }
        let (total, url) = (sets * feeds, connect::redacted(&settings.url));
        if self.left.is_empty() {
            info!(%category, symbols = symbols.len(), connections = total, feeds, url, "feed started");
        } else {
            info!(%category, symbols = symbols.len(), connections = total, feeds, url, "feed extended");
        }
        let contexts = (0..feeds).map(|feed| match feeds {
            1 => context.clone(),
            _ => FeedContext { dialer: context.dialer.clone().for_feed(feed), ..context.clone() },
        });
        let first_set = self.connections.iter().map(|connection| connection.set + 1).max().unwrap_or(0);
        let joined = (!self.left.is_empty()).then(|| context.clock.now());
        // Only what leaves from now on: these symbols may have been left before.
        let left = watch::Sender::new(Vec::new());
        let mut drivers = Vec::with_capacity(total);
        // Coverage of a set begins with its first connection: no set gets a second one before all have one.
        for context in contexts {
            for (set, symbols_here) in (first_set..).zip(&packed) {
                let ids: Vec<SymbolId> = symbols_here.iter().map(|(id, _)| *id).collect();
                let session = Session::new(category, self.connections.len(), table.clone(), &ids, settings.timing);
                let status = Arc::new(Mutex::new(Status { joined, ..Status::default() }));
                let boundary = watch::Sender::new(LocalMillis::MAX);
                let (url, state) = (settings.url.clone(), status.clone());
                let orders = Orders::new(left.subscribe(), self.renewals.subscribe());
                let driver = Driver::new(context.clone(), session, url, state, boundary.subscribe(), orders);
                drivers.push(driver);
                self.connections.push(Connection { set, status, boundary });
            }
        }
        self.left.push(left);
        Drivers(drivers)
    }

    /// Stops watching symbols: their topics are left on every connection. A connection without topics ends.
    pub fn leave(&self, symbols: &[SymbolId]) {
        self.left.iter().for_each(|left| left.send_modify(|left| left.extend(symbols)));
    }

    /// Returns the number of connections that have symbols to watch.
    fn open_connections(&self) -> usize {
        self.connections().iter().filter(|status| status.wanted > 0).count()
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

    /// Returns the status of the connections of each set of topics that is watched, as [`Self::connections`] does.
    #[must_use]
    pub fn sets(&self) -> Vec<Vec<Status>> {
        let mut sets: BTreeMap<usize, Vec<Status>> = BTreeMap::new();
        for (connection, status) in self.connections.iter().zip(self.connections()) {
            sets.entry(connection.set).or_default().push(status);
        }
        sets.retain(|_, set| set.iter().any(|status| status.wanted > 0));
        sets.into_values().collect()
    }

    /// Returns a sender for each connection. Send it the local time at which the next boundary could be closed; the
    /// driver then reports whether everything has been read.
    #[must_use]
    pub fn boundaries(&self) -> Vec<watch::Sender<LocalMillis>> {
        self.connections.iter().map(|connection| connection.boundary.clone()).collect()
    }

    /// Returns a sender of the symbols whose topics are to be subscribed to again, on all connections.
    #[must_use]
    pub fn renewals(&self) -> watch::Sender<Renewals> {
        self.renewals.clone()
    }

    /// Returns the sum of the counters of all connections.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.connections().into_iter().for_each(|status| sum += status.counters);
        sum
    }
}

/// Returns how many connections each of `sets` sets of topics can have besides `open` other ones, at most `wanted` and at
/// least one.
fn feeds_within_limit(sets: usize, open: usize, wanted: NonZeroUsize) -> usize {
    (MAX_CONNECTIONS.saturating_sub(open) / sets.max(1)).clamp(1, wanted.get())
}

#[cfg(test)]
mod tests;
