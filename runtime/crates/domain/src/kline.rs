//! One candlestick and the batch that travels to consumers.

use std::fmt;
use std::sync::Arc;

use super::decimal::Decimal;
use super::series::SeriesId;
use super::time::Millis;

/// How much a kline is known to be worth, from best to worst but for `Repaired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// Every trade of the window was seen.
    Complete,
    /// Watching began inside the window.
    Partial,
    /// Trades may be missing, or the open may not be the previous close, because the feed was interrupted.
    Gapped,
    /// Taken from REST: trades, buy volume, buy turnover and last trade time are lower bounds.
    Repaired,
}

impl Quality {
    /// The lower-case name used in every output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Gapped => "gapped",
            Self::Repaired => "repaired",
        }
    }
}

impl Quality {
    /// Returns the one of the two that promises less.
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Partial => 1,
            Self::Gapped => 2,
            Self::Repaired => 3,
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// One candlestick. (series, start) is its identity; with `revision`, the key of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Kline {
    /// Category, symbol and interval.
    pub series: SeriesId,
    /// First millisecond of the window.
    pub start: Millis,
    /// Last millisecond of the window.
    pub end: Millis,
    /// Last price before `start`, or the first trade's price where that is unknown or so configured.
    pub open: Decimal,
    /// Highest price, the open included.
    pub high: Decimal,
    /// Lowest price, the open included.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
    /// Sum of sizes.
    pub volume: Decimal,
    /// Sum of price × size; for inverse of size / price, each rounded half-even to 8 decimals.
    pub turnover: Decimal,
    /// The part of `volume` whose taker bought.
    pub buy_volume: Decimal,
    /// The part of `turnover` whose taker bought.
    pub buy_turnover: Decimal,
    /// Decimals of the symbol's prices, the most seen so far.
    pub price_decimals: u8,
    /// Decimals of the symbol's sizes, the most seen so far.
    pub volume_decimals: u8,
    /// Number of trades.
    pub trades: u64,
    /// Time of the last trade in the window, 0 without one.
    pub last_trade_time: Millis,
    /// The window is over; never taken back.
    pub confirm: bool,
    /// +1 for each correction of a confirmed kline.
    pub revision: u32,
    /// What is known of the window.
    pub quality: Quality,
    /// +1 for each confirmed kline or revision of this series.
    pub sequence: u64,
    /// Exchange time of the tick or event that made this record.
    pub emitted: Millis,
}

/// Klines that came to be at one moment, in order: a boundary's closings (shorter intervals first), the revisions
/// that one event caused, or the updates that one tick found due.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The klines, all of one category.
    pub klines: Vec<Arc<Kline>>,
}
