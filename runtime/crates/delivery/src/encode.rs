//! Klines as text: the formats that several outputs share.
//!
//! The functions append to a buffer that the caller reuses: decimals are exact and without exponents, and nothing is
//! allocated.

mod csv;
mod streamer;
mod values;

use std::fmt::Write;

use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;

pub use self::csv::{CsvColumn, CsvScales, csv, csv_header, csv_padded};
pub use self::streamer::{Extras, streamer};
pub use self::values::{ValueTopic, value, whole_value};

/// Appends one JSON object with every field and a line feed; decimals are strings.
pub fn ndjson(kline: &Kline, out: &mut String) {
    object(kline, out);
    out.push('\n');
}

/// Appends one JSON object with every field; decimals are strings.
pub fn object(kline: &Kline, out: &mut String) {
    let SeriesKey { category, symbol, interval } = &*kline.series;
    let Kline { start, end, open, high, low, close, .. } = kline;
    let Kline { volume, turnover, buy_volume, buy_turnover, price_decimals, volume_decimals, .. } = kline;
    let Kline { trades, last_trade_time, confirm, revision, quality, sequence, emitted, .. } = kline;
    let _ = write!(
        out,
        r#"{{"category":"{category}","symbol":"{symbol}","interval":"{interval}","start":{start},"end":{end},"#
    );
    let _ = write!(out, r#""open":"{open}","high":"{high}","low":"{low}","close":"{close}","volume":"{volume}","#);
    let _ = write!(out, r#""turnover":"{turnover}","buy_volume":"{buy_volume}","buy_turnover":"{buy_turnover}","#);
    let _ = write!(
        out,
        r#""price_decimals":{price_decimals},"volume_decimals":{volume_decimals},"trades":{trades},"last_trade_time":{last_trade_time},"#
    );
    let _ = write!(
        out,
        r#""confirm":{confirm},"revision":{revision},"quality":"{quality}","sequence":{sequence},"emitted":{emitted}}}"#
    );
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
