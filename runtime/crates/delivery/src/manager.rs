//! All consumers together: starts their threads, reports how that went, and ends them in order.
//!
//! Every method that waits blocks its thread: an executor calls it from a thread that may block.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{error, info, warn};

use super::bundle::Bundles;
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

/// How long an order may take to be obeyed: the call in progress and the start of a new version come before.
const OBEYED_WITHIN: Duration = Duration::from_secs(120);
/// How long a consumer may take to end after it was told to end at once.
const LAST_WORD: Duration = Duration::from_secs(3);
/// After this time it is said which consumers are being waited for.
const PROMPTLY: Duration = Duration::from_secs(1);

/// One consumer as configured.
pub struct Spec {
    /// Its name in configuration, logs and metrics.
    pub name: String,
    /// What makes its instances.
    pub blueprint: Box<dyn Blueprint>,
    /// What the operator lets it receive.
    pub allowed: Subscription,
    /// Closed klines that its queue holds at least.
    pub queue: usize,
    /// How klines are grouped into calls.
    pub grouping: Grouping,
    /// What follows a crash.
    pub on_error: OnError,
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
    /// Carries values between consumers, where any publish and any take them.
    relay: Option<Relay>,
}

/// A consumer that can be given orders, from any thread.
#[derive(Clone)]
pub struct Commander {
    name: String,
    queue: Arc<Queue>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OrderError {
    /// It was heard and could not be obeyed; the consumer is as it was.
    #[error("{0}")]
    Refused(String),
    /// The consumer is in a long call.
    #[error("the consumer did not answer within {OBEYED_WITHIN:?}; it will obey when its call returns")]
    Busy,
    /// Its thread has ended with the run.
    #[error("the consumer has ended")]
    Ended,
}

impl Commander {
    /// The consumer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives an order and waits until it was obeyed. Blocks the thread.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn order(&self, order: Order) -> Result<(), OrderError> {
        let (answer, answered) = mpsc::channel();
        if !self.queue.order(Command { order, answer }) {
            return Err(OrderError::Ended);
        }
        match answered.recv_timeout(OBEYED_WITHIN) {
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
        stats.made_by(profile.meter.clone(), profile.version());
        if !profile.is_untrusted {
            queue.put_first(trusted_work);
        }
        let shared = Shared {
            name: name.clone(),
            queue: queue.clone(),
            stats: stats.clone(),
            inline: inline.clone(),
            trusted_work: trusted_work.clone(),
            report: Some(report.clone()),
        };
        let records = Records { letters: DeadLetters::new(data_dir, &name), bundles: Bundles::new(data_dir) };
        let worker = Worker::new(shared, blueprint, (grouping, on_error), records);
        let (end, ended) = mpsc::channel::<()>();
        let left = LeftQueue(queue.clone());
        let thread = thread::Builder::new().name(format!("consumer-{name}")).spawn(move || {
            let (_end, _left) = (end, left);
            worker.run();
        })?;
        let Profile { is_untrusted, takes_values, .. } = profile;
        Ok(Self { name, queue, stats, takes_values, is_untrusted, ended, thread })
    }

    fn view(&self) -> View {
        View { name: self.name.clone(), stats: self.stats.clone(), queue: self.queue.clone() }
    }

    /// Its counters at the end of the run; what it still holds is lost.
    fn summary(&self) -> Summary {
        let has_ended = self.ended.try_recv() == Err(TryRecvError::Disconnected);
        let stats = if has_ended { self.stats.snapshot() } else { self.view().give_up() };
        Summary { name: self.name.clone(), stats }
    }
}

/// The queue of a thread that ends, if only by a panic: nobody will obey the orders in it.
struct LeftQueue(Arc<Queue>);

impl Drop for LeftQueue {
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
    /// Disconnected when the thread is at its end.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Manager {
    /// Starts a thread for each consumer and connects its queue to the hub.
    ///
    /// # Errors
    /// The operating system gives no thread; consumers started until then are told to end.
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
        // Every batch is handed to untrusted consumers last, so that they are woken up last.
        let all = || manager.workers.iter().zip(&inlines);
        let trusted = all().filter(|(worker, _)| !worker.is_untrusted);
        for (worker, inline) in trusted.chain(all().filter(|(worker, _)| worker.is_untrusted)) {
            hub.add_with_inline(worker.queue.clone(), worker.stats.clone(), inline.clone());
        }
        Ok(manager)
    }

    /// Lets values go from consumers that publish to those that take them.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn carry(&mut self, mut relay: Relay) -> io::Result<()> {
        let takers = self.workers.iter().filter(|worker| worker.takes_values);
        relay.start(takers.map(|worker| worker.queue.clone()).collect())?;
        self.relay = Some(relay);
        Ok(())
    }

    /// Waits until every consumer has tried to start once, or `patience` is over; returns what was reported until
    /// then. A consumer whose start failed is named; the others go on.
    #[must_use]
    pub fn started(&self, patience: Duration) -> Vec<StartUp> {
        self.reported(patience, |_| true)
    }

    /// Does the same without waiting for untrusted consumers, whose klines wait in their queues meanwhile.
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

    /// Returns what every consumer has done so far, in the order of their configuration.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |worker: &Handle| Summary { name: worker.name.clone(), stats: worker.stats.snapshot() };
        self.workers.iter().map(summary).collect()
    }

    /// Returns what gives a consumer orders; nothing if there is none of that name.
    #[must_use]
    pub fn commander(&self, name: &str) -> Option<Commander> {
        let worker = self.workers.iter().find(|worker| worker.name == name)?;
        Some(Commander { name: worker.name.clone(), queue: worker.queue.clone() })
    }

    /// Returns what can be looked at while they run, in the order of their configuration.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.workers.iter().map(Handle::view).collect()
    }

    /// Lets every consumer finish what waits for it, for at most `patience`; then tells the rest to end at once.
    /// Returns what each has done.
    ///
    /// Consumers that take values come last, so that they get what the last deliveries of the others brought about.
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
            until = until.max(Instant::now() + LAST_WORD);
        }
        self.workers.iter().for_each(|worker| worker.queue.close());
        wait(self.workers.iter(), until.min(Instant::now() + PROMPTLY), |worker| {
            let (consumer, waiting, in_hand) =
                (&worker.name, worker.queue.depth().closed, worker.stats.snapshot().in_hand);
            info!(consumer, waiting, in_hand, at_most = ?patience, "waiting for the consumer to finish");
        });
        wait(self.workers.iter().filter(|worker| !worker.queue.is_cancelled()), until, late);
        wait(self.workers.iter(), Instant::now() + LAST_WORD, |worker| {
            error!(consumer = worker.name, "consumer does not end and is left behind");
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

fn wait<'a>(workers: impl Iterator<Item = &'a Handle>, until: Instant, late: impl Fn(&Handle)) {
    for worker in workers {
        let left = until.saturating_duration_since(Instant::now());
        if worker.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            late(worker);
        }
    }
}
