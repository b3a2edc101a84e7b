//! Klines in the format of Bybit Klines Streamer: one JSON array of objects with numbers for each boundary and
//! category.
//!
//! Shared by the Redis consumer and the WebSocket server's `/`. Decides which klines belong to an array and writes it;
//! independent of where it is sent.

use std::fmt::Write;

use klines_domain::decimal::Decimal;
use klines_domain::kline::{Kline, Quality};

/// Which closed klines are published in addition to those that the Streamer published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Whether to publish klines of windows in which watching began (quality `partial`).
    pub partial: bool,
    /// Whether to publish corrections of published klines (`revision` 1 and up).
    pub revisions: bool,
}

impl Extras {
    /// Returns whether a kline is published. Open klines never are.
    #[must_use]
    pub fn admits(self, kline: &Kline) -> bool {
        kline.confirm && (self.partial || kline.quality != Quality::Partial) && (self.revisions || kline.revision == 0)
    }
}

/// Appends the klines, all of one category, as one JSON array. Numbers are exact decimals with at least one digit after
/// the point. The Streamer's keys come first, in its order; keys that it did not have come last.
pub fn streamer<'a>(klines: impl IntoIterator<Item = &'a Kline>, out: &mut String) {
    let mut separator = '[';
    for kline in klines {
        out.push(separator);
        separator = ',';
        out.push_str(r#"{"symbol":""#);
        out.push_str(kline.series.symbol.as_str());
        out.push_str(r#"","interval":"#);
        integer(kline.series.interval.nominal_millis().unsigned_abs(), out);
        out.push_str(r#","timestamp":"#);
        // A trade's window never starts before 1970.
        integer(kline.start.unsigned_abs(), out);
        number(r#","open":"#, kline.open, out);
        number(r#","high":"#, kline.high, out);
        number(r#","low":"#, kline.low, out);
        number(r#","close":"#, kline.close, out);
        number(r#","volume":"#, kline.volume, out);
        out.push_str(r#","trade_count":"#);
        integer(kline.trades, out);
        out.push_str(r#","category":""#);
        out.push_str(kline.series.category.as_str());
        number(r#"","turnover":"#, kline.turnover, out);
        out.push_str(r#","quality":""#);
        out.push_str(kline.quality.as_str());
        out.push_str(r#""}"#);
    }
    if separator == '[' {
        out.push('[');
    }
    out.push(']');
}

/// Appends a key and a number with at least one decimal. Formatting with `fmt` takes four times as long.
fn number(key: &str, value: Decimal, out: &mut String) {
    out.push_str(key);
    let value = value.trimmed();
    let (Ok(mantissa), Some(unit)) = (u64::try_from(value.mantissa()), 10u64.checked_pow(u32::from(value.scale())))
    else {
        // The number is negative or too large for a `u64`, which is rare.
        let _ = write!(out, "{value}");
        if value.scale() == 0 {
            out.push_str(".0");
        }
        return;
    };
    integer(mantissa / unit, out);
    out.push('.');
    let fraction = mantissa % unit;
    let width = usize::from(value.scale()).max(1);
    let (digits, length) = digits(fraction);
    (length..width).for_each(|_| out.push('0'));
    push(&digits, length, out);
}

/// Maximum number of digits of a `u64`.
const MAX_DIGITS: usize = 20;

fn integer(value: u64, out: &mut String) {
    let (digits, length) = digits(value);
    push(&digits, length, out);
}

/// Returns a buffer that ends with the decimal digits, and their number.
fn digits(mut value: u64) -> ([u8; MAX_DIGITS], usize) {
    let mut buffer = [b'0'; MAX_DIGITS];
    let mut length = 0;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    (buffer, length)
}

fn push(digits: &[u8; MAX_DIGITS], length: usize, out: &mut String) {
    let used = digits.get(MAX_DIGITS - length..).and_then(|digits| str::from_utf8(digits).ok());
    out.push_str(used.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use klines_domain::symbol::Category;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    fn text(klines: &[Kline]) -> String {
        let mut out = String::new();
        streamer(klines, &mut out);
        out
    }

    #[test]
    fn an_array_has_the_streamers_keys_in_order_and_then_new_ones() {
        let mut flat = fixture::kline("ETHUSDT", "1W", 2, true);
        for price in [&mut flat.open, &mut flat.high, &mut flat.low, &mut flat.close] {
            *price = Decimal::new(100, 2);
        }
        (flat.volume, flat.turnover, flat.trades) = (Decimal::ZERO, Decimal::ZERO, 0);
        (flat.series, flat.quality) = (flat.series.in_category(Category::Spot), Quality::Gapped);
        let expected = concat!(
            r#"[{"symbol":"BTCUSDT","interval":60000,"timestamp":120000,"open":16578.5,"high":16580.25,"#,
            r#""low":16578.0,"close":16580.0,"volume":1.207,"trade_count":7,"category":"linear","#,
            r#""turnover":20011.4375,"quality":"complete"},"#,
            r#"{"symbol":"ETHUSDT","interval":604800000,"timestamp":1209600000,"open":1.0,"high":1.0,"#,
            r#""low":1.0,"close":1.0,"volume":0.0,"trade_count":0,"category":"spot","#,
            r#""turnover":0.0,"quality":"gapped"}]"#,
        );
        assert_eq!(text(&[fixture::kline("BTCUSDT", "1m", 2, true), flat]), expected);
    }

    #[test]
    fn a_month_is_written_as_thirty_days_and_no_klines_as_an_empty_array() {
        assert!(text(&[fixture::kline("BTCUSDT", "1M", 1, true)]).contains(r#""interval":2592000000,"#));
        assert_eq!(text(&[]), "[]");
    }

    #[test]
    fn only_closed_klines_that_are_neither_partial_nor_revised_are_published_by_default() {
        let plain = fixture::kline("BTCUSDT", "1m", 2, true);
        let partial = Kline { quality: Quality::Partial, ..plain };
        let revised = Kline { revision: 1, ..plain };
        let open = Kline { confirm: false, ..plain };
        let admitted = |extras: Extras| [&plain, &partial, &revised, &open].map(|kline| extras.admits(kline));
        assert_eq!(admitted(Extras::default()), [true, false, false, false]);
        assert_eq!(admitted(Extras { partial: true, revisions: false }), [true, true, false, false]);
        assert_eq!(admitted(Extras { partial: true, revisions: true }), [true, true, true, false]);
    }

    proptest! {
        #[test]
        fn numbers_are_exact_and_have_a_fraction(mantissa in any::<i128>(), small in any::<u32>(), scale in 0u8..=38) {
            for mantissa in [mantissa / 100, i128::from(small)] {
                let value = Decimal::new(mantissa, scale);
                let mut out = String::new();
                number("", value, &mut out);
                prop_assert_eq!(Decimal::parse(&out).unwrap(), value);
                let plain = value.to_string();
                prop_assert_eq!(out, if plain.contains('.') { plain } else { plain + ".0" });
            }
        }
    }
}
