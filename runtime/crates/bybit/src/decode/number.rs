//! Parses numbers and ids in Bybit's format from bytes.

use klines_domain::trade::{Quantity, TradeId};

/// Maximum significant digits of a price or size; an `i64` can hold every number of 18 digits.
const MAX_DIGITS: u32 = 18;

/// Maximum decimals that are kept unchanged; longer numbers are trimmed of padding. Bybit's smallest steps have 10.
const USUAL_DECIMALS: u8 = 10;
/// Maximum decimals of a plausible price or size.
const MAX_DECIMALS: u8 = 14;

/// Parses a price or size that is greater than zero.
///
/// Returns `None` for zero, a sign, an exponent, or for more than 18 digits or 14 decimals without trailing zeros.
#[must_use]
#[inline]
pub fn quantity(text: &[u8]) -> Option<Quantity> {
    let (mut mantissa, mut digits, mut scale) = (0i64, 0u32, 0u8);
    let mut point = false;
    for (at, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            digits += 1;
            if digits > MAX_DIGITS || scale >= USUAL_DECIMALS {
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

/// Parses a number that is longer than usual, without its padding.
#[cold]
fn long_quantity(text: &[u8]) -> Option<Quantity> {
    let text = std::str::from_utf8(text).ok()?;
    let value = klines_domain::decimal::Decimal::parse(text).ok()?.trimmed();
    let mantissa = i64::try_from(value.mantissa()).ok().filter(|mantissa| *mantissa > 0)?;
    (mantissa < 10i64.pow(MAX_DIGITS) && value.scale() <= MAX_DECIMALS)
        .then_some(Quantity { mantissa, scale: value.scale() })
}

/// Parses a trade id. Only canonical forms are packed into numbers, so that two different texts never have the same id.
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

/// Parses up to 19 digits, which always fit into a `u64`.
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

/// Parses a lower-case hyphenated UUID.
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

/// Parses eight lower-case hexadecimal digits at once; the flag is `true` if all of them are valid.
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
    // Joins the nibbles of two bytes, then of four, then of eight.
    let pairs = (values | (values >> 4)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    let all = (quads | (quads >> 16)) & 0xffff_ffff;
    (all, in_range && ascii)
}
