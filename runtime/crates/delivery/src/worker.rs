//! One consumer's thread: makes its instance, starts it, hands it deliveries, and does what the policy says when a
//! call fails. Knows nothing of what kind of consumer it is.
//!
//! The thread lives as long as the run: a consumer that failed rests in its last state until it is ordered otherwise.
//! `Phase` is where it stands between two instances; `Worker::after` decides what follows the end of one.

mod calls;
mod orders;
mod recovery;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::bundle::{Bundles, Crash, History};
use super::cpu;
use super::dead_letter::DeadLetters;
use super::inline::InlineDelivery;
use super::policy::{OnError, Restarts};
use super::queue::{Grouping, Popped, Queue};
use super::stats::{State, Stats};
use super::trusted_work::TrustedWork;
use crate::call::{Delivery, Failure, guarded};
use crate::consumer::{Blueprint, Consumer, Next};

#[cfg(test)]
mod tests;

/// How a consumer's first start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartUp {
    /// Which consumer.
    pub name: String,
    /// Why it is not running yet, or never will be (`Fatal`).
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
    /// The delivery that is not accepted yet.
    pending: Option<Pending>,
    /// The last delivery that was set aside, for the report of the crash that follows it.
    set_aside: Option<Delivery>,
    /// What the present instance has accepted, for the report of its crash; `None` for a consumer that leaves none.
    history: Option<History>,
    /// What ran before a new version that has not started yet.
    former: Option<Box<dyn Blueprint>>,
    /// Closed klines that nobody will deliver any more: the next delivery says how many.
    owed: u64,
    behind: bool,
    paused: bool,
}

/// What calls need while the consumer itself is borrowed.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) queue: Arc<Queue>,
    pub(super) stats: Arc<Stats>,
    pub(super) inline: Arc<InlineDelivery>,
    pub(super) trusted_work: Arc<TrustedWork>,
    /// Taken by the first report.
    pub(super) report: Option<Sender<StartUp>>,
}

/// What stays on disk of what went wrong.
pub(super) struct Records {
    pub(super) letters: DeadLetters,
    pub(super) bundles: Bundles,
}

struct Pending {
    delivery: Delivery,
    /// Instances that did not survive it.
    crashes: u32,
}

/// Where the thread stands between two instances.
enum Phase {
    /// An instance is made and runs until it ends.
    Serving,
    /// It has orders, or is paused: no instance is made that would only ask again.
    UnderOrders,
    /// It waits before the next instance.
    BackingOff(Duration),
    /// It failed or is quarantined, and waits for an order.
    Resting(State),
    /// The run is over.
    Over(State),
}

/// Why an instance is not used any longer.
enum End {
    /// The queue is closed and drained, or cancelled.
    OfRun,
    /// There is an order, and no instance that could go on before it is obeyed.
    Ordered,
    /// A fresh one takes over, as it asked for.
    Recycled,
    Fatal(String),
    Crashed(Crash),
}

impl Worker {
    pub(super) fn new(
        shared: Shared,
        blueprint: Box<dyn Blueprint>,
        (grouping, on_error): (Grouping, OnError),
        records: Records,
    ) -> Self {
        Self {
            history: blueprint.profile().component.map(|_| History::default()),
            shared,
            blueprint,
            grouping,
            on_error,
            records,
            restarts: Restarts::default(),
            pending: None,
            set_aside: None,
            former: None,
            owed: 0,
            behind: false,
            paused: false,
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
                    self.obey_without_instance();
                    let goes_on = !self.paused || !self.shared.queue.wait_for_order();
                    if goes_on { Phase::Serving } else { Phase::UnderOrders }
                }
                Phase::BackingOff(pause) => self.back_off(pause),
                Phase::Resting(state) => self.rest(state),
                Phase::Over(state) => break state,
            };
        };
        self.part_with_the_rest();
        self.shared.stats.set_state(state);
    }

    /// Decides what follows the end of an instance.
    fn after(&mut self, end: End) -> Phase {
        let consumer = &self.shared.name;
        match end {
            End::OfRun => Phase::Over(State::Stopped),
            End::Ordered => Phase::UnderOrders,
            End::Recycled => {
                info!(consumer, "consumer did its share and gets a fresh instance");
                self.shared.stats.recycled();
                Phase::Serving
            }
            End::Fatal(message) if self.fall_back(&message) => Phase::Serving,
            End::Crashed(crash) if self.fall_back(&crash.to_string()) => Phase::Serving,
            End::Fatal(error) => {
                error!(consumer = self.shared.name, error, "consumer failed and is stopped");
                Phase::Resting(State::Failed)
            }
            End::Crashed(crash) => self.recover(&crash),
        }
    }

    /// One instance from its making to its end.
    fn serve_one_instance(&mut self) -> End {
        let Self { blueprint, shared, .. } = self;
        let work = shared.trusted_work.clone();
        let mut instance = match shared.insist("instantiate", || blueprint.instantiate(&work)) {
            Ok(instance) => instance,
            Err(end) => return end,
        };
        let end = match self.serve(&mut instance) {
            Ok(()) => End::OfRun,
            Err(end) => end,
        };
        self.shared.inline.allow(None);
        // A crash leaves nothing that could be stopped; a native consumer's panic may even spoil its drop.
        let stopped = guarded(|| {
            if !matches!(end, End::Crashed(..)) {
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
        let wish = self.shared.insist("setup", || consumer.setup())?;
        if !self.shared.queue.narrow(&wish) {
            warn!(consumer = self.shared.name, "consumer gets nothing: it asks for what is not configured");
        }
        self.shared.insist("start", || consumer.start())?;
        self.former = None;
        self.history.iter_mut().for_each(History::begin);
        self.restarts.started(Instant::now());
        self.shared.stats.set_state(State::Running);
        info!(consumer = self.shared.name, "consumer started");
        self.shared.tell(Ok(()));
        // A failure of an instance before is no concern of this one.
        self.shared.inline.take_deferred_failure();
        while let Some(pending) = self.next(consumer) {
            if self.deliver(pending, consumer.as_mut())? == Next::Recycle {
                return Err(End::Recycled);
            }
        }
        Ok(())
    }

    /// Hands over a delivery until it is accepted. Keeps it for the next instance otherwise.
    fn deliver(&mut self, mut pending: Pending, consumer: &mut dyn Consumer) -> Result<Next, End> {
        let delivery = &mut pending.delivery;
        let (stats, queue, inline) = (self.shared.stats.clone(), self.shared.queue.clone(), self.shared.inline.clone());
        stats.hold(closed(delivery));
        let consume = || match inline.take_deferred_failure() {
            Some(failure) => Err(failure),
            None => {
                delivery.ending = queue.is_ending();
                stats.timed(|| consumer.consume(delivery))
            }
        };
        match self.shared.insist("consume", consume) {
            Ok(next) => {
                let delivery = &pending.delivery;
                stats.accepted(delivery.klines.len(), queue.waited());
                stats.hold(0);
                self.history.iter_mut().for_each(|history| history.push(delivery));
                Ok(next)
            }
            Err(End::Ordered) => {
                self.pending = Some(pending);
                // The instance goes on when the orders are obeyed.
                Ok(Next::Deliver)
            }
            Err(end) => {
                self.keep(pending, &end);
                Err(end)
            }
        }
    }

    /// Waits for the next delivery and obeys orders until there is one; `None` when the consumer is to end.
    fn next(&mut self, consumer: &mut Box<dyn Consumer>) -> Option<Pending> {
        loop {
            self.obey(consumer);
            if self.paused {
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
            // What is owed, and that it has caught up, only a delivery of its own says.
            self.shared.inline.allow(consumer.inline().filter(|_| self.owed == 0 && !self.behind));
            match self.shared.queue.pop(self.grouping) {
                Popped::Ordered => {}
                Popped::Finished | Popped::Cancelled => return None,
                Popped::Delivery(mut delivery) => {
                    self.note_losses(delivery.lost);
                    delivery.lost += std::mem::take(&mut self.owed);
                    return Some(Pending { delivery, crashes: 0 });
                }
            }
        }
    }

    /// Logs when it begins to fall behind and when it has caught up, not each loss.
    fn note_losses(&mut self, lost: u64) {
        let consumer = &self.shared.name;
        if lost > 0 && !self.behind {
            warn!(consumer, lost, "consumer is behind: its oldest closed klines are dropped");
        } else if lost == 0 && self.behind {
            info!(consumer, lost = self.shared.stats.snapshot().lost(), "consumer has caught up");
        }
        self.behind = lost > 0;
    }
}

/// Number of closed klines.
fn closed(delivery: &Delivery) -> u64 {
    delivery.klines.iter().filter(|kline| kline.confirm).count() as u64
}
