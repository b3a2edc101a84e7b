//! The tolerant reader: accepts any key order, and frames of older recordings that lack some fields.
//!
//! The fields are those of `publicTrade.{symbol}`, v5; `RPI`, `seq`, `L` and `BT` may be absent.

use std::borrow::Cow;

use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Side, Trade};
use serde::Deserialize;

use super::{DecodeError, Frame, find, is_plausible, is_stamp, missed, quantity, trade_id};

/// The fields that show the kind of a frame.
#[derive(Deserialize)]
struct WireHead<'a> {
    topic: Option<&'a str>,
    op: Option<serde::de::IgnoredAny>,
    success: Option<serde::de::IgnoredAny>,
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

/// ```json
/// {"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":1786310820347,"data":[…]}
/// ```
#[derive(Deserialize)]
struct WireTrades<'a> {
    ts: Millis,
    #[serde(borrow)]
    data: Vec<WireTrade<'a>>,
}

/// ```json
/// {"T":1786310820346,"s":"ETHUSDT","S":"Buy","v":"0.01","p":"1922.50","L":"PlusTick",
///  "i":"19d7df56-4f10-5290-a969-d9d9f2c74cc3","BT":false,"RPI":false,"seq":430879434439}
/// ```
#[derive(Deserialize)]
struct WireTrade<'a> {
    #[serde(rename = "T")]
    time: Millis,
    #[serde(rename = "s", borrow)]
    symbol: Cow<'a, str>,
    #[serde(rename = "S", borrow)]
    side: Cow<'a, str>,
    #[serde(rename = "v", borrow)]
    size: Cow<'a, str>,
    #[serde(rename = "p", borrow)]
    price: Cow<'a, str>,
    #[serde(rename = "i", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "BT", default)]
    block: bool,
    #[serde(rename = "seq", default)]
    sequence: u64,
}

/// Decodes any frame.
pub(super) fn frame<'a, T>(
    text: &'a str,
    symbols: &SymbolTable,
    events: &mut Vec<FeedEvent<T>>,
) -> Result<Frame<'a>, DecodeError> {
    let head: WireHead<'a> = serde_json::from_str(text).map_err(|error| refused(text, &error))?;
    match head.topic {
        Some(topic) if topic.starts_with("publicTrade.") => trades(text, symbols, events),
        Some(topic) => Ok(Frame::Other { topic }),
        None if head.op.is_some() || head.success.is_some() || head.kind.as_deref() == Some("COMMAND_RESP") => {
            Ok(Frame::Command(text))
        }
        None => Err(DecodeError::Unrecognised),
    }
}

fn refused(text: &str, error: &serde_json::Error) -> DecodeError {
    let is_object = text.trim_start().starts_with('{');
    if is_object && error.is_data() { DecodeError::Malformed(error.to_string()) } else { DecodeError::NotJson }
}

fn trades<'a, T>(
    text: &'a str,
    symbols: &SymbolTable,
    events: &mut Vec<FeedEvent<T>>,
) -> Result<Frame<'a>, DecodeError> {
    let wire: WireTrades<'_> = serde_json::from_str(text).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    let stamped = ExchangeMillis::new(wire.ts);
    if !is_stamp(stamped) {
        return Err(DecodeError::Malformed(format!("ts {} is not a time", wire.ts)));
    }
    let (mut received, mut rejected, mut undated) = (0, 0, 0);
    for row in &wire.data {
        received += 1;
        let symbol = find(symbols, &row.symbol)?;
        if let Some(trade) = convert(row, stamped, symbol)? {
            events.push(FeedEvent::Trade(trade));
        } else {
            rejected += 1;
            undated += missed(symbol, ExchangeMillis::new(row.time), stamped, events);
        }
    }
    Ok(Frame::Trades { stamped, received, rejected, undated })
}

/// Returns the trade, `None` if its numbers are not plausible, or an error if the frame is invalid.
fn convert(row: &WireTrade<'_>, stamped: ExchangeMillis, symbol: SymbolId) -> Result<Option<Trade>, DecodeError> {
    let side = match &*row.side {
        "Buy" => Side::Buy,
        "Sell" => Side::Sell,
        other => {
            let beginning: String = other.chars().take(16).collect();
            return Err(DecodeError::Malformed(format!("side {beginning:?}")));
        }
    };
    let (Some(price), Some(size)) = (quantity(row.price.as_bytes()), quantity(row.size.as_bytes())) else {
        return Ok(None);
    };
    let time = ExchangeMillis::new(row.time);
    Ok(is_plausible(time, stamped).then(|| Trade {
        symbol,
        time,
        sequence: row.sequence,
        price,
        size,
        side,
        block: row.block,
        id: trade_id(&row.id),
    }))
}
