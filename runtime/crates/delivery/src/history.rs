//! Reading klines of the past, wherever they are stored, as of now or as of the position of a consumer.

use std::collections::BTreeMap;
pub mod composed;

use std::fmt;
use std::sync::Arc;

use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;
use thiserror::Error;

/// Which klines are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Their series.
    pub series: SeriesKey,
    /// The earliest start, ms since 1970.
    pub from: Millis,
    /// The latest start, ms since 1970; included.
    pub to: Millis,
    /// The maximum number of klines.
    pub limit: usize,
    /// Which of them are returned if there are more.
    pub side: Side,
}

/// One end of a time range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The klines that begin first.
    Oldest,
    /// The klines that begin last.
    Newest,
}

/// Stored klines that can be read.
pub trait History: Send + Sync + fmt::Debug {
    /// Returns the newest revision of each confirmed kline that the query names, by ascending start. It is read from a disk:
    /// not for a thread that must not wait. A series of which nothing is known has no klines.
    ///
    /// # Errors
    /// [`HistoryError`] if the klines cannot be read now.
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError>;

    /// Returns the same as if the klines that wait did not exist: the revision before, where there is one. An implementation
    /// that has only the newest revisions leaves out their windows, and returns fewer klines.
    ///
    /// # Errors
    /// As [`History::klines`].
    fn klines_before(&self, query: &Query, waiting: &Waiting) -> Result<Vec<Arc<Kline>>, HistoryError> {
        let mut klines = self.klines(query)?;
        klines.retain(|kline| !waiting.has(kline.start, kline.revision));
        Ok(klines)
    }
}

/// The klines of one series that a consumer has not received yet: for windows, by their start, the first revision that
/// waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting(BTreeMap<Millis, u32>);

impl Waiting {
    /// Adds a kline that waits.
    pub fn add(&mut self, kline: &Kline) {
        let first = self.0.entry(kline.start).or_insert(kline.revision);
        *first = kline.revision.min(*first);
    }

    /// Returns whether a revision of a window waits.
    #[must_use]
    pub fn has(&self, start: Millis, revision: u32) -> bool {
        self.0.get(&start).is_some_and(|first| revision >= *first)
    }
}

/// No stored klines.
#[derive(Clone, Copy, Debug)]
pub struct NoHistory(
    /// Why there are none, and what to do about it.
    pub &'static str,
);

impl History for NoHistory {
    fn klines(&self, _: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        Err(HistoryError(self.0.to_owned()))
    }
}

/// Why stored klines cannot be read, as text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct HistoryError(pub String);
