//! The fast reader: reads a trade frame in exactly the layout that Bybit sends (recorded 2026-08-09), key by key.
//!
//! It returns `None` on any deviation; the tolerant reader then reads the frame. It never guesses.

use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, SymbolId, SymbolTable};
use klines_domain::time::ExchangeMillis;
use klines_domain::trade::{Side, Trade, TradeId};

use super::number::{natural, quantity, uuid};
use super::{Frame, is_plausible, is_stamp, missed};

/// Decodes a trade frame. Returns `None` if it has another layout.
pub(super) fn trades<'a, T>(
    category: Category,
    text: &'a str,
    symbols: &SymbolTable,
    events: &mut Vec<FeedEvent<T>>,
) -> Option<Frame<'a>> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    cursor.eat(br#"{"topic":"publicTrade."#)?;
    let name = cursor.until_quote()?;
    let symbol = symbols.get(std::str::from_utf8(name).ok()?)?;
    let spot = category == Category::Spot;
    let stamped = if spot { spot_head(&mut cursor)? } else { head(&mut cursor)? };
    if !is_stamp(stamped) {
        return None;
    }
    let (mut received, mut rejected, mut undated) = (0, 0, 0);
    loop {
        let row = if spot { spot_row(&mut cursor, name)? } else { row(&mut cursor, name)? };
        received += 1;
        let time = row.time;
        if let Some(trade) = row.into_trade(symbol, stamped) {
            events.push(FeedEvent::Trade(trade));
        } else {
            rejected += 1;
            undated += missed(symbol, time, stamped, events);
        }
        match cursor.byte()? {
            b',' => {}
            b']' => break,
            _ => return None,
        }
    }
    cursor.eat(b"}")?;
    cursor.rest.trim_ascii_end().is_empty().then_some(Frame::Trades { stamped, received, rejected, undated })
}

/// The fields of a row before they are checked.
struct TradeRow<'a> {
    time: ExchangeMillis,
    sequence: u64,
    price: &'a [u8],
    size: &'a [u8],
    side: Side,
    block: bool,
    id: TradeId,
}

impl TradeRow<'_> {
    /// Returns the trade, or `None` if price, size or time is not plausible.
    #[inline]
    fn into_trade(self, symbol: SymbolId, stamped: ExchangeMillis) -> Option<Trade> {
        let (price, size) = (quantity(self.price)?, quantity(self.size)?);
        is_plausible(self.time, stamped).then_some(Trade {
            symbol,
            time: self.time,
            sequence: self.sequence,
            price,
            size,
            side: self.side,
            block: self.block,
            id: self.id,
        })
    }
}

/// Reads the linear and inverse envelope after the topic's name. Returns the timestamp.
fn head(cursor: &mut Cursor<'_>) -> Option<ExchangeMillis> {
    cursor.eat(br#"","type":"snapshot","ts":"#)?;
    let stamped = cursor.millis()?;
    cursor.eat(br#","data":["#)?;
    Some(stamped)
}

/// Reads the spot envelope after the topic's name. Returns the timestamp.
fn spot_head(cursor: &mut Cursor<'_>) -> Option<ExchangeMillis> {
    cursor.eat(br#"","ts":"#)?;
    let stamped = cursor.millis()?;
    cursor.eat(br#","type":"snapshot","data":["#)?;
    Some(stamped)
}

/// `{"T":…,"s":"…","S":"…","v":"…","p":"…","L":"…","i":"<uuid>","BT":…,"RPI":…,"seq":…}`
#[inline]
fn row<'a>(cursor: &mut Cursor<'a>, name: &[u8]) -> Option<TradeRow<'a>> {
    cursor.eat(br#"{"T":"#)?;
    let time = cursor.millis()?;
    cursor.eat(br#","s":""#)?;
    cursor.eat(name)?;
    cursor.eat(br#"","S":""#)?;
    let side = cursor.side()?;
    cursor.eat(br#","v":""#)?;
    let size = cursor.until_quote()?;
    cursor.eat(br#"","p":""#)?;
    let price = cursor.until_quote()?;
    cursor.eat(br#"","L":""#)?;
    cursor.until_quote()?;
    cursor.eat(br#"","i":""#)?;
    let (id, rest) = cursor.rest.split_at_checked(36)?;
    cursor.rest = rest;
    let id = uuid(id)?;
    cursor.eat(br#"","BT":"#)?;
    let block = cursor.boolean()?;
    cursor.eat(br#","RPI":"#)?;
    cursor.boolean()?;
    cursor.eat(br#","seq":"#)?;
    let sequence = cursor.number()?;
    cursor.eat(b"}")?;
    Some(TradeRow { time, sequence, price, size, side, block, id })
}

/// `{"i":"<number>","T":…,"p":"…","v":"…","S":"…","seq":…,"s":"…","BT":…,"RPI":…}`
#[inline]
fn spot_row<'a>(cursor: &mut Cursor<'a>, name: &[u8]) -> Option<TradeRow<'a>> {
    cursor.eat(br#"{"i":""#)?;
    let digits = cursor.until_quote()?;
    let id = natural(digits).filter(|_| digits.first() != Some(&b'0')).map(TradeId::Number)?;
    cursor.eat(br#"","T":"#)?;
    let time = cursor.millis()?;
    cursor.eat(br#","p":""#)?;
    let price = cursor.until_quote()?;
    cursor.eat(br#"","v":""#)?;
    let size = cursor.until_quote()?;
    cursor.eat(br#"","S":""#)?;
    let side = cursor.side()?;
    cursor.eat(br#","seq":"#)?;
    let sequence = cursor.number()?;
    cursor.eat(br#","s":""#)?;
    cursor.eat(name)?;
    cursor.eat(br#"","BT":"#)?;
    let block = cursor.boolean()?;
    cursor.eat(br#","RPI":"#)?;
    cursor.boolean()?;
    cursor.eat(b"}")?;
    Some(TradeRow { time, sequence, price, size, side, block, id })
}

/// The unread part of the frame.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    fn eat(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Reads up to the next quotation mark. Returns `None` at a backslash, because no field here has escapes.
    #[inline]
    fn until_quote(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        (rest.first() == Some(&b'"')).then_some(text)
    }

    /// Reads an unsigned JSON number of up to 18 digits.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        let mut length = 0;
        for byte in self.rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        let leading_zero = length > 1 && self.rest.first() == Some(&b'0');
        if length == 0 || length > 18 || leading_zero {
            return None;
        }
        self.rest = self.rest.get(length..)?;
        Some(value)
    }

    #[inline]
    fn millis(&mut self) -> Option<ExchangeMillis> {
        i64::try_from(self.number()?).ok().map(ExchangeMillis::new)
    }

    /// Reads `Buy"` or `Sell"`.
    #[inline]
    fn side(&mut self) -> Option<Side> {
        if self.eat(b"Buy\"").is_some() {
            return Some(Side::Buy);
        }
        self.eat(b"Sell\"")?;
        Some(Side::Sell)
    }

    #[inline]
    fn boolean(&mut self) -> Option<bool> {
        if self.eat(b"false").is_some() {
            return Some(false);
        }
        self.eat(b"true")?;
        Some(true)
    }
}
