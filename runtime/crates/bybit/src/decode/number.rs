//! Numbers and ids as Bybit writes them, read from their bytes.

use klines_domain::trade::{Quantity, TradeId};

/// Most significant digits of a price or size: what an `i64` holds whatever the digits are.
const MOST_DIGITS: u32 = 18;

/// Most decimals that are taken as they are; padding beyond is trimmed. Bybit's finest steps have 10.
const USUAL_DECIMALS: u8 = 10;
/// Most decimals of a price or size that can be right.
const MOST_DECIMALS: u8 = 14;

/// Reads a price or size that is greater than zero.
///
/// Returns nothing for zero, a sign, an exponent, or for more than 18 digits or 14 decimals after trailing zeros are
/// gone.
#[must_use]
#[inline]
pub fn quantity(text: &[u8]) -> Option<Quantity> {
    let (mut mantissa, mut digits, mut scale) = (0i64, 0u32, 0u8);
    let mut point = false;
    for (at, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            digits += 1;
            if digits > MOST_DIGITS || scale >= USUAL_DECIMALS {
                return long_quantity(text);
            }
            mantissa = mantissa * 10 + i64::from(digit);
            scale += u8::from(point);
        } else if *byte == b'.' && !point && at > 0 && at + 1 < text.len() {
            point = true;
        } else {
            return None;
        }
    }
    (mantissa > 0).then_some(Quantity { mantissa, scale })
}

/// Reads a number that is longer than usual, without its padding.
#[cold]
fn long_quantity(text: &[u8]) -> Option<Quantity> {
    let text = std::str::from_utf8(text).ok()?;
    let value = klines_domain::decimal::Decimal::parse(text).ok()?.trimmed();
    let mantissa = i64::try_from(value.mantissa()).ok().filter(|mantissa| *mantissa > 0)?;
    (mantissa < 10i64.pow(MOST_DIGITS) && value.scale() <= MOST_DECIMALS)
        .then_some(Quantity { mantissa, scale: value.scale() })
}

/// Reads a trade id. Only the canonical forms are packed, so that two texts never share an id.
#[must_use]
#[inline]
pub fn trade_id(text: &str) -> TradeId {
    let bytes = text.as_bytes();
    if let Some(id) = uuid(bytes) {
        return id;
    }
    match natural(bytes) {
        Some(number) if bytes.first() != Some(&b'0') => TradeId::Number(number),
        _ if text.is_empty() => TradeId::None,
        _ => TradeId::Text(Box::from(text)),
    }
}

/// Reads up to 19 digits, which always fit.
#[inline]
pub(super) fn natural(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + u64::from(digit))
    })
}

/// Reads a lower-case hyphenated UUID.
#[inline]
pub(super) fn uuid(bytes: &[u8]) -> Option<TradeId> {
    let bytes: &[u8; 36] = bytes.try_into().ok()?;
    let [a0, a1, a2, a3, a4, a5, a6, a7, b'-', b0, b1, b2, b3, b'-', c0, c1, c2, c3, b'-', d @ ..] = bytes else {
        return None;
    };
    let [d0, d1, d2, d3, b'-', e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, ea, eb] = d else {
        return None;
    };
    let [first, second, third, fourth] = [
        hex([*a0, *a1, *a2, *a3, *a4, *a5, *a6, *a7]),
        hex([*b0, *b1, *b2, *b3, *c0, *c1, *c2, *c3]),
        hex([*d0, *d1, *d2, *d3, *e0, *e1, *e2, *e3]),
        hex([*e4, *e5, *e6, *e7, *e8, *e9, *ea, *eb]),
    ];
    let valid = first.1 & second.1 & third.1 & fourth.1;
    valid.then_some(TradeId::Uuid { high: first.0 << 32 | second.0, low: third.0 << 32 | fourth.0 })
}

/// Reads eight lower-case hexadecimal digits at once; the flag says whether they all are.
#[inline]
fn hex(digits: [u8; 8]) -> (u64, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let text = u64::from_be_bytes(digits);
    // A letter has bit 6 set; its value is the low nibble plus nine.
    let letters = (text >> 6) & ONES;
    let values = (text & (0x0f * ONES)) + letters * 9;
    // Per byte: digits must be 0x30..=0x39, letters 0x61..=0x66.
    let base = (0x30 * ONES) + letters * 0x31;
    let offset = (text | HIGH).wrapping_sub(base); // no borrow crosses a byte: each is at least 0x80 - 0x61
    let limit = 9 * ONES - letters * 4;
    let in_range = (limit | HIGH).wrapping_sub(offset & !HIGH) & HIGH == HIGH && offset & HIGH == HIGH;
    let ascii = text & HIGH == 0;
    // Nibbles of two bytes join, then of four, then of eight.
    let pairs = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    let all = (quads | (quads >> 16)) & 0xffff_ffff;
    (all, in_range && ascii)
}
