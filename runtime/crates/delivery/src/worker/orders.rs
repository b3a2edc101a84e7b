//! Executes orders between two calls: pause, resume, and reload of a new version.

use std::time::Instant;

use tracing::{info, warn};

use super::{Blueprint, Consumer, Failure, History, Restarts, Worker};
use crate::call::{Subscription, guarded};
use crate::order::{Command, Order};

impl Worker {
    /// Executes all waiting orders while there is an instance.
    pub(super) fn execute_orders(&mut self, consumer: &mut Box<dyn Consumer>) {
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
            // The receiver is gone if the operator stopped waiting.
            let _ = answer.send(result);
        }
    }

    /// Executes all waiting orders while there is no instance. Returns whether one of them requests a new instance.
    pub(super) fn execute_orders_without_instance(&mut self) -> bool {
        let mut wanted = false;
        while let Some(Command { order, answer }) = self.shared.queue.next_order() {
            match order {
                Order::Pause => self.pause(true),
                Order::Resume => {
                    self.pause(false);
                    wanted = true;
                }
                Order::Reload(blueprint) => {
                    info!(consumer = self.shared.name, "consumer gets a new version");
                    let previous = std::mem::replace(&mut self.blueprint, blueprint);
                    // If several new versions have not started, `previous` stays the last one that did.
                    self.previous.get_or_insert(previous);
                    self.update_source();
                    self.shared.stats.reloaded();
                    wanted = true;
                }
            }
            if wanted {
                // Reopens before it answers, so that klines published after the answer are not lost.
                self.shared.queue.reopen();
            }
            // The receiver is gone if the operator stopped waiting.
            let _ = answer.send(Ok(()));
        }
        wanted
    }

    /// Updates the meter and the version in the statistics.
    pub(super) fn update_source(&self) {
        let profile = self.blueprint.profile();
        self.shared.stats.set_source(profile.meter.clone(), profile.version());
    }

    fn pause(&mut self, paused: bool) {
        if self.is_paused != paused {
            info!(consumer = self.shared.name, "consumer is {}", if paused { "paused" } else { "resumed" });
        }
        self.is_paused = paused;
    }

    /// Starts an instance of a new version while the current one exists, and replaces the current one if the start
    /// succeeds.
    fn swap(&mut self, mut blueprint: Box<dyn Blueprint>, current: &mut Box<dyn Consumer>) -> Result<(), String> {
        let name = self.shared.name.clone();
        let started = guarded(|| {
            let mut fresh = blueprint.instantiate(&self.shared.trusted_work)?;
            self.let_follow(fresh.as_mut());
            start(fresh)
        });
        let (fresh, wish) = started.map_err(|failure| {
            warn!(
                consumer = name,
                error = failure.to_string(),
                "consumer keeps its version: the new one does not start"
            );
            format!("the new version does not start: {failure}")
        })?;
        self.shared.inline.allow(None);
        self.shared.inline.take_deferred_failure();
        let old = std::mem::replace(current, fresh);
        let stopped = guarded(|| {
            let mut old = old;
            old.stop();
            Ok(())
        });
        if let Err(failure) = stopped {
            warn!(consumer = name, error = failure.to_string(), "the old version failed while it was stopped");
        }
        if !self.shared.queue.narrow(&wish) {
            warn!(consumer = name, "consumer receives nothing: what its new version subscribes to is not configured");
        }
        self.blueprint = blueprint;
        self.update_source();
        self.history.iter_mut().for_each(History::begin);
        self.restarts = Restarts::default();
        self.restarts.started(Instant::now());
        self.shared.stats.reloaded();
        info!(consumer = name, "consumer runs its new version");
        Ok(())
    }
}

/// Starts an instance, in a single attempt.
fn start(mut fresh: Box<dyn Consumer>) -> Result<(Box<dyn Consumer>, Subscription), Failure> {
    let started = fresh.setup().and_then(|wish| fresh.start().map(|()| wish));
    match started {
        Ok(wish) => Ok((fresh, wish)),
        Err(failure) => {
            if !matches!(failure, Failure::Crashed { .. } | Failure::OutputClosed) {
                fresh.stop();
            }
            Err(failure)
        }
    }
}
