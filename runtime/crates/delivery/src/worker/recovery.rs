//! What a consumer's thread does after a crash, and with undelivered klines at the end of the run.

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
    /// Keeps a delivery for the next instance, or sets it aside if it has crashed enough instances.
    pub(super) fn keep_or_set_aside(&mut self, mut pending: Pending, end: &End) {
        if let End::Crashed(crash) = end {
            pending.crashes += 1;
            if pending.crashes >= TRIES || self.on_error == OnError::Skip {
                self.write_dead_letter(&pending, crash);
                return;
            }
        }
        self.pending = Some(pending);
    }

    /// Sets a delivery aside: writes it to the dead-letter file, or counts it as lost if that fails.
    fn write_dead_letter(&mut self, pending: &Pending, crash: &Crash) {
        let (consumer, delivery) = (&self.shared.name, &pending.delivery);
        let (klines, tries) = (delivery.klines.len(), pending.crashes);
        match self.records.letters.append(consumer, &crash.to_string(), delivery) {
            Ok(()) => {
                self.shared.stats.set_aside(klines);
                let file = self.records.letters.path().display();
                warn!(consumer, klines, tries, %file, "delivery crashed the consumer and is set aside");
            }
            Err(error) => {
                self.shared.stats.count_lost(LossReason::DeadLetter, closed(delivery));
                error!(consumer, klines, tries, %error, "delivery crashed the consumer and could not be set aside");
            }
        }
        self.shared.stats.set_in_hand(0);
        self.unreported_losses += delivery.lost + closed(delivery);
        self.last_set_aside = Some(delivery.clone());
    }

    /// Restores the previous version if the new one has not started. Returns whether there was a previous one.
    pub(super) fn restore_previous(&mut self, error: &str) -> bool {
        let Some(previous) = self.previous.take() else { return false };
        warn!(consumer = self.shared.name, error, "consumer goes back to its old version: the new one does not start");
        self.blueprint = previous;
        self.update_source();
        true
    }

    /// Decides what follows a crash, by the policy.
    pub(super) fn recover(&mut self, crash: &Crash) -> Phase {
        let consumer = &self.shared.name;
        let (kind, error) = (crash.kind, &crash.message);
        self.shared.stats.crashed(kind);
        let verdict = self.restarts.crashed(Instant::now());
        let pause = match (self.on_error, verdict) {
            (OnError::Stop, _) => {
                error!(consumer, %kind, error, "consumer crashed and is stopped, as set by on_error");
                self.write_crash_report(crash);
                return Phase::Resting(State::Failed);
            }
            (OnError::Restart, Verdict::Quarantine) => {
                error!(consumer, %kind, error, "consumer crashes too often and is quarantined");
                self.write_crash_report(crash);
                return Phase::Resting(State::Quarantined);
            }
            (OnError::Skip, Verdict::Quarantine) => backoff::MAX_WAIT,
            (_, Verdict::Restart(pause)) => pause,
        };
        warn!(consumer, %kind, error, ?pause, "consumer crashed and gets a new instance");
        Phase::BackingOff(pause)
    }

    /// Waits before the next instance. An order ends the pause.
    pub(super) fn back_off(&mut self, pause: Duration) -> Phase {
        self.shared.stats.set_state(State::Backoff);
        if self.shared.queue.pause(pause) {
            return Phase::Over(State::Stopped);
        }
        self.execute_orders_without_instance();
        self.shared.stats.restarted();
        Phase::Serving
    }

    /// Writes a crash report, if the consumer is a component.
    fn write_crash_report(&self, crash: &Crash) {
        let consumer = &self.shared.name;
        let Some(component) = self.blueprint.profile().component else { return };
        let pending = self.pending.as_ref().map(|pending| &pending.delivery).or(self.last_set_aside.as_ref());
        let delivery = pending.filter(|_| crash.call == "consume");
        let empty = History::default();
        let history = self.history.as_ref().unwrap_or(&empty);
        match self.records.crash_reports.write(consumer, &component.snapshot(), crash, (history, delivery)) {
            Ok(folder) => {
                let folder = folder.display();
                error!(consumer, %folder, "crash report written, reproduce the crash with: klines consumer test {folder}");
            }
            Err(error) => error!(consumer, %error, "the crash report could not be written"),
        }
    }

    /// Drops and counts the waiting klines, unless they can wait, then waits for an order that requests a new instance.
    pub(super) fn wait_until_resumed(&mut self, state: State) -> Phase {
        self.unreported_losses += self.pending.as_ref().map_or(0, |pending| pending.delivery.lost);
        self.shared.stats.set_state(state);
        // At the end of a run, undelivered klines are lost because of the end, unless nobody reads them anyway.
        if self.shared.queue.is_ending() && state != State::Finished {
            return Phase::Over(state);
        }
        if !self.blueprint.profile().is_repeated {
            let dropped = self.take_pending().len() as u64 + self.shared.queue.suspend();
            self.shared.stats.count_lost_while_resting(dropped);
            self.shared.stats.set_in_hand(0);
            self.unreported_losses += dropped;
        }
        self.shared.queue.rest(true);
        while self.shared.queue.wait_for_order() {
            if self.execute_orders_without_instance() {
                self.shared.queue.rest(false);
                // A version that failed must not be restored.
                self.previous = None;
                self.restarts = Restarts::default();
                self.shared.stats.set_state(State::Starting);
                return Phase::Serving;
            }
        }
        Phase::Over(state)
    }

    /// Keeps undelivered klines for the next run, or counts them as lost. Called at the end of the run.
    pub(super) fn finish(&mut self, state: State) {
        let mut rest = self.take_pending();
        rest.extend(self.shared.queue.abandon());
        let keeper = self.blueprint.profile().keeper.filter(|_| !rest.is_empty());
        let is_kept = keeper.is_some_and(|keeper| guarded(|| Ok(keeper.keep(&rest))).unwrap_or(false));
        if state == State::Stopped && (is_kept || rest.is_empty()) {
            self.progress.finished();
        }
        if !is_kept && !self.blueprint.profile().is_repeated {
            self.shared.stats.count_lost(LossReason::Shutdown, rest.len() as u64);
        }
        self.shared.stats.set_in_hand(0);
    }

    /// Removes the pending delivery. Returns its closed klines.
    fn take_pending(&mut self) -> Vec<Arc<Kline>> {
        let klines = self.pending.take().map(|pending| pending.delivery.klines);
        klines.iter().flat_map(|klines| klines.iter()).filter(|kline| kline.confirm).cloned().collect()
    }
}
