//! Reads the answers of functions. They come from outside: each value is parsed and bounded.

use std::str::FromStr;

use ::redis::Value;

use super::error::LibraryError;

/// The values of one answer, in order.
pub(super) struct Answer<'a> {
    function: &'static str,
    values: std::slice::Iter<'a, Value>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(function: &'static str, value: &'a Value) -> Result<Self, LibraryError> {
        let values = value.as_sequence().ok_or(LibraryError::Answer { function, missing: "list" })?;
        Ok(Self { function, values: values.iter() })
    }

    /// Reads the next value, which is a number or text.
    pub(super) fn next<T: FromStr>(&mut self, what: &'static str) -> Result<T, LibraryError> {
        self.next_with(what, |text| text.parse().ok())
    }

    /// Reads the next value with a function.
    pub(super) fn next_with<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, LibraryError> {
        let value = self.values.next().and_then(plain).and_then(|text| read(&text));
        value.ok_or_else(|| self.missing(what))
    }

    /// Reads the next value, which is a list.
    pub(super) fn next_list(&mut self, what: &'static str) -> Result<Self, LibraryError> {
        let value = self.values.next().ok_or_else(|| self.missing(what))?;
        Self::new(self.function, value).map_err(|_| self.missing(what))
    }

    pub(super) fn is_over(&self) -> bool {
        self.values.len() == 0
    }

    pub(super) const fn missing(&self, missing: &'static str) -> LibraryError {
        LibraryError::Answer { function: self.function, missing }
    }
}

/// Returns a number or a text as text.
pub(crate) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// Returns the value of a key in a map, or in a list of keys and values.
pub(crate) fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let found = map.as_map_iter()?.find(|(key, _)| plain(key).as_deref() == Some(name));
    found.map(|(_, value)| value)
}
