//! Settings of the redis consumer.

use std::path::PathBuf;

use klines_delivery::data_dir::DataDir;
use klines_delivery::encode::Extras;
use klines_domain::symbol::Category;

use crate::connection::Address;

/// Names of the outputs that keep every kline; folders below the spill are named after them.
pub(crate) const PUBLISH: &str = "publish";
pub(crate) const STREAM: &str = "stream";

/// Settings of the consumer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, for the log.
    pub name: String,
    /// Where Redis is.
    pub address: Address,
    /// Channel of the first category; another's has the category's name behind it.
    pub channel: String,
    /// The category whose channel and stream have no suffix.
    pub first: Category,
    /// Whether closed klines are published.
    pub publish: bool,
    /// What is published beyond what the predecessor knew.
    pub extras: Extras,
    /// The stream that closed klines are appended to, if any.
    pub stream: Option<Stream>,
    /// Whether the last value of each series is kept in a key of its own, and whether that may be an open kline.
    pub last_value: Option<LastValue>,
    /// Whether values that consumers publish are published here too.
    pub values: bool,
    /// Where closed klines wait while Redis is away; nowhere if absent.
    pub spill: Option<SpillSettings>,
}

/// Where klines wait.
#[derive(Clone, Debug)]
pub struct SpillSettings {
    /// The folder, which has one for each lane.
    pub folder: PathBuf,
    /// What may wait there, in bytes.
    pub most_bytes: u64,
    /// The data folder that the bytes count in.
    pub data_dir: DataDir,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Key of the first category; another's has the category's name behind it.
    pub name: String,
    /// About how many entries it keeps.
    pub max_len: u32,
}

/// What last values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastValue {
    /// The last closed kline.
    Closed,
    /// The last kline, open ones included.
    Open,
}
