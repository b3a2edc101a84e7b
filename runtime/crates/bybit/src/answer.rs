//! Command frames and Bybit's answers to them. `session` decides what an answer changes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A command frame.
#[derive(Debug, Serialize)]
struct WireCommand<'a> {
    req_id: &'a str,
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a [String]>,
}

/// Returns a frame that subscribes to `topics`; Bybit answers with the same id.
#[must_use]
pub fn subscribe_frame(id: &str, topics: &[String]) -> String {
    command(&WireCommand { req_id: id, op: "subscribe", args: Some(topics) })
}

/// Returns a frame that ends the subscription to `topics`; Bybit answers with the same id.
#[must_use]
pub fn unsubscribe_frame(id: &str, topics: &[String]) -> String {
    command(&WireCommand { req_id: id, op: "unsubscribe", args: Some(topics) })
}

/// Returns a ping frame.
#[must_use]
pub fn ping_frame(id: &str) -> String {
    command(&WireCommand { req_id: id, op: "ping", args: None })
}

fn command(frame: &WireCommand<'_>) -> String {
    // Strings and slices of strings always serialise.
    serde_json::to_string(frame).unwrap_or_default()
}

/// An answer of the public streams, for all categories and operations.
#[derive(Debug, Deserialize)]
struct WireAnswer<'a> {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default, borrow)]
    ret_msg: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    op: Option<Cow<'a, str>>,
    /// Echoed as a string; other types are accepted too.
    #[serde(default)]
    req_id: serde_json::Value,
}

/// An answer, as the session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer to a ping. It proves only that the gateway is alive, not that any subscription works.
    Pong,
    /// The whole frame with this id is accepted.
    Accepted {
        /// The id of the frame.
        id: String,
    },
    /// The whole frame with this id is refused.
    Refused {
        /// The id of the frame.
        id: String,
        /// The reason.
        refusal: Refusal,
    },
    /// Any other answer: an error without a frame id, or an answer to an unknown operation.
    Unmatched,
}

impl Answer {
    /// Parses an answer.
    ///
    /// # Errors
    /// If it is not an object, or its fields have other types than documented.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let wire: WireAnswer<'_> = serde_json::from_str(text)?;
        let op = wire.op.as_deref().unwrap_or_default();
        let message = wire.ret_msg.as_deref().unwrap_or_default();
        let is_ping = op == "ping" && wire.success != Some(false);
        if is_ping || op == "pong" || message == "pong" {
            return Ok(Self::Pong);
        }
        let id = match wire.req_id {
            serde_json::Value::String(id) => id,
            serde_json::Value::Number(id) => id.to_string(),
            _ => return Ok(Self::Unmatched),
        };
        Ok(match (op, wire.success) {
            ("subscribe" | "unsubscribe", Some(true)) => Self::Accepted { id },
            ("subscribe" | "unsubscribe", Some(false)) => Self::Refused { id, refusal: Refusal::new(message) },
            _ => Self::Unmatched,
        })
    }
}

/// Why a frame is refused. Bybit sends neither a code nor a field for it, so the text is interpreted here and only
/// here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The meaning of the refusal.
    pub kind: RefusalKind,
    /// Bybit's text.
    pub message: String,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A topic is already subscribed, so that nothing has to be done for it.
    AlreadySubscribed,
    /// Any other reason.
    Other,
}

impl Refusal {
    fn new(message: &str) -> Self {
        let is_subscribed = message.contains("already subscribed");
        let kind = if is_subscribed { RefusalKind::AlreadySubscribed } else { RefusalKind::Other };
        Self { kind, message: message.to_owned() }
    }

    /// Returns whether it names `topic`: `error:handler not found,topic:T`, `Invalid symbol :[T]`.
    #[must_use]
    pub fn names(&self, topic: &str) -> bool {
        self.message
            .split(|found: char| !(found.is_ascii_alphanumeric() || matches!(found, '.' | '-' | '_')))
            .any(|word| word == topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_bybits_form() {
        let topics = ["publicTrade.BTCUSDT".to_owned(), "publicTrade.ETHUSDT".to_owned()];
        assert_eq!(
            subscribe_frame("7", &topics),
            r#"{"req_id":"7","op":"subscribe","args":["publicTrade.BTCUSDT","publicTrade.ETHUSDT"]}"#
        );
        assert_eq!(ping_frame("8"), r#"{"req_id":"8","op":"ping"}"#);
    }

    #[test]
    fn answers_of_every_category_are_parsed() {
        for (text, answer) in [
            (
                r#"{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"1","op":"subscribe"}"#,
                Answer::Accepted { id: "1".into() },
            ),
            (
                r#"{"success":true,"ret_msg":"","conn_id":"c","req_id":1,"op":"subscribe"}"#,
                Answer::Accepted { id: "1".into() },
            ),
            (
                r#"{"success":false,"ret_msg":"args size >10","conn_id":"c","req_id":"2","op":"subscribe"}"#,
                Answer::Refused { id: "2".into(), refusal: Refusal::new("args size >10") },
            ),
            (r#"{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}"#, Answer::Pong),
            (r#"{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}"#, Answer::Pong),
            (r#"{"args":["1700000000000"],"op":"pong"}"#, Answer::Pong),
            (r#"{"success":false,"ret_msg":"error:invalid op","request":{"op":"x"}}"#, Answer::Unmatched),
            (r#"{"success":true,"ret_msg":"","op":"subscribe"}"#, Answer::Unmatched),
        ] {
            assert_eq!(Answer::parse(text).unwrap(), answer, "{text}");
        }
    }

    #[test]
    fn only_a_whole_topic_name_is_found() {
        let topic = "publicTrade.BTCUSDT";
        assert!(Refusal::new("error:handler not found,topic:publicTrade.BTCUSDT").names(topic));
        assert!(Refusal::new("Invalid symbol :[publicTrade.BTCUSDT]").names(topic));
        assert!(!Refusal::new("error:handler not found,topic:publicTrade.BTCUSDT-14AUG26").names(topic));
        assert!(!Refusal::new("args size >10").names(topic));
    }
}
