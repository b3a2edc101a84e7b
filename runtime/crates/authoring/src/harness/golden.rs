//! Compares a golden file with what a consumer did: shows the first difference with its context, and the command that
//! reproduces it.

use std::fs;
use std::io;
use std::path::Path;

use super::error::HarnessError;
use super::repeat::RepeatCommand;
use super::runner::Outcome;
use super::transcript::Transcript;
use klines_domain::count::counted;

/// Number of context lines around a difference.
const CONTEXT: usize = 3;
/// Largest number of lines that are shown of each side.
const SHOWN: usize = 6;

/// Returns the first difference between the golden file and the outcome. If `is_cut`, the run ended early, and only the
/// beginning of the file is compared.
///
/// # Errors
/// The file cannot be read.
pub fn compare(
    golden: &Path,
    outcome: &Outcome,
    repeat: &RepeatCommand,
    is_cut: bool,
) -> Result<Option<String>, HarnessError> {
    let Some(text) = read(golden)? else {
        let (golden, command) = (golden.display(), repeat.update());
        return Ok(Some(format!("golden: there is no {golden} yet; this writes it: {command}")));
    };
    let wanted: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let found: Vec<&str> = outcome.transcript.lines().iter().map(String::as_str).collect();
    let wanted = if is_cut { wanted.get(..found.len()).unwrap_or(&wanted) } else { &wanted };
    let same = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
    if same == wanted.len() && same == found.len() {
        return Ok(None);
    }
    Ok(Some(difference(golden, wanted, &found, same, &outcome.transcript, repeat)))
}

/// Writes the file unless it is the same already. Returns a text with what has changed.
///
/// # Errors
/// The file cannot be read or written.
pub fn update(golden: &Path, transcript: &Transcript) -> Result<Option<String>, HarnessError> {
    let (old, new, shown) = (read(golden)?, transcript.text(), golden.display());
    // A case may be untrusted, so a file that it names is replaced only if this command wrote it.
    let is_link = fs::symlink_metadata(golden).is_ok_and(|found| found.is_symlink());
    if is_link || old.as_ref().is_some_and(|old| !old.is_empty() && old.lines().next() != new.lines().next()) {
        return Err(HarnessError::NotGolden(golden.to_owned()));
    }
    if old.as_ref() == Some(&new) {
        return Ok(Some(format!("{shown}: unchanged")));
    }
    fs::write(golden, &new).map_err(|source| HarnessError::Write { path: golden.to_owned(), source })?;
    let Some(old) = old else { return Ok(Some(format!("{shown}: written, {}", counted(new.lines().count(), "line")))) };
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let mut text = format!("{shown}: {} instead of {}; the first that differ:", counted(new.len(), "line"), old.len());
    sides(&mut text, &old, &new, same);
    Ok(Some(text))
}

fn read(golden: &Path) -> Result<Option<String>, HarnessError> {
    match fs::read_to_string(golden) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HarnessError::Read { path: golden.to_owned(), source }),
    }
}

fn difference(
    golden: &Path,
    wanted: &[&str],
    found: &[&str],
    at: usize,
    transcript: &Transcript,
    repeat: &RepeatCommand,
) -> String {
    let wanted_call = head_of(wanted, at).and_then(|head| transcript.call_with(head));
    let found_call = transcript.call_of(at).filter(|_| at < found.len());
    // The difference is in the call that comes first.
    let call = match (wanted_call, found_call) {
        (Some(wanted), Some(found)) => Some(wanted.min(found)),
        (wanted, found) => wanted.or(found),
    };
    let is_wanted = wanted_call.is_some() && wanted_call == call && wanted_call != found_call;
    let head = if is_wanted { head_of(wanted, at) } else { head_of(found, at).or(head_of(wanted, at)) };
    let mut text = format!("golden: {} differs", golden.display());
    match call.filter(|call| *call > 0) {
        Some(call) => text.push_str(&format!(" in call {call}")),
        None => text.push_str(" before the first call"),
    }
    if let Some(kline) = head.and_then(|head| head.strip_prefix("kline ")) {
        text.push_str(&format!(", at {kline}"));
    }
    sides(&mut text, wanted, found, at);
    if let Some(call) = call.filter(|call| *call > 0) {
        text.push_str(&format!("\nrepeat: {}", repeat.until(call)));
    }
    text
}

/// Returns the head line, of a kline or a call, that the line at `at` belongs to.
fn head_of<'a>(lines: &[&'a str], at: usize) -> Option<&'a str> {
    lines.get(..=at).unwrap_or_default().iter().rfind(|line| !line.starts_with(' ')).copied()
}

/// Appends the context before the difference, then both sides (`-` wanted, `+` found), then the context after it.
fn sides(text: &mut String, wanted: &[&str], found: &[&str], at: usize) {
    for line in found.get(at.saturating_sub(CONTEXT)..at).unwrap_or_default() {
        text.push_str(&format!("\n    {line}"));
    }
    let (wanted, found) = (block(wanted, at), block(found, at));
    // The lines at the end that are equal on both sides are context; the first line always differs.
    let after = wanted.iter().skip(1).rev().zip(found.iter().skip(1).rev()).take_while(|(a, b)| a == b).count();
    for (mark, lines, end) in [('-', wanted, "nothing more is wanted"), ('+', found, "nothing more was done")] {
        for line in lines.iter().take((lines.len() - after).min(SHOWN)) {
            text.push_str(&format!("\n  {mark} {line}"));
        }
        if lines.is_empty() {
            text.push_str(&format!("\n  {mark} ({end})"));
        }
    }
    for line in found.get(found.len() - after..).unwrap_or_default().iter().take(CONTEXT) {
        text.push_str(&format!("\n    {line}"));
    }
}

/// Returns the lines from `at` up to the next head line.
fn block<'a, 'b>(lines: &'b [&'a str], at: usize) -> &'b [&'a str] {
    let rest = lines.get(at..).unwrap_or_default();
    let length = rest.iter().enumerate().take_while(|(n, line)| *n == 0 || line.starts_with(' ')).count();
    rest.get(..length).unwrap_or_default()
}
