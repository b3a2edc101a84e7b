//! `klines store`: shows, copies and checks the store of klines.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use klines_delivery::history::History;
use klines_delivery::history::composed::Composed;
use klines_domain::count::counted;
use klines_domain::interval::Interval;
use klines_domain::time::Millis;
use klines_store::check::{self, Info, Verdict};
use klines_store::error::REMEDY;
use klines_store::file;
use klines_store::reader::Reader;
use serde_json::json;

use super::output;
use super::refusal::data_dir;
use crate::cli::{EXIT_FAILED, StoreArgs, StoreCommand};

/// Runs one of the commands.
///
/// # Errors
/// When the store cannot be used.
pub fn command(command: &StoreCommand) -> anyhow::Result<ExitCode> {
    match command {
        StoreCommand::Info(args) => {
            let path = file::path_in(&data_dir(args.store.sources())?);
            let info = check::info(&path)?;
            output::print(&if args.json { info_json(&path, &info) } else { info_text(&path, &info) })?;
        }
        StoreCommand::Backup(args) => {
            let path = file::path_in(&data_dir(args.store.sources())?);
            let faults = check::backup(&path, &args.file)?;
            output::print(&format!("{} is a copy of {}\n", args.file.display(), path.display()))?;
            if let Some(fault) = faults.first() {
                output::error(&anyhow::anyhow!(damaged_copy(&path, fault, faults.len() - 1)));
                return Ok(ExitCode::from(EXIT_FAILED));
            }
        }
        StoreCommand::Verify(args) => return verify(&args.store, args.json),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says that a store is damaged that was copied all the same.
fn damaged_copy(path: &Path, fault: &str, further: usize) -> String {
    let more = if further > 0 { format!(", and {further} more") } else { String::new() };
    format!(
        "{} is damaged ({fault}{more}), and so is the copy, which has every page as it is: `klines store verify` lists all damage; \
         keep earlier backups",
        path.display()
    )
}

/// Checks a store and prints what is wrong with it.
///
/// # Errors
/// When it cannot be read.
pub(super) fn verify(store: &StoreArgs, is_json: bool) -> anyhow::Result<ExitCode> {
    let path = file::path_in(&data_dir(store.sources())?);
    let verdict = check::verify(&path)?;
    output::print(&if is_json { verdict_json(&path, &verdict) } else { verdict_text(&path, &verdict) })?;
    if !verdict.faults.is_empty() {
        output::eprint(REMEDY);
    }
    Ok(if verdict.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Opens the store for reading, also klines of intervals that can be composed of those that are stored.
pub(super) fn open(data_dir: &Path) -> anyhow::Result<Box<dyn History>> {
    let reader = Reader::open(&file::path_in(data_dir))?;
    let mut stored: Vec<Interval> = reader.series()?.iter().map(|series| series.interval).collect();
    stored.sort();
    stored.dedup();
    Ok(Box::new(Composed::new(Arc::new(reader), &stored)))
}

fn info_text(path: &Path, info: &Info) -> String {
    let Info { schema, origin, bytes, in_log, intervals } = info;
    let mut text = format!("{}  {bytes} bytes, {origin} klines, schema {schema}\n", path.display());
    if *in_log > 0 {
        let _ = writeln!(text, "{} not in blocks yet", counted(*in_log, "kline"));
    }
    if !intervals.is_empty() {
        let _ = writeln!(
            text,
            "{:<8} {:>7} {:>12} {:>13}  {:<20}  last window",
            "interval", "series", "klines", "bytes", "first window"
        );
    }
    for info in intervals {
        let [first, last] = [info.span.0, info.span.1].map(moment);
        let (interval, series, klines) = (info.interval.to_string(), info.series, info.klines);
        let _ = writeln!(text, "{interval:<8} {series:>7} {klines:>12} {:>13}  {first:<20}  {last}", info.bytes);
    }
    text
}

fn info_json(path: &Path, info: &Info) -> String {
    let intervals = info.intervals.iter().map(|info| {
        json!({
            "interval": info.interval.to_string(), "series": info.series, "klines": info.klines, "bytes": info.bytes,
            "first": info.span.0, "last": info.span.1,
        })
    });
    let object = json!({
        "file": path, "schema": info.schema, "origin": info.origin, "bytes": info.bytes, "in_log": info.in_log,
        "intervals": intervals.collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

fn verdict_text(path: &Path, Verdict { blocks, klines, sums, faults }: &Verdict) -> String {
    let mut text = String::new();
    for fault in faults {
        let _ = writeln!(text, "{fault}");
    }
    let found = if faults.is_empty() { "no fault".to_owned() } else { counted(faults.len() as u64, "fault") };
    let (blocks, klines, sums) = (counted(*blocks, "block"), counted(*klines, "kline"), counted(*sums, "sum"));
    let _ = writeln!(text, "{}: {blocks}, {klines}, {sums}, {found}", path.display());
    text
}

fn verdict_json(path: &Path, Verdict { blocks, klines, sums, faults }: &Verdict) -> String {
    format!("{}\n", json!({ "file": path, "blocks": blocks, "klines": klines, "sums": sums, "faults": faults }))
}

/// Returns a moment as text, to the second.
fn moment(at: Millis) -> String {
    Timestamp::from_millisecond(at)
        .map_or_else(|_| at.to_string(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
