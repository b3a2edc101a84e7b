//! When the settings of components are checked: before anything starts, or, where untrusted code would make a live feed
//! wait, as part of the consumer's start.

use std::sync::Arc;
use std::time::Instant;

use klines_config::consumers::Consumer;
use klines_config::{Config, Report};
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer as Instance, Failure, Problem, Profile};
use klines_wasm::{Unanswered, Validation, WasmBlueprint};

use super::{Awaited, settings_report};

/// A component that was asked about its settings.
pub(super) struct Asked<'a> {
    pub(super) consumer: &'a Consumer,
    blueprint: WasmBlueprint,
    validation: Validation,
}

impl<'a> Asked<'a> {
    /// Begins to ask it.
    pub(super) fn new(consumer: &'a Consumer, blueprint: WasmBlueprint) -> Self {
        let validation = blueprint.begin_validation();
        Self { consumer, blueprint, validation }
    }

    /// Waits for the answer: of a component that is not awaited, until a moment. Adds what is wrong to the report.
    pub(super) fn answered(
        self,
        config: &Config,
        (awaited, until): (Awaited, Instant),
        report: &mut Report,
    ) -> Box<dyn Blueprint> {
        let Self { consumer, blueprint, validation } = self;
        let is_awaited = awaited == Awaited::All || !blueprint.is_untrusted();
        let answer = if is_awaited { Ok(validation.problems()) } else { validation.problems_by(until) };
        let (begun, message) = match answer {
            Ok(problems) => {
                report.merge(settings_report(config, consumer, &problems));
                return Box::new(blueprint);
            }
            Err(Unanswered::Late(validation)) => {
                (Some(validation), "the component has not checked its settings yet".to_owned())
            }
            Err(Unanswered::Failed(problem)) => (None, problem.message),
        };
        let expected = "a component that answers `validate` at once; it is started only if it accepts its settings";
        report.merge(config.settings_warning(&consumer.name, &message, expected));
        let (config, consumer) = (config.clone(), consumer.clone());
        Box::new(Unchecked { config, consumer, blueprint, begun, is_checked: false })
    }
}

/// A consumer whose settings are checked before its first instance is made, on its own thread.
struct Unchecked {
    config: Config,
    consumer: Consumer,
    blueprint: WasmBlueprint,
    /// The check that was begun before the start.
    begun: Option<Validation>,
    is_checked: bool,
}

impl Blueprint for Unchecked {
    fn validate(&mut self) -> Vec<Problem> {
        self.begun.take().unwrap_or_else(|| self.blueprint.begin_validation()).problems()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Instance>, Failure> {
        if !self.is_checked {
            let problems = self.validate();
            if !problems.is_empty() {
                let report = settings_report(&self.config, &self.consumer, &problems);
                // The same settings would be refused again at every restart.
                return Err(Failure::Fatal(report.sentence()));
            }
            self.is_checked = true;
        }
        self.blueprint.instantiate(work)
    }

    fn profile(&self) -> Profile {
        self.blueprint.profile()
    }
}
