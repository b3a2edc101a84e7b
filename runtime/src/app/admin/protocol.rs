//! The protocol of the admin socket: one request per connection, then its answers, each a line of JSON with `v`.
//!
//! New versions only add keys. A change that would break an older program uses another `v`.

mod status;

use serde::{Deserialize, Serialize};

pub use self::status::{Delays, FeedStatus, Repairs, RestStatus, RunStatus};
use crate::telemetry::logbook::LogLine;

/// The `v` of every line.
pub const VERSION: u32 = 1;

/// A request: a query or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// The requested operation.
    #[serde(flatten)]
    pub op: Op,
}

/// The operation of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// Lists every consumer with its state: [`Answer::Consumers`].
    List,
    /// Sends the state of the whole run: [`Answer::Status`].
    Status,
    /// Sends the last log lines about a consumer, each an [`Answer::Line`]; then [`Answer::Done`], or, with `follow`,
    /// new lines as they are logged.
    Logs {
        /// Name of the consumer.
        name: String,
        /// Largest number of lines.
        lines: usize,
        /// Whether new lines follow until the connection closes.
        #[serde(default)]
        follow: bool,
    },
    /// Stops delivery to a consumer; new klines wait in its queue.
    Pause {
        /// Name of the consumer.
        name: String,
    },
    /// Resumes delivery to a consumer; restarts one that failed or is quarantined.
    Resume {
        /// Name of the consumer.
        name: String,
    },
    /// Sends the klines and values that are published from now on, until the connection closes: each an object with the
    /// key `kline` or `value`; [`Answer::Missed`] where they were read too slowly.
    Tail {
        /// Names of topics, with `*` for every consumer, name, interval or symbol; none means everything.
        topics: Vec<String>,
        /// Whether also klines of open windows and provisional values are sent.
        #[serde(default)]
        updates: bool,
    },
    /// Reads the configuration again and applies what can change: [`Answer::Done`] or [`Answer::Refused`].
    Reconfigure,
    /// Loads the component of a consumer again and replaces the running version.
    Reload {
        /// Name of the consumer.
        name: String,
    },
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`].
    pub v: u32,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The consumers, in the order of their configuration.
    Consumers(Vec<ConsumerStatus>),
    /// The state of the run.
    Status(Box<RunStatus>),
    /// A log line about a consumer.
    Line(LogLine),
    /// The number of lines, or of klines and values, between the last one and the next that are no longer kept.
    Missed(u64),
    /// The request succeeded; the text describes what was done.
    Done(String),
    /// The configuration was refused, and the old one stays; the text is the report of its problems.
    Refused(String),
    /// The request failed; the text is the reason.
    Error(String),
}

/// The state and the counters of one consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// `native` or `wasm`.
    pub kind: String,
    /// State of its life cycle.
    pub state: String,
    /// Klines delivered, updates included.
    pub klines: u64,
    /// Closed klines that were dropped, for any reason.
    pub lost: u64,
    /// Closed klines in its queue.
    pub queue: usize,
    /// Largest number of closed klines in its queue.
    pub queue_capacity: usize,
    /// Series with an update in its queue.
    pub updates: usize,
    /// Calls that it asked to repeat.
    pub retries: u64,
    /// Instances created after a crash.
    pub restarts: u64,
    /// Crashes of every kind.
    pub crashes: u64,
    /// Klines written to its dead-letter file.
    pub set_aside: u64,
    /// Bytes of memory of its instance; components only.
    pub memory: Option<u64>,
    /// Bytes of its compiled component, which all consumers of the same version share; components only.
    #[serde(default)]
    pub loaded: Option<u64>,
    /// SHA-256 of its component, in hex.
    pub version: Option<String>,
    /// `locked`, `unsigned` or `unlocked`: whether the lock file has accepted its component; component files only.
    #[serde(default)]
    pub lock: Option<String>,
    /// From the hub to the end of the accepting call, for the oldest closed kline of each delivery.
    #[serde(default)]
    pub lag: Delays,
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
            Op::Status,
            Op::Logs { name: "ema".to_owned(), lines: 100, follow: true },
            Op::Pause { name: "ema".to_owned() },
            Op::Resume { name: "ema".to_owned() },
            Op::Reload { name: "ema".to_owned() },
            Op::Reconfigure,
            Op::Tail { topics: vec!["kline.1m.BTCUSDT".to_owned()], updates: false },
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
