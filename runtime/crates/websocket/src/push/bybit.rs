//! Encodes a kline as Bybit pushes it.
//!
//! Source of the shape: Bybit's v5 documentation ("Kline") and recordings of its public streams.

use std::fmt::Write;

use bytes::Bytes;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;

use crate::frame;

/// Encodes the frame of a kline. `text` is a buffer that the caller reuses.
pub fn push(kline: &Kline, text: &mut String) -> Bytes {
    let Kline { start, end, open, high, low, close, volume, turnover, .. } = kline;
    let SeriesKey { category, symbol, interval } = &*kline.series;
    let (confirm, stamp) = (kline.confirm, kline.emitted);
    let own;
    let code = match interval.bybit_code() {
        Some(code) => code,
        None => {
            own = interval.to_string();
            &own
        }
    };
    text.clear();
    // Writing to a `String` cannot fail.
    let _ = match category {
        Category::Spot => write!(text, r#"{{"type":"snapshot","topic":"kline.{code}.{symbol}","data":[{{"#),
        _ => write!(text, r#"{{"topic":"kline.{code}.{symbol}","data":[{{"#),
    };
    let _ = write!(text, r#""start":{start},"end":{end},"interval":"{code}","open":"{open}","close":"{close}","#);
    let _ = write!(text, r#""high":"{high}","low":"{low}","volume":"{volume}","turnover":"{turnover}","#);
    let _ = write!(text, r#""confirm":{confirm},"timestamp":{stamp}}}],"ts":{stamp}"#);
    text.push_str(if *category == Category::Spot { "}" } else { r#","type":"snapshot"}"# });
    frame::text(text)
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;

    use super::*;

    fn shown(kline: &Kline) -> String {
        let frame = push(kline, &mut String::new());
        String::from_utf8(frame[4..].to_vec()).unwrap()
    }

    #[test]
    fn a_push_has_the_bytes_of_the_exchange() {
        let linear = fixture::kline("BTCUSDT", "1m", 1, true);
        let fields = concat!(
            r#"{"start":60000,"end":119999,"interval":"1","open":"16578.5","close":"16580","high":"16580.25","low":"16578","#,
            r#""volume":"1.207","turnover":"20011.4375","confirm":true,"timestamp":120080}"#
        );
        assert_eq!(
            shown(&linear),
            format!(r#"{{"topic":"kline.1.BTCUSDT","data":[{fields}],"ts":120080,"type":"snapshot"}}"#)
        );
        let spot = fixture::in_category(Category::Spot, &linear);
        assert_eq!(
            shown(&spot),
            format!(r#"{{"type":"snapshot","topic":"kline.1.BTCUSDT","data":[{fields}],"ts":120080}}"#)
        );
    }
}
