//! Published values as text: names of topics and channels, and values as JSON.

use std::fmt::{self, Display, Formatter, Write};

use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;

use crate::emit::{Point, ValueSeries};

/// Displays the name of a series for clients: `ext.{consumer}.{name}.{interval}.{symbol}`, with `{category}:` before
/// the symbol for every category but the first.
#[derive(Clone, Copy, Debug)]
pub struct ValueTopic<'a> {
    /// The series.
    pub series: &'a ValueSeries,
    /// The first category, which is not written.
    pub first: Category,
}

impl Display for ValueTopic<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let ValueSeries { consumer, name, series } = self.series;
        let SeriesKey { category, symbol, interval } = &**series;
        write!(out, "ext.{consumer}.{name}.{interval}.")?;
        if *category != self.first {
            write!(out, "{category}:")?;
        }
        symbol.fmt(out)
    }
}

/// Appends a JSON object with the window and the value, for readers that know the series.
pub fn value(point: &Point, out: &mut String) {
    out.push('{');
    window_and_value(point, out);
}

/// Appends a JSON object with every field.
pub fn whole_value(point: &Point, out: &mut String) {
    let Point { consumer, name, series, sequence, .. } = point;
    let SeriesKey { category, symbol, interval } = &**series;
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"{{"consumer":"{consumer}","name":"{name}","category":"{category}","symbol":"{symbol}","interval":"{interval}","sequence":{sequence},"#
    );
    window_and_value(point, out);
}

fn window_and_value(point: &Point, out: &mut String) {
    let Point { start, end, confirm, revision, value, .. } = point;
    let _ = write!(out, r#""start":{start},"end":{end},"confirm":{confirm},"revision":{revision},"value":{value}}}"#);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Value;
    use crate::fixture;

    #[test]
    fn shapes_are_stable() {
        let point = Point { sequence: 7, ..fixture::point("mine", "rsi", 1, true, r#"{"side":"buy"}"#) };
        let number = Point { confirm: false, value: Value::Number(-0.5), ..point.clone() };
        let mut out = String::new();
        value(&number, &mut out);
        out.push('\n');
        whole_value(&point, &mut out);
        let expected = [
            r#"{"start":60000,"end":119999,"confirm":false,"revision":0,"value":-0.5}"#,
            concat!(
                r#"{"consumer":"mine","name":"rsi","category":"linear","symbol":"BTCUSDT","interval":"1m","sequence":7,"#,
                r#""start":60000,"end":119999,"confirm":true,"revision":0,"value":{"side":"buy"}}"#
            ),
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_number_is_json() {
        for number in [0.0_f64, -0.0, 1.0, 0.1, 1e-300, 5e-324, f64::MAX, f64::MIN, 123_456_789.123] {
            let text = Value::Number(number).to_string();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), number.to_bits(), "{text}");
        }
    }

    #[test]
    fn the_first_category_is_not_written() {
        let series = fixture::point("mine", "rsi", 1, true, "1").value_series();
        let topic = |first| ValueTopic { series: &series, first }.to_string();
        assert_eq!(topic(Category::Linear), "ext.mine.rsi.1m.BTCUSDT");
        assert_eq!(topic(Category::Spot), "ext.mine.rsi.1m.linear:BTCUSDT");
    }
}
