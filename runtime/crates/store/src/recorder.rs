//! Stores the klines of a run on a thread of its own. A disk that is slow or full costs history, never a live kline: what
//! does not fit into its queue any more is counted as lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::Subscription;
use klines_delivery::hub::Hub;
use klines_delivery::queue::{Grouping, Popped, Queue};
use klines_delivery::stats::Stats;
use klines_system::clock::LocalClock;
use tracing::{info, warn};

use crate::error::StoreError;
use crate::writer::{Limits, Writer};

/// The most klines of one transaction.
const MAX_TRANSACTION: usize = 16_384;
/// The fewest klines that wait while the disk does not answer; two boundaries, if those are more.
const QUEUE: usize = 65_536;
/// How long after a failure a transaction is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a failure is logged while it lasts.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What a recorder has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Klines and revisions stored.
    pub stored: u64,
    /// Klines and revisions lost because the disk did not take them in time.
    pub lost: u64,
    /// The bytes that the file uses.
    pub bytes: u64,
    /// Whether the last transaction failed.
    pub is_failing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    stored: AtomicU64,
    bytes: AtomicU64,
    is_failing: AtomicBool,
}

/// Stores what a hub publishes, until it is [ended](Recorder::end).
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    queue: Arc<Queue>,
    stats: Arc<Stats>,
    shared: Arc<Shared>,
    /// Disconnected when its thread has ended.
    ended: Receiver<()>,
}

/// Reads what a recorder has done, from any thread.
#[derive(Clone, Debug)]
pub struct Observer {
    stats: Arc<Stats>,
    shared: Arc<Shared>,
}

impl Observer {
    /// Returns what it has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            stored: self.shared.stored.load(Ordering::Relaxed),
            lost: self.stats.snapshot().lost(),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            is_failing: self.shared.is_failing.load(Ordering::Relaxed),
        }
    }
}

impl Recorder {
    /// Opens the store and begins to take what the hub publishes. `origin` says where that is from.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn start(path: &Path, origin: &str, limits: Limits, hub: &Hub) -> Result<Self, StoreError> {
        let writer = Writer::open(path, origin, limits)?;
        let wanted = Subscription { closed_only: true, ..Subscription::default() };
        let (queue, stats, shared) = (Arc::new(Queue::new(QUEUE, &wanted)), Arc::new(Stats::default()), Arc::default());
        let record =
            Record { queue: queue.clone(), shared: Arc::clone(&shared), clock: LocalClock::start(), logged: None };
        let (ending, ended) = mpsc::channel::<()>();
        let run = move || {
            record.run(writer);
            drop(ending);
        };
        let spawned = thread::Builder::new().name("store".to_owned()).spawn(run);
        spawned.map_err(|error| StoreError::of_file(path, &error))?;
        hub.add(queue.clone(), stats.clone());
        Ok(Self { path: path.to_owned(), queue, stats, shared, ended })
    }

    /// Returns what reads its counters.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer { stats: self.stats.clone(), shared: self.shared.clone() }
    }

    /// Stores what still waits, for at most `patience`, and closes the store. Blocks.
    pub fn end(self, patience: Duration) {
        self.queue.close();
        let is_over = self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected);
        let left = if is_over { 0 } else { self.queue.abandon().len() as u64 };
        let Counters { stored, lost, .. } = self.observer().counters();
        if lost + left > 0 {
            warn!(file = %self.path.display(), stored, lost = lost + left, "klines are missing in the store");
        } else {
            info!(file = %self.path.display(), stored, "store closed");
        }
    }
}

/// The thread of a recorder.
struct Record {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    clock: LocalClock,
    /// When a failure was last logged.
    logged: Option<Instant>,
}

impl Record {
    fn run(mut self, mut writer: Writer) {
        loop {
            match self.queue.pop(Grouping::UpTo(MAX_TRANSACTION)) {
                Popped::Delivery(delivery) => {
                    while let Err(error) = writer.append(&delivery.klines) {
                        self.failed(&error);
                        if self.queue.pause(PAUSE) {
                            return;
                        }
                    }
                    self.stored(&mut writer, delivery.klines.len());
                }
                // It gets no orders.
                Popped::Ordered => {}
                Popped::Finished => break,
                Popped::Cancelled => return,
            }
        }
        if let Err(error) = writer.close() {
            self.failed(&error);
        }
    }

    fn stored(&mut self, writer: &mut Writer, count: usize) {
        self.shared.stored.fetch_add(count as u64, Ordering::Relaxed);
        let maintained = writer.maintain(self.clock.now()).and_then(|()| writer.bytes());
        match maintained {
            Ok(bytes) => {
                self.shared.bytes.store(bytes, Ordering::Relaxed);
                if self.shared.is_failing.swap(false, Ordering::Relaxed) {
                    self.logged = None;
                    info!("the store takes klines again");
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &StoreError) {
        self.shared.is_failing.store(true, Ordering::Relaxed);
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            warn!(%error, "the store does not take klines; live klines are not affected");
        }
    }
}

#[cfg(test)]
mod tests;
