//! Reproduces a consumer's crash from its crash report.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klines_delivery::crash_report::{COMPONENT, CrashReport, WHOLE};
use klines_delivery::data_dir::DataDir;
use klines_delivery::record::RecordError;
use klines_delivery::{Blueprint as _, CrashKind, Delivery, Failure};
use klines_domain::count::counted;
use klines_domain::sanitize::sanitize;
use klines_system::limits::Limits;
use klines_wasm::component::{Component, ComponentError};
use klines_wasm::component_loader::{Components, Links, read};
use klines_wasm::state::StateStore;
use klines_wasm::{Setup, WasmBlueprint};
use thiserror::Error;

/// How often a batch is repeated while the consumer answers `Retry`.
const MAX_RETRIES: u32 = 100;

/// Why a crash report cannot be run.
#[derive(Debug, Error)]
pub enum ReproduceError {
    /// It cannot be read.
    #[error("reading the crash report {}", path.display())]
    Unreadable {
        /// The crash report.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its limits are not valid.
    #[error("reading the limits of the crash report")]
    Limits(#[source] serde_json::Error),
    /// Its batches are not valid.
    #[error("reading its batches")]
    Batches(#[source] RecordError),
    /// A temporary folder for its state cannot be created.
    #[error("making a temporary folder")]
    Scratch(#[source] io::Error),
    /// Its component is part of another version of klines.
    #[error("this klines has no component `{0}`")]
    NotShipped(String),
    /// It was written without its component, which has this SHA-256.
    #[error(
        "the component had changed when the crash report was written: put the one with SHA-256 {0} next to it as {COMPONENT}, and set has_component"
    )]
    NoComponent(String),
    /// Its component cannot be read.
    #[error("{}", path.display())]
    Component {
        /// The component's file.
        path: PathBuf,
        /// Why.
        source: ComponentError,
    },
    /// Its component was replaced by another one.
    #[error("{} is not the component that crashed: its SHA-256 is {found}, not {wanted}", path.display())]
    OtherComponent {
        /// The component's file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
        /// That of the component that crashed.
        wanted: String,
    },
    /// Its component is refused.
    #[error(transparent)]
    Refused(#[from] ComponentError),
}

/// A crash report that was read.
#[derive(Debug)]
pub struct Reproduction {
    /// The crash report.
    pub report: CrashReport,
    folder: PathBuf,
    limits: Limits,
}

/// How the consumer ended this time.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The last call.
    pub call: &'static str,
    /// Why the call failed; `None` if every call succeeded.
    pub failure: Option<Failure>,
}

impl Reproduction {
    /// Reads a crash report from its folder or its description.
    ///
    /// # Errors
    /// It is not a crash report.
    pub fn read(path: &Path) -> Result<Self, ReproduceError> {
        let (report, folder) =
            CrashReport::read(path).map_err(|source| ReproduceError::Unreadable { path: path.to_owned(), source })?;
        let limits = serde_json::from_value(report.limits.clone()).map_err(ReproduceError::Limits)?;
        Ok(Self { report, folder, limits })
    }

    /// Runs the component with the crash report's deliveries, up to the first failure.
    ///
    /// # Errors
    /// Its component or its batches cannot be used.
    pub fn run(&self, components: &Components) -> Result<Seen, ReproduceError> {
        let report = &self.report;
        let component = self.component(components)?;
        let deliveries = report.batches.iter().chain(&report.delivery).map(Delivery::try_from);
        let deliveries = deliveries.collect::<Result<Vec<_>, _>>().map_err(ReproduceError::Batches)?;
        // The consumer's real state is not touched.
        let scratch = tempfile::tempdir().map_err(ReproduceError::Scratch)?;
        // The name of the consumer is untrusted and must not become a path.
        let state = StateStore::new(&DataDir::scratch(scratch.path()), "state", self.limits.state);
        let setup = Setup {
            limits: self.limits.clone(),
            state: Some(Arc::new(state)),
            ..Setup::plain(&report.consumer, &report.settings.to_string())
        };
        Ok(run(WasmBlueprint::new(component, setup), &deliveries))
    }

    /// Returns whether this is the crash of the report.
    #[must_use]
    pub fn is_reproduced(&self, seen: &Seen) -> bool {
        let kind = seen.failure.as_ref().and_then(kind_of);
        kind.is_some_and(|kind| kind.to_string() == self.report.kind) && seen.call == self.report.call
    }

    /// Names what the crash may have depended on, but the crash report does not contain.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let report = &self.report;
        let in_consume = report.delivery.is_some();
        let history = sanitize(&report.history, usize::MAX);
        let before = (in_consume && report.history != WHOLE)
            .then(|| format!("what came before the {} (history: {history})", describe_batches(report)));
        let state = report.uses_state.then(|| "the state that the consumer had kept".to_owned());
        before.into_iter().chain(state).collect()
    }

    fn component(&self, components: &Components) -> Result<Arc<Component>, ReproduceError> {
        let report = &self.report;
        if let Some(name) = &report.shipped {
            let bytes =
                klines_wasm::shipped::shipped(name).ok_or_else(|| ReproduceError::NotShipped(name.to_owned()))?;
            return Ok(components.from_trusted(bytes, u64::MAX)?);
        }
        if !report.has_component {
            return Err(ReproduceError::NoComponent(report.sha256.clone()));
        }
        let path = self.folder.join(COMPONENT);
        let file = read(&path, self.limits.component_size, Links::Refuse)
            .map_err(|source| ReproduceError::Component { path: path.clone(), source })?;
        if file.sha256 != report.sha256 {
            let (found, wanted) = (file.sha256, report.sha256.clone());
            return Err(ReproduceError::OtherComponent { path, found, wanted });
        }
        Ok(components.from_untrusted(&file, &self.limits)?)
    }
}

/// Describes the calls of `consume` in the crash report.
fn describe_batches(report: &CrashReport) -> String {
    match report.batches.len() {
        0 => "batch that it crashed in".to_owned(),
        before => format!("{} before the one that it crashed in", counted(before, "batch")),
    }
}

/// Runs the deliveries up to the first failure.
fn run(mut blueprint: WasmBlueprint, deliveries: &[Delivery]) -> Seen {
    let failed = |call, failure| Seen { call, failure: Some(failure) };
    let mut consumer = match blueprint.instantiate(&Arc::default()) {
        Ok(consumer) => consumer,
        Err(failure) => return failed("instantiate", failure),
    };
    if let Err(failure) = consumer.setup() {
        return failed("setup", failure);
    }
    if let Err(failure) = consumer.start() {
        return failed("start", failure);
    }
    for delivery in deliveries {
        // In the real run, too, a batch was repeated after `Retry`.
        let mut taken = consumer.consume(delivery);
        for _ in 0..MAX_RETRIES {
            let Err(Failure::Retry(_)) = &taken else { break };
            taken = consumer.consume(delivery);
        }
        if let Err(failure) = taken {
            return failed("consume", failure);
        }
    }
    Seen { call: "consume", failure: None }
}

fn kind_of(failure: &Failure) -> Option<CrashKind> {
    match failure {
        Failure::Crashed { kind, .. } => Some(*kind),
        Failure::Retry(_) | Failure::Fatal(_) | Failure::OutputClosed => None,
    }
}
