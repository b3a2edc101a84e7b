//! All consumers together: starts their threads, reports how that went, and ends them in order.
//!
//! Every method that waits blocks its thread: an executor calls it from a thread that may block.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::dead_letter::DeadLetters;
use super::hub::Hub;
use super::queue::{Grouping, Queue};
use super::stats::{Snapshot, Stats};
use super::worker::{Shared, StartUp, Worker};
use super::{Blueprint, Subscription};

/// How long a consumer may take to end after it was told to end at once.
const LAST_WORD: Duration = Duration::from_secs(3);

/// One consumer as configured.
pub struct Spec {
    /// Its name in configuration, logs and metrics.
    pub name: String,
    /// What makes its instances.
    pub blueprint: Box<dyn Blueprint>,
    /// What the operator lets it receive.
    pub allowed: Subscription,
    /// Closed klines that its queue holds.
    pub queue: usize,
    /// How klines are grouped into calls.
    pub grouping: Grouping,
}

/// What one consumer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which consumer.
    pub name: String,
    /// Its counters and state.
    pub stats: Snapshot,
}

/// The consumers of one run.
pub struct Manager {
    workers: Vec<Handle>,
    reports: Receiver<StartUp>,
}

struct Handle {
    name: String,
    queue: Arc<Queue>,
    stats: Arc<Stats>,
    /// Disconnected when the thread is at its end.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Manager {
    /// Starts a thread for each consumer and connects its queue to the hub.
    ///
    /// # Errors
    /// The operating system gives no thread; consumers started until then are told to end.
    pub fn start(specs: Vec<Spec>, hub: &Hub, data_dir: &Path) -> io::Result<Self> {
        let (report, reports) = mpsc::channel();
        let mut manager = Self { workers: Vec::with_capacity(specs.len()), reports };
        for spec in specs {
            let queue = Arc::new(Queue::new(spec.queue, &spec.allowed));
            let stats = Arc::new(Stats::default());
            let (end, ended) = mpsc::channel::<()>();
            let shared = Shared {
                name: spec.name.clone(),
                queue: queue.clone(),
                stats: stats.clone(),
                report: Some(report.clone()),
            };
            let worker = Worker::new(shared, spec.blueprint, spec.grouping, DeadLetters::new(data_dir, &spec.name));
            let spawned = thread::Builder::new().name(format!("consumer-{}", spec.name)).spawn(move || {
                let _end = end;
                worker.run();
            });
            let thread = match spawned {
                Ok(thread) => thread,
                Err(error) => {
                    manager.workers.iter().for_each(|worker| worker.queue.cancel());
                    return Err(error);
                }
            };
            hub.add(queue.clone(), stats.clone());
            manager.workers.push(Handle { name: spec.name, queue, stats, ended, thread });
        }
        Ok(manager)
    }

    /// Waits until every consumer has tried to start once, or `patience` is over; returns what was reported until
    /// then. A consumer whose start failed is named; the others go on.
    #[must_use]
    pub fn started(&self, patience: Duration) -> Vec<StartUp> {
        let until = Instant::now() + patience;
        let mut found = Vec::new();
        while found.len() < self.workers.len() {
            match self.reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(report) => found.push(report),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        found
    }

    /// Returns what every consumer has done so far, in the order of their configuration.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |worker: &Handle| Summary { name: worker.name.clone(), stats: worker.stats.snapshot() };
        self.workers.iter().map(summary).collect()
    }

    /// Lets every consumer finish what waits for it, for at most `patience`; then tells the rest to end at once.
    /// Returns what each has done.
    #[must_use]
    pub fn shutdown(self, patience: Duration) -> Vec<Summary> {
        self.workers.iter().for_each(|worker| worker.queue.close());
        self.wait(Instant::now() + patience, |worker| {
            warn!(consumer = worker.name, ?patience, "consumer is not done in time and is cancelled");
            worker.queue.cancel();
        });
        self.wait(Instant::now() + LAST_WORD, |worker| {
            error!(consumer = worker.name, "consumer does not end and is left behind");
        });
        let summaries = self.summaries();
        for worker in self.workers {
            if worker.thread.is_finished() && worker.thread.join().is_err() {
                error!(consumer = worker.name, "consumer's thread panicked");
            }
        }
        summaries
    }

    fn wait(&self, until: Instant, late: impl Fn(&Handle)) {
        for worker in &self.workers {
            let left = until.saturating_duration_since(Instant::now());
            if worker.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                late(worker);
            }
        }
    }
}
