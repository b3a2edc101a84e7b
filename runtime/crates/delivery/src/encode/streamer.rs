//! Klines in the format of Bybit Klines Streamer: one JSON array of objects with numbers for each boundary and
//! category.
//!
//! Shared by the Redis consumer and the WebSocket server's `/`. Decides which klines belong to an array and writes it;
//! independent of where it is sent.

mod filter;

use klines_domain::decimal::Decimal;
use klines_domain::kline::Kline;

pub use self::filter::{Extras, StreamerFilter};
use super::number::{decimal, integer};

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

/// Appends a key and a number with at least one decimal.
fn number(key: &str, value: Decimal, out: &mut String) {
    out.push_str(key);
    decimal(value, 1, out);
}

#[cfg(test)]
mod tests {
    use klines_domain::kline::Quality;
    use klines_domain::symbol::Category;

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
}
