//! Stores the klines of a run on a thread of its own. A disk that is slow or full costs history, never a live kline: what
//! does not fit into its queue any more is counted as lost.
//!
//! With the klines it stores the positions of the consumers, as the last entry of the log of which each one has acknowledged
//! everything. An entry is a transaction; the batches of the hub that it completes are noted in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::Subscription;
use klines_delivery::acknowledged::Acknowledgements;
use klines_delivery::hub::Hub;
use klines_delivery::queue::{Grouping, Popped, Queue};
use klines_delivery::stats::Stats;
use klines_domain::time::Millis;
use klines_system::clock::LocalClock;
use tracing::{info, warn};

use crate::error::StoreError;
use crate::file::Lock;
use crate::marks::Marks;
use crate::run::Left;
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

/// A run whose store cannot be opened: nothing is stored, and the next run learns until when that was so.
#[derive(Debug)]
pub struct Unstored(Option<Lock>);

impl Unstored {
    /// Takes the lock of the store, unless another process has it.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self(Lock::take(path).ok())
    }

    /// Returns what reads the counters of a store that takes nothing.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let shared = Shared { is_failing: AtomicBool::new(true), ..Shared::default() };
        Observer { stats: Arc::default(), shared: Arc::new(shared) }
    }

    /// Notes that klines up to a moment are published and not stored. What cannot be noted is not known to the next run.
    pub fn note(&self, until: Millis) {
        if let Some(lock) = &self.0 {
            drop(lock.note_unstored(until));
        }
    }
}

impl Recorder {
    /// Opens the store, begins a run with the random number `epoch`, and begins to take what the hub publishes. `origin` says
    /// where that is from. Returns what earlier runs have left, too; what is more than `horizon` ms ago is not repaired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn start(
        path: &Path,
        origin: &str,
        limits: Limits,
        (hub, epoch, horizon): (&Hub, u64, Millis),
    ) -> Result<(Self, Left), StoreError> {
        let mut writer = Writer::open(path, origin, limits)?;
        let left = writer.begin_run(epoch, horizon)?;
        let wanted = Subscription { closed_only: true, ..Subscription::default() };
        let (queue, stats, shared) = (Arc::new(Queue::new(QUEUE, &wanted)), Arc::new(Stats::default()), Arc::default());
        let record = Record {
            queue: queue.clone(),
            stats: stats.clone(),
            shared: Arc::clone(&shared),
            clock: LocalClock::start(),
            logged: None,
            acknowledgements: hub.acknowledgements().clone(),
            marks: Marks::new(left.entry),
        };
        let (ending, ended) = mpsc::channel::<()>();
        let run = move || {
            record.run(writer);
            drop(ending);
        };
        let spawned = thread::Builder::new().name("store".to_owned()).spawn(run);
        spawned.map_err(|error| StoreError::of_file(path, &error))?;
        hub.add(queue.clone(), stats.clone());
        Ok((Self { path: path.to_owned(), queue, stats, shared, ended }, left))
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
    stats: Arc<Stats>,
    shared: Arc<Shared>,
    clock: LocalClock,
    /// When a failure was last logged.
    logged: Option<Instant>,
    acknowledgements: Acknowledgements,
    marks: Marks,
}

impl Record {
    fn run(mut self, mut writer: Writer) {
        loop {
            match self.queue.pop(Grouping::UpTo(MAX_TRANSACTION)) {
                Popped::Delivery(delivery) => {
                    writer.set_positions(self.reached());
                    let (newest, since) = (delivery.klines.iter().map(|kline| kline.end).max(), Instant::now());
                    while let Err(error) = writer.append(&delivery.klines) {
                        self.failed(&error);
                        writer.note_unstored(newest.unwrap_or_default() + millis(since.elapsed() + PAUSE));
                        if self.queue.pause(PAUSE) {
                            return;
                        }
                    }
                    self.marks.add(delivery.batches.begun, writer.entry());
                    self.stored(&mut writer, delivery.klines.len());
                }
                // It gets no orders.
                Popped::Ordered => {}
                Popped::Finished => break,
                Popped::Cancelled => return,
            }
        }
        writer.set_positions(self.reached());
        // What is missing in the store must not seem to have never been.
        let is_whole = self.stats.snapshot().lost() == 0;
        let ended = if is_whole { writer.end_run() } else { Ok(()) };
        if let Err(error) = ended.and_then(|()| writer.close()) {
            self.failed(&error);
        }
    }

    /// Returns the last entry of which each consumer has acknowledged everything.
    fn reached(&mut self) -> Vec<(String, u64)> {
        let all = self.acknowledgements.all().into_iter();
        self.marks.reached(all.map(|(consumer, acknowledged)| (consumer, acknowledged.batches())).collect())
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

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests;
