//! `klines consumer test BUNDLE`: what a consumer was quarantined for, seen again.

use std::path::Path;
use std::process::ExitCode;

use klines_authoring::harness::reproduce::Reproduction;

use crate::app::inspect::sanitized;
use crate::app::output;
use crate::app::wiring::compiling;
use crate::cli::EXIT_FAILED;

/// Runs what the bundle holds and compares how it ends.
///
/// # Errors
/// The bundle cannot be read, or its component is missing.
pub fn reproduce(bundle: &Path) -> anyhow::Result<ExitCode> {
    let reproduction = Reproduction::read(bundle)?;
    let seen = reproduction.run(&*compiling::for_untrusted()?)?;
    let shown = match &seen.failure {
        Some(failure) => format!("{failure} (in {})", seen.call),
        None => "it survived every call".to_owned(),
    };
    let bundle = &reproduction.bundle;
    output::print(&format!(
        "written down: {}: {} (in {})\nhistory:      {}\nseen now:     {shown}\n",
        sanitized(&bundle.kind),
        sanitized(&bundle.error),
        sanitized(&bundle.call),
        sanitized(&bundle.history)
    ))?;
    if reproduction.is_reproduced(&seen) {
        output::say("the crash is reproduced");
        return Ok(ExitCode::SUCCESS);
    }
    output::say("the crash is not reproduced");
    for reason in reproduction.missing() {
        output::say(&format!("it may depend on what the bundle does not hold: {reason}"));
    }
    Ok(ExitCode::from(EXIT_FAILED))
}
