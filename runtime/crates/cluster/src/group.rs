//! A consumer that shares the partitions with the consumer of the same name on other serve nodes: each partition is consumed by
//! one of them at a time, in order, and moves with its position and its state.
//!
//! There is one instance of the consumer for each partition (or one for all, if the group is single). A thread of its own
//! leases partitions, reads their streams, and publishes what it reads on a hub that only this consumer has; it waits while
//! the consumer is behind. What the consumer has accepted is acknowledged in Redis. An instance that changes its state
//! writes the changes and its position in one call, which Redis refuses if the partition is another's by then.

mod book;
mod consumer;
mod driver;
mod link;
mod slot;
mod state;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use klines_delivery::hub::Hub;
use klines_delivery::shared_state::SharedState;
use klines_delivery::{Blueprint, Problem, Profile};
use klines_domain::series::{SeriesId, SeriesKey};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use self::book::Book;
pub use self::consumer::GroupBlueprint;
use self::driver::Driver;
use self::link::Link;
use crate::member::Name;
use crate::partition::Partitions;
use crate::roster::{Announced, Roster};
use crate::server::Server;

/// How many batches of updates wait for a group.
const UPDATES: usize = 64;

/// How many orders wait for the driver: the consumer waits for the answer to each, and there is one that ends it.
const ORDERS: usize = 4;

/// Returns the id of a series that is wanted here; `None` for others.
pub type Find = Arc<dyn Fn(&SeriesKey) -> Option<SeriesId> + Send + Sync>;

/// What a group is, and where its streams are.
#[derive(Clone)]
pub struct Settings {
    /// The Redis of the cluster.
    pub server: Server,
    /// The name of the cluster.
    pub cluster: Name,
    /// The name of the node.
    pub node: Name,
    /// The name of the group, which is that of the consumer.
    pub group: Name,
    /// Whether one worker has all partitions.
    pub is_single: bool,
    /// The number of partitions.
    pub partitions: Partitions,
    /// Which series are wanted.
    pub find: Find,
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, node, group, is_single, .. } = self;
        out.debug_struct("Settings")
            .field("cluster", cluster)
            .field("node", node)
            .field("group", group)
            .field("is_single", is_single)
            .finish_non_exhaustive()
    }
}

/// What a group has counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// The partitions that this node consumes now.
    pub partitions: AtomicU64,
    /// Entries that were read.
    pub entries: AtomicU64,
    /// Entries that the consumer has accepted.
    pub acknowledged: AtomicU64,
    /// States that were written.
    pub commits: AtomicU64,
    /// Sequences that are missing in what was read.
    pub missing: AtomicU64,
    /// Partitions that began behind entries which had been removed although the group had not acknowledged them.
    pub trimmed: AtomicU64,
    /// How long after it was written the newest entry was read, by the clock of Redis against that of this machine, in ms.
    pub lag: AtomicU64,
}

/// Creates the instances of the consumer.
pub trait Instances: Send + Sync {
    /// Returns what creates an instance with this state.
    fn with_state(&self, state: Arc<dyn SharedState>) -> Box<dyn Blueprint>;

    /// Returns every problem of the settings.
    fn validate(&self) -> Vec<Problem>;

    /// Returns the properties that all of them share.
    fn profile(&self) -> Profile;
}

/// A group on this node. It works from the first instance that has started, until the last blueprint is dropped, except while the
/// consumer has failed or is quarantined.
#[derive(Debug)]
pub struct Group {
    settings: Settings,
    roster: Arc<Roster>,
    hub: Arc<Hub>,
    book: Arc<Book>,
    counters: Arc<Counters>,
    /// What the driver takes, until it starts.
    inbox: Mutex<Option<mpsc::Receiver<book::Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Group {
    /// Creates a group that does nothing yet. Its consumer receives its klines from [`Group::hub`].
    #[must_use]
    pub fn new(settings: Settings, roster: Arc<Roster>, run: &Hub) -> Arc<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS);
        Arc::new(Self {
            settings,
            roster,
            hub: Arc::new(run.beside()),
            book: Arc::new(Book::new(orders)),
            counters: Arc::default(),
            inbox: Mutex::new(Some(inbox)),
            thread: Mutex::default(),
        })
    }

    /// Returns the hub of the consumer.
    #[must_use]
    pub fn hub(&self) -> Arc<Hub> {
        self.hub.clone()
    }

    /// Starts its thread, unless it runs.
    fn start(&self) -> io::Result<()> {
        let Some(inbox) = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let (updates, updated) = mpsc::channel(UPDATES);
        let announced = Announced::new(&self.settings.group, &self.roster, updates, &self.counters);
        let parts = driver::Parts {
            settings: self.settings.clone(),
            hub: self.hub.clone(),
            book: self.book.clone(),
            counters: self.counters.clone(),
            link: Link::new(&self.settings)?,
            announced,
        };
        let driver = Driver::new(parts);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("group-{}", self.settings.group));
        let thread = thread.spawn(move || runtime.block_on(driver.run(inbox, updated)))?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.book.end();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
