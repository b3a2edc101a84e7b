//! A record, a snapshot and the state of the feeds in our own dialect. `docs/websocket.md` describes them.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use klines_delivery::catalog::FeedStatus;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;

use crate::frame;
use crate::recent::{Recent, Record};

/// Records in the snapshot that follows a loss inside the server.
const AFTER_LOSS: usize = 100;

/// The life of a series' numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Of the server.
    pub server: u64,
    /// How often the series' numbering broke since.
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

/// The name of a topic of klines.
pub struct Name<'a> {
    key: &'a SeriesKey,
    /// The category that is not written.
    first: Category,
}

impl<'a> Name<'a> {
    /// The name of a series, where `first` is the category that is not written.
    #[must_use]
    pub const fn new(key: &'a SeriesKey, first: Category) -> Self {
        Self { key, first }
    }
}

impl Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SeriesKey { category, symbol, interval } = self.key;
        if *category == self.first {
            write!(out, "kline.{interval}.{symbol}")
        } else {
            write!(out, "kline.{interval}.{category}:{symbol}")
        }
    }
}

/// Makes the frame that tells followers of a record: itself, or if records were lost before it, a snapshot.
pub fn news<T: Record>(
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

/// Writes the push of a record.
pub fn record<T: Record>(record: &T, name: &impl Display, epoch: Epoch, text: &mut String) {
    let (kind, sequence) = (T::KIND, record.sequence());
    text.clear();
    // Writing to a String cannot fail.
    let _ = write!(text, r#"{{"v":1,"type":"{kind}","topic":"{name}","epoch":"{epoch}","seq":{sequence},"data":"#);
    record.write(text);
    text.push('}');
}

/// Writes a snapshot: the newest closed records, then the open one. `seq` is the topic's last number so far.
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

/// Writes how the feeds stand.
pub fn status(feeds: &[FeedStatus]) -> String {
    let mut text = r#"{"v":1,"type":"status","feeds":["#.to_owned();
    for (at, FeedStatus { category, state, since }) in feeds.iter().enumerate() {
        let (separator, state) = (if at > 0 { "," } else { "" }, state.as_str());
        let _ = write!(text, r#"{separator}{{"category":"{category}","state":"{state}","since":{since}}}"#);
    }
    text.push_str("]}");
    text
}
