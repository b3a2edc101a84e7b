//! The error that serde reports for a value, as separate parts instead of one sentence, so that a problem can have the
//! path and the expected value.

use std::fmt::{self, Display};

use serde::de::{Error, Expected, Unexpected};

use crate::Problem;

/// The refusal of a value, with its path.
#[derive(Debug)]
pub(super) struct Refusal {
    path: String,
    /// Whether the path is complete. An error is created without its path; the nearest container adds it.
    placed: bool,
    message: String,
    expected: String,
}

impl Refusal {
    fn new(message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { path: String::new(), placed: false, message: message.into(), expected: expected.into() }
    }

    /// Sets the path of the refused value, or of the struct in which a key is missing, unless it is already set.
    pub(super) fn at(mut self, path: &str) -> Self {
        if !self.placed {
            self.path = join(path, &self.path);
            self.placed = true;
        }
        self
    }

    pub(super) fn into_problem(self) -> Problem {
        Problem::new(self.path, self.message, self.expected)
    }
}

impl Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string(), "")
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("is {}", Plain(unexpected)), plain_expected(expected))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("is {}", Plain(unexpected)), plain_expected(expected))
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("has {len} elements"), expected.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(unknown(&format!("is \"{variant}\""), variant, expected), choice(expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { path: field.to_owned(), ..Self::new(unknown("is not a known key", field, expected), choice(expected)) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: field.to_owned(), ..Self::new("is missing", "a value") }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { path: field.to_owned(), ..Self::new("is given twice", "one value") }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// Joins two dotted paths, either of which may be empty.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

/// Formats an unexpected value in the terms of someone who writes settings.
struct Plain<'a>(Unexpected<'a>);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(value) => write!(f, "{value}"),
            Unexpected::Signed(value) => write!(f, "{value}"),
            Unexpected::Float(value) => write!(f, "{value}"),
            Unexpected::Str(value) => write!(f, "\"{value}\""),
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Map => f.write_str("a table"),
            Unexpected::Seq => f.write_str("a list"),
            other => write!(f, "{other}"),
        }
    }
}

/// Returns the expected type in terms that an operator knows, instead of the names of Rust's types.
fn plain_expected(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "u128" | "usize" => "a whole number from 0".into(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        _ => text,
    }
}

/// Appends the nearest known name if the given one looks like a typing error.
fn unknown(message: &str, given: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(given, name), name)).min();
    match nearest {
        Some((steps, name)) if steps <= 2 && steps < name.len() => format!("{message}, did you mean {name}?"),
        _ => message.to_owned(),
    }
}

/// Formats a list of names, as in `closed or all`.
fn choice(names: &[&str]) -> String {
    match names {
        [] => "no keys".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Returns the number of letters to insert, delete or replace to change `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    // `row[j]` is the distance from the letters of `a` so far to the first `j` letters of `b`.
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, pair) in b.chars().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
