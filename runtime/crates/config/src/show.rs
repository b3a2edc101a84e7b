//! `config show`: every effective value and where it is written, with secrets masked.

use klines_domain::secret::{MASK, is_secret_name, redact_url};
use serde_json::{Map, Value, json};

use super::loader::Setting;
use super::mask;
use super::report::place_json;

/// Returns aligned columns: key, value, source.
pub(super) fn text(settings: &[Setting]) -> String {
    let width =
        |of: fn(&Setting) -> &str| settings.iter().map(|setting| of(setting).chars().count()).max().unwrap_or(0);
    let key_width = width(|setting| &setting.key);
    // A value that is longer than this moves only its own source to the right.
    let value_width = width(|setting| &setting.value).min(32);
    let mut text = String::new();
    for Setting { key, value, place, .. } in settings {
        text.push_str(&format!("{key:key_width$}  {value:value_width$}  {place}\n"));
    }
    text
}

/// Returns `{"settings": [{"key", "value", "source", "variable"}]}`.
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

/// Masks the values of a consumer's own settings that a sentence quotes and that look secret.
#[must_use]
pub fn conceal(settings: &Value, sentence: &str) -> String {
    let (mut sentence, mut left) = (sentence.to_owned(), vec![(settings, redact(settings))]);
    while let Some((written, shown)) = left.pop() {
        match (written, shown) {
            (Value::Object(written), Value::Object(mut shown)) => {
                left.extend(written.iter().filter_map(|(name, value)| Some((value, shown.remove(name)?))));
            }
            (Value::Array(written), Value::Array(shown)) => left.extend(written.iter().zip(shown)),
            // The list is masked as a whole.
            (Value::Array(written), shown) => left.extend(written.iter().map(|item| (item, shown.clone()))),
            (Value::String(text), Value::String(shown)) => sentence = mask::conceal(&sentence, text, &shown),
            (Value::Number(number), Value::String(shown)) => {
                sentence = mask::conceal(&sentence, &number.to_string(), &shown);
            }
            _ => {}
        }
    }
    sentence
}

/// Masks the values in a consumer's own settings that look secret: those whose key, or a key around it, names a secret,
/// and passwords in addresses.
#[must_use]
pub fn redact(value: &Value) -> Value {
    redact_in(value, false)
}

fn redact_in(value: &Value, is_secret: bool) -> Value {
    match value {
        Value::Object(entries) => {
            let redacted = entries.iter().map(|(name, value)| {
                let redacted = redact_in(value, is_secret || is_secret_name(name));
                (name.clone(), redacted)
            });
            Value::Object(redacted.collect::<Map<_, _>>())
        }
        // These show only whether there is a secret.
        Value::Bool(_) | Value::Null => value.clone(),
        _ if is_secret => Value::from(MASK),
        Value::Array(items) => Value::Array(items.iter().map(redact).collect()),
        Value::String(text) if text.contains("://") => Value::from(redact_url(text)),
        other => other.clone(),
    }
}
