//! From the text of one frame to trades, by three readers that agree: the layout Bybit sends today byte by byte
//! (`scan`), and any other key order through serde. What is not a trade frame is told apart here and read elsewhere.
//!
//! Allocates nothing per trade: names and numbers are read in place, and the caller's buffer is reused.

pub mod number;
mod scan;
mod wire;

#[cfg(test)]
mod tests;

use klines_domain::feed::FeedEvent;
use klines_domain::interval::SHORTEST;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};
use thiserror::Error;

pub use self::number::{quantity, trade_id};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A `publicTrade` frame; its trades were appended to the buffer.
    Trades {
        /// The frame's `ts`: when the exchange made it.
        stamped: ExchangeMillis,
        /// Rows in the frame, those rejected included.
        received: u64,
        /// Rows left out because price, size or time cannot be right. One whose time can be is a
        /// [`FeedEvent::Missed`] in the buffer.
        rejected: u64,
        /// Those of them whose time cannot be right either.
        undated: u64,
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
pub const LATEST_TIME: ExchangeMillis = ExchangeMillis::new(4_102_444_800_000);

/// Reads one frame, appending its trades to `events`. Nothing is appended when the frame is refused.
///
/// # Errors
/// [`DecodeError`]: the frame has to be skipped and counted.
pub fn decode<'a, T>(
    category: Category,
    text: &'a str,
    symbols: &SymbolTable,
    events: &mut Vec<FeedEvent<T>>,
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

/// Spans of one frame that are marked apart; more count as one.
const MOST_MISSED: usize = 64;

/// Returns when rows of a frame that cannot be read may have happened, by what looks like their `T`: spans, both ends
/// included, of times close together.
#[must_use]
pub fn times_of(text: &str) -> Vec<(ExchangeMillis, ExchangeMillis)> {
    let number = |digits: &str| {
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        digits.get(..length)?.parse().ok().map(ExchangeMillis::new)
    };
    let stamped = text.split_once("\"ts\":").and_then(|(_, rest)| number(rest));
    let stamped = stamped.filter(|stamped| is_stamp(*stamped)).unwrap_or(LATEST_TIME);
    let times = text.split("\"T\":").skip(1).filter_map(number);
    let mut times: Vec<ExchangeMillis> = times.filter(|time| is_plausible(*time, stamped)).collect();
    times.sort_unstable();
    let spans = times.chunk_by(|time, next| *next - *time <= SHORTEST);
    let spans: Vec<_> = spans.filter_map(|span| Some((*span.first()?, *span.last()?))).collect();
    match (spans.first(), spans.last()) {
        // No frame of trades has times of as many spans: garbage must not cost a mark for each number.
        (Some((from, _)), Some((_, to))) if spans.len() > MOST_MISSED => vec![(*from, *to)],
        _ => spans,
    }
}

/// Takes note of when a rejected row happened. Returns how many rows have no time that can be right.
#[cold]
fn missed<T>(symbol: SymbolId, time: ExchangeMillis, stamped: ExchangeMillis, events: &mut Vec<FeedEvent<T>>) -> u64 {
    if !is_plausible(time, stamped) {
        return 1;
    }
    events.push(FeedEvent::Missed { symbol, from: time, to: time });
    0
}

/// Returns the stamp of a frame of `topic` without a look at its rows; `None` when it is another frame, `Some(None)`
/// when its stamp cannot be read. Both orders in which Bybit writes the keys have `topic` first and `ts` before `data`.
#[must_use]
pub fn stamp_of(text: &str, topic: &str) -> Option<Option<ExchangeMillis>> {
    let rest = text.trim_start().strip_prefix(r#"{"topic":""#)?.strip_prefix(topic)?.strip_prefix('"')?;
    let head = rest.split_once(r#""data""#).map_or(rest, |(head, _)| head);
    let digits = head.split_once(r#""ts":"#).map(|(_, rest)| rest.split([',', '}']).next().unwrap_or_default().trim());
    let stamped = digits.and_then(|digits| digits.parse().ok()).map(ExchangeMillis::new);
    Some(stamped.filter(|stamped| is_stamp(*stamped)))
}

/// Whether a frame may have been made at `stamped`.
fn is_stamp(stamped: ExchangeMillis) -> bool {
    stamped > ExchangeMillis::default() && stamped <= LATEST_TIME
}

/// Whether a trade may have happened at `time` in a frame made at `stamped`.
fn is_plausible(time: ExchangeMillis, stamped: ExchangeMillis) -> bool {
    is_stamp(time) && time <= stamped.saturating_add(STAMP_SLACK)
}

/// Looks a symbol up.
fn find(symbols: &SymbolTable, name: &str) -> Result<SymbolId, DecodeError> {
    symbols.get(name).ok_or_else(|| DecodeError::UnknownSymbol(name.chars().take(64).collect()))
}
