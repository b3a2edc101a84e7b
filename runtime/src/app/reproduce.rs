//! `klines consumer test BUNDLE`: what a consumer was quarantined for, seen again.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use klines_delivery::bundle::{Bundle, COMPONENT, WHOLE};
use klines_delivery::data_dir::DataDir;
use klines_delivery::{Blueprint as _, CrashKind, Delivery, Failure};
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::components::{Components, Links, read};
use klines_wasm::state::StateStore;
use klines_wasm::{Setup, WasmBlueprint};

use super::inspect::clean;
use super::output;
use super::wiring::compiling;
use crate::cli::EXIT_FAILED;

/// How often a batch is handed over again that the consumer is not ready for.
const MOST_RETRIES: u32 = 100;

/// Runs what the bundle holds and compares how it ends.
///
/// # Errors
/// The bundle cannot be read, or its component is missing.
pub fn reproduce(bundle: &Path) -> anyhow::Result<ExitCode> {
    let (bundle, folder) = Bundle::read(bundle).with_context(|| format!("reading the bundle {}", bundle.display()))?;
    let limits: Limits = serde_json::from_value(bundle.limits.clone()).context("reading the limits of the bundle")?;
    let components = compiling::for_untrusted()?;
    let component = component(&components, &bundle, &folder, &limits)?;
    let deliveries = bundle.batches.iter().chain(&bundle.delivery).map(Delivery::try_from);
    let deliveries = deliveries.collect::<Result<Vec<_>, _>>().context("reading its batches")?;
    // Its own state stays as it is.
    let scratch = tempfile::tempdir().context("making a temporary folder")?;
    // What the bundle calls the consumer is a stranger's word, and no path of ours.
    let state = StateStore::new(&DataDir::scratch(scratch.path()), "state", limits.state);
    let setup =
        Setup { limits, state: Some(Arc::new(state)), ..Setup::plain(&bundle.consumer, &bundle.settings.to_string()) };
    let (call, failure) = live(WasmBlueprint::new(component, setup), &deliveries);
    let seen = match &failure {
        Some(failure) => format!("{failure} (in {call})"),
        None => "it survived every call".to_owned(),
    };
    output::print(&format!(
        "written down: {}: {} (in {})\nhistory:      {}\nseen now:     {seen}\n",
        clean(&bundle.kind),
        clean(&bundle.error),
        clean(&bundle.call),
        clean(&bundle.history)
    ))?;
    let kind = failure.as_ref().and_then(kind_of);
    let same = kind.is_some_and(|kind| kind.to_string() == bundle.kind) && call == bundle.call;
    output::say(if same { "the crash is reproduced" } else { "the crash is not reproduced" });
    for reason in missing(&bundle).into_iter().filter(|_| !same) {
        output::say(&format!("it may depend on what the bundle does not hold: {reason}"));
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn component(
    components: &Components,
    bundle: &Bundle,
    folder: &Path,
    limits: &Limits,
) -> anyhow::Result<Arc<Component>> {
    if let Some(name) = &bundle.shipped {
        let bytes =
            klines_wasm::shipped::shipped(name).with_context(|| format!("this klines has no component `{name}`"))?;
        return Ok(components.from_trusted(bytes, u64::MAX)?);
    }
    if !bundle.has_component {
        let sha256 = &bundle.sha256;
        bail!(
            "the component had changed when the bundle was written: put the one with SHA-256 {sha256} beside it as {COMPONENT}, and set has_component"
        );
    }
    let path = folder.join(COMPONENT);
    let file = read(&path, limits.component_size, Links::Refuse).with_context(|| path.display().to_string())?;
    if file.sha256 != bundle.sha256 {
        bail!(
            "{} is not the component that crashed: its SHA-256 is {}, not {}",
            path.display(),
            file.sha256,
            bundle.sha256
        );
    }
    Ok(components.from_untrusted(&file, limits)?)
}

/// What the crash may have depended on and is not in the bundle.
fn missing(bundle: &Bundle) -> Vec<String> {
    let in_consume = bundle.delivery.is_some();
    let before = (in_consume && bundle.history != WHOLE)
        .then(|| format!("what came before the {} (history: {})", held(bundle), clean(&bundle.history)));
    let state = bundle.uses_state.then(|| "the state that the consumer had kept".to_owned());
    before.into_iter().chain(state).collect()
}

/// What there is of `consume`.
fn held(bundle: &Bundle) -> String {
    match bundle.batches.len() {
        0 => "batch that it crashed in".to_owned(),
        before => format!("{before} batches before the one that it crashed in"),
    }
}

/// Runs up to the first failure; returns the call that it was in.
fn live(mut blueprint: WasmBlueprint, deliveries: &[Delivery]) -> (&'static str, Option<Failure>) {
    let mut consumer = match blueprint.instantiate() {
        Ok(consumer) => consumer,
        Err(failure) => return ("instantiate", Some(failure)),
    };
    if let Err(failure) = consumer.setup() {
        return ("setup", Some(failure));
    }
    if let Err(failure) = consumer.start() {
        return ("start", Some(failure));
    }
    for delivery in deliveries {
        // A batch that it was not ready for came again in the run, too.
        let mut taken = consumer.consume(delivery);
        for _ in 0..MOST_RETRIES {
            let Err(Failure::Retry(_)) = &taken else { break };
            taken = consumer.consume(delivery);
        }
        if let Err(failure) = taken {
            return ("consume", Some(failure));
        }
    }
    ("consume", None)
}

fn kind_of(failure: &Failure) -> Option<CrashKind> {
    match failure {
        Failure::Crashed { kind, .. } => Some(*kind),
        Failure::Retry(_) | Failure::Fatal(_) => None,
    }
}
