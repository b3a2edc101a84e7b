//! What can be asked of the exchange about trades that no feed has delivered, and what it answers. Pure values: the
//! requests are made by the pipeline, sent by the program, and answered by Bybit's market endpoints.

use super::decimal::Decimal;
use super::symbol::SymbolId;
use super::time::{ExchangeMillis, HOUR, MINUTE, Millis};
use super::trade::{Quantity, Trade};

/// The length of a candle of the exchange that takes part in a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grain {
    /// One minute.
    Minute,
    /// One hour.
    Hour,
}

impl Grain {
    /// Returns the length in ms.
    #[must_use]
    pub const fn millis(self) -> Millis {
        match self {
            Self::Minute => MINUTE,
            Self::Hour => HOUR,
        }
    }
}

/// A candle of the exchange whose window is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candle {
    /// First millisecond of its window.
    pub start: ExchangeMillis,
    /// The last price before `start`.
    pub open: Quantity,
    /// Highest price, including the open.
    pub high: Quantity,
    /// Lowest price, including the open.
    pub low: Quantity,
    /// Last price.
    pub close: Quantity,
    /// Sum of sizes.
    pub volume: Decimal,
    /// Sum of the turnovers of its trades, as in a [`Kline`](super::kline::Kline).
    pub turnover: Decimal,
}

/// A question to the exchange about one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// The most recent trades, as many as one answer holds.
    RecentTrades {
        /// The symbol of the trades.
        symbol: SymbolId,
    },
    /// The candles that start from `from` to `to`, both included; at most [`MAX_CANDLES`].
    Candles {
        /// The symbol of the candles.
        symbol: SymbolId,
        /// Their length.
        grain: Grain,
        /// The start of the first one.
        from: ExchangeMillis,
        /// The start of the last one.
        to: ExchangeMillis,
    },
}

/// The most candles of one answer.
pub const MAX_CANDLES: usize = 1_000;

impl Request {
    /// Returns the symbol that the request is about.
    #[must_use]
    pub const fn symbol(self) -> SymbolId {
        match self {
            Self::RecentTrades { symbol } | Self::Candles { symbol, .. } => symbol,
        }
    }
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Trades in order, oldest first, without a gap between the first and the last one.
    Trades(Vec<Trade>),
    /// Candles, oldest first. A candle may be missing.
    Candles(Vec<Candle>),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The exchange does not know the symbol, or refuses the request for another lasting reason.
    Refused,
    /// The request may succeed later: a timeout, a broken connection, a limit, an answer that contradicts itself.
    Later {
        /// The minimum wait in ms, if the exchange or the rate limit requires one.
        wait: Millis,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The request.
    pub request: Request,
    /// What was found, or why nothing was.
    pub result: Result<Found, Failure>,
}
