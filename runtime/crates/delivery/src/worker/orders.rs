//! How a consumer's thread obeys orders between two calls: pause, resume, another version.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::{Blueprint, Consumer, Failure, History, Restarts, Worker};
use crate::call::{Subscription, guarded};
use crate::order::{Command, Order};
use crate::trusted_work::TrustedWork;

impl Worker {
    /// Obeys every order that there is, with an instance at hand.
    pub(super) fn obey(&mut self, consumer: &mut Box<dyn Consumer>) {
        while let Some(Command { order, answer }) = self.shared.queue.next_order() {
            let result = match order {
                Order::Pause => {
                    self.pause(true);
                    Ok(())
                }
                Order::Resume => {
                    self.pause(false);
                    Ok(())
                }
                Order::Reload(blueprint) => self.swap(blueprint, consumer),
            };
            // Whoever gave the order may have stopped waiting.
            let _ = answer.send(result);
        }
    }

    /// Obeys every order that there is, without an instance. Returns whether one of them wants a new instance.
    pub(super) fn obey_without_instance(&mut self) -> bool {
        let mut wanted = false;
        while let Some(Command { order, answer }) = self.shared.queue.next_order() {
            match order {
                Order::Pause => self.pause(true),
                Order::Resume => {
                    self.pause(false);
                    wanted = true;
                }
                Order::Reload(blueprint) => {
                    info!(consumer = self.shared.name, "consumer gets another version");
                    let former = std::mem::replace(&mut self.blueprint, blueprint);
                    // Of several that have not started, the one that did is what to go back to.
                    self.former.get_or_insert(former);
                    self.note_maker();
                    self.shared.stats.reloaded();
                    wanted = true;
                }
            }
            if wanted {
                // Before the answer: what comes after it is not lost.
                self.shared.queue.reopen();
            }
            // Whoever gave the order may have stopped waiting.
            let _ = answer.send(Ok(()));
        }
        wanted
    }

    /// Notes what instances come from by now.
    pub(super) fn note_maker(&self) {
        let profile = self.blueprint.profile();
        self.shared.stats.made_by(profile.meter.clone(), profile.version());
    }

    fn pause(&mut self, paused: bool) {
        if self.paused != paused {
            info!(consumer = self.shared.name, "consumer is {}", if paused { "paused" } else { "resumed" });
        }
        self.paused = paused;
    }

    /// Starts an instance of another version beside the present one, and lets it take over if that works.
    fn swap(&mut self, mut blueprint: Box<dyn Blueprint>, present: &mut Box<dyn Consumer>) -> Result<(), String> {
        let name = self.shared.name.clone();
        let (fresh, wish) = guarded(|| start(blueprint.as_mut(), &self.shared.trusted_work)).map_err(|failure| {
            warn!(
                consumer = name,
                error = failure.to_string(),
                "consumer keeps its version: the new one does not start"
            );
            format!("the new version does not start: {failure}")
        })?;
        self.shared.inline.allow(None);
        self.shared.inline.take_deferred_failure();
        let old = std::mem::replace(present, fresh);
        let stopped = guarded(|| {
            let mut old = old;
            old.stop();
            Ok(())
        });
        if let Err(failure) = stopped {
            warn!(consumer = name, error = failure.to_string(), "the old version failed while it was stopped");
        }
        if !self.shared.queue.narrow(&wish) {
            warn!(consumer = name, "consumer gets nothing: its new version asks for what is not configured");
        }
        self.blueprint = blueprint;
        self.note_maker();
        self.history.iter_mut().for_each(History::begin);
        self.restarts = Restarts::default();
        self.restarts.started(Instant::now());
        self.shared.stats.reloaded();
        info!(consumer = name, "consumer runs its new version");
        Ok(())
    }
}

/// Makes an instance and starts it; a new version gets one try.
fn start(blueprint: &mut dyn Blueprint, work: &Arc<TrustedWork>) -> Result<(Box<dyn Consumer>, Subscription), Failure> {
    let mut fresh = blueprint.instantiate(work)?;
    let started = fresh.setup().and_then(|wish| fresh.start().map(|()| wish));
    match started {
        Ok(wish) => Ok((fresh, wish)),
        Err(failure) => {
            if !matches!(failure, Failure::Crashed { .. }) {
                fresh.stop();
            }
            Err(failure)
        }
    }
}
