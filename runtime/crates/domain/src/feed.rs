//! The input of the aggregator: trades, and the times for which trades are certain to be complete.

use std::collections::BTreeMap;

use super::symbol::{Category, SymbolId};
use super::time::{ExchangeMillis, LocalMillis};
use super::trade::Trade;

/// One event of a category's feed. `T` is the clock of its times: [`LocalMillis`] from a connection, [`ExchangeMillis`]
/// for the aggregator. The time of a trade is always exchange time.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedEvent<T> {
    /// A trade happened.
    Trade(Trade),
    /// Every trade of these symbols arrives from `from` on: their topics are acknowledged.
    Covered {
        /// The symbols of the feed.
        symbols: Vec<SymbolId>,
        /// The first moment that is covered.
        from: T,
    },
    /// Trades of these symbols between two moments may be missing.
    Hole {
        /// The symbols of the feed.
        symbols: Vec<SymbolId>,
        /// The last moment known to be covered.
        last_seen: T,
        /// The first moment that is covered again; `None` until the next [`Covered`](Self::Covered).
        until: Option<T>,
    },
    /// Coverage of these symbols that was reported to begin at `from` began only at `at`.
    Delayed {
        /// The symbols of the feed.
        symbols: Vec<SymbolId>,
        /// The start as reported before.
        from: T,
        /// The first moment that is covered.
        at: T,
    },
    /// A trade of this symbol between `from` and `to`, both included, is in no kline because its row could not be read.
    Missed {
        /// The symbol of the trade.
        symbol: SymbolId,
        /// The earliest possible time of the trade.
        from: ExchangeMillis,
        /// The latest possible time of the trade.
        to: ExchangeMillis,
    },
    /// The exchange no longer lists the instrument since `at`: it has ended then, unless it has traded later.
    Ended {
        /// The symbol of the instrument.
        symbol: SymbolId,
        /// When the instrument ended.
        at: T,
    },
    /// The exchange lists the instrument again: an earlier [`Ended`](Self::Ended) was wrong.
    Listed {
        /// The symbol of the instrument.
        symbol: SymbolId,
    },
}

/// How often the topic of each symbol has turned out to be dead, so that it has to be subscribed to again.
pub type Renewals = BTreeMap<SymbolId, u64>;

/// What a message says about the connection that delivered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Topics are acknowledged: the connection delivers trades from now on.
    Up,
    /// The connection is lost, or no longer delivers anything.
    Down,
    /// Everything that had arrived at the time of receipt has been read and passed on: a read of the socket would have
    /// waited, and neither TLS nor the WebSocket layer has buffered data, or for a second only a part of a frame.
    Drained,
}

/// The content of one frame for a category, or one change of a connection's state.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedMessage {
    /// The category of the symbols in the events.
    pub category: Category,
    /// The index of the connection of the category, from 0; `None` if no connection delivered the message.
    pub connection: Option<usize>,
    /// Local time of receipt, by the same clock as ticks.
    pub received: LocalMillis,
    /// The exchange's stamp on the frame, if it has one: an observation for the connection's exchange clock.
    pub stamped: Option<ExchangeMillis>,
    /// A change of the connection's state.
    pub link: Option<Link>,
    /// The number of rows of the frame that are no valid trades: price, size or time cannot be right.
    pub rejected: u64,
    /// The events, in order. The pipeline converts their local times to exchange time.
    pub events: Vec<FeedEvent<LocalMillis>>,
}

impl FeedMessage {
    /// Builds a message about a category that does not belong to a connection.
    #[must_use]
    pub const fn of_category(category: Category, received: LocalMillis, events: Vec<FeedEvent<LocalMillis>>) -> Self {
        Self { category, connection: None, received, stamped: None, link: None, rejected: 0, events }
    }
}
