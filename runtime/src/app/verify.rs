//! `klines verify`: compares klines made from recordings with the exchange's own kline pushes in them.

pub mod against;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use klines_bybit::source::{Body, Options, Progress, Recording};
use klines_bybit::verify::{Report, Verdict, Verifier};
use klines_domain::count::counted;
use serde::Serialize;

use super::player::inputs;
use super::refusal::data_dir;
use super::{output, store};
use crate::cli::{EXIT_FAILED, EXIT_OK, VerifyArgs};

/// Compares and prints the report. The exit code is 1 when a push is wrong or none was compared.
///
/// # Errors
/// When a file cannot be read, or the configuration.
pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    if args.check_store {
        return store::verify(&args.store, args.json);
    }
    // Recordings need no configuration, but one that is named has to be there.
    data_dir(args.store.sources())?;
    let report = verify(&inputs(&args.recordings)?, &Progress::default())?;
    output::print(&if args.json { format!("{}\n", json(&report)?) } else { text(&report) })?;
    if report.compared() + report.skipped == 0 {
        output::eprint(
            "error: the recording has no klines of the exchange (topics `kline.…`), with which ours could be compared",
        );
    }
    Ok(ExitCode::from(if report.passed() { EXIT_OK } else { EXIT_FAILED }))
}

/// Reads recordings and compares their klines with their kline pushes.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(files: &[PathBuf], progress: &Progress) -> anyhow::Result<Report> {
    let mut recording = Recording::open_mixed(files, &Options::default(), progress)?;
    let mut verifier = Verifier::default();
    while let Some(record) = recording.read()? {
        match &record.body {
            Body::Frame(frame) => verifier.frame(record.category, frame),
            Body::Lost => verifier.interrupt(record.category),
            Body::Regained => verifier.resume(record.category),
            Body::Paused(from, to) => verifier.pause(record.category, *from, *to),
            _ => {}
        }
    }
    let mut skipped = recording.skipped();
    skipped.add(&verifier.skipped());
    if !skipped.is_empty() {
        output::eprint(&skipped.to_string());
    }
    Ok(verifier.report())
}

/// Formats the report for people: the differences, a table by field, and the totals.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for difference in &report.differences {
        let verdict = if difference.verdict == Verdict::Behind { "behind" } else { "wrong" };
        let (category, topic) = (difference.category, &difference.topic);
        let _ =
            writeln!(out, "{verdict}: {category} {topic}, window {}, push {}", difference.start, difference.stamped);
        for (field, theirs, ours) in &difference.fields {
            let _ = writeln!(out, "    {field:<9} exchange {theirs}, ours {ours}");
        }
    }
    let _ = writeln!(out, "{:<10} {:>8} {:>10}", "field", "equal", "different");
    for (field, equal, different) in &report.fields {
        let _ = writeln!(out, "{field:<10} {equal:>8} {different:>10}");
    }
    if report.unread > 0 {
        let _ = writeln!(out, "{} could not be decoded", counted(report.unread, "frame"));
    }
    let Report { equal, behind, wrong, skipped, .. } = report;
    let compared = report.compared();
    let _ = writeln!(
        out,
        "{equal} of {} equal; {behind} behind, {wrong} wrong, {skipped} skipped",
        counted(compared, "push")
    );
    out
}

/// The report as JSON for programs.
#[derive(Serialize)]
struct Json<'a> {
    compared: u64,
    equal: u64,
    behind: u64,
    wrong: u64,
    skipped: u64,
    unread: u64,
    fields: Vec<JsonField<'a>>,
}

#[derive(Serialize)]
struct JsonField<'a> {
    field: &'a str,
    equal: u64,
    different: u64,
}

/// Formats the report as one JSON object.
///
/// # Errors
/// Never in practice: every field is a number or a name.
pub fn json(report: &Report) -> serde_json::Result<String> {
    let fields =
        report.fields.iter().map(|(field, equal, different)| JsonField { field, equal: *equal, different: *different });
    serde_json::to_string(&Json {
        compared: report.compared(),
        equal: report.equal,
        behind: report.behind,
        wrong: report.wrong,
        skipped: report.skipped,
        unread: report.unread,
        fields: fields.collect(),
    })
}
