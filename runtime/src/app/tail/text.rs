//! Klines and values as lines for people. Columns become wider when a later line needs it.

use klines_domain::interval::Interval;
use klines_domain::sanitize::sanitize;
use klines_domain::time::Millis;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::utc;

/// Largest number of bytes of a value that are shown.
const MAX_VALUE: usize = 200;
const YELLOW: &str = "\u{1b}[33m";
const RESET: &str = "\u{1b}[0m";
/// The number of columns of a kline before its remarks: time, symbol, interval, prices, volume and trades.
const COLUMNS: usize = 9;
/// The columns that are aligned to the left.
const LEFT: usize = 3;

/// What klines and values have.
#[derive(Debug, Deserialize)]
struct SentSeries {
    category: String,
    symbol: String,
    interval: String,
    start: Millis,
    confirm: bool,
    revision: u32,
}

/// What only klines have.
#[derive(Debug, Deserialize)]
struct SentKline {
    open: String,
    high: String,
    low: String,
    close: String,
    volume: String,
    trades: u64,
    quality: String,
}

/// What only values have.
#[derive(Debug, Deserialize)]
struct SentValue<'a> {
    consumer: String,
    name: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// The columns of all lines.
#[derive(Debug)]
pub(super) struct Columns {
    color: bool,
    widths: [usize; COLUMNS],
}

impl Columns {
    pub(super) const fn new(color: bool) -> Self {
        Self { color, widths: [0; COLUMNS] }
    }

    /// Appends the line of a kline, which is JSON.
    ///
    /// # Errors
    /// When a field is missing.
    pub(super) fn kline(&mut self, text: &str, out: &mut String) -> serde_json::Result<()> {
        let (series, kline): (SentSeries, SentKline) = (serde_json::from_str(text)?, serde_json::from_str(text)?);
        let [time, symbol, interval] = series.cells();
        let prices = [&kline.open, &kline.high, &kline.low, &kline.close, &kline.volume].map(String::as_str);
        let [open, high, low, close, volume] = prices;
        let trades = kline.trades.to_string();
        self.cells(&[&time, &symbol, &interval, open, high, low, close, volume, &trades], out);
        let is_whole = matches!(kline.quality.as_str(), "complete" | "repaired");
        out.push_str("  ");
        out.push_str(if self.color && !is_whole { YELLOW } else { "" });
        out.push_str(&sanitize(&kline.quality, MAX_VALUE));
        out.push_str(&series.remarks());
        out.push_str(if self.color && !is_whole { RESET } else { "" });
        out.push('\n');
        Ok(())
    }

    /// Appends the line of a value, which is JSON.
    ///
    /// # Errors
    /// When a field is missing.
    pub(super) fn value(&mut self, text: &str, out: &mut String) -> serde_json::Result<()> {
        let (series, value): (SentSeries, SentValue<'_>) = (serde_json::from_str(text)?, serde_json::from_str(text)?);
        let [time, symbol, interval] = series.cells();
        self.cells(&[&time, &symbol, &interval], out);
        let shown = sanitize(value.value.get(), MAX_VALUE);
        let name = sanitize(&format!("{}.{}", value.consumer, value.name), MAX_VALUE);
        out.push_str(&format!("  {name} = {shown}{}\n", series.remarks()));
        Ok(())
    }

    fn cells(&mut self, cells: &[&str], out: &mut String) {
        for (index, (cell, width)) in cells.iter().zip(&mut self.widths).enumerate() {
            let cell = sanitize(cell, MAX_VALUE);
            *width = cell.chars().count().max(*width);
            let width = *width;
            let gap = if index == 0 { "" } else { "  " };
            out.push_str(&if index < LEFT { format!("{gap}{cell:<width$}") } else { format!("{gap}{cell:>width$}") });
        }
    }
}

impl SentSeries {
    /// Returns the time, the symbol and the interval. Of categories, `linear` is not written.
    fn cells(&self) -> [String; 3] {
        let format = self.interval.parse().map_or("%Y-%m-%d %H:%M:%S", utc::format as fn(Interval) -> &'static str);
        let symbol = match self.category.as_str() {
            "linear" => self.symbol.clone(),
            category => format!("{category}:{}", self.symbol),
        };
        [utc::text(self.start, format), symbol, self.interval.clone()]
    }

    fn remarks(&self) -> String {
        let update = if self.confirm { "" } else { " update" };
        let revision = if self.revision > 0 { format!(" revision {}", self.revision) } else { String::new() };
        format!("{update}{revision}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kline(symbol: &str, close: &str, rest: &str) -> String {
        format!(
            r#"{{"category":"linear","symbol":"{symbol}","interval":"1m","start":1704067200000,"open":"42000.1","high":"42010","low":"41990.5","close":"{close}","volume":"12.345","trades":321,{rest}}}"#
        )
    }

    #[test]
    fn lines_are_aligned_and_say_what_is_special() {
        let (mut columns, mut out) = (Columns::new(false), String::new());
        columns
            .kline(&kline("BTCUSDT", "42003", r#""confirm":true,"revision":0,"quality":"complete""#), &mut out)
            .unwrap();
        columns
            .kline(&kline("1000PEPEUSDT", "1", r#""confirm":true,"revision":2,"quality":"gapped""#), &mut out)
            .unwrap();
        columns
            .kline(&kline("BTCUSDT", "42003", r#""confirm":false,"revision":0,"quality":"partial""#), &mut out)
            .unwrap();
        let value = r#"{"consumer":"mine","name":"rsi","category":"spot","symbol":"BTCUSDT","interval":"1m","start":1704067200000,"confirm":true,"revision":0,"value":{"text":"a b"}}"#;
        columns.value(value, &mut out).unwrap();
        let expected = "\
2024-01-01 00:00  BTCUSDT  1m  42000.1  42010  41990.5  42003  12.345  321  complete
2024-01-01 00:00  1000PEPEUSDT  1m  42000.1  42010  41990.5      1  12.345  321  gapped revision 2
2024-01-01 00:00  BTCUSDT       1m  42000.1  42010  41990.5  42003  12.345  321  partial update
2024-01-01 00:00  spot:BTCUSDT  1m  mine.rsi = {\"text\":\"a b\"}
";
        assert_eq!(out, expected);
    }

    #[test]
    fn colour_marks_klines_in_which_trades_may_be_missing() {
        let (mut columns, mut out) = (Columns::new(true), String::new());
        columns.kline(&kline("BTCUSDT", "1", r#""confirm":true,"revision":0,"quality":"repaired""#), &mut out).unwrap();
        assert!(!out.contains('\u{1b}'));
        columns.kline(&kline("BTCUSDT", "1", r#""confirm":true,"revision":0,"quality":"gapped""#), &mut out).unwrap();
        assert!(out.ends_with("\u{1b}[33mgapped\u{1b}[0m\n"), "{out:?}");
    }
}
