//! The state of a whole run as the admin socket tells it. Every figure is one of `/metrics`; new versions only add keys.

use klines_domain::time::Millis;
use serde::{Deserialize, Serialize};

use super::ConsumerStatus;

/// The state of a run. Times are in ms since 1970 UTC, lengths of time in ms unless their names say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunStatus {
    /// Version of klines.
    pub version: String,
    /// The time of this status.
    pub now: Millis,
    /// The start of the run.
    pub since: Millis,
    /// Whether it is ending.
    pub ending: bool,
    /// The intervals of the klines, in the configured order.
    pub intervals: Vec<String>,
    /// Its categories.
    pub feeds: Vec<FeedStatus>,
    /// Batches of klines that were published.
    pub batches: u64,
    /// From the end of a window to its closed kline.
    pub closing: Delays,
    /// Requests to the exchange's REST API.
    pub rest: RestStatus,
    /// Resident memory in bytes; Linux only.
    pub memory: Option<u64>,
    /// CPU time of all threads in microseconds.
    pub cpu_micros: u64,
    /// Bytes of the files in the `data_dir`.
    pub data_bytes: u64,
    /// The maximum of these bytes.
    pub data_limit: u64,
    /// The consumers, in the order of their configuration.
    pub consumers: Vec<ConsumerStatus>,
}

/// The state of one category.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedStatus {
    /// The category.
    pub category: String,
    /// `live`, `stale` or `down`.
    pub state: String,
    /// Since when it has been in this state.
    pub state_since: Millis,
    /// Watched symbols.
    pub symbols: usize,
    /// Connections to open, and those that are open.
    pub connections: usize,
    /// Connections that are open.
    pub open: usize,
    /// The smallest number of sound connections that a set of topics has.
    pub redundancy: usize,
    /// The number of connections to open for each set of topics.
    pub redundancy_wanted: usize,
    /// Since the last frame of the set of topics that has been silent longest.
    pub frame_age: Millis,
    /// Since the last frame of trades.
    pub trade_age: Millis,
    /// Connections that were opened so far.
    pub opened: u64,
    /// Attempts to connect that failed.
    pub failed: u64,
    /// Frames received.
    pub frames: u64,
    /// Gaps in the coverage of topics by one connection.
    pub connection_gaps: u64,
    /// Trades that the aggregator received, and those that are part of a kline.
    pub received: u64,
    /// Trades that are part of a kline.
    pub counted: u64,
    /// Trades that were too late.
    pub late: u64,
    /// Length of the gaps of all symbols.
    pub gap: Millis,
    /// The part that was repaired.
    pub gap_repaired: Millis,
    /// The part that stays unknown.
    pub gap_unknown: Millis,
    /// The state of the repairs; `None` if gaps are not repaired.
    pub repair: Option<Repairs>,
}

/// The repairs of a category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repairs {
    /// Symbols that have been covered.
    pub covered: usize,
    /// Symbols whose first windows are known, or were given up.
    pub seeded: usize,
    /// Symbols with gaps that are being repaired.
    pub pending: usize,
    /// Requests so far.
    pub requests: u64,
    /// Requests that failed or were refused.
    pub failed: u64,
}

/// Delays that were measured since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delays {
    /// Their number.
    pub count: u64,
    /// Their sum in microseconds.
    pub micros: u64,
}

/// Requests to the exchange's REST API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestStatus {
    /// Requests that were sent.
    pub requests: u64,
    /// Answers that there were too many.
    pub limited: u64,
    /// Until requests are sent again; 0 while they are allowed.
    pub resumes_in: Millis,
}
