//! `config show`: every effective value and where it came from, with secrets masked.

use serde_json::{Map, Value, json};

use super::loader::Setting;
use super::report::place_json;
use crate::secret::{MASK, is_secret_name, redact_url};

/// Aligned columns: key, value, source.
pub(super) fn text(settings: &[Setting]) -> String {
    let width =
        |of: fn(&Setting) -> &str| settings.iter().map(|setting| of(setting).chars().count()).max().unwrap_or(0);
    let key_width = width(|setting| &setting.key);
    // A long value pushes its own source to the right, not everybody's.
    let value_width = width(|setting| &setting.value).min(32);
    let mut text = String::new();
    for Setting { key, value, place, .. } in settings {
        text.push_str(&format!("{key:key_width$}  {value:value_width$}  {place}\n"));
    }
    text
}

/// `{"settings": [{"key", "value", "source", "variable"}]}`.
pub(super) fn json(settings: &[Setting]) -> Value {
    let one = |setting: &Setting| {
        json!({
            "key": setting.key,
            "value": setting.value,
            "source": place_json(&setting.place),
            "variable": setting.variable,
        })
    };
    json!({ "settings": settings.iter().map(one).collect::<Vec<_>>() })
}

/// Masks what looks secret in a consumer's own settings: by the name of the key, and passwords in addresses.
#[must_use]
pub fn redact(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let redacted = entries.iter().map(|(name, value)| {
                let masked = is_secret_name(name) && !matches!(value, Value::Object(_) | Value::Bool(_));
                (name.clone(), if masked { Value::from(MASK) } else { redact(value) })
            });
            Value::Object(redacted.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(redact).collect()),
        Value::String(text) if text.contains("://") => Value::from(redact_url(text)),
        other => other.clone(),
    }
}
