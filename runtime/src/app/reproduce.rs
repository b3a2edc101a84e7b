//! `klines consumer test BUNDLE`: what a consumer was quarantined for, seen again.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::inspect::clean;
use super::output;
use super::parts::Workshop;
use crate::cli::EXIT_FAILED;
use crate::consumer::bundle::{Bundle, COMPONENT};
use crate::consumer::wasm::component::Component;
use crate::consumer::wasm::components::{Links, read};
use crate::consumer::wasm::limits::Limits;
use crate::consumer::wasm::state::StateStore;
use crate::consumer::wasm::{Setup, WasmBlueprint};
use crate::consumer::{Blueprint as _, CrashKind, Delivery, Failure, shipped};

/// Runs what the bundle holds and compares how it ends.
///
/// # Errors
/// The bundle cannot be read, or its component is missing.
pub fn reproduce(bundle: &Path) -> anyhow::Result<ExitCode> {
    let (bundle, folder) = Bundle::read(bundle).with_context(|| format!("reading the bundle {}", bundle.display()))?;
    let limits: Limits = serde_json::from_value(bundle.limits.clone()).context("reading the limits of the bundle")?;
    let workshop = Workshop::for_a_stranger()?;
    let component = component(&workshop, &bundle, &folder, &limits)?;
    let delivery = bundle.delivery.as_ref().map(Delivery::try_from).transpose().context("reading its delivery")?;
    // Its own state stays as it is.
    let scratch = tempfile::tempdir().context("making a temporary folder")?;
    // What the bundle calls the consumer is a stranger's word, and no path of ours.
    let state = StateStore::new(scratch.path(), "state", limits.state);
    let setup =
        Setup { limits, state: Some(Arc::new(state)), ..Setup::plain(&bundle.consumer, &bundle.settings.to_string()) };
    let (call, failure) = live(WasmBlueprint::new(component, setup), delivery.as_ref());
    let seen = match &failure {
        Some(failure) => format!("{failure} (in {call})"),
        None => "it survived every call".to_owned(),
    };
    output::print(&format!(
        "written down: {}: {} (in {})\nseen now:     {seen}\n",
        clean(&bundle.kind),
        clean(&bundle.error),
        clean(&bundle.call)
    ))?;
    let kind = failure.as_ref().and_then(kind_of);
    let same = kind.is_some_and(|kind| kind.to_string() == bundle.kind) && call == bundle.call;
    output::say(if same { "the crash is reproduced" } else { "the crash is not reproduced" });
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

fn component(workshop: &Workshop, bundle: &Bundle, folder: &Path, limits: &Limits) -> anyhow::Result<Arc<Component>> {
    let components = &workshop.components;
    if let Some(name) = &bundle.shipped {
        let bytes = shipped::shipped(name).with_context(|| format!("this klines has no component `{name}`"))?;
        return Ok(components.from_bytes(bytes, u64::MAX)?);
    }
    if !bundle.has_component {
        let sha256 = &bundle.sha256;
        bail!(
            "the component had changed when the bundle was written: put the one with SHA-256 {sha256} beside it as {COMPONENT}, and set has_component"
        );
    }
    let path = folder.join(COMPONENT);
    let file = read(&path, limits.component, Links::Refuse).with_context(|| path.display().to_string())?;
    if file.sha256 != bundle.sha256 {
        bail!(
            "{} is not the component that crashed: its SHA-256 is {}, not {}",
            path.display(),
            file.sha256,
            bundle.sha256
        );
    }
    Ok(components.from_stranger(&file, limits)?)
}

/// Runs up to the first failure; returns the call that it was in.
fn live(mut blueprint: WasmBlueprint, delivery: Option<&Delivery>) -> (&'static str, Option<Failure>) {
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
    let consumed = delivery.map(|delivery| consumer.consume(delivery));
    ("consume", consumed.and_then(Result::err))
}

fn kind_of(failure: &Failure) -> Option<CrashKind> {
    match failure {
        Failure::Crashed { kind, .. } => Some(*kind),
        Failure::Retry(_) | Failure::Fatal(_) => None,
    }
}
