//! Where a value is written: a flag, a variable, a line of `.env`, a position in the TOML file, or nowhere.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file that was read. Its text is kept for line numbers and for quoting lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// The name under which the operator named it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Byte range inside its text.
    pub span: Range<usize>,
}

/// Where a value is written, and so where an error in it has to be fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the value is the default.
    #[default]
    Default,
    /// A command-line flag, with its value and the part of it that is wrong.
    Flag(&'static str, Quote),
    /// A variable of the process, with its value and the part of it that is wrong.
    Variable(String, Quote),
    /// A variable in the `.env` file.
    EnvFile(String, Position),
    /// A key or value in the TOML file.
    Toml(Position),
}

/// The text of a value outside of files; empty if the value is secret or missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// The value.
    pub text: String,
    /// The byte range of the part that is wrong.
    pub span: Range<usize>,
}

impl Quote {
    /// Quotes a whole value.
    #[must_use]
    pub fn whole(text: &str) -> Self {
        Self { text: text.to_owned(), span: 0..text.len() }
    }
}

impl Position {
    /// Returns the line and the column of the start. Both count from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.file.text.get(..self.span.start).unwrap_or(&self.file.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        (before.matches('\n').count() + 1, column + 1)
    }
}

impl Place {
    /// Returns the name of the variable or flag; `None` for other places.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Variable(name, _) | Self::EnvFile(name, _) => Some(name),
            Self::Flag(name, _) => Some(name),
            Self::Default | Self::Toml(_) => None,
        }
    }

    /// Returns the place of one item inside this value, or of the whole value if it does not contain the item.
    #[must_use]
    pub fn of_item(&self, item: &str) -> Self {
        match self {
            Self::Default => Self::Default,
            Self::Flag(flag, quote) => Self::Flag(flag, quote.of_item(item)),
            Self::Variable(name, quote) => Self::Variable(name.clone(), quote.of_item(item)),
            Self::EnvFile(name, position) => Self::EnvFile(name.clone(), position.of_item(item)),
            Self::Toml(position) => Self::Toml(position.of_item(item)),
        }
    }
}

impl Quote {
    fn of_item(&self, item: &str) -> Self {
        Self { text: self.text.clone(), span: find_item(&self.text, &self.span, item) }
    }
}

impl Position {
    fn of_item(&self, item: &str) -> Self {
        Self { file: Arc::clone(&self.file), span: find_item(&self.file.text, &self.span, item) }
    }
}

/// Finds `item` inside `span` as a whole word, so that `7m` is not found in `17m`.
fn find_item(text: &str, span: &Range<usize>, item: &str) -> Range<usize> {
    let Some(within) = text.get(span.clone()).filter(|_| !item.is_empty()) else {
        return span.clone();
    };
    let is_word = |found: Option<char>| found.is_some_and(char::is_alphanumeric);
    let is_whole_word = |at: usize| {
        let (before, rest) = within.split_at(at);
        !is_word(before.chars().next_back()) && !is_word(rest.get(item.len()..).and_then(|after| after.chars().next()))
    };
    let found = within.match_indices(item).map(|(at, _)| at).find(|at| is_whole_word(*at));
    found.map_or_else(|| span.clone(), |at| span.start + at..span.start + at + item.len())
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::Flag(flag, _) => write!(out, "flag {flag}"),
            Self::Variable(name, _) => write!(out, "environment {name}"),
            Self::EnvFile(name, position) => {
                write!(out, "{}:{} {name}", position.file.name, position.line_column().0)
            }
            Self::Toml(position) => {
                let (line, column) = position.line_column();
                write!(out, "{}:{line}:{column}", position.file.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_found_as_a_whole_word() {
        let place = Place::Variable("KLINE_INTERVALS".to_owned(), Quote::whole("17m,7m"));
        let Place::Variable(_, quote) = place.of_item("7m") else { panic!() };
        assert_eq!(quote.span, 4..6);
        let Place::Variable(_, quote) = place.of_item("9m") else { panic!() };
        assert_eq!(quote.span, 0..6);
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let file = Arc::new(SourceFile { name: "k.toml".to_owned(), text: "a = 1\né = 2\n".to_owned() });
        let at = |start| Position { file: Arc::clone(&file), span: start..start + 1 }.line_column();
        assert_eq!((at(0), at(6), at(11)), ((1, 1), (2, 1), (2, 5)));
    }
}
