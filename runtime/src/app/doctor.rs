//! `klines doctor`: checks the machine, the network and the files that a run needs, and says what fixes what is wrong.
//! Starts nothing and changes nothing.

mod certificate;
mod finding;
mod machine;
mod network;
mod store;

use std::process::ExitCode;

use klines_config::{Config, Report, Severity};
use klines_system::clock::LocalClock;
use klines_wasm::engine::WASMTIME;
use klines_wasm::newest_contract;

use self::finding::{Finding, State};
use super::admin::client::{ClientError, ask};
use super::admin::protocol::{Answer, Op};
use super::output;
use crate::cli::{DoctorArgs, EXIT_FAILED, version};
use crate::telemetry;

/// Makes all checks and prints them. The exit code is 1 if one has found a problem.
///
/// # Errors
/// When standard output cannot be written.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let (config, report) = klines_config::examine(args.flags.sources());
    let now = LocalClock::start().now().get();
    let mut findings = vec![versions(), configuration(&report), run(&config)];
    findings.extend(machine::check(&config));
    findings.push(store::check(&config));
    findings.extend(certificate::check(&config, now));
    findings.extend(network::check(&config));
    let text = if args.json {
        finding::json(&findings)
    } else {
        finding::text(&findings, telemetry::wants_color(&std::io::stdout()))
    };
    output::print(&text)?;
    let is_bad = findings.iter().any(|finding| finding.state == State::Problem);
    Ok(if is_bad { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

fn versions() -> Finding {
    let (version, contract) = (version(), newest_contract());
    Finding::ok("versions", format!("klines {version}, contract {contract}, wasmtime {WASMTIME}"))
}

/// The other checks use defaults in place of what is refused.
fn configuration(report: &Report) -> Finding {
    let name = "configuration";
    match (report.count(Severity::Error), report.count(Severity::Warning)) {
        (0, 0) => Finding::ok(name, "no errors and no warnings"),
        (0, _) => Finding::warning(name, report.sentence(), "`klines check` shows the places"),
        _ => Finding::problem(name, report.sentence(), "`klines check` shows the places and what was expected"),
    }
}

fn run(config: &Config) -> Finding {
    let (name, shown) = ("run", config.data_dir.display());
    match ask(&config.data_dir, Op::List).and_then(|mut answers| answers.read()) {
        Ok(Answer::Consumers(consumers)) => {
            let names: Vec<String> =
                consumers.into_iter().map(|row| format!("{} is {}", row.name, row.state)).collect();
            Finding::ok(name, format!("a run answers in {shown}: {}", names.join(", ")))
        }
        Ok(_) => Finding::warning(name, format!("what answers in {shown} is another version"), "restart it"),
        Err(ClientError::NotRunning(_)) => Finding::ok(name, format!("no run answers in {shown}")),
        Err(error) => {
            let fix = "look at the log of the run, or at who else uses this data_dir";
            Finding::warning(name, error.to_string(), fix)
        }
    }
}
