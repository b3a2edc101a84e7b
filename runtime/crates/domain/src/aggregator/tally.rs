//! Counts the trades of one category by what became of them.

/// The number of trades received, by what became of them. Invariant: `received = counted + duplicate + late + rejected
/// + excluded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trades passed to [`Aggregator::apply`](super::Aggregator::apply), and rows that the decoder rejected.
    pub received: u64,
    /// Trades that are part of a kline.
    pub counted: u64,
    /// Trades that had been received before.
    pub duplicate: u64,
    /// Trades further behind the watermark than `lateness` that are not known to have been received before.
    pub late: u64,
    /// Rows whose price, size or time is invalid or cannot be stored exactly.
    pub rejected: u64,
    /// Block trades, if they are left out.
    pub excluded: u64,
}
