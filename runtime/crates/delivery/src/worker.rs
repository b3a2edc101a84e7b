//! One consumer's thread: makes its instance, starts it, hands it deliveries, and does what the policy says when a
//! call fails. Knows nothing of what kind of consumer it is.
//!
//! The thread lives as long as the run: a consumer that failed rests in its last state until somebody orders otherwise.

mod calls;
mod orders;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use klines_domain::kline::Kline;
use tracing::{error, info, warn};

pub(super) use self::orders::Errand;
pub use self::orders::Order;
use super::bundle::{Bundles, Crash, History};
use super::cpu;
use super::dead_letter::DeadLetters;
use super::express::{Mishap, Shortcut};
use super::policy::{LONGEST_PAUSE, OnError, Restarts, TRIES, Verdict};
use super::queue::{Grouping, Popped, Queue};
use super::stats::{LossReason, State, Stats};
use crate::call::guarded;
use crate::call::{Delivery, Failure};
use crate::consumer::{Blueprint, Consumer};

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
    pub(super) shared: Shared,
    pub(super) blueprint: Box<dyn Blueprint>,
    pub(super) grouping: Grouping,
    pub(super) on_error: OnError,
    pub(super) records: Records,
    errands: Receiver<Errand>,
    restarts: Restarts,
    /// The delivery that is not accepted yet.
    pending: Option<Pending>,
    /// The last delivery that was set aside, for the bundle of the crash that follows it.
    poison: Option<Delivery>,
    /// What the present instance has accepted, for its bundle; `None` for a consumer that leaves none.
    history: Option<History>,
    /// What ran before a new version that has not started yet.
    former: Option<Box<dyn Blueprint>>,
    mishap: Mishap,
    /// Closed klines that nobody will deliver any more: the next delivery tells of them.
    owed: u64,
    behind: bool,
    paused: bool,
}

/// What calls need while the consumer itself is borrowed.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) queue: Arc<Queue>,
    pub(super) stats: Arc<Stats>,
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

/// Why an instance is not used any longer.
enum End {
    /// Closed and drained, or cancelled.
    Told,
    /// There is an order, and no instance that could go on before it is obeyed.
    Called,
    /// It did its share, and a fresh one takes over.
    Spent,
    Fatal(String),
    Crashed(Crash),
}

impl Worker {
    pub(super) fn new(
        shared: Shared,
        blueprint: Box<dyn Blueprint>,
        (grouping, on_error): (Grouping, OnError),
        records: Records,
        errands: Receiver<Errand>,
    ) -> Self {
        Self {
            history: blueprint.version().map(|_| History::default()),
            shared,
            blueprint,
            grouping,
            on_error,
            records,
            errands,
            restarts: Restarts::default(),
            pending: None,
            poison: None,
            former: None,
            mishap: Mishap::default(),
            owed: 0,
            behind: false,
            paused: false,
        }
    }

    /// Runs until the queue is closed and drained, or cancelled.
    pub(super) fn run(mut self) {
        if self.blueprint.is_strange() {
            cpu::rank_low();
        }
        let mut state;
        loop {
            state = match self.live() {
                End::Told => State::Stopped,
                End::Called => {
                    self.shared.queue.was_called();
                    self.obey_without_instance();
                    // Paused, it makes no instance that would only ask again.
                    while self.paused && self.shared.queue.wait_for_call() {
                        self.obey_without_instance();
                    }
                    continue;
                }
                End::Spent => {
                    info!(consumer = self.shared.name, "consumer did its share and gets a fresh instance");
                    self.shared.stats.recycled();
                    continue;
                }
                End::Fatal(message) if self.fall_back(&message) => continue,
                End::Crashed(crash) if self.fall_back(&crash.to_string()) => continue,
                End::Fatal(message) => {
                    error!(consumer = self.shared.name, error = message, "consumer failed and is stopped");
                    State::Failed
                }
                End::Crashed(crash) => match self.recover(&crash) {
                    Some(state) => state,
                    None => {
                        self.shared.stats.restarted();
                        continue;
                    }
                },
            };
            if state == State::Stopped || !self.rest(state) {
                break;
            }
        }
        self.part_with_the_rest();
        self.shared.stats.set_state(state);
    }

    /// One instance from its making to its end.
    fn live(&mut self) -> End {
        let blueprint = &mut self.blueprint;
        let mut instance = match self.shared.insist("instantiate", || blueprint.instantiate()) {
            Ok(instance) => instance,
            Err(end) => return end,
        };
        let end = match self.serve(&mut instance) {
            Ok(()) => End::Told,
            Err(end) => end,
        };
        // A crash leaves nothing that could be stopped; a native consumer's panic may even spoil its drop.
        let farewell = guarded(|| {
            if !matches!(end, End::Crashed(..)) {
                instance.stop();
            }
            drop(instance);
            Ok(())
        });
        if let Err(failure) = farewell {
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
        let (stats, mishap) = (self.shared.stats.clone(), self.mishap.clone());
        // What happened to an instance before is no concern of this one.
        mishap.take();
        while let Some(pending) = self.next(consumer) {
            let delivery = &pending.delivery;
            self.shared.stats.hold(closed(delivery));
            let queue = self.shared.queue.clone();
            let consume = || match mishap.take() {
                Some(failure) => Err(failure),
                None => {
                    if queue.is_ending() {
                        consumer.ending();
                    }
                    stats.timed(|| consumer.consume(delivery))
                }
            };
            match self.shared.insist("consume", consume) {
                Ok(()) => {
                    stats.accepted(delivery.klines.len(), self.shared.queue.waited());
                    stats.hold(0);
                    self.history.iter_mut().for_each(|history| history.push(delivery));
                }
                Err(End::Called) => self.pending = Some(pending),
                Err(end) => {
                    self.keep(pending, &end);
                    return Err(end);
                }
            }
            if consumer.is_spent() {
                return Err(End::Spent);
            }
        }
        Ok(())
    }

    /// Waits for the next delivery and obeys orders until there is one; nothing when the consumer shall end.
    fn next(&mut self, consumer: &mut Box<dyn Consumer>) -> Option<Pending> {
        loop {
            if self.shared.queue.was_called() {
                self.obey(consumer);
            }
            if self.paused {
                self.shared.stats.set_state(State::Paused);
                if !self.shared.queue.wait_for_call() {
                    return None;
                }
                self.obey(consumer);
                continue;
            }
            self.shared.stats.set_state(State::Running);
            if let Some(pending) = self.pending.take() {
                return Some(pending);
            }
            // What is owed, and that it has caught up, only a delivery of its own tells.
            let express = consumer.express().filter(|_| self.owed == 0 && !self.behind);
            let shortcut = express.map(|way| Shortcut::new(way, self.shared.stats.clone(), self.mishap.clone()));
            match self.shared.queue.pop_beside(self.grouping, shortcut.as_ref()) {
                Popped::Called => self.obey(consumer),
                Popped::Finished | Popped::Cancelled => return None,
                Popped::Delivery(mut delivery) => {
                    self.tell_losses(delivery.lost);
                    delivery.lost += std::mem::take(&mut self.owed);
                    return Some(Pending { delivery, crashes: 0 });
                }
            }
        }
    }

    /// Keeps a delivery for the next instance, or sets it aside if it has ended enough of them.
    fn keep(&mut self, mut pending: Pending, end: &End) {
        if let End::Crashed(crash) = end {
            pending.crashes += 1;
            if pending.crashes >= TRIES || self.on_error == OnError::Skip {
                self.set_aside(&pending, crash);
                return;
            }
        }
        self.pending = Some(pending);
    }

    /// Logs when it begins to fall behind and when it has caught up, not each loss.
    fn tell_losses(&mut self, lost: u64) {
        let consumer = &self.shared.name;
        if lost > 0 && !self.behind {
            warn!(consumer, lost, "consumer is behind: its oldest closed klines are dropped");
        } else if lost == 0 && self.behind {
            info!(consumer, lost = self.shared.stats.snapshot().lost(), "consumer has caught up");
        }
        self.behind = lost > 0;
    }

    fn set_aside(&mut self, pending: &Pending, crash: &Crash) {
        let (consumer, delivery) = (&self.shared.name, &pending.delivery);
        let (klines, tries) = (delivery.klines.len(), pending.crashes);
        match self.records.letters.append(consumer, &crash.to_string(), delivery) {
            Ok(()) => {
                self.shared.stats.set_aside(klines);
                let file = self.records.letters.path().display();
                warn!(consumer, klines, tries, %file, "delivery crashed the consumer and is set aside");
            }
            Err(error) => {
                self.shared.stats.lost(LossReason::DeadLetter, closed(delivery));
                error!(consumer, klines, tries, %error, "delivery crashed the consumer and could not be set aside");
            }
        }
        self.shared.stats.hold(0);
        self.owed += delivery.lost + closed(delivery);
        self.poison = Some(delivery.clone());
    }

    /// Lets the version that ran before take the place of one that has not started. Returns whether there is one.
    fn fall_back(&mut self, error: &str) -> bool {
        let Some(former) = self.former.take() else { return false };
        warn!(consumer = self.shared.name, error, "consumer goes back to its old version: the new one does not start");
        self.blueprint = former;
        self.shared.stats.made_by(self.blueprint.meter(), self.blueprint.version());
        true
    }

    /// Waits as the policy says. Returns the state to rest in, or nothing when a new instance shall be made.
    fn recover(&mut self, crash: &Crash) -> Option<State> {
        let consumer = &self.shared.name;
        let (kind, error) = (crash.kind, &crash.message);
        self.shared.stats.crashed(kind);
        let verdict = self.restarts.crashed(Instant::now());
        let pause = match (self.on_error, verdict) {
            (OnError::Stop, _) => {
                error!(consumer, %kind, error, "consumer crashed and is stopped, as on_error says");
                self.bundle(crash);
                return Some(State::Failed);
            }
            (OnError::Restart, Verdict::Quarantine) => {
                error!(consumer, %kind, error, "consumer crashes too often and is quarantined");
                self.bundle(crash);
                return Some(State::Quarantined);
            }
            (OnError::Skip, Verdict::Quarantine) => LONGEST_PAUSE,
            (_, Verdict::Restart(pause)) => pause,
        };
        warn!(consumer, %kind, error, ?pause, "consumer crashed and gets a new instance");
        self.shared.stats.set_state(State::Backoff);
        if self.shared.queue.pause(pause) {
            return Some(State::Stopped);
        }
        if self.shared.queue.was_called() {
            self.obey_without_instance();
        }
        None
    }

    /// Writes down what shows the crash again.
    fn bundle(&self, crash: &Crash) {
        let consumer = &self.shared.name;
        let Some(exhibit) = self.blueprint.exhibit() else { return };
        let held = self.pending.as_ref().map(|held| &held.delivery).or(self.poison.as_ref());
        let delivery = held.filter(|_| crash.call == "consume");
        let nothing = History::default();
        let history = self.history.as_ref().unwrap_or(&nothing);
        match self.records.bundles.write(consumer, &exhibit, crash, (history, delivery)) {
            Ok(folder) => {
                let folder = folder.display();
                error!(consumer, %folder, "the crash can be seen again: klines consumer test {folder}");
            }
            Err(error) => error!(consumer, %error, "what led to the crash could not be written down"),
        }
    }

    /// Gives up what waits, and waits for an order. Returns whether to make a new instance; otherwise it is the end.
    fn rest(&mut self, state: State) -> bool {
        self.owed += self.pending.as_ref().map_or(0, |pending| pending.delivery.lost);
        self.shared.stats.set_state(state);
        if self.shared.queue.is_ending() {
            return false;
        }
        let held = self.give_up_pending().len() as u64 + self.shared.queue.suspend();
        self.shared.stats.lost(LossReason::Failed, held);
        self.shared.stats.hold(0);
        self.owed += held;
        while self.shared.queue.wait_for_call() {
            if self.obey_without_instance() {
                // What failed is nothing to go back to.
                self.former = None;
                self.restarts = Restarts::default();
                self.shared.stats.set_state(State::Starting);
                return true;
            }
        }
        false
    }

    /// The run is over: what was not delivered is kept for the next one, or counted as lost.
    fn part_with_the_rest(&mut self) {
        let mut rest = self.give_up_pending();
        rest.extend(self.shared.queue.abandon());
        let blueprint = &mut self.blueprint;
        let is_kept = !rest.is_empty() && guarded(|| Ok(blueprint.keep(&rest))).unwrap_or(false);
        if !is_kept {
            self.shared.stats.lost(LossReason::Shutdown, rest.len() as u64);
        }
        self.shared.stats.hold(0);
    }

    /// Returns the closed klines that it held.
    fn give_up_pending(&mut self) -> Vec<Arc<Kline>> {
        let klines = self.pending.take().map(|pending| pending.delivery.klines);
        klines.iter().flat_map(|klines| klines.iter()).filter(|kline| kline.confirm).cloned().collect()
    }
}

/// Number of closed klines.
fn closed(delivery: &Delivery) -> u64 {
    delivery.klines.iter().filter(|kline| kline.confirm).count() as u64
}
