//! Klines of earlier runs that a consumer has not acknowledged.

use std::fmt;
use std::sync::Arc;

use klines_domain::kline::Kline;

use crate::history::HistoryError;

/// Returns the klines that a consumer gets before those of this run.
pub trait Missed: Send + fmt::Debug {
    /// Returns the next confirmed klines, in the order of each series; none when that was all. They are read from a disk.
    ///
    /// # Errors
    /// [`HistoryError`] if they cannot be read.
    fn next(&mut self) -> Result<Vec<Arc<Kline>>, HistoryError>;
}
