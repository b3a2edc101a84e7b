//! The driver of an ingest or serve node: a thread that keeps a connection to Redis, sends what the state machine of the
//! node asks for, and writes the klines of the outbox.
//!
//! It decides nothing itself: `membership` decides what to hold, the functions in Redis which version is published.

mod counters;
mod driver;
pub mod lane;
mod requests;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

pub use self::counters::{Counters, Counts};
use self::driver::Driver;
use crate::keys::ClusterKeys;
use crate::member::{About, Name, View};
use crate::membership::{Phase, Settings as Membership};
use crate::partition::{Partition, Partitions};
use crate::roster::Roster;
use crate::server::Server;
use crate::writer::Pending;

/// Room for commands to the driver; it takes each within milliseconds.
const COMMANDS: usize = 64;

/// What a node is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the cluster.
    pub cluster: Name,
    /// The name of the node.
    pub name: Name,
    /// What it does.
    pub about: About,
    /// The number of partitions.
    pub partitions: Partitions,
    /// The number of nodes that watch a partition.
    pub replicas: usize,
    /// How long entries of a stream are kept at least, unless there are too many.
    pub retain: Duration,
}

/// What a node sees of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether there is a connection to Redis.
    pub connected: bool,
    /// Whether the node is a member.
    pub member: bool,
    /// The live members.
    pub view: View,
    /// The partitions that it watches, what it is for them, and whether it writes them.
    pub partitions: Vec<(Partition, Phase, bool)>,
    /// Whether it has left and holds nothing.
    pub done: bool,
}

/// The partitions that a node watches, whenever they change.
pub type Watched = watch::Receiver<Arc<BTreeSet<Partition>>>;

/// A running node.
#[derive(Debug)]
pub struct Node {
    watched: Watched,
    seen: watch::Receiver<Seen>,
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
    pending: Arc<Pending>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a node is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// The first windows of a partition are right.
    Seeded(Partition),
    /// Leave, but go on with each partition until others count.
    Drain,
    /// Leave now.
    Stop,
}

impl Node {
    /// Starts the thread of a node.
    ///
    /// # Errors
    /// When the system refuses a thread, or random numbers.
    pub fn start(server: Server, settings: Settings, pending: Arc<Pending>, roster: Arc<Roster>) -> io::Result<Self> {
        let (watching, watched) = watch::channel(Arc::default());
        let seen = roster.seen();
        let (commands, orders) = mpsc::channel(COMMANDS);
        let counters = Arc::new(Counters::default());
        let parts = driver::Parts { server, settings, pending: pending.clone(), counters: counters.clone() };
        let driver = Driver::new(parts, watching, roster)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("klines-cluster".to_owned());
        let thread = thread.spawn(move || runtime.block_on(driver.run(orders)))?;
        Ok(Self { watched, seen, commands, counters, pending, thread: Mutex::new(Some(thread)) })
    }

    /// Returns the partitions that the node watches, whenever they change.
    #[must_use]
    pub fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Returns what the node sees of the cluster.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Returns what it has counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Returns the number of klines that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.lock().len()
    }

    /// Reports that the first windows of a partition are right.
    pub async fn seeded(&self, partition: Partition) {
        // The driver has ended if it takes no commands.
        let _ = self.commands.send(Command::Seeded(partition)).await;
    }

    /// Leaves the cluster: others take over each partition before this node gives it up. Returns whether that happened in
    /// time.
    pub async fn drain(&self, patience: Duration) -> bool {
        let _ = self.commands.send(Command::Drain).await;
        let mut seen = self.seen.clone();
        tokio::time::timeout(patience, seen.wait_for(|seen| seen.done)).await.is_ok()
    }

    /// Leaves now and ends the thread.
    pub fn stop(&self) {
        // It has ended already, or will see that nobody can send commands.
        let _ = self.commands.try_send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Settings {
    fn membership(&self) -> Membership {
        Membership {
            name: self.name.clone(),
            ingest: self.about.ingest,
            partitions: self.partitions,
            replicas: self.replicas,
            timing: crate::lease::Timing::default(),
        }
    }

    fn keys(&self) -> ClusterKeys {
        ClusterKeys::new(&self.cluster)
    }
}
