//! The blueprint of one consumer that is a component: creates its instances and describes it.

use std::sync::Arc;

use klines_delivery::consumer::ComponentSource;
use klines_delivery::crash_report::ComponentSnapshot;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Failure, Problem, Profile};

use super::component::Component;
use super::component_file::read_unchanged;
use super::grants::Grants;
use super::guest_runtime::GuestRuntime;
use super::http::HttpCounters;
use super::instance::Instance;
use super::log::GuestLog;
use super::manifest::{Missing, Wants};
use super::memory_meter::{LoadedMeter, MemoryMeter};
use super::meter::WasmMeter;
use super::past::SharedPast;
use super::setup::{Origin, Setup};
use super::state::StateStore;
use super::validation::Validation;

/// Creates the instances of one consumer from a compiled component.
#[derive(Clone)]
pub struct WasmBlueprint {
    component: Arc<Component>,
    pub(super) setup: Setup,
    /// What the operator allows, whether or not the component requests it.
    allowed: Grants,
    /// A sentence about each grant that the operator allows and the component does not request.
    unused: Vec<String>,
    /// Outlives the instances, so that a restart does not reset the log limits.
    log: GuestLog,
    memory: MemoryMeter,
    loaded: LoadedMeter,
    runtime: Arc<GuestRuntime>,
    /// What instances share that read the past.
    past: Arc<SharedPast>,
}

impl WasmBlueprint {
    /// Returns the component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Combines a component with its setup. Of the grants, only those that the component requests are kept. Has no side
    /// effects.
    #[must_use]
    pub fn new(component: Arc<Component>, setup: Setup) -> Self {
        let log = GuestLog::new(&setup.name, &setup.limits, setup.observer.clone());
        let (grants, unused) = component.wants().narrow(&setup.grants);
        let allowed = setup.grants;
        let (memory, loaded) = (MemoryMeter::default(), LoadedMeter::default());
        Self {
            component,
            setup: Setup { grants, ..setup },
            allowed,
            unused,
            log,
            memory,
            loaded,
            runtime: Arc::default(),
            past: Arc::default(),
        }
    }

    /// Returns whether its instances run untrusted code: any component that is not part of the program.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        matches!(self.setup.origin, Origin::File(_))
    }

    /// Returns a sentence about each allowed grant that the component does not request: it is not granted.
    #[must_use]
    pub fn unused_grants(&self) -> &[String] {
        &self.unused
    }

    /// Returns the grants that are both requested and allowed.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.setup.grants
    }

    /// Returns what the component requests.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        self.component.wants()
    }

    /// Returns the counters of the consumer's HTTP requests, which outlive its instances.
    #[must_use]
    pub fn http_counters(&self) -> Arc<HttpCounters> {
        self.setup.grants.http.counters()
    }

    /// Returns the consumer's meter, which covers all of its instances.
    #[must_use]
    pub fn own_meter(&self) -> WasmMeter {
        let http = self.wants().imports_http().then(|| self.http_counters());
        let emitted = self.setup.emitter.as_ref().map(|emitter| emitter.counters());
        WasmMeter { memory: self.memory.clone(), loaded: self.loaded.clone(), http, emitted }
    }

    /// Returns the same consumer with another version of its component; that version is granted what it requests and
    /// the operator allows.
    #[must_use]
    pub fn renewed(&self, component: Arc<Component>) -> Self {
        let (grants, unused) = component.wants().narrow(&self.allowed);
        Self { component, setup: Setup { grants, ..self.setup.clone() }, unused, ..self.clone() }
    }

    /// Returns the same consumer with another state, for its quota in bytes.
    #[must_use]
    pub fn with_state(&self, state: impl FnOnce(usize) -> StateStore) -> Self {
        let state = Some(Arc::new(state(self.setup.limits.state)));
        Self { setup: Setup { state, ..self.setup.clone() }, ..self.clone() }
    }

    /// Returns what another version requests in its manifest without being granted, and this version does not miss.
    /// Imports alone do not count as requests: many languages import what they never use.
    #[must_use]
    pub fn further_wants(&self, component: &Component) -> Vec<Missing> {
        if component.wants().manifest.is_none() {
            return Vec::new();
        }
        let known = self.wants().missing(&self.allowed);
        let wanted = component.wants().missing(&component.wants().narrow(&self.allowed).0);
        wanted.into_iter().filter(|missing| !known.contains(missing)).collect()
    }

    /// Starts the validation of the settings in a separate instance, without any grant and under all limits.
    #[must_use]
    pub fn begin_validation(&self) -> Validation {
        // The validating thread may run longer than the validation is waited for, and would block the next user of the
        // state.
        let setup = Setup { grants: Grants::default(), state: None, emitter: None, ..self.setup.clone() };
        Validation::begin(Self { setup, ..self.clone() })
    }

    fn instance(&self, setup: Setup) -> Result<Instance, Failure> {
        let past = self.wants().imports_history().then(|| self.past.clone());
        Instance::new(&self.component, setup, self.log.clone(), (&self.runtime, past))
    }

    pub(super) fn examine(&self) -> Result<Vec<Problem>, Failure> {
        self.instance(self.setup.clone())?.validate()
    }
}

impl Blueprint for WasmBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        self.begin_validation().problems()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let setup = Setup { trusted_work: work.clone(), ..self.setup.clone() };
        let mut instance = self.instance(setup)?;
        instance.count_memory_in(&self.memory);
        self.loaded.set(self.component.loaded());
        Ok(Box::new(instance))
    }

    fn profile(&self) -> Profile {
        Profile {
            is_untrusted: self.is_untrusted(),
            meter: Some(Arc::new(self.own_meter())),
            component: Some(Arc::new(self.clone())),
            seeded: self.setup.past.seeded.clone().filter(|_| self.wants().imports_history()),
            ..Profile::default()
        }
    }
}

impl ComponentSource for WasmBlueprint {
    fn sha256(&self) -> &str {
        self.component.sha256()
    }

    fn snapshot(&self) -> ComponentSnapshot {
        let sha256 = self.component.sha256();
        let (shipped, bytes) = match &self.setup.origin {
            Origin::Shipped(name) => (Some(name.clone()), None),
            Origin::File(path) => (None, read_unchanged(path, self.setup.limits.component_size, sha256)),
        };
        ComponentSnapshot {
            shipped,
            bytes,
            sha256: sha256.to_owned(),
            settings: self.setup.shown.clone(),
            limits: serde_json::to_value(&self.setup.limits).unwrap_or_default(),
            uses_state: self.wants().imports_state(),
        }
    }
}
