//! Epochs that several servers share, so that a client of one can go on at another.

use std::fmt;

use klines_domain::series::SeriesId;

/// The epochs of klines that several servers read from one place: all servers have the same sequences and epochs.
pub trait Epochs: Send + Sync + fmt::Debug {
    /// Returns the epoch under which the kline of a series with this sequence was published, and for sequence 0, which no
    /// kline has, the newest epoch that is known for the series. Where a sequence was given twice, the newest epoch counts.
    ///
    /// `None` if it is not known: then no position in the series is shared. The epoch of a kline must be known before a
    /// server receives the kline, and where that of one kline is known, so are those of all later ones.
    ///
    /// Called for every confirmed kline on the thread that publishes, under a lock: it must not wait.
    fn of(&self, series: SeriesId, sequence: u64) -> Option<u64>;
}
