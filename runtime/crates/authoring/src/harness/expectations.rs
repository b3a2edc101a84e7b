//! Compares what a consumer did with all expectations except the golden file. Each failure shows what was wanted and
//! what was found.

use std::fs;
use std::path::{Component, Path};

use klines_delivery::emit::Point;

use super::capture::{Record, Request};
use super::fixture::Fixture;
use super::runner::{End, Outcome};
use crate::case::{Case, Emitted, Ending, Expect, Request as Wanted, Written};

/// Largest number of lines that are shown of a list.
const SHOWN: usize = 5;
/// Number of log lines that are shown of a consumer that ended early: enough for the traceback of an interpreter.
const LAST_LINES: usize = 20;

/// Returns the expectations that were not met.
#[must_use]
pub fn judge(case: &Case, fixture: &Fixture, outcome: &Outcome) -> Vec<String> {
    let expect = &case.expect;
    let mut failures = Vec::new();
    failures.extend(ends(expect.ends, outcome.end.as_ref(), &fixture.capture.read().lines));
    if let Some(calls) = expect.calls.filter(|calls| *calls != outcome.calls) {
        failures.push(format!("calls: {calls} wanted, {} made", outcome.calls));
    }
    failures.extend(judge_effects(expect, fixture));
    failures
}

/// Returns the expectations on the log, values, requests and files that were not met. These apply to a run of any
/// length.
#[must_use]
pub fn judge_effects(expect: &Expect, fixture: &Fixture) -> Vec<String> {
    let mut failures = Vec::new();
    {
        let record = fixture.capture.read();
        log(expect, &record, &mut failures);
        failures.extend(expect.emitted.iter().filter_map(|wanted| emitted(wanted, &record.points)));
        failures.extend(expect.http.iter().filter_map(|wanted| http(wanted, &record.requests)));
    }
    failures.extend(expect.files.iter().filter_map(|wanted| file(wanted, fixture)));
    failures
}

fn ends(wanted: Ending, end: Option<&End>, lines: &[String]) -> Option<String> {
    let found = end.map_or(Ending::Ok, End::ending);
    if found == wanted {
        return None;
    }
    let mut text = format!("ends: `{}` wanted, `{}` found", wanted.as_str(), found.as_str());
    if let Some(end) = end {
        text.push_str(&format!("\n{}", end.describe()));
        text.push_str(&last_lines(lines));
    }
    Some(text)
}

/// Returns the end of the log, where a traceback stands.
fn last_lines(lines: &[String]) -> String {
    let first = lines.len().saturating_sub(LAST_LINES);
    let Some(last) = lines.get(first..).filter(|last| !last.is_empty()) else { return String::new() };
    let mut text =
        if first == 0 { "\nits log:".to_owned() } else { format!("\nthe last {LAST_LINES} lines of its log:") };
    last.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
    text
}

fn log(expect: &Expect, record: &Record, failures: &mut Vec<String>) {
    let mut lines = record.lines.iter();
    let mut before: Option<&str> = None;
    for wanted in &expect.log {
        if lines.any(|line| line.contains(wanted.as_str())) {
            before = Some(wanted);
            continue;
        }
        let after = before.map(|before| format!(" after {before:?}")).unwrap_or_default();
        let mut text = format!("log: no line has {wanted:?}{after}");
        text.push_str(&listed(&record.lines, "it logged nothing"));
        failures.push(text);
        break;
    }
    for unwanted in &expect.no_log {
        if let Some(line) = record.lines.iter().find(|line| line.contains(unwanted.as_str())) {
            failures.push(format!("no_log: a line has {unwanted:?}\n  {line}"));
        }
    }
}

fn emitted(wanted: &Emitted, points: &[Point]) -> Option<String> {
    let fits = |point: &&Point| {
        wanted.name.as_deref().is_none_or(|name| name == &*point.name)
            && wanted.symbol.as_ref().is_none_or(|symbol| *symbol == point.series.symbol)
            && wanted.interval.is_none_or(|interval| interval == point.series.interval)
    };
    let found: Vec<&Point> = points.iter().filter(fits).collect();
    let parts = [
        wanted.name.clone(),
        wanted.symbol.as_ref().map(ToString::to_string),
        wanted.interval.map(|interval| interval.to_string()),
    ];
    let what = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let what = if what.is_empty() { "all values".to_owned() } else { what };
    if let Some(failure) = counted("emitted", &what, wanted.count, found.len()) {
        return Some(failure);
    }
    let text = wanted.contains.as_deref()?;
    if found.iter().any(|point| point.value.to_string().contains(text)) {
        return None;
    }
    let values: Vec<String> = found.iter().map(|point| point.value.to_string()).collect();
    Some(format!("emitted: no value of {what} has {text:?}{}", listed(&values, "")))
}

fn http(wanted: &Wanted, requests: &[Request]) -> Option<String> {
    let found: Vec<&Request> = requests.iter().filter(|made| wanted.fits(&made.method, &made.url)).collect();
    let what = [wanted.method.as_deref(), wanted.url.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let what = if what.is_empty() { "all requests".to_owned() } else { what };
    if let Some(mut failure) = counted("http", &what, wanted.count, found.len()) {
        let made: Vec<String> = requests.iter().map(|made| format!("{} {}", made.method, made.url)).collect();
        failure.push_str(&listed(&made, "it made no request that is allowed"));
        return Some(failure);
    }
    let text = wanted.contains.as_deref()?;
    let bodies: Vec<String> = found.iter().map(|made| String::from_utf8_lossy(&made.body).into_owned()).collect();
    if bodies.iter().any(|body| body.contains(text)) {
        return None;
    }
    Some(format!("http: no body of {what} has {text:?}{}", listed(&bodies, "")))
}

/// Returns a failure unless the number found is the number wanted, or at least one if `wanted` is `None`.
fn counted(key: &str, what: &str, wanted: Option<u64>, found: usize) -> Option<String> {
    match wanted {
        Some(wanted) if wanted != found as u64 => Some(format!("{key}: {what}: {wanted} wanted, {found} found")),
        None if found == 0 => Some(format!("{key}: {what}: at least 1 wanted, none found")),
        _ => None,
    }
}

fn file(wanted: &Written, fixture: &Fixture) -> Option<String> {
    let shown = &wanted.path;
    let path = Path::new("/").join(shown);
    if path.components().any(|part| part == Component::ParentDir) {
        return Some(format!("files: {shown} has `..` in it: write the path as the guest sees it"));
    }
    let of_dir =
        |(guest, host): &(String, std::path::PathBuf)| Some((guest.len(), host.join(path.strip_prefix(guest).ok()?)));
    let Some((_, host)) = fixture.dirs.iter().filter_map(of_dir).max_by_key(|(length, _)| *length) else {
        let dirs: Vec<String> = fixture.dirs.iter().map(|(guest, _)| guest.clone()).collect();
        return Some(format!("files: {shown} is in no folder of allow.dirs{}", listed(&dirs, "there is none")));
    };
    // A symbolic link could lead to files that the guest itself cannot reach.
    let is_inside = fs::canonicalize(&host).is_ok_and(|real| {
        fixture.dirs.iter().any(|(_, dir)| fs::canonicalize(dir).is_ok_and(|dir| real.starts_with(dir)))
    });
    let Some(found) = is_inside.then(|| fs::read(&host).ok()).flatten() else {
        let mut files = Vec::new();
        for (guest, host) in &fixture.dirs {
            list(host, guest.trim_end_matches('/'), &mut files);
        }
        files.sort();
        return Some(format!("files: it wrote no {shown}{}", listed(&files, "it wrote no file")));
    };
    if let Some(equals) = &wanted.equals {
        let Ok(original) = fs::read(equals) else { return Some(format!("files: {} cannot be read", equals.display())) };
        if let Some(difference) = first_difference(&original, &found) {
            return Some(format!("files: {shown} is not the same as {}: {difference}", equals.display()));
        }
    }
    let text = wanted.contains.as_deref()?;
    let has = String::from_utf8_lossy(&found).contains(text);
    (!has).then(|| {
        format!("files: {shown} does not have {text:?}, in {}", klines_domain::count::counted(found.len(), "byte"))
    })
}

fn first_difference(wanted: &[u8], found: &[u8]) -> Option<String> {
    if wanted == found {
        return None;
    }
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    let (wanted, found) = (lines(wanted), lines(found));
    let same = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
    let side = |lines: &[String]| lines.get(same).cloned().unwrap_or_else(|| "(its end)".to_owned());
    Some(format!("line {}\n  - {}\n  + {}", same + 1, side(&wanted), side(&found)))
}

/// Lists the files below a folder by the paths that the guest sees.
fn list(folder: &Path, guest: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{guest}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), &name, files);
        } else {
            files.push(name);
        }
    }
}

/// Returns the last items of a list, each on a separate line, or `if_empty` if there are none.
fn listed(lines: &[String], if_empty: &str) -> String {
    if lines.is_empty() {
        return if if_empty.is_empty() { String::new() } else { format!("; {if_empty}") };
    }
    let hidden = lines.len().saturating_sub(SHOWN);
    let mut text = if hidden > 0 { format!("; the last of {}:", lines.len()) } else { "; there is:".to_owned() };
    for line in lines.iter().skip(hidden) {
        text.push_str(&format!("\n  {line}"));
    }
    text
}
