//! The test harness of consumers: runs a component under the limits and grants of a run, with the same klines every
//! time, and compares its effects with what the author expects.
//!
//! The caller of [`run`] provides the klines of a case. The harness writes to temporary folders only, except for golden
//! files, which [`golden::update`] writes.

mod capture;
mod error;
mod expectations;
mod fixture;
pub mod golden;
mod past;
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

/// A component under test, and the parts that its fixtures need.
#[derive(Clone)]
pub struct Harness {
    /// Compiles the component as an untrusted one.
    pub components: Arc<Components>,
    /// The file of the component.
    pub path: PathBuf,
    /// Converts the `allow` of a case into grants.
    pub grants: fn(&Allow) -> Grants,
}

impl Harness {
    /// Checks every case: its settings (by the component itself), its grants and its hand-written klines. The report
    /// contains all errors and warnings.
    ///
    /// # Errors
    /// The component cannot be used, or its temporary folders cannot be created.
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
            let by_hand = match &case.input.source {
                Source::Klines(file) => Some(file),
                Source::Market { .. } | Source::Trades(_) => None,
            };
            for file in by_hand.into_iter().chain(&case.input.history) {
                klines::read(file).err().into_iter().for_each(|problems| report.merge_new(problems));
            }
        }
        Ok(report)
    }

    /// Sets up a case whose log limits count the time of the klines.
    ///
    /// # Errors
    /// The component cannot be used, or its temporary folders cannot be created.
    pub fn fixture(&self, case: &Case) -> Result<Fixture, HarnessError> {
        Fixture::new(self, case, false)
    }

    /// Sets up a case whose log limits count real time.
    ///
    /// # Errors
    /// The component cannot be used, or its temporary folders cannot be created.
    pub fn live_fixture(&self, case: &Case) -> Result<Fixture, HarnessError> {
        Fixture::new(self, case, true)
    }
}

/// Warns, as a run does, about grants that the component does not ask for, and about requested grants that are missing.
fn check_grants(case: &Case, blueprint: &WasmBlueprint) -> Report {
    let mut report = Report::default();
    for unused in blueprint.unused_grants() {
        let message = format!("{unused}, so that it is not granted");
        let expected = "no more than the component asks for, which `klines consumer inspect` lists; in consumer.toml \
                        `http = true` adds wasi:http, and `wasi = true` the rest of WASI";
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
