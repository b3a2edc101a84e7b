//! What is said on the admin socket: one request a connection, then its answers, each a line of JSON with `v`.
//!
//! Keys are only ever added. A change that would break an older program takes another `v`.

use serde::{Deserialize, Serialize};

use crate::telemetry::logbook::Line;

/// The `v` of every line.
pub const VERSION: u32 = 1;

/// A question or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What is wanted.
    #[serde(flatten)]
    pub op: Op,
}

/// What can be wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// Every consumer and how it is: [`Answer::Consumers`].
    List,
    /// The last lines about a consumer, each an [`Answer::Line`]; then [`Answer::Done`], or further lines as they come.
    Logs {
        /// Whose.
        name: String,
        /// At most so many.
        lines: usize,
        /// Go on as long as the connection does.
        #[serde(default)]
        follow: bool,
    },
    /// Hand nothing to a consumer; what comes waits.
    Pause {
        /// Which.
        name: String,
    },
    /// Go on; start one that failed or is quarantined anew.
    Resume {
        /// Which.
        name: String,
    },
    /// Read a consumer's component again and let it take over.
    Reload {
        /// Which.
        name: String,
    },
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`].
    pub v: u32,
    /// What is answered.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The consumers, in the order of their configuration.
    Consumers(Vec<Row>),
    /// A line about a consumer.
    Line(Line),
    /// So many lines between the last one and the next are no longer kept.
    Missed(u64),
    /// Done; what was done.
    Done(String),
    /// Not done; why not.
    Error(String),
}

/// How one consumer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name in the configuration.
    pub name: String,
    /// `native` or `wasm`.
    pub kind: String,
    /// Where it is in its life.
    pub state: String,
    /// Klines delivered, updates included.
    pub klines: u64,
    /// Closed klines that were dropped, for whatever reason.
    pub lost: u64,
    /// Closed klines that wait.
    pub queue: usize,
    /// Closed klines that may wait.
    pub queue_capacity: usize,
    /// Series of which an update waits.
    pub updates: usize,
    /// Calls that it asked to be repeated.
    pub retries: u64,
    /// Instances made after a crash.
    pub restarts: u64,
    /// Crashes of every kind.
    pub crashes: u64,
    /// Klines in its dead-letter file.
    pub set_aside: u64,
    /// Bytes of its instance's memory; components only.
    pub memory: Option<u64>,
    /// Bytes that its compiled component takes, once for all consumers of the same version; components only.
    #[serde(default)]
    pub loaded: Option<u64>,
    /// SHA-256 of its component, in hex.
    pub version: Option<String>,
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        Self { v: VERSION, answer }
    }
}

impl From<Op> for Request {
    fn from(op: Op) -> Self {
        Self { v: VERSION, op }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;

    #[test]
    fn the_wire_is_as_documented() {
        let document = include_str!("../../../../docs/admin.md");
        let requests = [
            Op::List,
            Op::Logs { name: "ema".to_owned(), lines: 100, follow: true },
            Op::Pause { name: "ema".to_owned() },
            Op::Resume { name: "ema".to_owned() },
            Op::Reload { name: "ema".to_owned() },
        ];
        for op in requests {
            let text = to_string(&Request::from(op.clone())).unwrap();
            assert!(document.contains(&text), "{text} is not documented");
            assert_eq!(from_str::<Request>(&text).unwrap().op, op);
        }
        for (answer, text) in [
            (Answer::Done("ema is paused".to_owned()), r#"{"v":1,"done":"ema is paused"}"#),
            (Answer::Error("why".to_owned()), r#"{"v":1,"error":"why"}"#),
            (Answer::Missed(3), r#"{"v":1,"missed":3}"#),
            (Answer::Consumers(Vec::new()), r#"{"v":1,"consumers":[]}"#),
        ] {
            assert_eq!(to_string(&Response::from(answer.clone())).unwrap(), text);
            assert_eq!(from_str::<Response>(text).unwrap().answer, answer);
        }
    }
}
