//! Where cases are run: the component, compiled like a stranger's, and for each case fresh folders and an empty state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use klines_config::case::{Case, Source, Subject, klines};
use klines_config::show::redact;
use klines_config::{Finding, Report};
use klines_delivery::Blueprint as _;
use klines_delivery::data_dir::DataDir;
use klines_delivery::emit::Emitter;
use klines_wasm::component::Component;
use klines_wasm::components::{ComponentFile, Components, Links, read};
use klines_wasm::manifest::Missing;
use klines_wasm::state::StateStore;
use klines_wasm::terminal::StandardOutput;
use klines_wasm::{Origin, Setup, WasmBlueprint};
use tempfile::TempDir;

use super::capture::Capture;
use super::life;
use crate::app::wiring::{compiling, grants};

/// A component and where it is compiled.
pub(super) struct Stage {
    components: Arc<Components>,
    path: PathBuf,
}

/// What one case runs in.
pub(super) struct Scene {
    /// Makes the instances.
    pub(super) blueprint: WasmBlueprint,
    /// What they do.
    pub(super) capture: Arc<Capture>,
    /// Granted folders: their path in the sandbox, and where they are for the time of the case.
    pub(super) dirs: Vec<(String, PathBuf)>,
    /// Everything that is gone afterwards.
    pub(super) scratch: TempDir,
}

impl Stage {
    /// Names the component. Compiled code is kept in `cache`, this user's folder for what can be made again.
    pub(super) fn build(subject: &Subject, cache: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self { components: compiling::for_an_author(cache)?, path: subject.component.clone() })
    }

    /// Lets the component check the settings of every case, and looks at what it asks for and at klines that are
    /// written by hand.
    pub(super) fn check(&self, cases: &[Case]) -> anyhow::Result<Report> {
        let mut report = Report::default();
        for case in cases {
            let mut scene = self.scene(case)?;
            let problems = scene.blueprint.validate();
            let findings = problems.iter().map(|problem| Finding {
                path: &problem.path,
                message: &problem.message,
                expected: &problem.expected,
            });
            report.merge_new(case.settings_report(findings));
            report.merge_new(wants(case, &scene.blueprint));
            if let Source::Klines(file) = &case.input.source
                && let Err(problems) = klines::read(file)
            {
                report.merge_new(problems);
            }
        }
        Ok(report)
    }

    /// Sets a case up.
    pub(super) fn scene(&self, case: &Case) -> anyhow::Result<Scene> {
        self.set(case, false)
    }

    /// Sets a case up for real time.
    pub(super) fn live_scene(&self, case: &Case) -> anyhow::Result<Scene> {
        self.set(case, true)
    }

    fn set(&self, case: &Case, in_real_time: bool) -> anyhow::Result<Scene> {
        let consumer = &case.consumer;
        let limits = consumer.limits.clone();
        let component = self.component(case)?;
        let scratch = tempfile::Builder::new().prefix("klines-").tempdir().context("making a temporary folder")?;
        let mut grants = grants::of(&consumer.allow);
        let mut dirs = Vec::new();
        for (number, dir) in grants.dirs.iter_mut().enumerate() {
            dir.host = scratch.path().join("dirs").join(number.to_string());
            std::fs::create_dir_all(&dir.host).context("making a temporary folder")?;
            dirs.push((dir.guest.clone(), dir.host.clone()));
        }
        let capture = Arc::new(Capture::new(&case.stubs, in_real_time));
        let state = StateStore::new(&DataDir::scratch(scratch.path()), "state", limits.state);
        let emitter = Emitter::new(&consumer.name, limits.emit_names, Some(capture.clone()));
        let setup = Setup {
            name: consumer.name.clone(),
            settings: consumer.settings.to_string(),
            grants,
            terminal: Arc::new(StandardOutput),
            state: Some(Arc::new(state)),
            emitter: Some(Arc::new(emitter)),
            origin: Origin::File(self.path.clone()),
            shown: redact(&consumer.settings),
            trusted_work: Arc::default(),
            witness: Some(capture.clone()),
            limits,
        };
        Ok(Scene { blueprint: WasmBlueprint::new(component, setup), capture, dirs, scratch })
    }

    fn component(&self, case: &Case) -> anyhow::Result<Arc<Component>> {
        let limits = &case.consumer.limits;
        let shown = || self.path.display().to_string();
        let file: ComponentFile = read(&self.path, limits.component_size, Links::Follow).with_context(shown)?;
        self.components.from_untrusted(&file, limits).with_context(shown)
    }
}

/// Warns as a run does of what is allowed in vain, and of what is asked for and not granted.
fn wants(case: &Case, blueprint: &WasmBlueprint) -> Report {
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

impl Scene {
    /// Bytes that its instances hold.
    pub(super) fn memory(&self) -> u64 {
        self.blueprint.own_meter().memory.read()
    }

    /// What has become of it, should it have ended in the middle of a call.
    pub(super) fn failure_of_stop(&self) -> Option<life::End> {
        let failure = self.capture.read().bad_stop.clone()?;
        Some(life::End { call: "stop", number: None, klines: Vec::new(), failure })
    }
}
