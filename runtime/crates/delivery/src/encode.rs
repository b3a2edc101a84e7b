//! Klines as text: the formats that several outputs share.
//!
//! The functions append to a buffer that the caller reuses: decimals are exact and without exponents, and nothing is
//! allocated.

mod csv;
mod number;
mod streamer;
mod values;

use std::fmt::Write;

use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;

pub use self::csv::{CsvColumn, CsvScales, csv, csv_header, csv_padded};
pub use self::streamer::{Extras, StreamerFilter, streamer};
pub use self::values::{ValueTopic, value, value_csv, value_csv_header, value_ndjson, whole_value};

/// Appends one JSON object with every field and a line feed; decimals are strings.
pub fn ndjson(kline: &Kline, out: &mut String) {
    object(kline, out);
    out.push('\n');
}

/// Appends one JSON object with every field; decimals are strings.
pub fn object(kline: &Kline, out: &mut String) {
    let SeriesKey { category, symbol, interval } = &*kline.series;
    out.push_str(r#"{"category":""#);
    out.push_str(category.as_str());
    out.push_str(r#"","symbol":""#);
    out.push_str(symbol.as_str());
    // Writing to a String cannot fail.
    let _ = write!(out, r#"","interval":"{interval}","#);
    time(r#""start":"#, kline.start, out);
    time(r#","end":"#, kline.end, out);
    let decimals = [
        (r#","open":""#, kline.open),
        (r#"","high":""#, kline.high),
        (r#"","low":""#, kline.low),
        (r#"","close":""#, kline.close),
        (r#"","volume":""#, kline.volume),
        (r#"","turnover":""#, kline.turnover),
        (r#"","buy_volume":""#, kline.buy_volume),
        (r#"","buy_turnover":""#, kline.buy_turnover),
    ];
    for (key, value) in decimals {
        out.push_str(key);
        number::decimal(value, 0, out);
    }
    count(r#"","price_decimals":"#, kline.price_decimals.into(), out);
    count(r#","volume_decimals":"#, kline.volume_decimals.into(), out);
    count(r#","trades":"#, kline.trades, out);
    time(r#","last_trade_time":"#, kline.last_trade_time, out);
    out.push_str(if kline.confirm { r#","confirm":true"# } else { r#","confirm":false"# });
    count(r#","revision":"#, kline.revision.into(), out);
    out.push_str(r#","quality":""#);
    out.push_str(kline.quality.as_str());
    count(r#"","sequence":"#, kline.sequence, out);
    time(r#","emitted":"#, kline.emitted, out);
    out.push('}');
}

fn count(key: &str, value: u64, out: &mut String) {
    out.push_str(key);
    number::integer(value, out);
}

fn time(key: &str, value: Millis, out: &mut String) {
    out.push_str(key);
    number::signed(value, out);
}

/// Appends a frame as Bybit pushes it on `kline.{interval}.{symbol}`, and a line feed. An interval without a Bybit code
/// keeps its own name.
pub fn bybit(kline: &Kline, out: &mut String) {
    let SeriesKey { symbol, interval, .. } = &*kline.series;
    let Kline { start, end, open, high, low, close, volume, turnover, confirm, .. } = kline;
    let stamp = kline.emitted;
    let own = interval.to_string();
    let code = interval.bybit_code().unwrap_or(&own);
    let _ = write!(out, r#"{{"topic":"kline.{code}.{symbol}","data":[{{"start":{start},"end":{end},"#);
    let _ = write!(out, r#""interval":"{code}","open":"{open}","close":"{close}","high":"{high}","low":"{low}","#);
    let _ = writeln!(
        out,
        r#""volume":"{volume}","turnover":"{turnover}","confirm":{confirm},"timestamp":{stamp}}}],"ts":{stamp},"type":"snapshot"}}"#
    );
}

#[cfg(test)]
mod tests {
    use klines_domain::decimal::Decimal;
    use klines_domain::interval::Interval;
    use klines_domain::kline::Quality;
    use klines_domain::series::SeriesId;
    use klines_domain::symbol::{Category, Symbol};

    use super::*;

    fn kline() -> Kline {
        let decimal = |text| Decimal::parse(text).unwrap();
        Kline {
            series: SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), Interval::MINUTE),
            start: 1_704_067_200_000,
            end: 1_704_067_259_999,
            open: decimal("16578.50"),
            high: decimal("16600"),
            low: decimal("16578.0"),
            close: decimal("16599.9"),
            volume: decimal("1.500"),
            turnover: decimal("24890.25"),
            buy_volume: decimal("0.000"),
            buy_turnover: decimal("0"),
            price_decimals: 2,
            volume_decimals: 3,
            trades: 2,
            last_trade_time: 1_704_067_259_000,
            confirm: true,
            revision: 1,
            quality: Quality::Gapped,
            sequence: 7,
            emitted: 1_704_067_260_080,
        }
    }

    #[test]
    fn shapes_are_stable() {
        let mut out = String::new();
        csv(&kline(), &CsvColumn::DEFAULT, &mut out);
        for encode in [ndjson, bybit] {
            encode(&kline(), &mut out);
        }
        let expected = [
            "1m,BTCUSDT,1704067200000,16578.5,16600,16578,16599.9,1.5,24890.25,2",
            concat!(
                r#"{"category":"linear","symbol":"BTCUSDT","interval":"1m","start":1704067200000,"end":1704067259999,"#,
                r#""open":"16578.5","high":"16600","low":"16578","close":"16599.9","volume":"1.5","#,
                r#""turnover":"24890.25","buy_volume":"0","buy_turnover":"0","price_decimals":2,"volume_decimals":3,"#,
                r#""trades":2,"last_trade_time":1704067259000,"confirm":true,"revision":1,"quality":"gapped","#,
                r#""sequence":7,"emitted":1704067260080}"#
            ),
            concat!(
                r#"{"topic":"kline.1.BTCUSDT","data":[{"start":1704067200000,"end":1704067259999,"interval":"1","#,
                r#""open":"16578.5","close":"16599.9","high":"16600","low":"16578","volume":"1.5","#,
                r#""turnover":"24890.25","confirm":true,"timestamp":1704067260080}],"ts":1704067260080,"type":"snapshot"}"#
            ),
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    }
}
