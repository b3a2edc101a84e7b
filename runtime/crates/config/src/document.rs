//! The TOML file as a tree that keeps the position of each key and value.
//!
//! This module finds places; it does not know which keys exist.

mod tree;

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

pub use self::tree::{Content, Node, Table};
use super::place::{Place, Position, SourceFile};
use super::report::{Diagnostic, Report};

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Its top-level table.
    pub root: Table,
    /// Whether the whole file could be parsed; if not, parts of the tree are missing.
    pub whole: bool,
}

impl Document {
    /// Parses a file. Adds each syntax error to `report` with its place, and keeps the parts that could be read.
    pub fn parse(file: SourceFile, report: &mut Report) -> Self {
        let file = Arc::new(file);
        let (root, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            let end = file.text.trim_end().len();
            let span = error.span().unwrap_or(end..end);
            let place = Place::Toml(Position { file: Arc::clone(&file), span });
            let message = error.message().lines().next().unwrap_or("this cannot be read").to_owned();
            report.push(Diagnostic::error(place, format!("not TOML: {message}")));
        }
        let (root, whole) = (Table::new(root.get_ref()), errors.is_empty());
        Self { file, root, whole }
    }

    /// Returns the place of a span of this file.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Place {
        Place::Toml(Position { file: Arc::clone(&self.file), span })
    }

    /// Returns the place of the value at `path` (keys and list positions), or of the deepest part that is written.
    ///
    /// Returns `None` unless at least the first `min_depth` steps are written.
    #[must_use]
    pub fn place_of(&self, path: &[&str], min_depth: usize) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let (key, mut node) = self.root.get(first)?;
        let mut span = shown_span(key, node);
        for (taken, step) in rest.iter().enumerate() {
            let next = match &node.content {
                Content::Table(table) => table.get(step).map(|(key, inner)| (shown_span(key, inner), inner)),
                Content::Array(items) => {
                    let item = step.parse::<usize>().ok().and_then(|index| items.get(index));
                    item.map(|item| (item.span.clone(), item))
                }
                _ => None,
            };
            let Some((inner_span, inner)) = next else {
                if taken + 1 < min_depth {
                    return None;
                }
                break;
            };
            (span, node) = (inner_span, inner);
        }
        Some(self.place(span))
    }
}

/// Returns the span to underline for an entry: the key of a table, or the value of any other entry.
fn shown_span(key: &Range<usize>, node: &Node) -> Range<usize> {
    if matches!(node.content, Content::Table(_)) { key.clone() } else { node.span.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Document, Report) {
        let mut report = Report::default();
        (Document::parse(SourceFile { name: "k.toml".to_owned(), text: text.to_owned() }, &mut report), report)
    }

    #[test]
    fn places_lead_to_the_deepest_written_part() {
        let (document, _) = parse("[consumers.x.settings]\nlist = [\n  1,\n  { a = 2 },\n]\n");
        for (path, shown) in [
            (&["consumers", "x", "settings", "list", "1", "a"][..], "k.toml:4:9"),
            (&["consumers", "x", "settings", "list", "0"], "k.toml:3:3"),
            (&["consumers", "x", "settings", "absent"], "k.toml:1:14"),
        ] {
            assert_eq!(document.place_of(path, 2).unwrap().to_string(), shown);
        }
        assert_eq!(document.place_of(&["absent"], 1), None);
        assert_eq!(document.place_of(&["consumers", "y", "settings"], 2), None);
    }

    #[test]
    fn every_syntax_error_has_a_place() {
        let (document, report) = parse("a = \nb = 1\nc = [1,\n");
        assert!(!document.whole);
        let places: Vec<String> = report.sorted().iter().map(|found| found.place.to_string()).collect();
        assert!(places.len() >= 2 && places[0].starts_with("k.toml:1:"), "{places:?}");
    }

    #[test]
    fn settings_become_json() {
        let (document, _) = parse("a = 0x10\nb = 1.5\nc = [true, \"x\"]\nd = { e = 1979-05-27 }\n");
        let expected = serde_json::json!({ "a": 16, "b": 1.5, "c": [true, "x"], "d": { "e": "1979-05-27" } });
        assert_eq!(document.root.to_json(), expected);
    }
}
