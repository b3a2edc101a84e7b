//! Reading klines of the past, wherever they are stored.

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
}

/// Why stored klines cannot be read, as text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct HistoryError(pub String);
