//! One consumer's thread: creates and starts its instance, delivers klines to it, and follows the policy when a call
//! fails. Independent of the kind of consumer.
//!
//! The thread runs until the run ends: a consumer that failed stays in that state until an order changes it. `Phase` is
//! the state of the thread between two instances; `Worker::after` decides what follows the end of an instance.

mod calls;
mod orders;
mod past;
mod progress;
mod recovery;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

pub(super) use self::progress::Progress;
use super::cpu;
use super::crash_report::{Crash, CrashReports, History};
use super::dead_letter::DeadLetters;
use super::inline::InlineDelivery;
use super::policy::{OnError, Restarts};
use super::position::Position;
use super::queue::{Grouping, Popped, Queue};
use super::stats::{State, Stats};
use super::trusted_work::TrustedWork;
use crate::call::{Delivery, Failure, guarded};
use crate::consumer::{Blueprint, Consumer, Next};

#[cfg(test)]
mod tests;

/// The result of a consumer's first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartUp {
    /// The name of the consumer.
    pub name: String,
    /// The error is why it does not run yet, or never will (`Fatal`).
    pub result: Result<(), Failure>,
}

/// Everything that one consumer's thread owns.
pub(super) struct Worker {
    shared: Shared,
    blueprint: Box<dyn Blueprint>,
    grouping: Grouping,
    on_error: OnError,
    records: Records,
    restarts: Restarts,
    progress: Progress,
    /// The delivery that is not accepted yet.
    pending: Option<Pending>,
    /// What the consumer has received, for instances that read klines of the past.
    position: Arc<Position>,
    /// The last delivery that was set aside, for the crash report.
    last_set_aside: Option<Delivery>,
    /// What the current instance has accepted, for its crash report; `None` for a native consumer, which has no crash
    /// reports.
    history: Option<History>,
    /// The version before a new one that has not started yet.
    previous: Option<Box<dyn Blueprint>>,
    /// Closed klines that will not be delivered any more; the next delivery reports their number in `lost`.
    unreported_losses: u64,
    /// Whether the last delivery reported losses of the queue.
    is_behind: bool,
    is_paused: bool,
}

/// The part of a worker that calls use while the blueprint is borrowed.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) queue: Arc<Queue>,
    pub(super) stats: Arc<Stats>,
    pub(super) inline: Arc<InlineDelivery>,
    pub(super) trusted_work: Arc<TrustedWork>,
    /// Receives the result of the first start; `None` once it is reported.
    pub(super) report: Option<Sender<StartUp>>,
}

/// Where failures are recorded on disk.
pub(super) struct Records {
    pub(super) letters: DeadLetters,
    pub(super) crash_reports: CrashReports,
}

/// A delivery that is not accepted yet.
struct Pending {
    delivery: Delivery,
    /// Number of instances that it crashed.
    crashes: u32,
}

/// The state of the thread between two instances.
enum Phase {
    /// An instance is created and runs until it ends.
    Serving,
    /// There are orders, or the consumer is paused: no instance is created, because it would only answer `Retry` again.
    UnderOrders,
    /// The thread waits before it creates the next instance.
    BackingOff(Duration),
    /// The consumer failed, is quarantined or has finished; the thread waits for an order.
    Resting(State),
    /// The run is over.
    Over(State),
}

/// Why an instance ended.
enum End {
    /// The queue is closed and drained, or cancelled.
    RunEnded,
    /// An order arrived. The thread executes it before it repeats the call.
    Ordered,
    /// A fresh instance replaces it, as it requested.
    Recycled,
    /// The reader of its standard output has gone.
    OutputClosed,
    Fatal(String),
    Crashed(Crash),
}

impl Worker {
    pub(super) fn new(
        shared: Shared,
        blueprint: Box<dyn Blueprint>,
        (grouping, on_error): (Grouping, OnError),
        records: Records,
        progress: Progress,
    ) -> Self {
        Self {
            history: blueprint.profile().component.map(|_| History::default()),
            position: Arc::new(Position::new(shared.queue.clone())),
            shared,
            blueprint,
            grouping,
            on_error,
            records,
            restarts: Restarts::default(),
            progress,
            pending: None,
            last_set_aside: None,
            previous: None,
            unreported_losses: 0,
            is_behind: false,
            is_paused: false,
        }
    }

    /// Runs until the queue is closed and drained, or cancelled.
    pub(super) fn run(mut self) {
        if self.blueprint.profile().is_untrusted {
            cpu::rank_low();
        }
        let mut phase = Phase::Serving;
        let state = loop {
            phase = match phase {
                Phase::Serving => {
                    let end = self.serve_one_instance();
                    self.after(end)
                }
                Phase::UnderOrders => {
                    self.execute_orders_without_instance();
                    let is_resumed = !self.is_paused || !self.shared.queue.wait_for_order();
                    if is_resumed { Phase::Serving } else { Phase::UnderOrders }
                }
                Phase::BackingOff(pause) => self.back_off(pause),
                Phase::Resting(state) => self.wait_until_resumed(state),
                Phase::Over(state) => break state,
            };
        };
        self.finish(state);
        self.shared.stats.set_state(state);
    }

    /// Decides what follows the end of an instance.
    fn after(&mut self, end: End) -> Phase {
        let consumer = &self.shared.name;
        match end {
            End::RunEnded => Phase::Over(State::Stopped),
            End::Ordered => Phase::UnderOrders,
            End::Recycled => {
                info!(consumer, "consumer is recycled and gets a fresh instance");
                self.shared.stats.recycled();
                Phase::Serving
            }
            End::OutputClosed => {
                info!(consumer, "consumer has finished: the reader of its standard output has gone");
                Phase::Resting(State::Finished)
            }
            End::Fatal(message) if self.restore_previous(&message) => Phase::Serving,
            End::Crashed(crash) if self.restore_previous(&crash.to_string()) => Phase::Serving,
            End::Fatal(error) => {
                error!(consumer = self.shared.name, error, "consumer failed and is stopped");
                Phase::Resting(State::Failed)
            }
            End::Crashed(crash) => self.recover(&crash),
        }
    }

    /// Creates an instance and runs it to its end. Returns why it ended.
    fn serve_one_instance(&mut self) -> End {
        let Self { blueprint, shared, .. } = self;
        let work = shared.trusted_work.clone();
        let mut instance = match shared.call_with_retries("instantiate", || blueprint.instantiate(&work)) {
            Ok(instance) => instance,
            Err(end) => return end,
        };
        let end = match self.serve(&mut instance) {
            Ok(()) => End::RunEnded,
            Err(end) => end,
        };
        self.shared.inline.allow(None);
        // A crashed instance cannot be stopped, and one without an output may have crashed; after a native consumer's
        // panic even its drop may panic.
        let stopped = guarded(|| {
            if !matches!(end, End::Crashed(..) | End::OutputClosed) {
                instance.stop();
            }
            drop(instance);
            Ok(())
        });
        if let Err(failure) = stopped {
            warn!(consumer = self.shared.name, error = failure.to_string(), "consumer failed while it was stopped");
        }
        end
    }

    fn serve(&mut self, consumer: &mut Box<dyn Consumer>) -> Result<(), End> {
        self.let_follow(consumer.as_mut());
        let wish = self.shared.call_with_retries("setup", || consumer.setup())?;
        if !self.shared.queue.narrow(&wish) {
            warn!(consumer = self.shared.name, "consumer receives nothing: what it subscribes to is not configured");
        }
        self.wait_for_the_past()?;
        self.shared.call_with_retries("start", || consumer.start())?;
        self.previous = None;
        self.history.iter_mut().for_each(History::begin);
        self.restarts.started(Instant::now());
        self.shared.stats.set_state(State::Running);
        info!(consumer = self.shared.name, "consumer started");
        self.shared.report_start(Ok(()));
        // Discards a failure of an earlier instance.
        self.shared.inline.take_deferred_failure();
        while let Some(pending) = self.next(consumer) {
            if self.deliver(pending, consumer.as_mut())? == Next::Recycle {
                return Err(End::Recycled);
            }
        }
        Ok(())
    }

    /// Calls `consume` with a delivery until it is accepted. If the instance ends first, the next one gets the
    /// delivery.
    fn deliver(&mut self, mut pending: Pending, consumer: &mut dyn Consumer) -> Result<Next, End> {
        let delivery = &mut pending.delivery;
        let (stats, queue, inline) = (self.shared.stats.clone(), self.shared.queue.clone(), self.shared.inline.clone());
        stats.set_in_hand(closed(delivery));
        self.position.set_undelivered(None);
        let consume = || match inline.take_deferred_failure() {
            Some(failure) => Err(failure),
            None => {
                delivery.ending = queue.is_ending();
                stats.timed(|| consumer.consume(delivery))
            }
        };
        match self.shared.call_with_retries("consume", consume) {
            Ok(next) => {
                let delivery = &pending.delivery;
                stats.accepted(delivery.klines.len(), queue.waited());
                stats.set_in_hand(0);
                self.progress.accepted(delivery.batches.complete, consumer.is_settled());
                self.history.iter_mut().for_each(|history| history.push(delivery));
                Ok(next)
            }
            Err(End::Ordered) => {
                self.pending = Some(pending);
                // The same instance continues after the orders are executed.
                Ok(Next::Deliver)
            }
            Err(end) => {
                self.keep_or_set_aside(pending, &end);
                Err(end)
            }
        }
    }

    /// Waits for the next delivery, and executes orders until there is one. Returns `None` if the run ends.
    fn next(&mut self, consumer: &mut Box<dyn Consumer>) -> Option<Pending> {
        loop {
            self.execute_orders(consumer);
            if self.is_paused {
                self.shared.stats.set_state(State::Paused);
                if !self.shared.queue.wait_for_order() {
                    return None;
                }
                continue;
            }
            self.shared.stats.set_state(State::Running);
            if let Some(pending) = self.pending.take() {
                return Some(pending);
            }
            self.progress.settled(consumer.is_settled());
            if let Some(delivery) = self.progress.next_missed(&self.shared, self.grouping) {
                return Some(Pending { delivery, crashes: 0 });
            }
            // An inline delivery can neither report losses nor note that the consumer has caught up.
            self.shared.inline.allow(consumer.inline().filter(|_| self.unreported_losses == 0 && !self.is_behind));
            match self.shared.queue.pop(self.grouping) {
                Popped::Ordered => {}
                Popped::Finished | Popped::Cancelled => return None,
                Popped::Delivery(mut delivery) => {
                    self.note_losses(delivery.lost);
                    delivery.lost += std::mem::take(&mut self.unreported_losses);
                    return Some(Pending { delivery, crashes: 0 });
                }
            }
        }
    }

    /// Logs when the consumer falls behind and when it has caught up, but not each loss.
    fn note_losses(&mut self, lost: u64) {
        let consumer = &self.shared.name;
        if lost > 0 && !self.is_behind {
            warn!(consumer, lost, "consumer is behind: its oldest closed klines are dropped");
        } else if lost == 0 && self.is_behind {
            info!(consumer, lost = self.shared.stats.snapshot().lost(), "consumer has caught up");
        }
        self.is_behind = lost > 0;
    }
}

/// Returns the number of closed klines of a delivery.
fn closed(delivery: &Delivery) -> u64 {
    delivery.klines.iter().filter(|kline| kline.confirm).count() as u64
}
