//! What a feed brings to the aggregator: trades, and since when and until when none of them can be missing.

use super::symbol::{Category, SymbolId};
use super::time::{ExchangeMillis, LocalMillis};
use super::trade::Trade;

/// One event of a category's feed. `T` is the clock of what a feed sees of itself: [`LocalMillis`] as it comes from a
/// connection, [`ExchangeMillis`] as the aggregator takes it. A trade's time is the exchange's in both.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedEvent<T> {
    /// A trade happened.
    Trade(Trade),
    /// From `from` on every trade of these symbols arrives: their topics are acknowledged.
    Covered {
        /// Whose feed it is.
        symbols: Vec<SymbolId>,
        /// First moment that is covered.
        from: T,
    },
    /// Between two moments trades of these symbols may be missing.
    Hole {
        /// Whose feed it is.
        symbols: Vec<SymbolId>,
        /// The last moment known to be covered.
        last_seen: T,
        /// The first that is covered again; `None` until the next [`Covered`](Self::Covered).
        until: Option<T>,
    },
    /// Coverage of these symbols that was said to begin at `from` began at `at` only.
    Delayed {
        /// Whose feed it is.
        symbols: Vec<SymbolId>,
        /// The beginning as it was said.
        from: T,
        /// First moment that is covered.
        at: T,
    },
    /// A trade of this symbol from `from` to `to`, both included, is in no kline: its row could not be read.
    Missed {
        /// Whose trade it is.
        symbol: SymbolId,
        /// The earliest that it can have happened.
        from: ExchangeMillis,
        /// The latest.
        to: ExchangeMillis,
    },
    /// The exchange lists the instrument no more since `at`: unless it has traded after that, it has ended then.
    Ended {
        /// Which one.
        symbol: SymbolId,
        /// When it ended.
        at: T,
    },
    /// The exchange lists the instrument after all: what was said of its end was wrong.
    Listed {
        /// Which one.
        symbol: SymbolId,
    },
}

/// What a message says about the connection that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Topics are acknowledged: it carries trades from now on.
    Up,
    /// It is gone, or carries nothing any more.
    Down,
    /// Everything that had arrived at the time of receipt has been read and handed on: a read of the socket would
    /// have waited, and nothing is left in TLS or in the WebSocket layer, or for a second nothing but a part of a frame.
    Drained,
}

/// What one frame, or one change of a connection's state, means for a category.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedMessage {
    /// Whose symbols the events name.
    pub category: Category,
    /// Which of the category's connections brought it, counted from 0; `None` for what was learned elsewhere.
    pub connection: Option<usize>,
    /// Local time of receipt, on the clock that ticks are made from.
    pub received: LocalMillis,
    /// The exchange's stamp on the frame, where it has one: an observation for the connection's exchange clock.
    pub stamped: Option<ExchangeMillis>,
    /// What it says about the connection itself.
    pub link: Option<Link>,
    /// Rows of the frame that were no trades: price, size or time cannot be right.
    pub rejected: u64,
    /// What happened, in order. The pipeline, which owns the exchange clocks, turns it into exchange time.
    pub events: Vec<FeedEvent<LocalMillis>>,
}

impl FeedMessage {
    /// Builds a message about a category that no connection brought.
    #[must_use]
    pub const fn of_category(category: Category, received: LocalMillis, events: Vec<FeedEvent<LocalMillis>>) -> Self {
        Self { category, connection: None, received, stamped: None, link: None, rejected: 0, events }
    }
}
