//! A candlestick, and the batch in which consumers receive candlesticks.

use std::fmt;
use std::sync::Arc;

use super::decimal::Decimal;
use super::series::SeriesId;
use super::time::Millis;

/// How complete a kline is known to be. The order of the variants is that of the contract, not of the quality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// Every trade of the window was seen.
    Complete,
    /// Coverage began inside the window.
    Partial,
    /// Trades may be missing, or the open may not be the previous close, because the feed was interrupted.
    Gapped,
    /// Taken from REST: trades, buy volume, buy turnover and last trade time are lower bounds.
    Repaired,
}

impl Quality {
    /// Returns the lower-case name that every output uses.
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
    /// Returns the worse of the two qualities.
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// Returns whether more is known of this kline than of the other one.
    #[must_use]
    pub const fn is_better(self, other: Self) -> bool {
        self.rank() < other.rank()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Repaired => 1,
            Self::Partial => 2,
            Self::Gapped => 3,
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// One candlestick. (series, start) identifies it; with `revision` it identifies a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Kline {
    /// Category, symbol and interval.
    pub series: SeriesId,
    /// First millisecond of the window.
    pub start: Millis,
    /// Last millisecond of the window.
    pub end: Millis,
    /// The last price before `start`; the first trade's price if that is unknown or if the settings say so.
    pub open: Decimal,
    /// Highest price, including the open.
    pub high: Decimal,
    /// Lowest price, including the open.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
    /// Sum of sizes.
    pub volume: Decimal,
    /// Sum of price × size; for inverse contracts of size / price, each rounded half to even to 8 decimals.
    pub turnover: Decimal,
    /// The part of `volume` whose taker was the buyer.
    pub buy_volume: Decimal,
    /// The part of `turnover` whose taker was the buyer.
    pub buy_turnover: Decimal,
    /// Number of decimals of the symbol's prices, the maximum seen so far.
    pub price_decimals: u8,
    /// Number of decimals of the symbol's sizes, the maximum seen so far.
    pub volume_decimals: u8,
    /// Number of trades.
    pub trades: u64,
    /// Time of the last trade in the window; 0 without trades.
    pub last_trade_time: Millis,
    /// Whether the window is closed; this never changes back.
    pub confirm: bool,
    /// The number of corrections of the confirmed kline so far; 0 for the first.
    pub revision: u32,
    /// How complete the kline is known to be.
    pub quality: Quality,
    /// The sequence number in the series; each confirmed kline and each revision increases it by 1.
    pub sequence: u64,
    /// Exchange time of the tick or event that emitted this kline.
    pub emitted: Millis,
}

/// Klines that were emitted at one moment, in order: those that a boundary closes (shorter intervals first), the
/// revisions of one round, or the updates of one tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The klines, all of one category.
    pub klines: Vec<Arc<Kline>>,
}
