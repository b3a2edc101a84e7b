//! Consumers that are WebAssembly components: strangers' code, which gets nothing but what is granted.
//!
//! A [`component::Component`] is compiled once; a [`WasmBlueprint`] makes an instance of it, with a store of its own,
//! for each life of one consumer. Every call comes from that consumer's own thread and has a deadline.

pub mod component;
pub mod engine;
pub mod grants;
pub mod limits;
pub mod terminal;

mod bindings;
mod convert;
mod deadline;
mod failure;
mod host;
mod instance;
mod log;
mod poll;
mod stdout;
mod text;

use std::sync::Arc;
use std::thread;

use self::component::Component;
use self::grants::Grants;
use self::instance::Instance;
use self::limits::Limits;
use self::log::GuestLog;
use self::terminal::Terminal;
use super::{Blueprint, Consumer, Failure, Problem};

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
}

/// Makes the instances of one consumer from a compiled component.
pub struct WasmBlueprint {
    component: Arc<Component>,
    setup: Setup,
    /// Outlives the instances, so that a restart does not renew what may be logged.
    log: GuestLog,
}

impl WasmBlueprint {
    /// Puts a component and its circumstances together. Has no effect.
    #[must_use]
    pub fn new(component: Arc<Component>, setup: Setup) -> Self {
        let log = GuestLog::new(&setup.name, &setup.limits);
        Self { component, setup, log }
    }

    fn examine(&self) -> Result<Vec<Problem>, Failure> {
        let setup = Setup { grants: Grants::default(), ..self.setup.clone() };
        Instance::new(&self.component, setup, self.log.clone())?.validate()
    }
}

impl Blueprint for WasmBlueprint {
    /// Asks an instance of its own, without any grant and under all limits.
    fn validate(&mut self) -> Vec<Problem> {
        // A thread of its own: WASI blocks on its futures, which must not happen on an executor's thread.
        let asked = thread::scope(|scope| scope.spawn(|| self.examine()).join());
        let failure = match asked {
            Ok(Ok(problems)) => return problems,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "panicked".to_owned(),
        };
        vec![Problem {
            path: String::new(),
            message: format!("the component could not check its settings: {failure}"),
            expected: "a component that answers `validate`".to_owned(),
        }]
    }

    fn instantiate(&mut self) -> Result<Box<dyn Consumer>, Failure> {
        Ok(Box::new(Instance::new(&self.component, self.setup.clone(), self.log.clone())?))
    }
}
