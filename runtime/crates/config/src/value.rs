//! Reads a configured value from text (flags and variables) or from TOML, and shows it.
//!
//! This module reads a single value; it does not know layers or places.

mod scalars;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

pub use self::scalars::{Text, WebAddress, address, choice};
use super::document::{Content, Node};

/// The part of a value that a fault is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole value.
    Whole,
    /// One item of a list that was written as text.
    Item(String),
    /// A byte range of the TOML file.
    Span(Range<usize>),
}

/// One error in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The part that is wrong.
    pub part: Part,
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: String,
    /// The nearest valid value.
    pub nearest: Option<String>,
}

impl Fault {
    /// Returns a fault of the whole value.
    pub fn new(message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { part: Part::Whole, message: message.into(), expected: expected.into(), nearest: None }
    }

    /// Sets the value that was probably intended.
    #[must_use]
    pub fn nearest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.nearest = nearest.map(Into::into);
        self
    }

    fn at(mut self, part: Part) -> Self {
        self.part = part;
        self
    }
}

/// A single value that has a text form.
pub trait Scalar: Sized {
    /// What is expected, for messages.
    const EXPECTED: &'static str;
    /// Whether the value must not be shown.
    const SECRET: bool = false;
    /// Whether the value may be written in TOML without quotes (numbers, `true`, `false`).
    const BARE: bool = false;

    /// Reads the text form.
    ///
    /// # Errors
    /// A [`Fault`] of the whole value.
    fn parse(text: &str) -> Result<Self, Fault>;

    /// Reads the text form of a key whose default helps to guess what was intended.
    ///
    /// # Errors
    /// A [`Fault`] of the whole value.
    fn parse_near(text: &str, _default: Option<&Self>) -> Result<Self, Fault> {
        Self::parse(text)
    }

    /// Returns the text form, with secrets masked.
    fn show(&self) -> String;

    /// Makes a relative path start from the folder of the file that it is written in. Other values stay as they are.
    #[must_use]
    fn relative_to(self, _folder: &Path) -> Self {
        self
    }
}

/// A value of any key: a scalar or a list of scalars.
pub trait Value: Sized {
    /// Whether the value must not be shown.
    const SECRET: bool;

    /// Reads the text of a flag or a variable; the default only helps to suggest a fix.
    ///
    /// # Errors
    /// Every [`Fault`] of the value.
    fn from_text(text: &str, default: Option<&Self>) -> Result<Self, Vec<Fault>>;

    /// Reads a TOML value; the default only helps to suggest a fix.
    ///
    /// # Errors
    /// Every [`Fault`] of the value.
    fn from_toml(node: &Node, default: Option<&Self>) -> Result<Self, Vec<Fault>>;

    /// Returns the text form, with secrets masked.
    fn show(&self) -> String;

    /// Makes relative paths start from the folder of the file that they are written in. Other values stay as they are.
    #[must_use]
    fn relative_to(self, folder: &Path) -> Self;
}

impl<T: Scalar> Value for T {
    const SECRET: bool = T::SECRET;

    fn from_text(text: &str, default: Option<&Self>) -> Result<Self, Vec<Fault>> {
        Self::parse_near(text.trim(), default).map_err(|fault| vec![fault])
    }

    fn from_toml(node: &Node, default: Option<&Self>) -> Result<Self, Vec<Fault>> {
        scalar(node, default).map_err(|fault| vec![fault])
    }

    fn show(&self) -> String {
        Scalar::show(self)
    }

    fn relative_to(self, folder: &Path) -> Self {
        Scalar::relative_to(self, folder)
    }
}

impl<T: Scalar> Value for Vec<T> {
    const SECRET: bool = T::SECRET;

    fn from_text(text: &str, _default: Option<&Self>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut values = Self::new();
        for item in split(text)? {
            match T::parse(&item) {
                Ok(value) => values.push(value),
                Err(fault) => faults.push(fault.at(Part::Item(item))),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    fn from_toml(node: &Node, default: Option<&Self>) -> Result<Self, Vec<Fault>> {
        if let Content::Text(text) = &node.content {
            return Self::from_text(text, default);
        }
        let Content::Array(items) = &node.content else {
            let found = node.content.kind();
            return Err(vec![Fault::new(format!("a list is expected, not {found}"), T::EXPECTED)]);
        };
        let mut values = Self::new();
        let mut faults = Vec::new();
        for item in items {
            match scalar(item, None) {
                Ok(value) => values.push(value),
                Err(fault) => faults.push(fault.at(Part::Span(item.span.clone()))),
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    fn show(&self) -> String {
        self.iter().map(Scalar::show).collect::<Vec<_>>().join(",")
    }

    fn relative_to(self, folder: &Path) -> Self {
        self.into_iter().map(|item| Scalar::relative_to(item, folder)).collect()
    }
}

/// Reads one TOML value as a scalar, through its text form.
fn scalar<T: Scalar>(node: &Node, default: Option<&T>) -> Result<T, Fault> {
    match &node.content {
        Content::Text(text) => T::parse_near(text, default),
        Content::Integer(number) if T::BARE => T::parse(number),
        Content::Boolean(flag) if T::BARE => T::parse(if *flag { "true" } else { "false" }),
        Content::Integer(number) => match T::parse_near(number, default) {
            // Only the quotes are missing, or the type reports a more precise error: `grace = 80` has no unit.
            Ok(_) => Err(Fault::new("quotes are missing", format!("\"{number}\""))),
            Err(fault) => Err(fault),
        },
        other => Err(Fault::new(format!("{} is not expected here", other.kind()), T::EXPECTED)),
    }
}

/// An item of a list in JSON form.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonItem {
    Text(String),
    Number(serde_json::Number),
}

/// Splits `a, b` or `["a", "b"]` into items. Empty text between two commas is ignored.
fn split(text: &str) -> Result<Vec<String>, Vec<Fault>> {
    let text = text.trim();
    if !text.starts_with('[') {
        let items = text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty());
        return Ok(items.collect());
    }
    let items: Vec<JsonItem> = serde_json::from_str(text)
        .map_err(|error| vec![Fault::new(format!("not a JSON list: {error}"), r#"a list such as a,b or ["a","b"]"#)])?;
    let items = items.into_iter().map(|item| match item {
        JsonItem::Text(text) => text.trim().to_owned(),
        JsonItem::Number(number) => number.to_string(),
    });
    Ok(items.collect())
}

/// Reads a value through its `FromStr`, with the text of the error as the message.
pub(super) fn by_from_str<T>(text: &str, expected: &str) -> Result<T, Fault>
where
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| Fault::new(format!("`{text}`: {error}"), expected))
}
