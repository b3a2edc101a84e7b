//! `klines consumer test CRASH_REPORT`: reproduces the crash for which a consumer was stopped or quarantined.

use std::path::Path;
use std::process::ExitCode;

use klines_authoring::harness::reproduce::Reproduction;

use crate::app::inspect::sanitized;
use crate::app::output;
use crate::app::wiring::compiling;
use crate::cli::EXIT_FAILED;

/// Runs a crash report's deliveries and compares how the run ends.
///
/// # Errors
/// The crash report cannot be read, or its component is missing.
pub fn reproduce(crash_report: &Path) -> anyhow::Result<ExitCode> {
    let reproduction = Reproduction::read(crash_report)?;
    let seen = reproduction.run(&*compiling::for_untrusted()?)?;
    let shown = match &seen.failure {
        Some(failure) => format!("{failure} (in {})", seen.call),
        None => "every call succeeded".to_owned(),
    };
    let report = &reproduction.report;
    output::print(&format!(
        "crash report: {}: {} (in {})\nhistory:      {}\nthis run:     {shown}\n",
        sanitized(&report.kind),
        sanitized(&report.error),
        sanitized(&report.call),
        sanitized(&report.history)
    ))?;
    if reproduction.is_reproduced(&seen) {
        output::eprint("the crash is reproduced");
        return Ok(ExitCode::SUCCESS);
    }
    output::eprint("the crash is not reproduced");
    for reason in reproduction.missing() {
        output::eprint(&format!("it may depend on what the crash report does not contain: {reason}"));
    }
    Ok(ExitCode::from(EXIT_FAILED))
}
