//! What a consumer was quarantined for, run again from the bundle that was written then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klines_delivery::bundle::{Bundle, COMPONENT, WHOLE};
use klines_delivery::data_dir::DataDir;
use klines_delivery::record::RecordError;
use klines_delivery::{Blueprint as _, CrashKind, Delivery, Failure};
use klines_domain::sanitize::sanitize;
use klines_system::limits::Limits;
use klines_wasm::component::{Component, ComponentError};
use klines_wasm::component_loader::{Components, Links, read};
use klines_wasm::state::StateStore;
use klines_wasm::{Setup, WasmBlueprint};
use thiserror::Error;

/// How often a batch is repeated that the consumer is not ready for.
const MOST_RETRIES: u32 = 100;

/// Why a bundle cannot be run.
#[derive(Debug, Error)]
pub enum ReproduceError {
    /// It cannot be read.
    #[error("reading the bundle {}", path.display())]
    Unreadable {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its limits are none.
    #[error("reading the limits of the bundle")]
    Limits(#[source] serde_json::Error),
    /// Its batches are none.
    #[error("reading its batches")]
    Batches(#[source] RecordError),
    /// There is no room for its state.
    #[error("making a temporary folder")]
    Scratch(#[source] io::Error),
    /// It is of a component that another version of klines brings along.
    #[error("this klines has no component `{0}`")]
    NotShipped(String),
    /// It was written without its component, whose SHA-256 is this.
    #[error(
        "the component had changed when the bundle was written: put the one with SHA-256 {0} beside it as {COMPONENT}, and set has_component"
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
    /// Another component is in the place of its own.
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

/// A bundle that was read.
#[derive(Debug)]
pub struct Reproduction {
    /// What it says.
    pub bundle: Bundle,
    folder: PathBuf,
    limits: Limits,
}

/// How the consumer ended this time.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The call that it was in.
    pub call: &'static str,
    /// Why it ended; `None` if it survived every call.
    pub failure: Option<Failure>,
}

impl Reproduction {
    /// Reads a bundle from its folder or its description.
    ///
    /// # Errors
    /// It is no bundle.
    pub fn read(path: &Path) -> Result<Self, ReproduceError> {
        let (bundle, folder) =
            Bundle::read(path).map_err(|source| ReproduceError::Unreadable { path: path.to_owned(), source })?;
        let limits = serde_json::from_value(bundle.limits.clone()).map_err(ReproduceError::Limits)?;
        Ok(Self { bundle, folder, limits })
    }

    /// Runs what the bundle holds, up to the first failure.
    ///
    /// # Errors
    /// Its component or its batches cannot be used.
    pub fn run(&self, components: &Components) -> Result<Seen, ReproduceError> {
        let bundle = &self.bundle;
        let component = self.component(components)?;
        let deliveries = bundle.batches.iter().chain(&bundle.delivery).map(Delivery::try_from);
        let deliveries = deliveries.collect::<Result<Vec<_>, _>>().map_err(ReproduceError::Batches)?;
        // Its own state stays as it is.
        let scratch = tempfile::tempdir().map_err(ReproduceError::Scratch)?;
        // The name of the consumer is untrusted, and no path.
        let state = StateStore::new(&DataDir::scratch(scratch.path()), "state", self.limits.state);
        let setup = Setup {
            limits: self.limits.clone(),
            state: Some(Arc::new(state)),
            ..Setup::plain(&bundle.consumer, &bundle.settings.to_string())
        };
        Ok(run(WasmBlueprint::new(component, setup), &deliveries))
    }

    /// Whether this is the crash that the bundle is of.
    #[must_use]
    pub fn is_reproduced(&self, seen: &Seen) -> bool {
        let kind = seen.failure.as_ref().and_then(kind_of);
        kind.is_some_and(|kind| kind.to_string() == self.bundle.kind) && seen.call == self.bundle.call
    }

    /// Names what the crash may have depended on and is not in the bundle.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let bundle = &self.bundle;
        let in_consume = bundle.delivery.is_some();
        let history = sanitize(&bundle.history, usize::MAX);
        let before = (in_consume && bundle.history != WHOLE)
            .then(|| format!("what came before the {} (history: {history})", held(bundle)));
        let state = bundle.uses_state.then(|| "the state that the consumer had kept".to_owned());
        before.into_iter().chain(state).collect()
    }

    fn component(&self, components: &Components) -> Result<Arc<Component>, ReproduceError> {
        let bundle = &self.bundle;
        if let Some(name) = &bundle.shipped {
            let bytes =
                klines_wasm::shipped::shipped(name).ok_or_else(|| ReproduceError::NotShipped(name.to_owned()))?;
            return Ok(components.from_trusted(bytes, u64::MAX)?);
        }
        if !bundle.has_component {
            return Err(ReproduceError::NoComponent(bundle.sha256.clone()));
        }
        let path = self.folder.join(COMPONENT);
        let file = read(&path, self.limits.component_size, Links::Refuse)
            .map_err(|source| ReproduceError::Component { path: path.clone(), source })?;
        if file.sha256 != bundle.sha256 {
            let (found, wanted) = (file.sha256, bundle.sha256.clone());
            return Err(ReproduceError::OtherComponent { path, found, wanted });
        }
        Ok(components.from_untrusted(&file, &self.limits)?)
    }
}

/// Describes the calls of `consume` that the bundle holds.
fn held(bundle: &Bundle) -> String {
    match bundle.batches.len() {
        0 => "batch that it crashed in".to_owned(),
        before => format!("{before} batches before the one that it crashed in"),
    }
}

/// Runs up to the first failure.
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
        // A batch that it was not ready for came again in the run, too.
        let mut taken = consumer.consume(delivery);
        for _ in 0..MOST_RETRIES {
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
        Failure::Retry(_) | Failure::Fatal(_) => None,
    }
}
