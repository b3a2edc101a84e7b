//! The environment of one case: temporary folders, an empty state, and a recorder of what the consumer does.

use std::path::PathBuf;
use std::sync::Arc;

use klines_config::show::redact;
use klines_delivery::Subscription;
use klines_delivery::data_dir::DataDir;
use klines_delivery::emit::Emitter;
use klines_wasm::component::Component;
use klines_wasm::component_loader::{Links, read};
use klines_wasm::state::StateStore;
use klines_wasm::terminal::StandardOutput;
use klines_wasm::{Origin, Past, Setup, WasmBlueprint};
use tempfile::TempDir;

use super::Harness;
use super::capture::Capture;
use super::error::HarnessError;
use super::past::PastKlines;
use crate::case::Case;

/// The environment of one case.
pub struct Fixture {
    /// Creates the instances.
    pub blueprint: WasmBlueprint,
    /// Records what the instances do.
    pub capture: Arc<Capture>,
    /// The granted folders: the path in the sandbox, and the temporary folder of the case.
    pub dirs: Vec<(String, PathBuf)>,
    /// What the instances can read of the past.
    pub(super) past: Arc<PastKlines>,
    /// The temporary folder of the case, which is removed with the fixture.
    pub scratch: TempDir,
}

impl Fixture {
    /// Sets up a case. Log limits count real time if `in_real_time`, otherwise the time of the klines.
    pub(super) fn new(harness: &Harness, case: &Case, in_real_time: bool) -> Result<Self, HarnessError> {
        let consumer = &case.consumer;
        let limits = consumer.limits.clone();
        let component = component(harness, case)?;
        let scratch = tempfile::Builder::new().prefix("klines-").tempdir().map_err(HarnessError::Scratch)?;
        let mut grants = (harness.grants)(&consumer.allow);
        let mut dirs = Vec::new();
        for (number, dir) in grants.dirs.iter_mut().enumerate() {
            dir.host = scratch.path().join("dirs").join(number.to_string());
            std::fs::create_dir_all(&dir.host).map_err(HarnessError::Scratch)?;
            dirs.push((dir.guest.clone(), dir.host.clone()));
        }
        let capture = Arc::new(Capture::new(&case.stubs, in_real_time));
        let state = StateStore::new(&DataDir::scratch(scratch.path()), "state", limits.state);
        let emitter = Emitter::new(&consumer.name, limits.emit_names, Some(capture.clone()));
        let past = Arc::new(PastKlines::of(case.input.history.as_deref()));
        let allowed = Subscription {
            symbols: consumer.symbols.clone(),
            intervals: consumer.intervals.clone(),
            closed_only: consumer.closed_only,
        };
        let setup = Setup {
            name: consumer.name.clone(),
            settings: consumer.settings.to_string(),
            grants,
            terminal: Arc::new(StandardOutput),
            state: Some(Arc::new(state)),
            emitter: Some(Arc::new(emitter)),
            past: Past { history: past.clone(), allowed, seeded: None },
            origin: Origin::File(harness.path.clone()),
            shown: redact(&consumer.settings),
            trusted_work: Arc::default(),
            observer: Some(capture.clone()),
            limits,
        };
        Ok(Self { blueprint: WasmBlueprint::new(component, setup), capture, dirs, past, scratch })
    }

    /// Returns the memory of its instances, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.blueprint.own_meter().memory.read()
    }
}

fn component(harness: &Harness, case: &Case) -> Result<Arc<Component>, HarnessError> {
    let limits = &case.consumer.limits;
    let refused = |source| HarnessError::Component { path: harness.path.clone(), source };
    let file = read(&harness.path, limits.component_size, Links::Follow).map_err(refused)?;
    harness.components.from_untrusted(&file, limits).map_err(refused)
}
