//! One instance of a component in a store of its own, and its calls. After a crash it is only good to be dropped.

use std::time::Duration;

use wasmtime::{Store, UpdateDeadline};

use super::Setup;
use super::bindings::KlineConsumer;
use super::bindings::exports::klines::consumer::consumer::Guest;
use super::bindings::klines::consumer::types as wit;
use super::component::Component;
use super::deadline::ticks;
use super::host::Host;
use super::log::GuestLog;
use super::{convert, failure};
use crate::consumer::{Consumer, Delivery, Failure, Problem, Subscription};

/// A running guest.
pub(super) struct Instance {
    store: Store<Host>,
    exports: KlineConsumer,
    settings: String,
    call: Duration,
    start_up: Duration,
}

impl Instance {
    /// Makes a store under all limits, with the grants of `setup`, and the component's instance in it.
    pub(super) fn new(component: &Component, setup: Setup, log: GuestLog) -> Result<Self, Failure> {
        let host = Host::new(&setup, log).map_err(|error| Failure::Fatal(format!("allow.dirs: {error}")))?;
        let mut store = Store::new(component.engine(), host);
        store.limiter(|host| &mut host.account);
        store.set_hostcall_fuel(setup.limits.hostcall);
        store.set_max_component_handles(setup.limits.handles);
        store.epoch_deadline_callback(|store| {
            let left = store.data().deadline.left();
            Ok(if left.is_zero() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(ticks(left)) })
        });
        let deadline = store.data_mut().deadline.begin(setup.limits.start_up);
        store.set_epoch_deadline(deadline);
        match component.instantiate(&mut store) {
            Ok(exports) => Ok(Self {
                store,
                exports,
                settings: setup.settings,
                call: setup.limits.call,
                start_up: setup.limits.start_up,
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

    /// Asks the guest what is wrong with its settings.
    pub(super) fn validate(&mut self) -> Result<Vec<Problem>, Failure> {
        let found = self.call(self.call, |guest, store, settings| guest.call_validate(store, settings))?;
        Ok(convert::problems(found))
    }

    fn call<T>(
        &mut self,
        limit: Duration,
        call: impl FnOnce(&Guest, &mut Store<Host>, &str) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let host = self.store.data_mut();
        host.account.begin_call();
        let deadline = host.deadline.begin(limit);
        self.store.set_epoch_deadline(deadline);
        let result = call(self.exports.klines_consumer_consumer(), &mut self.store, &self.settings);
        let host = self.store.data();
        host.log.settle();
        result.map_err(|error| failure::crash(host, &error))
    }
}

impl Consumer for Instance {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        let wish = self.call(self.start_up, |guest, store, settings| guest.call_setup(store, settings))?;
        convert::subscription(&wish.map_err(convert::failure)?)
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.call(self.start_up, |guest, store, _| guest.call_start(store))?.map_err(convert::failure)
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        self.store.data_mut().klines.extend_from_slice(&delivery.klines);
        let klines = convert::batch(&delivery.klines);
        let batch = wit::Batch { klines: &klines, lost: delivery.lost };
        let taken = self.call(self.call, |guest, store, _| guest.call_consume(store, batch));
        self.store.data_mut().klines.clear();
        taken?.map_err(convert::failure)
    }

    fn stop(&mut self) {
        if let Err(failure) = self.call(self.call, |guest, store, _| guest.call_stop(store)) {
            let consumer = self.store.data().log.name();
            tracing::warn!(consumer, error = %failure, "consumer crashed while it was stopped");
        }
    }
}
