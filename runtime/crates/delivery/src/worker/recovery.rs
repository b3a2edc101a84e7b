//! What a consumer's thread does about an instance that ended badly, and with what is left at the end of the run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use klines_domain::kline::Kline;
use klines_system::backoff;
use tracing::{error, warn};

use super::{Crash, End, History, Pending, Phase, Worker, closed};
use crate::call::guarded;
use crate::policy::{OnError, Restarts, TRIES, Verdict};
use crate::stats::{LossReason, State};

impl Worker {
    /// Keeps a delivery for the next instance, or sets it aside if it has ended enough of them.
    pub(super) fn keep(&mut self, mut pending: Pending, end: &End) {
        if let End::Crashed(crash) = end {
            pending.crashes += 1;
            if pending.crashes >= TRIES || self.on_error == OnError::Skip {
                self.put_aside(&pending, crash);
                return;
            }
        }
        self.pending = Some(pending);
    }

    fn put_aside(&mut self, pending: &Pending, crash: &Crash) {
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
        self.set_aside = Some(delivery.clone());
    }

    /// Lets the version that ran before take the place of one that has not started. Returns whether there is one.
    pub(super) fn fall_back(&mut self, error: &str) -> bool {
        let Some(former) = self.former.take() else { return false };
        warn!(consumer = self.shared.name, error, "consumer goes back to its old version: the new one does not start");
        self.blueprint = former;
        self.note_maker();
        true
    }

    /// Decides, as the policy says, what follows a crash.
    pub(super) fn recover(&mut self, crash: &Crash) -> Phase {
        let consumer = &self.shared.name;
        let (kind, error) = (crash.kind, &crash.message);
        self.shared.stats.crashed(kind);
        let verdict = self.restarts.crashed(Instant::now());
        let pause = match (self.on_error, verdict) {
            (OnError::Stop, _) => {
                error!(consumer, %kind, error, "consumer crashed and is stopped, as on_error says");
                self.report(crash);
                return Phase::Resting(State::Failed);
            }
            (OnError::Restart, Verdict::Quarantine) => {
                error!(consumer, %kind, error, "consumer crashes too often and is quarantined");
                self.report(crash);
                return Phase::Resting(State::Quarantined);
            }
            (OnError::Skip, Verdict::Quarantine) => backoff::LONGEST,
            (_, Verdict::Restart(pause)) => pause,
        };
        warn!(consumer, %kind, error, ?pause, "consumer crashed and gets a new instance");
        Phase::BackingOff(pause)
    }

    /// Waits before the next instance; an order ends the pause.
    pub(super) fn back_off(&mut self, pause: Duration) -> Phase {
        self.shared.stats.set_state(State::Backoff);
        if self.shared.queue.pause(pause) {
            return Phase::Over(State::Stopped);
        }
        self.obey_without_instance();
        self.shared.stats.restarted();
        Phase::Serving
    }

    /// Writes down what reproduces the crash.
    fn report(&self, crash: &Crash) {
        let consumer = &self.shared.name;
        let Some(component) = self.blueprint.profile().component else { return };
        let pending = self.pending.as_ref().map(|pending| &pending.delivery).or(self.set_aside.as_ref());
        let delivery = pending.filter(|_| crash.call == "consume");
        let nothing = History::default();
        let history = self.history.as_ref().unwrap_or(&nothing);
        match self.records.bundles.write(consumer, &component.snapshot(), crash, (history, delivery)) {
            Ok(folder) => {
                let folder = folder.display();
                error!(consumer, %folder, "the crash can be seen again: klines consumer test {folder}");
            }
            Err(error) => error!(consumer, %error, "what led to the crash could not be written down"),
        }
    }

    /// Gives up what waits, and waits for an order that wants a new instance.
    pub(super) fn rest(&mut self, state: State) -> Phase {
        self.owed += self.pending.as_ref().map_or(0, |pending| pending.delivery.lost);
        self.shared.stats.set_state(state);
        if self.shared.queue.is_ending() {
            return Phase::Over(state);
        }
        let held = self.give_up_pending().len() as u64 + self.shared.queue.suspend();
        self.shared.stats.lost(LossReason::Failed, held);
        self.shared.stats.hold(0);
        self.owed += held;
        while self.shared.queue.wait_for_order() {
            if self.obey_without_instance() {
                // What failed is nothing to go back to.
                self.former = None;
                self.restarts = Restarts::default();
                self.shared.stats.set_state(State::Starting);
                return Phase::Serving;
            }
        }
        Phase::Over(state)
    }

    /// At the end of the run: what was not delivered is kept for the next one, or counted as lost.
    pub(super) fn part_with_the_rest(&mut self) {
        let mut rest = self.give_up_pending();
        rest.extend(self.shared.queue.abandon());
        let keeper = self.blueprint.profile().keeper.filter(|_| !rest.is_empty());
        let is_kept = keeper.is_some_and(|keeper| guarded(|| Ok(keeper.keep(&rest))).unwrap_or(false));
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
