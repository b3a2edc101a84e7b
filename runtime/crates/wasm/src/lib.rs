//! Consumers that are WebAssembly components: strangers' code, which gets nothing but what is granted.
//!
//! A [`component::Component`] is compiled once; a [`WasmBlueprint`] makes an instance of it, with a store of its own,
//! for each life of one consumer. Every call comes from that consumer's own thread and has a deadline.

pub mod compiler;
pub mod component;
pub mod components;
pub mod engine;
pub mod grants;
pub mod http;
pub mod limits;
pub mod manifest;
pub mod meter;
pub mod shipped;
pub mod state;
pub mod terminal;
pub mod witness;

mod artifact;
mod bindings;
mod call_time;
mod contract;
mod convert;
mod cpu_governor;
mod cpu_watch;
mod deadline;
mod emission;
mod failure;
mod files;
mod giving_way;
mod guest_runtime;
mod host;
mod instance;
mod instances;
mod log;
mod poll;
mod stdout;
mod validation;

use std::path::PathBuf;
use std::sync::Arc;

use klines_delivery::bundle::Exhibit;
use klines_delivery::emit::Emitter;
use klines_delivery::stats::Meter;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Failure, Problem};
use serde_json::Value;

use self::component::Component;
use self::grants::Grants;
use self::guest_runtime::GuestRuntime;
use self::http::HttpCounters;
use self::instance::Instance;
use self::limits::Limits;
use self::log::GuestLog;
use self::manifest::{Missing, Wants};
use self::meter::{LoadedMeter, MemoryMeter, WasmMeter};
use self::state::StateStore;
use self::terminal::{StandardOutput, Terminal};
pub use self::validation::{Unanswered, Validation};
use self::witness::Witness;

/// Everything that one consumer's instances are made with.
#[derive(Clone)]
pub struct Setup {
    /// The consumer's name in the log.
    pub name: String,
    /// Its settings, a JSON object.
    pub settings: String,
    /// What it may use up.
    pub limits: Limits,
    /// What it may touch.
    pub grants: Grants,
    /// What it learns of the terminal, if it may write to it.
    pub terminal: Arc<dyn Terminal>,
    /// What it keeps from one life to the next; none, and it can keep nothing.
    pub state: Option<Arc<StateStore>>,
    /// Where its own series go; none, and it can publish nothing.
    pub emitter: Option<Arc<Emitter>>,
    /// Where its component comes from.
    pub origin: Origin,
    /// Its settings without secrets, for people.
    pub shown: Value,
    /// What its calls give way to, if it is untrusted.
    pub trusted_work: Arc<TrustedWork>,
    /// Who watches it and answers its requests: nobody but in a test of the consumer.
    pub witness: Option<Arc<dyn Witness>>,
}

impl Setup {
    /// The circumstances of a consumer that is granted nothing, keeps nothing, and has the default limits.
    #[must_use]
    pub fn plain(name: &str, settings: &str) -> Self {
        Self {
            name: name.to_owned(),
            settings: settings.to_owned(),
            limits: Limits::default(),
            grants: Grants::default(),
            terminal: Arc::new(StandardOutput),
            state: None,
            emitter: None,
            origin: Origin::Shipped(name.to_owned()),
            shown: serde_json::from_str(settings).unwrap_or_default(),
            trusted_work: Arc::default(),
            witness: None,
        }
    }
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is part of the program.
    Shipped(String),
    /// A file.
    File(PathBuf),
}

/// Makes the instances of one consumer from a compiled component.
#[derive(Clone)]
pub struct WasmBlueprint {
    component: Arc<Component>,
    setup: Setup,
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
        let log = GuestLog::new(&setup.name, &setup.limits, setup.witness.clone());
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

    fn examine(&self) -> Result<Vec<Problem>, Failure> {
        Instance::new(&self.component, self.setup.clone(), self.log.clone(), &self.runtime)?.validate()
    }
}

impl Blueprint for WasmBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        self.begin_validation().problems()
    }

    fn instantiate(&mut self) -> Result<Box<dyn Consumer>, Failure> {
        let mut instance = Instance::new(&self.component, self.setup.clone(), self.log.clone(), &self.runtime)?;
        instance.count_memory_in(&self.memory);
        self.loaded.set(self.component.loaded());
        Ok(Box::new(instance))
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(self.own_meter()))
    }

    fn is_strange(&self) -> bool {
        matches!(self.setup.origin, Origin::File(_))
    }

    fn give_way_to(&mut self, work: &Arc<TrustedWork>) {
        self.setup.trusted_work = work.clone();
    }

    fn version(&self) -> Option<String> {
        Some(self.component.sha256().to_owned())
    }

    fn exhibit(&self) -> Option<Exhibit> {
        let sha256 = self.component.sha256();
        let (shipped, component) = match &self.setup.origin {
            Origin::Shipped(name) => (Some(name.clone()), None),
            Origin::File(path) => (None, components::read_unchanged(path, self.setup.limits.component, sha256)),
        };
        Some(Exhibit {
            shipped,
            component,
            sha256: sha256.to_owned(),
            settings: self.setup.shown.clone(),
            limits: serde_json::to_value(&self.setup.limits).unwrap_or_default(),
            uses_state: self.wants().imports_state(),
        })
    }
}
