//! Counts the trades and the gaps of one category by what became of them.

use crate::time::Millis;

/// The number of trades received, by what became of them. Invariant: `received = counted + duplicate + late + rejected
/// + excluded + superseded`.
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
    /// Trades of a time for which the exchange's own candle has been taken.
    pub superseded: u64,
    /// The gaps of all symbols, by what became of them.
    pub gaps: GapTally,
}

/// The length of the gaps of all symbols in ms, by what became of them. The rest is still to be repaired, or belongs to
/// a feed that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GapTally {
    /// Time that was not covered between times that were.
    pub gap: Millis,
    /// The part whose trades have been recovered, or for which candles of the exchange were taken.
    pub repaired: Millis,
    /// The part of which nothing will be known.
    pub unknown: Millis,
}
