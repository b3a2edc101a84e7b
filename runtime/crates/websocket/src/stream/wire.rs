//! The JSON messages of `/v1/stream`, in both directions. `docs/schemas` has their JSON Schemas.

use std::collections::HashMap;
use std::fmt::Write;

use klines_delivery::encode::ValueTopic;
use klines_domain::time::Millis;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::push::stream::Epoch;
use crate::server::Server;

/// The maximum number of series of values that the answer to `topics` lists.
const MAX_LISTED: usize = 10_000;

/// A request of a client. Unknown keys are ignored, so that clients may be newer than the server.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    Auth {
        #[serde(default)]
        id: Value,
        user: Option<String>,
        key: Option<String>,
        args: Option<Vec<Value>>,
    },
    Topics {
        #[serde(default)]
        id: Value,
    },
    Subscribe {
        #[serde(default)]
        id: Value,
        topics: Vec<String>,
        #[serde(default)]
        since: Since,
        #[serde(default)]
        history: usize,
    },
    Unsubscribe {
        #[serde(default)]
        id: Value,
        topics: Vec<String>,
    },
    Ping {
        #[serde(default)]
        id: Value,
    },
}

/// The last push that a client has received, by topic.
pub type Since = HashMap<String, Position>;

/// The last push of a topic that a client has received.
#[derive(Debug, Deserialize)]
pub struct Position {
    pub epoch: String,
    pub seq: u64,
}

/// The state of a topic in the answer to a subscription.
pub struct TopicState<'a> {
    pub name: &'a str,
    pub epoch: Epoch,
    pub seq: u64,
    pub recovered: Option<bool>,
}

/// Encodes the answer to a subscription.
pub fn subscribed(id: &Value, states: &[TopicState<'_>]) -> String {
    let mut text = head("subscribe", id, true);
    text.push_str(r#","topics":{"#);
    for (at, TopicState { name, epoch, seq, recovered }) in states.iter().enumerate() {
        let separator = if at > 0 { "," } else { "" };
        let _ = write!(text, r#"{separator}{}:{{"epoch":"{epoch}","seq":{seq}"#, Value::from(*name));
        if let Some(recovered) = recovered {
            let _ = write!(text, r#","recovered":{recovered}"#);
        }
        text.push('}');
    }
    text.push_str("}}");
    text
}

/// Encodes the answer to `topics`: what clients can subscribe to.
pub fn topics(id: &Value, server: &Server) -> String {
    let intervals: Vec<String> = server.intervals().iter().map(ToString::to_string).collect();
    let names = |symbols: Vec<klines_domain::symbol::Symbol>| {
        json!(symbols.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let symbols: serde_json::Map<String, Value> =
        server.watched().into_iter().map(|(category, symbols)| (category.to_string(), names(symbols))).collect();
    let mut text = head("topics", id, true);
    let first = server.subscriptions.first();
    let _ = write!(text, r#","intervals":{},"symbols":{},"category":"{first}","#, json!(intervals), json!(symbols));
    let mut known = server.subscriptions.lock().values.known(MAX_LISTED);
    known.sort_unstable();
    text.push_str(r#""values":["#);
    for (at, series) in known.iter().enumerate() {
        let separator = if at > 0 { "," } else { "" };
        let _ = write!(text, r#"{separator}"{}""#, ValueTopic { series, first });
    }
    text.push_str("]}");
    text
}

/// Encodes the answer to a ping.
pub fn pong(id: &Value, time: Millis) -> String {
    let mut text = head("pong", id, true);
    let _ = write!(text, r#","time":{time}}}"#);
    text
}

/// Encodes an answer without further fields.
pub fn done(op: &str, id: &Value) -> String {
    let mut text = head(op, id, true);
    text.push('}');
    text
}

/// Encodes a refusal.
pub fn refusal(op: &str, id: &Value, error: &str, topic: Option<&str>) -> String {
    let mut text = head(op, id, false);
    let _ = write!(text, r#","error":{}"#, Value::from(error));
    if let Some(topic) = topic {
        let _ = write!(text, r#","topic":{}"#, Value::from(topic));
    }
    text.push('}');
    text
}

/// Encodes the fields that all answers share, without the closing brace. Leaves out ids that are neither strings nor
/// numbers.
fn head(op: &str, id: &Value, ok: bool) -> String {
    let mut text = format!(r#"{{"v":1,"op":"{op}""#);
    if id.is_string() || id.is_number() {
        let _ = write!(text, r#","id":{id}"#);
    }
    let _ = write!(text, r#","ok":{ok}"#);
    text
}
