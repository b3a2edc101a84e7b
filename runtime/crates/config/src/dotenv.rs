//! Reads a `.env` file: `dotenvy` parses the values, this module finds the line of each.
//!
//! The environment of the process is not changed. The files of Bybit Klines Streamer have to keep their meaning: values
//! with spaces need no quotes, as in the Streamer. The Streamer reads `$` as it is written, dotenvy replaces it outside
//! single quotes; such a file is refused, because it would be read wrongly.

use std::ops::Range;
use std::sync::Arc;

use super::place::{Place, Position, SourceFile};
use super::report::{Diagnostic, Report};

/// One `NAME=value` of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The variable's name.
    pub name: String,
    /// The value, with quotes and escapes resolved.
    pub value: String,
    /// The position of the value in the file.
    pub value_at: Position,
    /// The position of the name in the file.
    pub name_at: Position,
}

/// Reads all entries in the order of the file. Adds problems to `report`.
pub fn entries(file: &Arc<SourceFile>, report: &mut Report) -> Vec<Entry> {
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut cursor = file.text.len() - text.len();
    let mut entries: Vec<Entry> = Vec::new();
    let at = |span: Range<usize>| Position { file: Arc::clone(file), span };
    for item in dotenvy::Iter::new(quoted(text).as_bytes()) {
        match item {
            Ok((name, value)) => {
                let Some(found) = find(&file.text, cursor, &name) else { continue };
                cursor = found.next;
                check_dollars(file, &found, &name, report);
                if entries.iter().any(|entry| entry.name == name) {
                    let place = Place::EnvFile(name.clone(), at(found.name.clone()));
                    report.push(Diagnostic::warning(place, format!("`{name}` is set twice; the last one counts")));
                }
                entries.push(Entry { name, value, value_at: at(found.value), name_at: at(found.name) });
            }
            Err(dotenvy::Error::LineParse(line, _)) => {
                let (span, next) = find_line(&file.text, cursor, &line);
                cursor = next;
                report.push(unreadable(&line, at(span)));
            }
            Err(error) => report.push(Diagnostic::error(Place::Default, format!("{}: {error}", file.name))),
        }
    }
    entries
}

/// Adds quotes around unquoted values that contain spaces, because dotenvy refuses them, and around JSON lists, because
/// dotenvy removes the quotes of their items.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<char> = None;
    for line in text.split_inclusive('\n') {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value.trim();
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        if let Some(quote) = open {
            open = Some(quote).filter(|_| !line.contains(quote));
        } else if let Some(quote) = quote {
            open = Some(quote).filter(|_| value.matches(quote).count() == 1);
        } else if !name.trim_start().starts_with('#') {
            let bare = value.get(..uncommented(value)).unwrap_or(value);
            let is_list = bare.starts_with('[');
            let has_spaces = bare.contains(char::is_whitespace) && !bare.contains('"');
            if (is_list || has_spaces) && !bare.contains(['\'', '\\', '$']) {
                out.push_str(&format!("{name}='{bare}'\n"));
                continue;
            }
        }
        out.push_str(line);
    }
    out
}

/// Reports a line that is not `NAME=value`. The line is not shown, because it may hold a secret.
fn unreadable(line: &str, position: Position) -> Diagnostic {
    let name = line.split('=').next().unwrap_or_default().trim().trim_start_matches("export ").to_owned();
    let is_name = !name.is_empty() && name.chars().all(|found| found.is_ascii_alphanumeric() || found == '_');
    let (name, expected) = if is_name && line.contains('=') {
        (name, "quotes around a value with spaces, quotes or backslashes: NAME='a value'")
    } else {
        (String::new(), "NAME=value, one on a line, comments after #")
    };
    Diagnostic::error(Place::EnvFile(name, position), "this line cannot be read").expected(expected).hidden(true)
}

/// Refuses `$name` outside single quotes: dotenvy replaces it, Bybit Klines Streamer does not.
fn check_dollars(file: &Arc<SourceFile>, found: &Found, name: &str, report: &mut Report) {
    let raw = file.text.get(found.value.clone()).unwrap_or_default();
    if raw.starts_with('\'') {
        return;
    }
    let mut before = None;
    for (at, letter) in raw.char_indices() {
        let reference = raw.get(at + 1..).unwrap_or_default();
        if letter == '$' && before != Some('\\') && !reference.starts_with('{') {
            let start = found.value.start + at;
            let position = Position { file: Arc::clone(file), span: start..start + 1 };
            report.push(
                Diagnostic::error(Place::EnvFile(name.to_owned(), position), "`$` here begins a reference")
                    .expected("single quotes around a value with `$`, or ${NAME} for a reference")
                    .hidden(true),
            );
            return;
        }
        before = Some(letter);
    }
}

/// The position of an entry in the file.
struct Found {
    name: Range<usize>,
    value: Range<usize>,
    /// The offset at which the search for the next entry begins.
    next: usize,
}

/// Finds the next line from `cursor` that sets `name`.
fn find(text: &str, cursor: usize, name: &str) -> Option<Found> {
    let mut start = cursor;
    for line in text.get(cursor..)?.split_inclusive('\n') {
        let next = start + line.len();
        let bare = line.trim_start();
        let bare = bare.strip_prefix("export ").map_or(bare, str::trim_start);
        if let Some((left, right)) = bare.strip_prefix(name).and_then(|rest| rest.split_once('='))
            && left.trim().is_empty()
        {
            let name_start = start + line.len() - bare.len();
            let right_start = start + line.len() - right.len();
            let right = right.trim_end();
            let value = right.trim_start();
            let value_start = right_start + right.len() - value.len();
            let length = uncommented(value);
            return Some(Found {
                name: name_start..name_start + name.len(),
                value: value_start..value_start + length,
                next,
            });
        }
        start = next;
    }
    None
}

/// Returns the length of a value without the comment after it; a quoted value is taken whole.
fn uncommented(value: &str) -> usize {
    if value.starts_with(['"', '\'']) {
        return value.len();
    }
    let comment = value.match_indices('#').map(|(at, _)| at);
    let mut comment = comment.filter(|at| value.get(..*at).is_some_and(|before| before.ends_with([' ', '\t'])));
    comment.next().map_or(value.len(), |at| value.get(..at).map_or(at, |before| before.trim_end().len()))
}

/// Finds a line that could not be read; returns its span and the offset at which the search continues.
fn find_line(text: &str, cursor: usize, line: &str) -> (Range<usize>, usize) {
    let first = line.lines().next().unwrap_or_default();
    let rest = text.get(cursor..).unwrap_or_default();
    let start = cursor + rest.find(first).unwrap_or(0);
    let indent = first.len() - first.trim_start().len();
    (start + indent..start + first.len(), (start + first.len()).min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String, usize)>, Report) {
        let file = Arc::new(SourceFile { name: ".env".to_owned(), text: text.to_owned() });
        let mut report = Report::default();
        let entries = entries(&file, &mut report).into_iter();
        let lines = entries.map(|entry| (entry.name, entry.value, entry.value_at.line_column().0)).collect();
        (lines, report)
    }

    fn owned(name: &str, value: &str, line: usize) -> (String, String, usize) {
        (name.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn values_carry_their_lines() {
        let (entries, report) =
            read("# head\nA=1\n\nexport B = 'x y' # why\nC=\nAA=\"two\nlines\"\nD=3\n  E=a,b   # list\n");
        assert_eq!(
            entries,
            [
                owned("A", "1", 2),
                owned("B", "x y", 4),
                owned("C", "", 5),
                owned("AA", "two\nlines", 6),
                owned("D", "3", 8),
                owned("E", "a,b", 9)
            ]
        );
        assert!(report.is_empty());
    }

    #[test]
    fn every_unreadable_line_is_reported_without_being_shown() {
        let (entries, report) = read("A=1\nWSS_AUTH_KEY=canary \\one\nB=2\nnonsense\nC=3\n");
        assert_eq!(entries.len(), 3);
        assert_eq!(report.count(crate::report::Severity::Error), 2);
        let text = report.render(false, 100);
        assert!(text.contains(".env:2") && text.contains(".env:4"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn values_with_spaces_need_no_quotes() {
        let (entries, report) = read("A=x, y  # two\nB=\"p\nq = r s\n\"\nC= not a url \n# D=1 2\n");
        assert_eq!(entries, [owned("A", "x, y", 1), owned("B", "p\nq = r s\n", 2), owned("C", "not a url", 5)]);
        assert!(report.is_empty(), "{report:?}");
    }

    #[test]
    fn a_json_list_needs_no_quotes_around_it() {
        let (entries, report) = read("A=[\"x\", \"y\"]  # two\nB=[\"x\",\"y\"]\nC='[\"x\"]'\n");
        assert_eq!(
            entries,
            [owned("A", "[\"x\", \"y\"]", 1), owned("B", "[\"x\",\"y\"]", 2), owned("C", "[\"x\"]", 3)]
        );
        assert!(report.is_empty(), "{report:?}");
    }

    #[test]
    fn a_dollar_is_refused_where_it_would_change_the_value() {
        let (_, report) = read("A='pa$word'\nB=pa\\$word\nC=${A}x\n");
        assert!(report.is_empty(), "{report:?}");
        let (_, report) = read("A=pa$word\n");
        assert!(report.is_refusal());
    }

    #[test]
    fn a_repeated_name_is_a_warning() {
        let (entries, report) = read("A=1\nA=2\n");
        assert_eq!(entries, [owned("A", "1", 1), owned("A", "2", 2)]);
        assert!(!report.is_refusal() && !report.is_empty());
    }
}
