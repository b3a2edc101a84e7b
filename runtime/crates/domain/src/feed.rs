//! What a feed tells the aggregator: trades, and since when and until when it can be trusted to have told all.

use super::symbol::{Category, SymbolId};
use super::time::Millis;
use super::trade::Trade;

/// One event of a category's feed. Times are exchange time.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedEvent {
    /// A trade happened.
    Trade(Trade),
    /// From `at` on every trade of these symbols arrives: their topics are acknowledged.
    Resumed {
        /// Whose feed it is.
        symbols: Vec<SymbolId>,
        /// First moment that is covered.
        at: Millis,
    },
    /// After `last_seen` trades of these symbols may be missing, until the next `Resumed`.
    Gap {
        /// Whose feed it is.
        symbols: Vec<SymbolId>,
        /// The last moment known to be covered.
        last_seen: Millis,
    },
    /// Coverage of these symbols that was said to begin at `from` began at `at` only. Exchange time at every stage.
    Delayed {
        /// Whose feed it is.
        symbols: Vec<SymbolId>,
        /// The beginning as it was said.
        from: Millis,
        /// First moment that is covered.
        at: Millis,
    },
    /// A trade of this symbol from `from` to `to`, both included, is in no kline: its row could not be read. Exchange
    /// time at every stage, as a trade's.
    Missed {
        /// Whose trade it is.
        symbol: SymbolId,
        /// The earliest that it can have happened.
        from: Millis,
        /// The latest.
        to: Millis,
    },
    /// The exchange lists the instrument no more since `at`: unless it has traded after that, it has ended then.
    Ended {
        /// Which one.
        symbol: SymbolId,
        /// When it ended.
        at: Millis,
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
    pub received: Millis,
    /// The exchange's stamp on the frame, where it has one: an observation for the connection's exchange clock.
    pub stamped: Option<Millis>,
    /// What it says about the connection itself.
    pub link: Option<Link>,
    /// Rows of the frame that were no trades: price, size or time cannot be right.
    pub rejected: u64,
    /// What happened, in order. `Resumed`, `Gap` and `Ended` carry local times here; the pipeline, which owns the
    /// exchange clocks, turns them into exchange time.
    pub events: Vec<FeedEvent>,
}

impl FeedMessage {
    /// Builds a message about a category that no connection brought.
    #[must_use]
    pub const fn of_category(category: Category, received: Millis, events: Vec<FeedEvent>) -> Self {
        Self { category, connection: None, received, stamped: None, link: None, rejected: 0, events }
    }
}
