//! One instance of a component in its own store, and its calls. After a crash it can only be dropped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use klines_delivery::position::Position;
use klines_delivery::{Consumer, CrashKind, Delivery, Failure, Next, Problem, Subscription};
use klines_domain::kline::Kline;
use tokio::runtime::Handle;
use wasmtime::{Store, UpdateDeadline};

use super::component::Component;
use super::contract::Guest;
use super::deadline::ticks;
use super::failure;
use super::guest_runtime::GuestRuntime;
use super::host::Host;
use super::host_observer::HostObserver;
use super::log::GuestLog;
use super::memory_meter::MemoryMeter;
use super::past::SharedPast;
use super::setup::{Origin, Setup};
use super::state::StateError;
use crate::cpu_governor::Permit;

#[cfg(test)]
mod tests;

/// A running guest.
pub(super) struct Instance {
    store: Store<Host>,
    /// The exports of the component, independent of its version of the contract.
    guest: Box<dyn Guest>,
    /// The executor of its host calls; `None` for a trusted component, which uses that of the process.
    runtime: Option<Handle>,
    /// Keeps that executor alive.
    _runtime: Arc<GuestRuntime>,
    settings: String,
    call: Duration,
    start_up: Duration,
    recycle_calls: Option<u32>,
    recycle_memory: Option<usize>,
    /// The number of successful calls of `consume`.
    taken: u32,
    observer: Option<Arc<dyn HostObserver>>,
}

impl Instance {
    /// Creates a store with all limits and the grants of `setup`, and the instance of the component in it.
    pub(super) fn new(
        component: &Component,
        setup: Setup,
        log: GuestLog,
        (guest_runtime, past): (&Arc<GuestRuntime>, Option<Arc<SharedPast>>),
    ) -> Result<Self, Failure> {
        let is_untrusted = matches!(setup.origin, Origin::File(_));
        let runtime = is_untrusted.then(|| guest_runtime.handle()).transpose().map_err(|error| no_threads(&error))?;
        let entered = runtime.as_ref().map(Handle::enter);
        let engine = component.engine();
        let permit = is_untrusted.then(|| {
            setup.trusted_work.add_interrupt(engine.interrupt());
            Permit::new(engine.governor(), setup.trusted_work.clone())
        });
        let host = Host::new(&setup, log, past, (engine.standstill(), permit));
        let host = host.map_err(|error| Failure::Fatal(format!("allow.dirs: {error}")))?;
        let mut store = Store::new(component.engine().engine(), host);
        store.limiter(|host| &mut host.account);
        store.set_hostcall_fuel(setup.limits.hostcall_fuel);
        store.set_max_component_handles(setup.limits.handles);
        store.epoch_deadline_callback(|mut store| {
            let Host { time, log, .. } = store.data_mut();
            Ok(match time.look(log.name()) {
                None => UpdateDeadline::Interrupt,
                Some(next) => UpdateDeadline::Continue(ticks(next)),
            })
        });
        begin(&mut store, setup.limits.start_up);
        let made = component.instantiate(&mut store).map_err(|error| Self::instantiation_failure(store.data(), &error));
        end(&mut store);
        drop(entered);
        Ok(Self {
            store,
            guest: made?,
            runtime,
            _runtime: guest_runtime.clone(),
            settings: setup.settings,
            call: setup.limits.call,
            start_up: setup.limits.start_up,
            recycle_calls: setup.limits.recycle_calls,
            recycle_memory: setup.limits.recycle_memory,
            taken: 0,
            observer: setup.observer,
        })
    }

    fn instantiation_failure(host: &Host, error: &wasmtime::Error) -> Failure {
        let crash = failure::crash(host, error);
        // The same request would fail at every restart.
        if host.account.refused().is_some_and(|refusal| refusal.is_initial) {
            Failure::Fatal(crash.to_string())
        } else {
            crash
        }
    }

    /// Reports the memory of the instance to a meter.
    pub(super) fn count_memory_in(&mut self, meter: &MemoryMeter) {
        self.store.data_mut().account.count_in(meter.share());
    }

    /// Returns the problems that the guest finds in its settings.
    pub(super) fn validate(&mut self) -> Result<Vec<Problem>, Failure> {
        self.timed(self.call, |this| this.call(|guest, store, settings| guest.validate(store, settings)))
    }

    /// Runs one call of the guest, with everything that belongs to it, within its time limit.
    fn timed<T>(&mut self, limit: Duration, call: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let host = self.store.data_mut();
        host.account.begin_call();
        host.log.report_dropped(host.output.begin_call());
        begin(&mut self.store, limit);
        let runtime = self.runtime.clone();
        let entered = runtime.as_ref().map(Handle::enter);
        let result = call(self);
        drop(entered);
        end(&mut self.store);
        let host = self.store.data();
        host.log.settle();
        // However the guest fails then, it is because nobody reads what it writes.
        result.map_err(|failure| if host.is_output_closed() { Failure::OutputClosed } else { failure })
    }

    /// Calls the guest.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&dyn Guest, &mut Store<Host>, &str) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let result = call(self.guest.as_ref(), &mut self.store, &self.settings);
        result.map_err(|error| failure::crash(self.store.data(), &error))
    }

    /// Discards the state changes and the published values of a call that failed.
    fn discard_on_failure<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_err() {
            let host = self.store.data_mut();
            host.state.discard();
            host.emission.discard();
        }
        result
    }

    /// Returns whether a new instance replaces this one now, by the operator's limits.
    fn is_to_be_recycled(&self) -> bool {
        self.recycle_calls.is_some_and(|most| self.taken >= most)
            || self.recycle_memory.is_some_and(|most| self.store.data().account.memory() >= most)
    }

    /// Commits the state changes of the call, or returns the failure of the call if that fails.
    fn commit(&mut self, taken: &[Arc<Kline>]) -> Result<(), Failure> {
        let Host { state, time, .. } = self.store.data_mut();
        let kept = state.commit(taken, || time.is_over());
        kept.map_err(|error| commit_failure(self.store.data(), &error))
    }
}

impl Consumer for Instance {
    fn follow(&mut self, position: &Arc<Position>) {
        self.store.data_mut().past.follow(position);
    }

    fn setup(&mut self) -> Result<Subscription, Failure> {
        self.timed(self.start_up, |this| {
            let subscription = this.call(|guest, store, settings| guest.setup(store, settings));
            let subscription = this.discard_on_failure(subscription.and_then(|subscription| subscription))?;
            let host = this.store.data_mut();
            host.state.wait();
            host.past.subscribe(&subscription);
            Ok(subscription)
        })
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.timed(self.start_up, |this| {
            this.store.data_mut().past.open();
            let started = this.call(|guest, store, _| guest.start(store));
            this.store.data_mut().past.close();
            this.discard_on_failure(started.and_then(|started| started))?;
            // This also commits the changes of `setup`: only an instance that starts may change the state.
            let Host { state, time, .. } = this.store.data_mut();
            let taken_over = state.take_over(|| time.is_over());
            taken_over.map_err(|error| commit_failure(this.store.data(), &error))
        })
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        self.timed(self.call, |this| {
            this.store.data_mut().begin_batch(delivery);
            let taken = this.call(|guest, store, _| guest.consume(store, delivery));
            this.store.data_mut().end_batch();
            this.discard_on_failure(taken.and_then(|taken| taken))?;
            this.taken = this.taken.saturating_add(1);
            let committed = this.commit(&delivery.klines);
            let emission = &mut this.store.data_mut().emission;
            if committed.is_ok() {
                emission.commit();
            } else {
                emission.discard();
            }
            committed
        })?;
        Ok(if self.is_to_be_recycled() { Next::Recycle } else { Next::Deliver })
    }

    fn stop(&mut self) {
        let stopped = self.timed(self.call, |this| {
            this.call(|guest, store, _| guest.stop(store))?;
            this.commit(&[])
        });
        if let Err(failure) = stopped {
            if let Some(observer) = &self.observer {
                observer.stop_failed(&failure);
            }
            let consumer = self.store.data().log.name();
            tracing::warn!(consumer, error = failure.to_string(), "consumer crashed while it was stopped");
        }
    }
}

fn no_threads(error: &io::Error) -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: format!("cannot start a thread for its host calls: {error}") }
}

/// Begins a call with a time limit.
fn begin(store: &mut Store<Host>, limit: Duration) {
    let next = store.data_mut().time.begin(limit);
    store.set_epoch_deadline(ticks(next));
}

/// Ends a call.
fn end(store: &mut Store<Host>) {
    let Host { time, log, .. } = store.data_mut();
    time.end(log.name());
}

/// Returns the failure of a call whose state changes could not be committed. The guest assumes that they were, so a new
/// instance has to repeat the call.
fn commit_failure(host: &Host, error: &StateError) -> Failure {
    match failure::state(host, error) {
        Failure::Fatal(message) => Failure::Crashed { kind: CrashKind::Trap, message },
        other => other,
    }
}
