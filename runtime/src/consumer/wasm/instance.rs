//! One instance of a component in a store of its own, and its calls. After a crash it is only good to be dropped.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, UpdateDeadline};

use super::Setup;
use super::component::Component;
use super::contract::Guest;
use super::deadline::ticks;
use super::failure;
use super::host::Host;
use super::log::GuestLog;
use super::state::StateError;
use super::witness::Witness;
use crate::consumer::stats::MemoryMeter;
use crate::consumer::{Consumer, CrashKind, Delivery, Failure, Problem, Subscription};

#[cfg(test)]
mod tests;

/// A running guest.
pub(super) struct Instance {
    store: Store<Host>,
    /// Whatever version of the contract it was built for.
    guest: Box<dyn Guest>,
    settings: String,
    call: Duration,
    start_up: Duration,
    recycle_calls: Option<u32>,
    recycle_memory: Option<usize>,
    /// Calls of `consume` that succeeded.
    taken: u32,
    witness: Option<Arc<dyn Witness>>,
}

impl Instance {
    /// Makes a store under all limits, with the grants of `setup`, and the component's instance in it.
    pub(super) fn new(component: &Component, setup: Setup, log: GuestLog) -> Result<Self, Failure> {
        let host = Host::new(&setup, log).map_err(|error| Failure::Fatal(format!("allow.dirs: {error}")))?;
        let mut store = Store::new(component.engine(), host);
        store.limiter(|host| &mut host.account);
        store.set_hostcall_fuel(setup.limits.hostcall);
        store.set_max_component_handles(setup.limits.handles);
        store.epoch_deadline_callback(|mut store| {
            let host = store.data_mut();
            let left = host.deadline.left();
            if left.is_zero() {
                return Ok(UpdateDeadline::Interrupt);
            }
            if let Some(time) = host.hog.give_way() {
                host.deadline.excuse(time);
                return Ok(UpdateDeadline::Continue(1));
            }
            let look = host.hog.look(host.log.name(), host.deadline.took());
            Ok(UpdateDeadline::Continue(ticks(look.map_or(left, |look| look.min(left)))))
        });
        begin(&mut store, setup.limits.start_up);
        let _call = store.data().hog.call();
        match component.instantiate(&mut store) {
            Ok(guest) => Ok(Self {
                store,
                guest,
                settings: setup.settings,
                call: setup.limits.call,
                start_up: setup.limits.start_up,
                recycle_calls: setup.limits.recycle_calls,
                recycle_memory: setup.limits.recycle_memory,
                taken: 0,
                witness: setup.witness,
            }),
            Err(error) => Err(Self::stillborn(store.data(), &error)),
        }
    }

    fn stillborn(host: &Host, error: &wasmtime::Error) -> Failure {
        let crash = failure::crash(host, error);
        // It would ask for the same at every restart.
        if host.account.refused().is_some_and(|refusal| refusal.at_birth) {
            Failure::Fatal(crash.to_string())
        } else {
            crash
        }
    }

    /// Lets the memory that it holds be seen from outside.
    pub(super) fn count_memory_in(&mut self, meter: &MemoryMeter) {
        self.store.data_mut().account.count_in(meter.share());
    }

    /// Asks the guest what is wrong with its settings.
    pub(super) fn validate(&mut self) -> Result<Vec<Problem>, Failure> {
        self.call(self.call, |guest, store, settings| guest.validate(store, settings))
    }

    fn call<T>(
        &mut self,
        limit: Duration,
        call: impl FnOnce(&dyn Guest, &mut Store<Host>, &str) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let host = self.store.data_mut();
        host.account.begin_call();
        host.log.tell_dropped(host.output.begin_call());
        let _call = host.hog.call();
        begin(&mut self.store, limit);
        let result = call(self.guest.as_ref(), &mut self.store, &self.settings);
        let host = self.store.data_mut();
        let took = host.deadline.took();
        host.hog.end(host.log.name(), took);
        host.log.settle();
        result.map_err(|error| failure::crash(host, &error))
    }
}

impl Instance {
    /// Forgets what a call that did not succeed has changed in the state and published.
    fn kept<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() {
            let host = self.store.data_mut();
            host.state.discard();
            host.emission.discard();
        }
        result
    }
}

impl Consumer for Instance {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        let wish = self.call(self.start_up, |guest, store, settings| guest.setup(store, settings));
        let wish = self.kept(wish.and_then(|wish| wish))?;
        self.store.data_mut().state.wait();
        Ok(wish)
    }

    fn start(&mut self) -> Result<(), Failure> {
        let started = self.call(self.start_up, |guest, store, _| guest.start(store));
        self.kept(started.and_then(|started| started))?;
        // What `setup` changed is kept here too: only an instance that starts has a say.
        self.store.data_mut().state.take_over().map_err(|error| unkept(&error))
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        self.store.data_mut().klines = delivery.klines.clone();
        let taken = self.call(self.call, |guest, store, _| guest.consume(store, delivery));
        self.store.data_mut().klines = Arc::default();
        self.kept(taken.and_then(|taken| taken))?;
        self.taken = self.taken.saturating_add(1);
        let host = self.store.data_mut();
        if let Err(error) = host.state.commit(&delivery.klines) {
            host.emission.discard();
            return Err(unkept(&error));
        }
        host.emission.commit();
        Ok(())
    }

    fn is_spent(&self) -> bool {
        self.recycle_calls.is_some_and(|most| self.taken >= most)
            || self.recycle_memory.is_some_and(|most| self.store.data().account.memory() >= most)
    }

    fn stop(&mut self) {
        let stopped = self.call(self.call, |guest, store, _| guest.stop(store));
        let state = &mut self.store.data_mut().state;
        let stopped = stopped.and_then(|()| state.commit(&[]).map_err(|error| unkept(&error)));
        if let Err(failure) = stopped {
            if let Some(witness) = &self.witness {
                witness.stopped_badly(&failure);
            }
            let consumer = self.store.data().log.name();
            tracing::warn!(consumer, error = %failure, "consumer crashed while it was stopped");
        }
    }
}

/// Begins a call that may take so long.
fn begin(store: &mut Store<Host>, limit: Duration) {
    let host = store.data_mut();
    host.deadline.begin(limit);
    let look = host.hog.begin(limit);
    store.set_epoch_deadline(ticks(look));
}

/// The guest went on as if its state were kept, which it is not: another instance has to do the call again.
fn unkept(error: &StateError) -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: error.to_string() }
}
