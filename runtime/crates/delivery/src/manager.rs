//! Manages all consumers: starts their threads, reports how each start went, and shuts them down in order.
//!
//! Methods that wait block the calling thread: async code must call them on a thread that may block.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{error, info, warn};

use super::crash_report::CrashReports;
use super::data_dir::DataDir;
use super::dead_letter::DeadLetters;
use super::emit::relay::Relay;
use super::hub::Hub;
use super::inline::InlineDelivery;
use super::order::{Command, Order};
use super::policy::OnError;
use super::queue::{Grouping, Queue};
use super::stats::{Snapshot, Stats};
use super::trusted_work::TrustedWork;
use super::view::View;
use super::worker::{Records, Shared, StartUp, Worker};
use crate::call::Subscription;
use crate::consumer::{Blueprint, Profile};

/// How long an order may take: first the call in progress ends, and a new version may have to start.
const ORDER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a consumer may take to end after it was cancelled.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);
/// After this time of a shutdown, the consumers that are not done are logged.
const LOG_AFTER: Duration = Duration::from_secs(1);

/// The configuration of one consumer.
pub struct Spec {
    /// Its name in configuration, logs and metrics.
    pub name: String,
    /// Creates its instances.
    pub blueprint: Box<dyn Blueprint>,
    /// What the operator allows it to receive.
    pub allowed: Subscription,
    /// Minimum number of closed klines that its queue holds.
    pub queue: usize,
    /// How klines are grouped into calls.
    pub grouping: Grouping,
    /// The reaction to a crash.
    pub on_error: OnError,
}

/// The result of one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The name of the consumer.
    pub name: String,
    /// Its counters and state.
    pub stats: Snapshot,
}

/// The consumers of one run.
pub struct Manager {
    workers: Vec<Handle>,
    reports: Receiver<StartUp>,
    /// Carries values between consumers; `None` if no consumer publishes or none takes them.
    relay: Option<Relay>,
}

/// Gives orders to one consumer, from any thread.
#[derive(Clone)]
pub struct Commander {
    name: String,
    queue: Arc<Queue>,
}

/// Why an order was not executed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OrderError {
    /// The consumer could not execute it; nothing has changed.
    #[error("{0}")]
    Refused(String),
    /// The consumer is in a long call.
    #[error("the consumer did not answer within {ORDER_TIMEOUT:?}; it executes the order when its call returns")]
    Busy,
    /// Its thread has ended with the run.
    #[error("the consumer has ended")]
    Ended,
}

impl Commander {
    /// Returns the consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives an order and waits until it is executed. Blocks the thread.
    ///
    /// # Errors
    /// [`OrderError`] if it was not executed.
    pub fn order(&self, order: Order) -> Result<(), OrderError> {
        let (answer, answered) = mpsc::channel();
        if !self.queue.order(Command { order, answer }) {
            return Err(OrderError::Ended);
        }
        match answered.recv_timeout(ORDER_TIMEOUT) {
            Ok(result) => result.map_err(OrderError::Refused),
            Err(RecvTimeoutError::Timeout) => Err(OrderError::Busy),
            Err(RecvTimeoutError::Disconnected) => Err(OrderError::Ended),
        }
    }
}

impl Handle {
    /// Starts the thread of a consumer.
    fn spawn(
        spec: Spec,
        (inline, report): (&Arc<InlineDelivery>, &Sender<StartUp>),
        trusted_work: &Arc<TrustedWork>,
        data_dir: &DataDir,
    ) -> io::Result<Self> {
        let Spec { name, blueprint, allowed, queue, grouping, on_error } = spec;
        let (queue, stats) = (Arc::new(Queue::new(queue, &allowed)), Arc::new(Stats::default()));
        let profile = blueprint.profile();
        stats.set_source(profile.meter.clone(), profile.version());
        if !profile.is_untrusted {
            queue.mark_trusted(trusted_work);
        }
        let shared = Shared {
            name: name.clone(),
            queue: queue.clone(),
            stats: stats.clone(),
            inline: inline.clone(),
            trusted_work: trusted_work.clone(),
            report: Some(report.clone()),
        };
        let records =
            Records { letters: DeadLetters::new(data_dir, &name), crash_reports: CrashReports::new(data_dir) };
        let worker = Worker::new(shared, blueprint, (grouping, on_error), records);
        let (end, ended) = mpsc::channel::<()>();
        let abandon = AbandonOnDrop(queue.clone());
        let thread = thread::Builder::new().name(format!("consumer-{name}")).spawn(move || {
            let (_end, _abandon) = (end, abandon);
            worker.run();
        })?;
        let Profile { is_untrusted, takes_values, .. } = profile;
        Ok(Self { name, queue, stats, takes_values, is_untrusted, ended, thread })
    }

    fn view(&self) -> View {
        View { name: self.name.clone(), stats: self.stats.clone(), queue: self.queue.clone() }
    }

    /// Returns its counters at the end of the run; klines that it has not delivered are counted as lost.
    fn summary(&self) -> Summary {
        let has_ended = self.ended.try_recv() == Err(TryRecvError::Disconnected);
        let stats = if has_ended { self.stats.snapshot() } else { self.view().give_up() };
        Summary { name: self.name.clone(), stats }
    }
}

/// Abandons the queue when the consumer's thread ends, even by a panic: nothing would execute the orders in it.
struct AbandonOnDrop(Arc<Queue>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

struct Handle {
    name: String,
    queue: Arc<Queue>,
    stats: Arc<Stats>,
    takes_values: bool,
    is_untrusted: bool,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Manager {
    /// Starts a thread for each consumer and connects its queue to the hub.
    ///
    /// # Errors
    /// The operating system cannot create a thread; consumers that have started are cancelled.
    pub fn start(specs: Vec<Spec>, hub: &Hub, data_dir: &DataDir) -> io::Result<Self> {
        let (report, reports) = mpsc::channel();
        let mut manager = Self { workers: Vec::with_capacity(specs.len()), reports, relay: None };
        let mut inlines = Vec::with_capacity(specs.len());
        for spec in specs {
            let inline = Arc::new(InlineDelivery::default());
            match Handle::spawn(spec, (&inline, &report), hub.trusted_work(), data_dir) {
                Ok(worker) => manager.workers.push(worker),
                Err(error) => {
                    manager.workers.iter().for_each(|worker| worker.queue.cancel());
                    return Err(error);
                }
            }
            inlines.push(inline);
        }
        // Untrusted consumers receive every batch last, so that they are woken last.
        let all = || manager.workers.iter().zip(&inlines);
        let trusted = all().filter(|(worker, _)| !worker.is_untrusted);
        for (worker, inline) in trusted.chain(all().filter(|(worker, _)| worker.is_untrusted)) {
            hub.add_with_inline(worker.queue.clone(), worker.stats.clone(), inline.clone());
        }
        Ok(manager)
    }

    /// Starts `relay`, which carries values from consumers that publish to consumers that take them.
    ///
    /// # Errors
    /// The operating system cannot create a thread.
    pub fn carry(&mut self, mut relay: Relay) -> io::Result<()> {
        let takers = self.workers.iter().filter(|worker| worker.takes_values);
        relay.start(takers.map(|worker| worker.queue.clone()).collect())?;
        self.relay = Some(relay);
        Ok(())
    }

    /// Waits until every consumer has tried to start once, or `patience` is over. Returns the reports that arrived
    /// until then, also those of failed starts; the other consumers run.
    #[must_use]
    pub fn started(&self, patience: Duration) -> Vec<StartUp> {
        self.reported(patience, |_| true)
    }

    /// Waits as [`Self::started`] does, but not for untrusted consumers. Their klines wait in their queues meanwhile.
    #[must_use]
    pub fn trusted_started(&self, patience: Duration) -> Vec<StartUp> {
        self.reported(patience, |worker| !worker.is_untrusted)
    }

    fn reported(&self, patience: Duration, is_awaited: impl Fn(&Handle) -> bool) -> Vec<StartUp> {
        let until = Instant::now() + patience;
        let mut found: Vec<StartUp> = Vec::new();
        let is_missing = |found: &[StartUp], worker: &Handle| found.iter().all(|report| report.name != worker.name);
        while self.workers.iter().any(|worker| is_awaited(worker) && is_missing(&found, worker)) {
            match self.reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(report) => found.push(report),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        found
    }

    /// Returns the counters of every consumer, in the order of the configuration.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |worker: &Handle| Summary { name: worker.name.clone(), stats: worker.stats.snapshot() };
        self.workers.iter().map(summary).collect()
    }

    /// Returns the commander of a consumer; `None` if there is no consumer of that name.
    #[must_use]
    pub fn commander(&self, name: &str) -> Option<Commander> {
        let worker = self.workers.iter().find(|worker| worker.name == name)?;
        Some(Commander { name: worker.name.clone(), queue: worker.queue.clone() })
    }

    /// Returns the views of all consumers, in the order of the configuration.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.workers.iter().map(Handle::view).collect()
    }

    /// Lets every consumer deliver its queue, for at most `patience`; then cancels those that are not done. Returns the
    /// result of each.
    ///
    /// Consumers that take values end last, so that they receive the values that the others publish in their last
    /// deliveries.
    #[must_use]
    pub fn shutdown(mut self, patience: Duration) -> Vec<Summary> {
        let mut until = Instant::now() + patience;
        let late = |worker: &Handle| {
            warn!(consumer = worker.name, ?patience, "consumer is not done in time and is cancelled");
            worker.queue.cancel();
        };
        if let Some(relay) = self.relay.take() {
            let publishers = || self.workers.iter().filter(|worker| !worker.takes_values);
            publishers().for_each(|worker| worker.queue.close());
            wait(publishers(), until, late);
            relay.end();
            until = until.max(Instant::now() + CANCEL_TIMEOUT);
        }
        self.workers.iter().for_each(|worker| worker.queue.close());
        wait(self.workers.iter(), until.min(Instant::now() + LOG_AFTER), |worker| {
            let (consumer, waiting, in_hand) =
                (&worker.name, worker.queue.depth().closed, worker.stats.snapshot().in_hand);
            info!(consumer, waiting, in_hand, at_most = ?patience, "waiting for the consumer to finish");
        });
        wait(self.workers.iter().filter(|worker| !worker.queue.is_cancelled()), until, late);
        wait(self.workers.iter(), Instant::now() + CANCEL_TIMEOUT, |worker| {
            error!(consumer = worker.name, "consumer does not end and is abandoned");
        });
        let summaries = self.workers.iter().map(Handle::summary).collect();
        for worker in self.workers {
            if worker.thread.is_finished() && worker.thread.join().is_err() {
                error!(consumer = worker.name, "consumer's thread panicked");
            }
        }
        summaries
    }
}

/// Waits until the threads of `workers` end; calls `late` for each that has not ended at `until`.
fn wait<'a>(workers: impl Iterator<Item = &'a Handle>, until: Instant, late: impl Fn(&Handle)) {
    for worker in workers {
        let left = until.saturating_duration_since(Instant::now());
        if worker.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            late(worker);
        }
    }
}
