//! `klines consumer test`: runs a consumer under the limits and grants of a run, with the same klines every time, and
//! compares its behaviour with the expectations of its author.
//!
//! All cases are read and validated before the first one runs. The only files that are written are golden files, and
//! only with `--update`.

mod live;
mod market;
mod reproduce;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use klines_authoring::case::{Case, Subject};
use klines_authoring::harness::{self, Harness, RepeatCommand, TestProject, golden};
use klines_authoring::tools::cache_of_process;
use klines_config::Report;
use klines_delivery::crash_report::DESCRIPTION;
use serde_json::json;

use self::summary::Summary;
use super::output;
use super::wiring::{compiling, grants};
use crate::cli::{EXIT_CONFIG, EXIT_FAILED, TestArgs};

/// Runs the cases, or the crash report, that the arguments select. With `--json`, an error is JSON too.
///
/// # Errors
/// When the target does not exist, or the component cannot be used.
pub fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    match run_all(args) {
        Err(error) if args.json => {
            output::print(&format!("{:#}\n", json!({ "ok": false, "cases": [], "error": format!("{error:#}") })))?;
            Ok(ExitCode::from(EXIT_FAILED))
        }
        outcome => outcome,
    }
}

fn run_all(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let target = args.target.as_path();
    if target.file_name().is_some_and(|name| name == DESCRIPTION) || target.join(DESCRIPTION).is_file() {
        return reproduce::reproduce(target, args.json);
    }
    let (subject, files) = if target.is_dir() {
        let project = TestProject::open(target)?;
        project.check_built(target)?;
        let files = project.cases(args.case.as_deref())?;
        (project.subject, files)
    } else {
        (component(target)?, args.case.iter().map(PathBuf::from).collect())
    };
    let (cases, report) = read(&subject, &files);
    output::report(&report);
    if report.is_refusal() {
        return Ok(refused(&report, args.json));
    }
    let components = compiling::for_an_author(cache_of_process().as_deref())?;
    let harness = Harness { components, path: subject.component, grants: grants::of };
    let report = harness.check(&cases)?;
    output::report(&report);
    if report.is_refusal() {
        return Ok(refused(&report, args.json));
    }
    let mut summaries = Vec::new();
    for case in &cases {
        let repeat = repeat(args, &case.name, !files.is_empty());
        let summary = match args.live {
            true => live::run(&harness, case, args, &repeat),
            false => run(&harness, case, args, &repeat),
        };
        let summary = summary.with_context(|| format!("running the case {}", case.name))?;
        if !args.json {
            output::print(&summary.text())?;
        }
        summaries.push(summary);
    }
    conclude(&summaries, args.json)
}

/// Returns the test subject for a component without a project.
fn component(path: &Path) -> anyhow::Result<Subject> {
    if !path.is_file() {
        bail!("there is no {}: expected a project's folder, a component or a crash report", path.display());
    }
    let name = path.file_stem().map_or("consumer".into(), |stem| stem.to_string_lossy());
    Ok(Subject { name: name.into_owned(), component: path.to_owned(), folder: PathBuf::new(), configuration: None })
}

/// Reads the cases. Without a file, there is one case with default values.
fn read(subject: &Subject, files: &[PathBuf]) -> (Vec<Case>, Report) {
    let (mut cases, mut report) = (Vec::new(), Report::default());
    let files: Vec<Option<&Path>> =
        if files.is_empty() { vec![None] } else { files.iter().map(|file| Some(file.as_path())).collect() };
    for file in files {
        let (case, problems) = Case::read(subject, file);
        // The problems of `klines.toml` are the same for each case.
        report.merge_new(problems);
        cases.push(case);
    }
    (cases, report)
}

fn refused(report: &Report, as_json: bool) -> ExitCode {
    if as_json {
        // The exit code stays the same if standard output cannot be written.
        let _ = output::print(&format!("{:#}\n", json!({ "ok": false, "cases": [], "problems": report.json() })));
    }
    ExitCode::from(EXIT_CONFIG)
}

/// Runs a case and judges it.
fn run(harness: &Harness, case: &Case, args: &TestArgs, repeat: &RepeatCommand) -> anyhow::Result<Summary> {
    let fixture = harness.fixture(case)?;
    let outcome = harness::run(&fixture, case, args.until, market::play)?;
    let mut failures = match args.until {
        None => harness::judge(case, &fixture, &outcome),
        Some(_) => Vec::new(),
    };
    let mut notes = Vec::new();
    if let Some(golden) = &case.expect.golden {
        if args.update && !failures.is_empty() {
            notes.push(format!("{}: not written, because the case failed", golden.display()));
        } else if args.update {
            notes.extend(golden::update(golden, &outcome.transcript)?);
        } else {
            failures.extend(golden::compare(golden, &outcome, repeat, args.until.is_some())?);
        }
    }
    if args.until.is_some() {
        notes.push(outcome.transcript.last_call());
    }
    Ok(Summary::new(case, &fixture, outcome, failures, notes, repeat))
}

fn conclude(summaries: &[Summary], as_json: bool) -> anyhow::Result<ExitCode> {
    let failed = summaries.iter().filter(|summary| !summary.passed()).count();
    if as_json {
        let cases: Vec<_> = summaries.iter().map(Summary::json).collect();
        output::print(&format!("{:#}\n", json!({ "ok": failed == 0, "cases": cases })))?;
    } else if summaries.len() > 1 {
        let passed = summaries.len() - failed;
        output::print(&format!("\n{} cases: {passed} passed, {failed} failed\n", summaries.len()))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Returns the command that repeats a case, with the target as the user typed it. If the cases are files, the command
/// selects this one.
fn repeat(args: &TestArgs, case: &str, has_file: bool) -> RepeatCommand {
    let mut line = format!("klines consumer test {}", quoted(&args.target.display().to_string()));
    if has_file {
        // A case that the user selected keeps the name that they typed.
        let named = args.case.as_deref().unwrap_or(case);
        line.push_str(&format!(" --case {}", quoted(named)));
    }
    RepeatCommand::new(line)
}

/// Quotes a word for a shell, if necessary.
fn quoted(word: &str) -> String {
    let plain = |found: char| found.is_ascii_alphanumeric() || "-_./=:@%+,".contains(found);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
