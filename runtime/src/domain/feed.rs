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
    /// The instrument no longer trades: no kline after `at`.
    Ended {
        /// Which one.
        symbol: SymbolId,
        /// When it ended.
        at: Millis,
    },
}

/// What one frame, or one change of a connection's state, means for a category.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedMessage {
    /// Whose symbols the events name.
    pub category: Category,
    /// Local time of receipt, on the clock that ticks are made from.
    pub received: Millis,
    /// The exchange's stamp on the frame, where it has one: an observation for the exchange clock.
    pub stamped: Option<Millis>,
    /// Rows of the frame that were no trades: price, size or time cannot be right.
    pub rejected: u64,
    /// What happened, in order. `Resumed`, `Gap` and `Ended` carry local times here; the pipeline, which owns the
    /// exchange clock, turns them into exchange time.
    pub events: Vec<FeedEvent>,
}
