//! Manages all consumers: starts their threads, reports how each start went, adds, replaces and removes consumers while
//! others run, and shuts them down in order.
//!
//! Methods that wait block the calling thread: async code must call them on a thread that may block.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use thiserror::Error;
use tracing::{error, info, warn};

use super::crash_report::CrashReports;
use super::data_dir::DataDir;
use super::dead_letter::DeadLetters;
use super::emit::relay::Relay;
use super::hub::{Hub, Outlet, Rank};
use super::missed::Missed;
use super::order::{Command, Order};
use super::policy::OnError;
use super::queue::{Grouping, Queue};
use super::stats::{Snapshot, Stats};
use super::view::View;
use super::worker::{Progress, Records, Shared, StartUp, Worker};
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
    /// Where its klines come from; `None` for the hub of the run.
    pub hub: Option<Arc<Hub>>,
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
    /// In the order of the configuration; consumers that were added later are last.
    workers: Mutex<Vec<Handle>>,
    /// How the first consumers have started.
    reports: Mutex<Receiver<StartUp>>,
    /// Carries values between consumers; `None` if no consumer publishes or none takes them.
    relay: Mutex<Option<Relay>>,
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
    /// Starts the thread of a consumer that receives its klines from `outlet`.
    fn spawn(
        spec: Spec,
        outlet: &Outlet,
        (report, missed): (Sender<StartUp>, Option<Box<dyn Missed>>),
        (hub, data_dir): (&Hub, &DataDir),
    ) -> io::Result<Self> {
        let Spec { name, blueprint, grouping, on_error, hub: own_hub, .. } = spec;
        let hub = source(own_hub.as_ref(), hub);
        let (queue, stats, profile) = (outlet.queue.clone(), outlet.stats.clone(), blueprint.profile());
        let shared = Shared {
            name: name.clone(),
            queue: queue.clone(),
            stats: stats.clone(),
            inline: outlet.inline.clone(),
            trusted_work: hub.trusted_work().clone(),
            report: Some(report),
        };
        let records =
            Records { letters: DeadLetters::new(data_dir, &name), crash_reports: CrashReports::new(data_dir) };
        let acknowledged = hub.acknowledgements().begin(&name, queue.clone());
        let worker = Worker::new(shared, blueprint, (grouping, on_error), records, Progress::new(acknowledged, missed));
        let (end, ended) = mpsc::channel::<()>();
        let abandon = AbandonOnDrop(queue.clone());
        let thread = thread::Builder::new().name(format!("consumer-{name}")).spawn(move || {
            let (_end, _abandon) = (end, abandon);
            worker.run();
        })?;
        let Profile { is_untrusted, takes_values, .. } = profile;
        Ok(Self { name, queue, stats, hub: own_hub, takes_values, is_untrusted, ended, thread })
    }

    fn view(&self) -> View {
        View { name: self.name.clone(), stats: self.stats.clone(), queue: self.queue.clone() }
    }

    fn cancel(&self, patience: Duration) {
        warn!(consumer = self.name, ?patience, "consumer is not done in time and is cancelled");
        self.queue.cancel();
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
    /// Where its klines come from; `None` for the hub of the run.
    hub: Option<Arc<Hub>>,
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
        Self::start_after(BTreeMap::new(), specs, hub, data_dir)
    }

    /// Does the same; some consumers first get the klines of earlier runs that they have missed.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_after(
        mut missed: BTreeMap<String, Box<dyn Missed>>,
        specs: Vec<Spec>,
        hub: &Hub,
        data_dir: &DataDir,
    ) -> io::Result<Self> {
        let (report, reports) = mpsc::channel();
        let (mut workers, mut outlets) = (Vec::with_capacity(specs.len()), Vec::with_capacity(specs.len()));
        for spec in specs {
            let (outlet, own_hub) = (outlet(&spec, hub), spec.hub.clone());
            let missed = missed.remove(&spec.name);
            match Handle::spawn(spec, &outlet, (report.clone(), missed), (hub, data_dir)) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    workers.iter().for_each(|worker| worker.queue.cancel());
                    return Err(error);
                }
            }
            outlets.push((own_hub, outlet));
        }
        outlets.into_iter().for_each(|(own, outlet)| source(own.as_ref(), hub).exchange(None, Some(outlet)));
        Ok(Self { workers: Mutex::new(workers), reports: Mutex::new(reports), relay: Mutex::new(None) })
    }

    /// Starts a further consumer, which receives the batches that are published from now on. Waits until it has tried to
    /// start once, for at most `patience`; later it goes on by itself.
    ///
    /// # Errors
    /// The operating system cannot create a thread; the consumer is not added.
    pub fn add(
        &self,
        spec: Spec,
        (hub, data_dir): (&Hub, &DataDir),
        patience: Duration,
    ) -> io::Result<Option<StartUp>> {
        let (outlet, (report, reports)) = (outlet(&spec, hub), mpsc::channel());
        let worker = Handle::spawn(spec, &outlet, (report, None), (hub, data_dir))?;
        source(worker.hub.as_ref(), hub).exchange(None, Some(outlet));
        self.lock().push(worker);
        Ok(reports.recv_timeout(patience).ok())
    }

    /// Replaces the consumer of the same name: the old one delivers its queue, for at most `patience`, and the new one then
    /// receives every batch since the call. Waits until the new one has tried to start once, for at most `patience`.
    /// Returns the result of the old one.
    ///
    /// # Errors
    /// There is no consumer of this name, or the operating system cannot create a thread. The consumer has then ended.
    pub fn replace(
        &self,
        spec: Spec,
        (hub, data_dir): (&Hub, &DataDir),
        patience: Duration,
    ) -> io::Result<(Vec<Summary>, Option<StartUp>)> {
        let (at, old) = self.take(&spec.name).ok_or(io::ErrorKind::NotFound)?;
        let (new, (report, reports)) = (outlet(&spec, hub), mpsc::channel());
        let queue = new.queue.clone();
        let receives = Outlet { queue: queue.clone(), stats: new.stats.clone(), inline: new.inline.clone(), ..new };
        let own_hub = spec.hub.clone();
        let (before, after) = (source(old.hub.as_ref(), hub), source(own_hub.as_ref(), hub));
        if !std::ptr::eq(before, after) {
            before.exchange(Some(&old.queue), None);
        }
        after.exchange(Some(&old.queue), Some(receives));
        let old = finish(vec![old], Instant::now() + patience, patience);
        let worker = Handle::spawn(spec, &new, (report, None), (hub, data_dir))
            .inspect_err(|_| after.exchange(Some(&queue), None))?;
        let mut workers = self.lock();
        let at = at.min(workers.len());
        workers.insert(at, worker);
        drop(workers);
        Ok((old, reports.recv_timeout(patience).ok()))
    }

    /// Removes a consumer after it has delivered its queue, for at most `patience`. Returns its result; none if there is
    /// no consumer of that name.
    pub fn remove(&self, name: &str, hub: &Hub, patience: Duration) -> Vec<Summary> {
        let Some((_, old)) = self.take(name) else { return Vec::new() };
        source(old.hub.as_ref(), hub).exchange(Some(&old.queue), None);
        finish(vec![old], Instant::now() + patience, patience)
    }

    fn take(&self, name: &str) -> Option<(usize, Handle)> {
        let mut workers = self.lock();
        let at = workers.iter().position(|worker| worker.name == name)?;
        Some((at, workers.remove(at)))
    }

    /// Locks the consumers. A poisoned lock is safe: no change of them is ever half done.
    fn lock(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts `relay`, which carries values from consumers that publish to the present consumers that take them.
    ///
    /// # Errors
    /// The operating system cannot create a thread.
    pub fn carry(&self, mut relay: Relay) -> io::Result<()> {
        let takers =
            self.lock().iter().filter(|worker| worker.takes_values).map(|worker| worker.queue.clone()).collect();
        relay.start(takers)?;
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(relay);
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
        let mut awaited: Vec<String> =
            self.lock().iter().filter(|worker| is_awaited(worker)).map(|worker| worker.name.clone()).collect();
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<StartUp> = Vec::new();
        while !awaited.is_empty() {
            match reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(report) => {
                    awaited.retain(|name| *name != report.name);
                    found.push(report);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        found
    }

    /// Returns the counters of every consumer, in the order of the configuration.
    #[must_use]
    pub fn summaries(&self) -> Vec<Summary> {
        let summary = |worker: &Handle| Summary { name: worker.name.clone(), stats: worker.stats.snapshot() };
        self.lock().iter().map(summary).collect()
    }

    /// Returns the commander of a consumer; `None` if there is no consumer of that name.
    #[must_use]
    pub fn commander(&self, name: &str) -> Option<Commander> {
        let workers = self.lock();
        let worker = workers.iter().find(|worker| worker.name == name)?;
        Some(Commander { name: worker.name.clone(), queue: worker.queue.clone() })
    }

    /// Returns the views of all consumers, in the order of the configuration.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.lock().iter().map(Handle::view).collect()
    }

    /// Lets every consumer deliver its queue, for at most `patience`; then cancels those that are not done. Returns the
    /// result of each.
    ///
    /// Consumers that take values end last, so that they receive the values that the others publish in their last
    /// deliveries.
    #[must_use]
    pub fn shutdown(&self, patience: Duration) -> Vec<Summary> {
        let mut until = Instant::now() + patience;
        let workers = std::mem::take(&mut *self.lock());
        if let Some(relay) = self.relay.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let publishers = || workers.iter().filter(|worker| !worker.takes_values);
            publishers().for_each(|worker| worker.queue.close());
            wait(publishers(), until, |worker| worker.cancel(patience));
            relay.end();
            until = until.max(Instant::now() + CANCEL_TIMEOUT);
        }
        finish(workers, until, patience)
    }
}

/// Returns the hub from which a consumer receives its klines: its own one, if it has one, or that of the run.
fn source<'a>(own: Option<&'a Arc<Hub>>, run: &'a Hub) -> &'a Hub {
    own.map_or(run, Arc::as_ref)
}

/// Returns where the klines of a consumer that is to be started go.
fn outlet(spec: &Spec, hub: &Hub) -> Outlet {
    let (queue, stats) = (Arc::new(Queue::new(spec.queue, &spec.allowed)), Arc::new(Stats::default()));
    let profile = spec.blueprint.profile();
    stats.set_source(profile.meter.clone(), profile.version());
    if !profile.is_untrusted {
        queue.mark_trusted(hub.trusted_work());
    }
    let rank = if profile.is_untrusted { Rank::Untrusted } else { Rank::Trusted };
    Outlet { queue, stats, inline: Arc::default(), rank }
}

/// Lets consumers deliver their queues until `until`, then cancels those that are not done. Returns the result of each.
fn finish(workers: Vec<Handle>, until: Instant, patience: Duration) -> Vec<Summary> {
    workers.iter().for_each(|worker| worker.queue.close());
    wait(workers.iter(), until.min(Instant::now() + LOG_AFTER), |worker| {
        let (consumer, waiting, in_hand) = (&worker.name, worker.queue.depth().closed, worker.stats.snapshot().in_hand);
        info!(consumer, waiting, in_hand, at_most = ?patience, "waiting for the consumer to finish");
    });
    wait(workers.iter().filter(|worker| !worker.queue.is_cancelled()), until, |worker| worker.cancel(patience));
    wait(workers.iter(), Instant::now() + CANCEL_TIMEOUT, |worker| {
        error!(consumer = worker.name, "consumer does not end and is abandoned");
    });
    let summaries = workers.iter().map(Handle::summary).collect();
    for worker in workers {
        if worker.thread.is_finished() && worker.thread.join().is_err() {
            error!(consumer = worker.name, "consumer's thread panicked");
        }
    }
    summaries
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
