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
    /// The consumer's name, for the log.
    pub name: String,
    /// The address of Redis.
    pub address: Address,
    /// Channel of the first category; for another category `:` and its name are appended.
    pub channel: String,
    /// The category whose channel and stream have no suffix.
    pub first: Category,
    /// Whether closed klines are published.
    pub publish: bool,
    /// Which closed klines are published in addition to those that the Streamer published.
    pub extras: Extras,
    /// The stream that closed klines are appended to; `None` for no stream.
    pub stream: Option<Stream>,
    /// Which kline of each series is kept as its last value, in one key for each series; `None` for no last values.
    pub last_value: Option<LastValue>,
    /// Whether values that consumers publish are published to Redis too.
    pub values: bool,
    /// Where closed klines wait on disk while Redis takes none; `None` if they do not go to disk.
    pub spill: Option<SpillSettings>,
}

/// Where klines wait on disk.
#[derive(Clone, Debug)]
pub struct SpillSettings {
    /// The folder, with a subfolder for each output.
    pub folder: PathBuf,
    /// Maximum bytes of the folder.
    pub most_bytes: u64,
    /// The data folder whose bound includes these bytes.
    pub data_dir: DataDir,
}

/// A Redis stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Key of the first category; for another category `:` and its name are appended.
    pub name: String,
    /// Approximate number of entries that it keeps.
    pub max_len: u32,
}

/// Which kline is the last value of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastValue {
    /// The last closed kline.
    Closed,
    /// The last kline, open ones included.
    Open,
}
