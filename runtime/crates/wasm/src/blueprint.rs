//! One consumer that is a component: what makes its instances, and what is known of it.

use std::sync::Arc;

use klines_delivery::bundle::ComponentSnapshot;
use klines_delivery::consumer::ComponentSource;
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
use super::setup::{Origin, Setup};
use super::validation::Validation;

/// Makes the instances of one consumer from a compiled component.
#[derive(Clone)]
pub struct WasmBlueprint {
    component: Arc<Component>,
    pub(super) setup: Setup,
    /// What the operator allows, whether or not the component asks for it.
    allowed: Grants,
    /// What the operator allows and the component does not ask for.
    vain: Vec<String>,
    /// Outlives the instances, so that a restart does not renew what may be logged.
    log: GuestLog,
    memory: MemoryMeter,
    loaded: LoadedMeter,
    runtime: Arc<GuestRuntime>,
}

impl WasmBlueprint {
    /// The component.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Puts a component and its circumstances together. Of the grants, only what the component asks for is kept. Has
    /// no effect.
    #[must_use]
    pub fn new(component: Arc<Component>, setup: Setup) -> Self {
        let log = GuestLog::new(&setup.name, &setup.limits, setup.observer.clone());
        let (grants, vain) = component.wants().narrow(&setup.grants);
        let allowed = setup.grants;
        let (memory, loaded) = (MemoryMeter::default(), LoadedMeter::default());
        Self {
            component,
            setup: Setup { grants, ..setup },
            allowed,
            vain,
            log,
            memory,
            loaded,
            runtime: Arc::default(),
        }
    }

    /// Whether its instances run untrusted code: any component that is not part of the program.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        matches!(self.setup.origin, Origin::File(_))
    }

    /// A sentence about each thing that is allowed and that the component does not ask for: it is not granted.
    #[must_use]
    pub fn allowed_in_vain(&self) -> &[String] {
        &self.vain
    }

    /// What is both asked for and allowed.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.setup.grants
    }

    /// What the component asks for.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        self.component.wants()
    }

    /// The counters of the consumer's HTTP requests, which outlive its instances.
    #[must_use]
    pub fn http_counters(&self) -> Arc<HttpCounters> {
        self.setup.grants.http.counters()
    }

    /// What is measured of it, over all of its instances.
    #[must_use]
    pub fn own_meter(&self) -> WasmMeter {
        let http = self.wants().imports_http().then(|| self.http_counters());
        let emitted = self.setup.emitter.as_ref().map(|emitter| emitter.counters());
        WasmMeter { memory: self.memory.clone(), loaded: self.loaded.clone(), http, emitted }
    }

    /// The same consumer with another version of its component, which gets what it asks for and is allowed.
    #[must_use]
    pub fn renewed(&self, component: Arc<Component>) -> Self {
        let (grants, vain) = component.wants().narrow(&self.allowed);
        Self { component, setup: Setup { grants, ..self.setup.clone() }, vain, ..self.clone() }
    }

    /// What another version asks for in its manifest, is not granted, and this one does without. Imports alone ask for
    /// nothing: many languages import what they never use.
    #[must_use]
    pub fn further_wants(&self, component: &Component) -> Vec<Missing> {
        if component.wants().manifest.is_none() {
            return Vec::new();
        }
        let known = self.wants().missing(&self.allowed);
        let wanted = component.wants().missing(&component.wants().narrow(&self.allowed).0);
        wanted.into_iter().filter(|missing| !known.contains(missing)).collect()
    }

    /// Begins to ask an instance of its own, without any grant and under all limits, what is wrong with the settings.
    #[must_use]
    pub fn begin_validation(&self) -> Validation {
        // The thread that asks may outlast the answer, and would keep the state from whoever opens it next.
        let setup = Setup { grants: Grants::default(), state: None, emitter: None, ..self.setup.clone() };
        Validation::begin(Self { setup, ..self.clone() })
    }

    pub(super) fn examine(&self) -> Result<Vec<Problem>, Failure> {
        Instance::new(&self.component, self.setup.clone(), self.log.clone(), &self.runtime)?.validate()
    }
}

impl Blueprint for WasmBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        self.begin_validation().problems()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let setup = Setup { trusted_work: work.clone(), ..self.setup.clone() };
        let mut instance = Instance::new(&self.component, setup, self.log.clone(), &self.runtime)?;
        instance.count_memory_in(&self.memory);
        self.loaded.set(self.component.loaded());
        Ok(Box::new(instance))
    }

    fn profile(&self) -> Profile {
        Profile {
            is_untrusted: self.is_untrusted(),
            meter: Some(Arc::new(self.own_meter())),
            component: Some(Arc::new(self.clone())),
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
