//! The test harness of consumers: a component under the limits and grants of a run, with klines that are the same every
//! time, compared with what its author expects.
//!
//! Plays nothing itself: the klines of a case's input are handed to [`run`]. Nothing of the machine is touched but golden
//! files, and those only by [`golden::update`].

mod capture;
mod error;
mod expectations;
mod fixture;
pub mod golden;
mod project;
mod repeat;
pub mod reproduce;
mod runner;
mod transcript;

use std::path::PathBuf;
use std::sync::Arc;

use klines_config::consumers::Allow;
use klines_config::{Finding, Report};
use klines_delivery::Blueprint as _;
use klines_wasm::WasmBlueprint;
use klines_wasm::component_loader::Components;
use klines_wasm::grants::Grants;
use klines_wasm::manifest::Missing;

pub use self::capture::{Capture, Record, Request, Step};
pub use self::error::HarnessError;
pub use self::expectations::{judge, judge_effects};
pub use self::fixture::Fixture;
pub use self::project::{TestProject, TestProjectError};
pub use self::repeat::RepeatCommand;
pub use self::runner::{End, Outcome, run};
pub use self::transcript::Transcript;
use crate::case::{Case, Source, klines};

/// A component under test, and what its fixtures are made with.
#[derive(Clone)]
pub struct Harness {
    /// Compiles the component, as untrusted.
    pub components: Arc<Components>,
    /// The component's file.
    pub path: PathBuf,
    /// Turns what a case allows into grants.
    pub grants: fn(&Allow) -> Grants,
}

impl Harness {
    /// Lets the component check the settings of every case, and looks at what it asks for and at klines that are written
    /// by hand. The report holds every problem and warning.
    ///
    /// # Errors
    /// The component cannot be used, or there is no room for its folders.
    pub fn check(&self, cases: &[Case]) -> Result<Report, HarnessError> {
        let mut report = Report::default();
        for case in cases {
            let mut fixture = self.fixture(case)?;
            let problems = fixture.blueprint.validate();
            let findings = problems.iter().map(|problem| Finding {
                path: &problem.path,
                message: &problem.message,
                expected: &problem.expected,
            });
            report.merge_new(case.settings_report(findings));
            report.merge_new(check_grants(case, &fixture.blueprint));
            if let Source::Klines(file) = &case.input.source
                && let Err(problems) = klines::read(file)
            {
                report.merge_new(problems);
            }
        }
        Ok(report)
    }

    /// Sets a case up; seconds of its log are those of the klines.
    ///
    /// # Errors
    /// The component cannot be used, or there is no room for its folders.
    pub fn fixture(&self, case: &Case) -> Result<Fixture, HarnessError> {
        Fixture::new(self, case, false)
    }

    /// Sets a case up for real time.
    ///
    /// # Errors
    /// The component cannot be used, or there is no room for its folders.
    pub fn live_fixture(&self, case: &Case) -> Result<Fixture, HarnessError> {
        Fixture::new(self, case, true)
    }
}

/// Warns as a run does of what is allowed in vain, and of what is asked for and not granted.
fn check_grants(case: &Case, blueprint: &WasmBlueprint) -> Report {
    let mut report = Report::default();
    for vain in blueprint.allowed_in_vain() {
        let message = format!("{vain}, so that it is not granted");
        let expected = "no more than the component asks for; `klines consumer inspect` lists that";
        report.merge_new(case.allow_warning(&message, expected));
    }
    if blueprint.wants().manifest.is_some() {
        let missing = blueprint.wants().missing(blueprint.grants());
        for Missing { key, what, entry, .. } in missing.into_iter().filter(|missing| !missing.is_choice) {
            let message = format!("it asks for {what}, which is not granted");
            let expected = format!("`{key} = [{entry}]` in [consumers.{}.allow], if that is meant", case.consumer.name);
            report.merge_new(case.allow_warning(&message, &expected));
        }
    }
    report
}
