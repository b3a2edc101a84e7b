//! Encodes records, snapshots and the state of the feeds for `/v1/stream`. `docs/websocket.md` describes them.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use klines_delivery::catalog::FeedStatus;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;

use crate::frame;
use crate::recent::{Recent, Record};

/// The number of records in the snapshot that follows a loss inside the server.
const AFTER_LOSS: usize = 100;

/// Identifies an uninterrupted sequence of a topic; a new epoch starts with a restart of the server or a loss, or where
/// servers share their epochs, with a shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The random number of the server's instance, or the epoch that several servers share.
    pub server: u64,
    /// How often the topic's sequence was interrupted since the server or the shared epoch began.
    pub breaks: u32,
}

impl Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.breaks {
            0 => write!(out, "{:016x}", self.server),
            breaks => write!(out, "{:016x}-{breaks}", self.server),
        }
    }
}

/// The name of a topic of klines, to be displayed.
pub struct KlineTopic<'a> {
    key: &'a SeriesKey,
    /// The category that is left out of names.
    first: Category,
}

impl<'a> KlineTopic<'a> {
    /// Creates the name of the topic of `key`; the category is left out if it is `first`.
    #[must_use]
    pub const fn new(key: &'a SeriesKey, first: Category) -> Self {
        Self { key, first }
    }
}

impl Display for KlineTopic<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SeriesKey { category, symbol, interval } = self.key;
        if *category == self.first {
            write!(out, "kline.{interval}.{symbol}")
        } else {
            write!(out, "kline.{interval}.{category}:{symbol}")
        }
    }
}

/// Encodes the frame for a new record: its push, or a snapshot if records were lost before it or it begins an epoch
/// (`is_next` is false).
pub fn push_or_snapshot<T: Record>(
    name: &impl Display,
    epoch: Epoch,
    recent: &Recent<T>,
    record: &T,
    is_next: bool,
    text: &mut String,
) -> Bytes {
    if is_next {
        self::record(record, name, epoch, text);
    } else {
        let closed = recent.newest(AFTER_LOSS);
        snapshot(name, (epoch, recent.last()), closed.iter().chain(recent.open()), Some(false), text);
    }
    frame::text(text)
}

/// Encodes the push of a record into `text`.
pub fn record<T: Record>(record: &T, name: &impl Display, epoch: Epoch, text: &mut String) {
    let (kind, sequence) = (T::KIND, record.sequence());
    text.clear();
    // Writing to a `String` cannot fail.
    let _ = write!(text, r#"{{"v":1,"type":"{kind}","topic":"{name}","epoch":"{epoch}","seq":{sequence},"data":"#);
    record.write(text);
    text.push('}');
}

/// Encodes a snapshot into `text`: the newest closed records, then the open one. `seq` is the topic's last sequence.
pub fn snapshot<'a, T: Record + 'a>(
    name: &impl Display,
    (epoch, seq): (Epoch, u64),
    records: impl Iterator<Item = &'a Arc<T>>,
    recovered: Option<bool>,
    text: &mut String,
) {
    text.clear();
    let _ = write!(text, r#"{{"v":1,"type":"snapshot","topic":"{name}","epoch":"{epoch}","seq":{seq},"#);
    if let Some(recovered) = recovered {
        let _ = write!(text, r#""recovered":{recovered},"#);
    }
    text.push_str(r#""data":["#);
    for (at, record) in records.enumerate() {
        if at > 0 {
            text.push(',');
        }
        record.write(text);
    }
    text.push_str("]}");
}

/// Encodes the state of the feeds.
pub fn status(feeds: &[FeedStatus]) -> String {
    let mut text = r#"{"v":1,"type":"status","feeds":["#.to_owned();
    for (at, FeedStatus { category, state, since }) in feeds.iter().enumerate() {
        let (separator, state) = (if at > 0 { "," } else { "" }, state.as_str());
        let _ = write!(text, r#"{separator}{{"category":"{category}","state":"{state}","since":{since}}}"#);
    }
    text.push_str("]}");
    text
}
