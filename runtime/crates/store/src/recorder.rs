//! Stores the klines of a run on a thread of its own. A disk that is slow or full costs history, never a live kline: what
//! does not fit into its queue any more is counted as lost.
//!
//! With the klines it stores the positions of the consumers, as the last entry of the log of which each one has acknowledged
//! everything. An entry is a transaction; the batches of the hub that it completes are noted in memory.

use std::collections::VecDeque;
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
use klines_system::clock::LocalClock;
use tracing::{info, warn};

use crate::error::StoreError;
use crate::run::Left;
use crate::writer::{Limits, Writer};

/// The most klines of one transaction.
const MAX_TRANSACTION: usize = 16_384;
/// The fewest klines that wait while the disk does not answer; two boundaries, if those are more.
const QUEUE: usize = 65_536;
/// How long after a failure a transaction is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The most entries of which it is known what a consumer has to acknowledge: an hour of ten a second.
const MAX_MARKS: usize = 36_000;
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
    /// Opens the store, begins a run with the random number `epoch`, and begins to take what the hub publishes. `origin` says
    /// where that is from. Returns what earlier runs have left, too.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn start(
        path: &Path,
        origin: &str,
        limits: Limits,
        (hub, epoch): (&Hub, u64),
    ) -> Result<(Self, Left), StoreError> {
        let mut writer = Writer::open(path, origin, limits)?;
        let left = writer.begin_run(epoch)?;
        let wanted = Subscription { closed_only: true, ..Subscription::default() };
        let (queue, stats, shared) = (Arc::new(Queue::new(QUEUE, &wanted)), Arc::new(Stats::default()), Arc::default());
        let record = Record {
            queue: queue.clone(),
            stats: stats.clone(),
            shared: Arc::clone(&shared),
            clock: LocalClock::start(),
            logged: None,
            acknowledgements: hub.acknowledgements().clone(),
            first: left.entry,
            marks: VecDeque::new(),
            dropped: 0,
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
    /// The last entry of earlier runs.
    first: u64,
    /// How many batches have to be acknowledged with each entry, ascending.
    marks: VecDeque<(u64, u64)>,
    /// The same of the last mark that was dropped although not every consumer had passed it.
    dropped: u64,
}

impl Record {
    fn run(mut self, mut writer: Writer) {
        loop {
            match self.queue.pop(Grouping::UpTo(MAX_TRANSACTION)) {
                Popped::Delivery(delivery) => {
                    writer.set_positions(self.reached());
                    while let Err(error) = writer.append(&delivery.klines) {
                        self.failed(&error);
                        if self.queue.pause(PAUSE) {
                            return;
                        }
                    }
                    self.mark(delivery.batches.begun, writer.entry());
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

    /// Notes how many batches the entries up to this one have.
    fn mark(&mut self, batches: u64, entry: u64) {
        self.marks.push_back((batches, entry));
        if self.marks.len() > MAX_MARKS
            && let Some((batches, entry)) = self.marks.pop_front()
        {
            (self.dropped, self.first) = (batches, entry);
        }
    }

    /// Returns the last entry of which each consumer has acknowledged everything. One that is too far behind keeps the position
    /// that is stored.
    fn reached(&mut self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        let mut least = u64::MAX;
        for (consumer, acknowledged) in self.acknowledgements.all() {
            let batches = acknowledged.batches();
            least = least.min(batches.unwrap_or(u64::MAX));
            let entry = |batches| {
                let at = self.marks.partition_point(|(begun, _)| *begun <= batches);
                at.checked_sub(1).and_then(|at| self.marks.get(at)).map_or(self.first, |(_, entry)| *entry)
            };
            all.extend(batches.filter(|batches| *batches >= self.dropped).map(|batches| (consumer, entry(batches))));
        }
        // Of the marks that every consumer has passed, the last one is enough.
        let passed = self.marks.partition_point(|(begun, _)| *begun <= least);
        self.first = passed.checked_sub(2).and_then(|at| self.marks.get(at)).map_or(self.first, |(_, entry)| *entry);
        self.marks.drain(..passed.saturating_sub(1));
        all
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
