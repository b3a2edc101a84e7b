//! Decodes the text of one frame into trades, with two readers that agree: `scan` reads the layout that Bybit sends
//! today byte by byte, and `wire` reads any other key order through serde. Frames that are not trades are classified
//! here and read elsewhere.
//!
//! Allocates nothing per trade: names and numbers are read in place, and the caller's buffer is reused.

pub mod number;
mod scan;
mod wire;

#[cfg(test)]
mod tests;

use klines_domain::feed::FeedEvent;
use klines_domain::interval::MIN_INTERVAL;
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{DAY, ExchangeMillis, Millis};
use klines_domain::trade::{Trade, TradeId};
use thiserror::Error;

pub use self::number::{quantity, trade_id};

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A `publicTrade` frame; its trades are appended to the buffer.
    Trades {
        /// The frame's `ts`: when the exchange created it.
        stamped: ExchangeMillis,
        /// Number of rows in the frame, rejected ones included.
        received: u64,
        /// Number of rows rejected because of an implausible price, size or time. A rejected row with a plausible time
        /// is a [`FeedEvent::Missed`] in the buffer.
        rejected: u64,
        /// Number of rejected rows whose time is not plausible.
        undated: u64,
    },
    /// The answer to a command: an object with `op`, `success` or `type: COMMAND_RESP`.
    Command(&'a str),
    /// Another topic.
    Other {
        /// The topic's name.
        topic: &'a str,
    },
}

/// Why a frame could not be decoded. The whole frame is skipped.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// An object that is neither a topic nor an answer.
    #[error("neither a topic nor an answer to a command")]
    Unrecognised,
    /// A trade frame whose fields are not as documented.
    #[error("a trade frame with unexpected fields: {0}")]
    Malformed(String),
    /// A trade of a symbol that is not in the table.
    #[error("trades of {0}, which was not subscribed to")]
    UnknownSymbol(String),
}

impl DecodeError {
    /// Returns a short name for counters and for logging each kind once.
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

/// How far the `T` of a trade may be after its frame's `ts`. A frame cannot be older than its trades, but the two times
/// may come from clocks of two machines.
pub(crate) const STAMP_SLACK: Millis = 10_000;
/// How far the `T` of a trade may be before its frame's `ts`: a trade is published within milliseconds, and after an outage
/// of the exchange within hours.
const MAX_AGE: Millis = DAY;
/// 2100-01-01T00:00:00Z. Later times, and times before 1970, are invalid.
pub const LATEST_TIME: ExchangeMillis = ExchangeMillis::new(4_102_444_800_000);

/// Decodes one frame and appends its trades to `events`. On an error nothing is appended.
///
/// # Errors
/// [`DecodeError`] if the frame has to be skipped and counted.
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

/// Returns the symbol of the trade topic in a frame, even if the rest of the frame is damaged.
#[must_use]
pub fn symbol_of(text: &str) -> Option<Symbol> {
    let (_, name) = text.split_once("\"publicTrade.")?;
    Symbol::new(name.split_once('"')?.0).ok()
}

/// Maximum number of separate spans of one frame; more are merged into one.
const MAX_MISSED_SPANS: usize = 64;

/// Returns when the rows of a frame that cannot be decoded may have happened, from everything that looks like a `T`:
/// spans of times that are close together, both ends included.
#[must_use]
pub fn times_of(text: &str) -> Vec<(ExchangeMillis, ExchangeMillis)> {
    let number = |digits: &str| {
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        digits.get(..length)?.parse().ok().map(ExchangeMillis::new)
    };
    let stamped = text.split_once("\"ts\":").and_then(|(_, rest)| number(rest));
    let stamped = stamped.filter(|stamped| is_stamp(*stamped));
    let is_possible = |time: &ExchangeMillis| stamped.map_or(is_stamp(*time), |stamped| is_plausible(*time, stamped));
    let times = text.split("\"T\":").skip(1).filter_map(number);
    let mut times: Vec<ExchangeMillis> = times.filter(is_possible).collect();
    times.sort_unstable();
    let spans = times.chunk_by(|time, next| *next - *time <= MIN_INTERVAL);
    let spans: Vec<_> = spans.filter_map(|span| Some((*span.first()?, *span.last()?))).collect();
    match (spans.first(), spans.last()) {
        // No real frame has times in this many spans; garbage must not create one span for each number.
        (Some((from, _)), Some((_, to))) if spans.len() > MAX_MISSED_SPANS => vec![(*from, *to)],
        _ => spans,
    }
}

/// Records a rejected row with a plausible time as missed. Returns 1 if its time is not plausible, otherwise 0.
#[cold]
fn missed<T>(symbol: SymbolId, time: ExchangeMillis, stamped: ExchangeMillis, events: &mut Vec<FeedEvent<T>>) -> u64 {
    if !is_plausible(time, stamped) {
        return 1;
    }
    events.push(FeedEvent::Missed { symbol, from: time, to: time });
    0
}

/// Returns the timestamp of a frame of `topic` without reading its rows; `None` if it is another frame, `Some(None)` if
/// its timestamp cannot be read. In both key orders of Bybit, `topic` is first and `ts` is before `data`.
#[must_use]
pub fn stamp_of(text: &str, topic: &str) -> Option<Option<ExchangeMillis>> {
    let rest = text.trim_start().strip_prefix(r#"{"topic":""#)?.strip_prefix(topic)?.strip_prefix('"')?;
    let head = rest.split_once(r#""data""#).map_or(rest, |(head, _)| head);
    let digits = head.split_once(r#""ts":"#).map(|(_, rest)| rest.split([',', '}']).next().unwrap_or_default().trim());
    let stamped = digits.and_then(|digits| digits.parse().ok()).map(ExchangeMillis::new);
    Some(stamped.filter(|stamped| is_stamp(*stamped)))
}

/// Returns whether `stamped` is a plausible time of a frame.
pub(crate) fn is_stamp(stamped: ExchangeMillis) -> bool {
    stamped > ExchangeMillis::default() && stamped <= LATEST_TIME
}

/// Returns whether `time` is a plausible time of a trade in a frame of time `stamped`.
fn is_plausible(time: ExchangeMillis, stamped: ExchangeMillis) -> bool {
    is_stamp(time) && time <= stamped.saturating_add(STAMP_SLACK) && stamped <= time.saturating_add(MAX_AGE)
}

/// Returns whether these trades are of another category. Only the ids of spot trades are numbers.
#[must_use]
pub fn is_foreign<T>(category: Category, events: &[FeedEvent<T>]) -> bool {
    let is_spot = category == Category::Spot;
    events.iter().any(|event| match event {
        FeedEvent::Trade(Trade { id: TradeId::Number(_), .. }) => !is_spot,
        FeedEvent::Trade(Trade { id: TradeId::Uuid { .. }, .. }) => is_spot,
        _ => false,
    })
}

/// Looks up a symbol.
fn find(symbols: &SymbolTable, name: &str) -> Result<SymbolId, DecodeError> {
    symbols.get(name).ok_or_else(|| DecodeError::UnknownSymbol(name.chars().take(64).collect()))
}
