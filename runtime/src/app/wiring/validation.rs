//! Validates the settings of components: before anything starts, or, if untrusted code would make a live feed wait, as
//! part of the consumer's start.

use std::sync::Arc;
use std::time::Instant;

use klines_cluster::group::Group;
use klines_config::consumers::Consumer;
use klines_config::{Config, Report};
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer as Instance, Failure, Problem, Profile};
use klines_wasm::{Unanswered, Validation, WasmBlueprint};

use super::{Awaited, settings_report};
use crate::app::cluster::groups;

/// A component that is validating its settings.
pub(super) struct PendingValidation<'a> {
    pub(super) consumer: &'a Consumer,
    blueprint: WasmBlueprint,
    pub(super) group: Option<Arc<Group>>,
    validation: Validation,
}

impl<'a> PendingValidation<'a> {
    /// Starts the validation.
    pub(super) fn new(consumer: &'a Consumer, blueprint: WasmBlueprint, group: Option<Arc<Group>>) -> Self {
        let validation = blueprint.begin_validation();
        Self { consumer, blueprint, group, validation }
    }

    /// Waits for the result; for a component that is not awaited, only until `until`. Adds the problems to `report`.
    pub(super) fn finish(
        self,
        config: &Config,
        (awaited, until): (Awaited, Instant),
        report: &mut Report,
    ) -> Box<dyn Blueprint> {
        let Self { consumer, blueprint, group, validation } = self;
        let run = groups::blueprint(blueprint.clone(), group.as_ref());
        let is_awaited = awaited == Awaited::All || !blueprint.is_untrusted();
        let answer = if is_awaited { Ok(validation.problems()) } else { validation.problems_by(until) };
        let (started, message) = match answer {
            Ok(problems) => {
                report.merge(settings_report(config, consumer, &problems));
                return run;
            }
            Err(Unanswered::Late(validation)) => {
                (Some(validation), "the component has not checked its settings yet".to_owned())
            }
            Err(Unanswered::Failed(problem)) => (None, problem.message),
        };
        let expected = "a component that answers `validate` at once; it is started only if it accepts its settings";
        report.merge(config.settings_warning(&consumer.name, &message, expected));
        let (config, consumer) = (config.clone(), consumer.clone());
        Box::new(DeferredValidation { config, consumer, blueprint, run, started, is_validated: false })
    }
}

/// A consumer whose settings are validated on its own thread, before its first instance is created.
struct DeferredValidation {
    config: Config,
    consumer: Consumer,
    blueprint: WasmBlueprint,
    /// Creates the instances.
    run: Box<dyn Blueprint>,
    /// The validation, if it was started before the consumer was.
    started: Option<Validation>,
    is_validated: bool,
}

impl Blueprint for DeferredValidation {
    fn validate(&mut self) -> Vec<Problem> {
        self.started.take().unwrap_or_else(|| self.blueprint.begin_validation()).problems()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Instance>, Failure> {
        if !self.is_validated {
            let problems = self.validate();
            if !problems.is_empty() {
                let report = settings_report(&self.config, &self.consumer, &problems);
                // Fatal, because a restart would refuse the same settings again.
                return Err(Failure::Fatal(report.sentence()));
            }
            self.is_validated = true;
        }
        self.run.instantiate(work)
    }

    fn profile(&self) -> Profile {
        self.run.profile()
    }
}
