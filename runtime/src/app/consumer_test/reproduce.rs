//! `klines consumer test CRASH_REPORT`: reproduces the crash for which a consumer was stopped or quarantined.

use std::path::Path;
use std::process::ExitCode;

use klines_authoring::harness::reproduce::Reproduction;
use klines_authoring::tools::cache_of_process;
use serde_json::json;

use crate::app::inspect::sanitized;
use crate::app::output;
use crate::app::wiring::compiling;
use crate::cli::EXIT_FAILED;

/// Runs a crash report's deliveries and compares how the run ends.
///
/// # Errors
/// The crash report cannot be read, or its component is missing.
pub fn reproduce(crash_report: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let reproduction = Reproduction::read(crash_report)?;
    let seen = reproduction.run(&*compiling::for_an_author(cache_of_process().as_deref())?)?;
    let shown = match &seen.failure {
        Some(failure) => format!("{failure} (in {})", seen.call),
        None => "every call succeeded".to_owned(),
    };
    let report = &reproduction.report;
    let is_reproduced = reproduction.is_reproduced(&seen);
    let exit = if is_reproduced { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) };
    if as_json {
        let json = json!({
            "ok": is_reproduced,
            "crash_report": { "kind": report.kind, "error": report.error, "call": report.call, "history": report.history },
            "this_run": shown,
            "missing": reproduction.missing(),
        });
        output::print(&format!("{json:#}\n"))?;
        return Ok(exit);
    }
    output::print(&format!(
        "crash report: {}: {} (in {})\nhistory:      {}\nthis run:     {shown}\n",
        sanitized(&report.kind),
        sanitized(&report.error),
        sanitized(&report.call),
        sanitized(&report.history)
    ))?;
    if is_reproduced {
        output::eprint("the crash is reproduced");
        return Ok(exit);
    }
    output::eprint("the crash is not reproduced");
    for reason in reproduction.missing() {
        output::eprint(&format!("it may depend on what the crash report does not contain: {reason}"));
    }
    Ok(exit)
}
