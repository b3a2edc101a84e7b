//! Parses a client's request frame. The exchange carries the request out and answers it.

use serde_json::Value;

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub op: String,
    /// Echoed as a string, whatever its JSON type was. An empty string and null count as absent.
    pub req_id: Option<String>,
    pub args: Vec<String>,
    /// `args` as JSON, `null` if absent; the refusal of an unknown operation echoes it.
    pub raw_args: String,
}

impl Command {
    /// Parses a request and ignores unknown keys.
    ///
    /// # Errors
    /// Returns the `ret_msg` with which Bybit answers text that is not a JSON object.
    pub fn parse(text: &str) -> Result<Self, String> {
        let first = text.trim_start().chars().next();
        if first.is_some_and(|c| c != '{' && !text.trim_start().starts_with("null")) {
            return Err(not_an_object(text));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("Failed to decode incoming data:{error}"))?;
        let req_id = match value.get("req_id") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        let args = value.get("args");
        let texts = args.and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            op: value.get("op").and_then(Value::as_str).unwrap_or_default().to_owned(),
            req_id: req_id.filter(|id| !id.is_empty()),
            args: texts.map(|arg| arg.as_str().map_or_else(|| arg.to_string(), str::to_owned)).collect(),
            raw_args: args.map_or_else(|| "null".to_owned(), Value::to_string),
        })
    }
}

/// Returns the error text of Bybit's decoder: the unexpected character, its position, and its beginning twice.
fn not_an_object(text: &str) -> String {
    let blanks = text.len() - text.trim_start().len();
    let found = text.trim_start().chars().next().unwrap_or(' ');
    let beginning = |chars: usize| text.chars().take(chars).collect::<String>();
    format!(
        "Failed to decode incoming data:readObjectStart: expect {{ or n, but found {found}, error found in #{} byte \
         of ...|{}|..., bigger context ...|{}|...",
        blanks + 1,
        beginning(blanks + 10),
        beginning(blanks + 50),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_id_is_echoed_as_a_string_whatever_its_type() {
        let id = |text: &str| Command::parse(text).unwrap().req_id;
        assert_eq!(id(r#"{"op":"ping","req_id":"a"}"#).as_deref(), Some("a"));
        assert_eq!(id(r#"{"op":"ping","req_id":17,"extra":true}"#).as_deref(), Some("17"));
        assert_eq!(id(r#"{"op":"ping","req_id":null}"#), None);
        assert_eq!(id(r#"{"op":"ping"}"#), None);
    }

    #[test]
    fn text_that_is_not_an_object_is_refused_with_bybits_text() {
        assert_eq!(
            Command::parse("hello").unwrap_err(),
            "Failed to decode incoming data:readObjectStart: expect { or n, but found h, error found in #1 byte of \
             ...|hello|..., bigger context ...|hello|..."
        );
        assert!(Command::parse(r#"{"op":"#).unwrap_err().starts_with("Failed to decode incoming data:"));
        assert!(Command::parse("").unwrap_err().starts_with("Failed to decode incoming data:"));
    }
}
