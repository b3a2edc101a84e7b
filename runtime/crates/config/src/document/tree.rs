//! TOML values with their positions, as owned copies that do not borrow from the parser.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

/// A value and its byte range in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The byte range of the value in the file.
    pub span: Range<usize>,
    /// The value.
    pub content: Content,
}

/// The type of a value and the value itself. Numbers keep their text, so that no digits are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A quoted text.
    Text(String),
    /// A whole number, in decimal.
    Integer(String),
    /// Any other number.
    Float(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A date, a time or both.
    Date(String),
    /// A list.
    Array(Vec<Node>),
    /// A section or an inline table.
    Table(Table),
}

/// Keys and values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    name_span: Range<usize>,
    node: Node,
}

impl Node {
    /// Returns the written text without quotes: of the list item at `span`, or of the whole value.
    ///
    /// Returns an empty string unless the value is a text, a number or a date.
    #[must_use]
    pub fn text_at(&self, span: Option<&Range<usize>>) -> String {
        match (&self.content, span) {
            (Content::Array(items), Some(span)) => {
                let item = items.iter().find(|item| item.span == *span);
                item.map(|item| item.text_at(None)).unwrap_or_default()
            }
            (Content::Text(text) | Content::Integer(text) | Content::Float(text) | Content::Date(text), _) => {
                text.clone()
            }
            _ => String::new(),
        }
    }
}

impl Table {
    /// Copies a parsed table.
    pub(super) fn new(table: &DeTable<'_>) -> Self {
        let entries = table.iter().map(|(name, value)| Entry {
            name: name.get_ref().to_string(),
            name_span: name.span(),
            node: Node { span: value.span(), content: Content::new(value.get_ref()) },
        });
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_by_key(|entry| entry.name_span.start);
        Self(entries)
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|entry| entry.name != name);
    }

    /// Returns the position of a key, and its value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&Range<usize>, &Node)> {
        self.0.iter().find(|entry| entry.name == name).map(|entry| (&entry.name_span, &entry.node))
    }

    /// Returns every key with its position and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Range<usize>, &Node)> {
        self.0.iter().map(|entry| (entry.name.as_str(), &entry.name_span, &entry.node))
    }

    /// Converts the table to a JSON object; dates become text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entries = self.0.iter().map(|entry| (entry.name.clone(), entry.node.content.to_json()));
        Value::Object(entries.collect::<Map<_, _>>())
    }
}

impl Content {
    fn new(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix());
                Self::Integer(value.map_or_else(|_| number.as_str().to_owned(), |value| value.to_string()))
            }
            DeValue::Float(number) => Self::Float(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Self::Boolean(*flag),
            DeValue::Datetime(time) => Self::Date(time.to_string()),
            DeValue::Array(items) => {
                let items = items.iter();
                Self::Array(items.map(|item| Node { span: item.span(), content: Self::new(item.get_ref()) }).collect())
            }
            DeValue::Table(table) => Self::Table(Table::new(table)),
        }
    }

    /// Returns the name of the type with an article, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Date(_) => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a section",
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) | Self::Date(text) => Value::String(text.clone()),
            Self::Integer(number) => number.parse::<i64>().map_or(Value::Null, Value::from),
            Self::Float(number) => number.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
            Self::Boolean(flag) => Value::Bool(*flag),
            Self::Array(items) => Value::Array(items.iter().map(|item| item.content.to_json()).collect()),
            Self::Table(table) => table.to_json(),
        }
    }
}
