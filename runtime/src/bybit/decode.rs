//! From the text of one frame to trades, by three readers that agree: the layout Bybit sends today byte by byte
//! (`scan`), and any other key order through serde. What is not a trade frame is told apart here and read elsewhere.
//!
//! Allocates nothing per trade: names and numbers are read in place, and the caller's buffer is reused.

pub mod number;
mod scan;
mod wire;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::domain::feed::FeedEvent;
use crate::domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use crate::domain::time::Millis;

pub use number::{quantity, trade_id};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A `publicTrade` frame; its trades were appended to the buffer.
    Trades {
        /// The frame's `ts`: when the exchange made it.
        stamped: Millis,
        /// Rows in the frame, those rejected included.
        received: u64,
        /// Rows left out because price, size or time cannot be right.
        rejected: u64,
    },
    /// The answer to a command: an object with `op`, `success` or `type: COMMAND_RESP`.
    Command(&'a str),
    /// Another topic.
    Other {
        /// Its name.
        topic: &'a str,
    },
}

/// Why a frame could not be understood. The frame is skipped whole.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// An object, but neither a topic nor an answer.
    #[error("neither a topic nor an answer to a command")]
    Unrecognised,
    /// A trade frame whose fields are not as documented.
    #[error("a trade frame with unexpected fields: {0}")]
    Malformed(String),
    /// A trade of a symbol that is not in the table.
    #[error("trades of {0}, which was not asked for")]
    UnknownSymbol(String),
}

impl DecodeError {
    /// A short name for counters and for logging each kind once.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::Unrecognised => "unrecognised",
            Self::Malformed(_) => "malformed",
            Self::UnknownSymbol(_) => "unknown-symbol",
        }
    }
}

/// Latest `T` that a trade may have beyond its frame's `ts`: a stamp cannot be older than what it stamps, but for
/// clocks of two machines.
const STAMP_SLACK: Millis = 10_000;
/// 2100-01-01T00:00:00Z. Later times, and those before 1970, are not times.
pub const LATEST_TIME: Millis = 4_102_444_800_000;

/// Reads one frame, appending its trades to `events`. Nothing is appended when the frame is refused.
///
/// # Errors
/// [`DecodeError`]: the frame has to be skipped and counted.
pub fn decode<'a>(
    category: Category,
    text: &'a str,
    symbols: &SymbolTable,
    events: &mut Vec<FeedEvent>,
) -> Result<Frame<'a>, DecodeError> {
    let before = events.len();
    if let Some(frame) = scan::trades(category, text, symbols, events) {
        return Ok(frame);
    }
    events.truncate(before);
    wire::frame(text, symbols, events).inspect_err(|_| events.truncate(before))
}

/// Returns the symbol whose trade topic a frame names, however damaged the frame is otherwise.
#[must_use]
pub fn symbol_of(text: &str) -> Option<Symbol> {
    let (_, name) = text.split_once("\"publicTrade.")?;
    Symbol::new(name.split_once('"')?.0).ok()
}

/// Whether a frame may have been made at `stamped`.
const fn is_stamp(stamped: Millis) -> bool {
    stamped > 0 && stamped <= LATEST_TIME
}

/// Whether a trade may have happened at `time` in a frame made at `stamped`.
const fn is_plausible(time: Millis, stamped: Millis) -> bool {
    time > 0 && time <= LATEST_TIME && time <= stamped.saturating_add(STAMP_SLACK)
}

/// Looks a symbol up.
fn find(symbols: &SymbolTable, name: &str) -> Result<SymbolId, DecodeError> {
    symbols.get(name).ok_or_else(|| DecodeError::UnknownSymbol(name.chars().take(64).collect()))
}
