//! What Bybit answers to a command, and the command frames themselves. Decides nothing about subscriptions.

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

/// Returns the frame that subscribes to `topics`, to be answered with the same id.
#[must_use]
pub fn subscribe_frame(id: &str, topics: &[String]) -> String {
    command(&WireCommand { req_id: id, op: "subscribe", args: Some(topics) })
}

/// Returns the frame that asks for a pong.
#[must_use]
pub fn ping_frame(id: &str) -> String {
    command(&WireCommand { req_id: id, op: "ping", args: None })
}

fn command(frame: &WireCommand<'_>) -> String {
    // Strings and slices of strings always serialise.
    serde_json::to_string(frame).unwrap_or_default()
}

/// The public streams' answer, all categories and ops in one.
#[derive(Debug, Deserialize)]
struct WireAnswer<'a> {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default, borrow)]
    ret_msg: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    op: Option<Cow<'a, str>>,
    /// Echoed as a string; other types are taken as they come.
    #[serde(default)]
    req_id: serde_json::Value,
}

/// One answer, as the session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The peer is there. It proves only the gateway: nothing is known of any subscription.
    Pong,
    /// The frame of this id is accepted, whole.
    Accepted {
        /// The id that the frame had.
        id: String,
    },
    /// The frame of this id is refused, whole.
    Refused {
        /// The id that the frame had.
        id: String,
        /// Why.
        refusal: Refusal,
    },
    /// Something else: a complaint about no frame in particular, or the answer to what was never sent.
    Unmatched,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// When it is not an object, or its fields have other types than documented.
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
            ("subscribe", Some(true)) => Self::Accepted { id },
            ("subscribe", Some(false)) => Self::Refused { id, refusal: Refusal::new(message) },
            _ => Self::Unmatched,
        })
    }
}

/// Why a frame is refused. Bybit gives neither a code nor a field for it: its text is read here, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub kind: RefusalKind,
    /// Bybit's words.
    pub message: String,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A topic is subscribed already, which is what was wanted.
    AlreadySubscribed,
    /// Anything else.
    Other,
}

impl Refusal {
    fn new(message: &str) -> Self {
        let is_subscribed = message.contains("already subscribed");
        let kind = if is_subscribed { RefusalKind::AlreadySubscribed } else { RefusalKind::Other };
        Self { kind, message: message.to_owned() }
    }

    /// Whether it names a topic: `error:handler not found,topic:T`, `Invalid symbol :[T]`.
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
    fn commands_are_bybits() {
        let topics = ["publicTrade.BTCUSDT".to_owned(), "publicTrade.ETHUSDT".to_owned()];
        assert_eq!(
            subscribe_frame("7", &topics),
            r#"{"req_id":"7","op":"subscribe","args":["publicTrade.BTCUSDT","publicTrade.ETHUSDT"]}"#
        );
        assert_eq!(ping_frame("8"), r#"{"req_id":"8","op":"ping"}"#);
    }

    #[test]
    fn answers_of_every_category_are_understood() {
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
    fn a_named_topic_is_found_whole() {
        let topic = "publicTrade.BTCUSDT";
        assert!(Refusal::new("error:handler not found,topic:publicTrade.BTCUSDT").names(topic));
        assert!(Refusal::new("Invalid symbol :[publicTrade.BTCUSDT]").names(topic));
        assert!(!Refusal::new("error:handler not found,topic:publicTrade.BTCUSDT-14AUG26").names(topic));
        assert!(!Refusal::new("args size >10").names(topic));
    }
}
