//! Published values as text: names of topics and channels, and values as JSON and csv.

use std::fmt::{self, Display, Formatter, Write};

use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;

use crate::emit::{Point, Value, ValueSeries};

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

/// Appends a JSON object with every field and a line feed.
pub fn value_ndjson(point: &Point, out: &mut String) {
    whole_value(point, out);
    out.push('\n');
}

/// Appends the names of the columns of [`value_csv`], which are the fields of [`whole_value`], and a line feed.
pub fn value_csv_header(out: &mut String) {
    out.push_str("consumer,name,category,symbol,interval,sequence,start,end,confirm,revision,value\n");
}

/// Appends one row and a line feed. The value is JSON text, quoted as RFC 4180 says if it contains a comma or a quote.
pub fn value_csv(point: &Point, out: &mut String) {
    let Point { consumer, name, series, start, end, confirm, revision, sequence, value } = point;
    let SeriesKey { category, symbol, interval } = &**series;
    // Neither of these contains a comma or a quote.
    let _ =
        write!(out, "{consumer},{name},{category},{symbol},{interval},{sequence},{start},{end},{confirm},{revision},");
    match value {
        Value::Json(text) if text.contains([',', '"']) => {
            out.push('"');
            for (index, part) in text.split('"').enumerate() {
                out.push_str(if index > 0 { "\"\"" } else { "" });
                out.push_str(part);
            }
            out.push('"');
        }
        value => {
            let _ = write!(out, "{value}");
        }
    }
    out.push('\n');
}

fn window_and_value(point: &Point, out: &mut String) {
    let Point { start, end, confirm, revision, value, .. } = point;
    let _ = write!(out, r#""start":{start},"end":{end},"confirm":{confirm},"revision":{revision},"value":{value}}}"#);
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn rows_have_the_fields_of_the_json_and_quote_what_they_must() {
        let mut out = String::new();
        value_csv_header(&mut out);
        for json in [r#"{"side":"buy"}"#, "[1,2]", r#""""#, "null", "-0.5"] {
            value_csv(&Point { sequence: 7, ..fixture::point("mine", "rsi", 1, true, json) }, &mut out);
        }
        let start = "mine,rsi,linear,BTCUSDT,1m,7,60000,119999,true,0,";
        let values = [r#""{""side"":""buy""}""#, r#""[1,2]""#, r#""""""""#, "null", "-0.5"];
        let mut lines = out.lines();
        let header = lines.next().unwrap();
        assert_eq!(lines.collect::<Vec<_>>(), values.map(|value| format!("{start}{value}")));
        let mut json = String::new();
        value_ndjson(&fixture::point("mine", "rsi", 1, true, "1"), &mut json);
        let fields: Vec<&str> = json.split('"').skip(1).step_by(2).collect();
        let names = header.split(',').filter(|name| fields.contains(name));
        assert_eq!(names.count(), 11, "{header} {json}");
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
