//! Hand-written klines: one JSON object per line, with the fields of `/v1/stream`. All fields are optional.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use serde_json::{Map, Value};

use klines_config::place::{Place, Position, SourceFile};
use klines_config::report::{Diagnostic, Report};
use klines_config::{nearest, nearest_interval};

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// All fields.
const FIELDS: [&str; 22] = [
    "category",
    "symbol",
    "interval",
    "start",
    "end",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "turnover",
    "buy_volume",
    "buy_turnover",
    "price_decimals",
    "volume_decimals",
    "trades",
    "last_trade_time",
    "confirm",
    "revision",
    "quality",
    "sequence",
    "emitted",
];

/// Reads a file of klines. A kline without `start` begins where the previous one of its symbol and interval ended.
///
/// # Errors
/// [`Report`] with every error of every line.
pub fn read(path: &Path) -> Result<Vec<Arc<Kline>>, Report> {
    let mut report = Report::default();
    let shown = path.strip_prefix(".").unwrap_or(path).display().to_string();
    let text = fs::metadata(path).and_then(|found| match found.len() > MAX_BYTES {
        true => Err(std::io::Error::other("larger than 256 MiB")),
        false => fs::read_to_string(path),
    });
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            report.push(Diagnostic::error(Place::Default, format!("cannot read {shown}: {error}")));
            return Err(report);
        }
    };
    let file = Arc::new(SourceFile { name: shown, text });
    let (mut klines, mut begin): (Vec<Arc<Kline>>, usize) = (Vec::new(), 0);
    for line in file.text.split_inclusive('\n') {
        let mut reader = LineReader { file: &file, begin, text: line.trim_end(), report: &mut report };
        begin += line.len();
        if !reader.text.trim().is_empty()
            && let Some(kline) = reader.kline(&klines)
        {
            klines.push(Arc::new(kline));
        }
    }
    if report.is_refusal() { Err(report) } else { Ok(klines) }
}

/// Reads one line.
struct LineReader<'a> {
    file: &'a Arc<SourceFile>,
    /// The offset of the line in the file.
    begin: usize,
    text: &'a str,
    report: &'a mut Report,
}

impl LineReader<'_> {
    fn kline(&mut self, before: &[Arc<Kline>]) -> Option<Kline> {
        let map: Map<String, Value> = match serde_json::from_str(self.text) {
            Ok(map) => map,
            Err(error) => {
                let at = error.column().saturating_sub(1).min(self.text.len());
                // The report shows the place, so the message is used without it.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                let end = self.text.ceil_char_boundary(at + 1);
                self.push(
                    self.text.floor_char_boundary(at)..end,
                    format!("not a JSON object: {message}"),
                    "one object per line",
                    None,
                );
                return None;
            }
        };
        for name in map.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            let near = nearest(name, FIELDS).map(str::to_owned);
            let expected = format!("one of {}", FIELDS.join(", "));
            self.push(self.key(name), format!("unknown key `{name}`"), &expected, near);
        }
        let first = self.report.len();
        let kline = self.read(&map, before);
        kline.filter(|_| self.report.len() == first)
    }

    fn read(&mut self, map: &Map<String, Value>, before: &[Arc<Kline>]) -> Option<Kline> {
        let category = self.parsed(map, "category", "linear, spot or inverse", |text| text.parse::<Category>().ok());
        let category = category.unwrap_or_default();
        let symbol = self.parsed(map, "symbol", "a name such as BTCUSDT", |text| Symbol::new(text).ok());
        let symbol = symbol.or_else(|| Symbol::new("BTCUSDT").ok())?;
        let interval = self.interval(map);
        let series = SeriesId::new(category, symbol, interval);
        let last = before.iter().rfind(|kline| kline.series == series);
        let next = last.map_or(0, |last| if last.confirm { last.end + 1 } else { last.start });
        let start = self.whole(map, "start").unwrap_or(next);
        let prices = self.prices(map)?;
        let [open, high, low, close] = prices;
        let one = Decimal::new(1, 0);
        let volume = self.decimal(map, "volume").unwrap_or(one);
        let decimals = |own: &[Decimal]| own.iter().map(|found| found.scale()).max().unwrap_or(0);
        let confirm = self.flag(map, "confirm").unwrap_or(true);
        let count = |found: Option<i64>, usual: u64| found.map_or(usual, i64::unsigned_abs);
        let small = |found: Option<i64>, usual: u8| found.and_then(|found| u8::try_from(found).ok()).unwrap_or(usual);
        let end = self.whole(map, "end").unwrap_or_else(|| interval.next(start) - 1);
        let sequence = last.map_or(1, |last| last.sequence + u64::from(last.confirm));
        Some(Kline {
            series,
            start,
            end,
            turnover: self.decimal(map, "turnover").unwrap_or_else(|| product(volume, close)),
            buy_volume: self.decimal(map, "buy_volume").unwrap_or(volume),
            buy_turnover: self.decimal(map, "buy_turnover").unwrap_or_else(|| product(volume, close)),
            price_decimals: small(self.whole(map, "price_decimals"), decimals(&prices)),
            volume_decimals: small(self.whole(map, "volume_decimals"), volume.scale()),
            trades: count(self.whole(map, "trades"), 1),
            last_trade_time: self.whole(map, "last_trade_time").unwrap_or(start),
            confirm,
            revision: u32::try_from(self.whole(map, "revision").unwrap_or(0)).unwrap_or(0),
            quality: self.quality(map),
            sequence: count(self.whole(map, "sequence"), sequence),
            emitted: self.whole(map, "emitted").unwrap_or(if confirm { end + 1 } else { start }),
            open,
            high,
            low,
            close,
            volume,
        })
    }

    /// Returns the four prices. Missing ones are derived from the others; without any, all are 1.
    fn prices(&mut self, map: &Map<String, Value>) -> Option<[Decimal; 4]> {
        let [open, high, low, close] = ["open", "high", "low", "close"].map(|name| self.decimal(map, name));
        let any = close.or(open).or(high).or(low).unwrap_or(Decimal::new(1, 0));
        let (open, close) = (open.unwrap_or(any), close.unwrap_or(any));
        let over = |a: Decimal, b: Decimal| if a.to_f64() >= b.to_f64() { a } else { b };
        let under = |a: Decimal, b: Decimal| if a.to_f64() <= b.to_f64() { a } else { b };
        Some([open, high.unwrap_or_else(|| over(open, close)), low.unwrap_or_else(|| under(open, close)), close])
    }

    fn interval(&mut self, map: &Map<String, Value>) -> Interval {
        let Some(Value::String(text)) = map.get("interval") else {
            if let Some(other) = map.get("interval") {
                self.wrong("interval", other, "an interval such as \"1m\"", None);
            }
            return Interval::MINUTE;
        };
        text.parse().unwrap_or_else(|_| {
            self.wrong(
                "interval",
                &Value::from(text.as_str()),
                "an interval such as 1s, 1m, 1h",
                nearest_interval(text),
            );
            Interval::MINUTE
        })
    }

    fn quality(&mut self, map: &Map<String, Value>) -> Quality {
        const ALL: [Quality; 4] = [Quality::Complete, Quality::Partial, Quality::Gapped, Quality::Repaired];
        let found = self.parsed(map, "quality", "complete, partial, gapped or repaired", |text| {
            ALL.into_iter().find(|quality| quality.as_str() == text)
        });
        found.unwrap_or(Quality::Complete)
    }

    fn parsed<T>(
        &mut self,
        map: &Map<String, Value>,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = map.get(name)?;
        let parsed = value.as_str().and_then(parse);
        if parsed.is_none() {
            self.wrong(name, value, expected, None);
        }
        parsed
    }

    /// Returns a decimal that is written as a number or as a text.
    fn decimal(&mut self, map: &Map<String, Value>, name: &str) -> Option<Decimal> {
        let value = map.get(name)?;
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let parsed = Decimal::parse(&text).ok();
        if parsed.is_none() {
            self.wrong(name, value, "a plain decimal number, such as \"64250.10\"", None);
        }
        parsed
    }

    fn whole(&mut self, map: &Map<String, Value>, name: &str) -> Option<i64> {
        let value = map.get(name)?;
        let whole = value.as_i64().filter(|whole| *whole >= 0);
        if whole.is_none() {
            self.wrong(name, value, "a whole number from 0 up", None);
        }
        whole
    }

    fn flag(&mut self, map: &Map<String, Value>, name: &str) -> Option<bool> {
        let value = map.get(name)?;
        if !value.is_boolean() {
            self.wrong(name, value, "true or false", None);
        }
        value.as_bool()
    }

    fn wrong(&mut self, name: &str, value: &Value, expected: &str, near: Option<String>) {
        self.push(self.key(name), format!("`{name}` is {value}"), expected, near);
    }

    fn push(&mut self, span: std::ops::Range<usize>, message: String, expected: &str, near: Option<String>) {
        let span = self.begin + span.start..self.begin + span.end;
        let place = Place::Toml(Position { file: self.file.clone(), span });
        self.report.push(Diagnostic::error(place, message).expected(expected).nearest(near));
    }

    /// Returns the position of a key in the line.
    fn key(&self, name: &str) -> std::ops::Range<usize> {
        let quoted = Value::from(name).to_string();
        self.text.find(&quoted).map_or(0..self.text.len(), |at| at..at + quoted.len())
    }
}

/// Returns the product, or `a` if it overflows. Used as the default of fields that the author did not write.
fn product(a: Decimal, b: Decimal) -> Decimal {
    let mantissa = a.mantissa().checked_mul(b.mantissa());
    mantissa.map_or(a, |mantissa| Decimal::new(mantissa, a.scale().saturating_add(b.scale())).trimmed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn missing_fields_are_derived_from_the_others() {
        let file =
            file("{\"close\": 10.5}\n\n{\"close\": \"12\", \"open\": 9, \"volume\": 2}\n{\"interval\": \"1s\"}\n");
        let klines = read(file.path()).unwrap();
        let shown = |kline: &Kline| format!("{} {} {}", kline.series.symbol, kline.series.interval, kline.start);
        assert_eq!(
            klines.iter().map(|kline| shown(kline)).collect::<Vec<_>>(),
            ["BTCUSDT 1m 0", "BTCUSDT 1m 60000", "BTCUSDT 1s 0"]
        );
        let second = &klines[1];
        let digits =
            [second.open, second.high, second.low, second.close, second.turnover].map(|found| found.to_string());
        assert_eq!(digits, ["9", "12", "9", "12", "24"]);
        assert_eq!((second.sequence, second.end, second.confirm), (2, 119_999, true));
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_the_nearest_key() {
        let file =
            file("{\"close\": 1}\n{\"closs\": 1}\n{\"close\": \"1e5\", \"interval\": \"1min\"}\n{\"close\": }\n");
        let report = read(file.path()).unwrap_err();
        let shown: Vec<String> = report
            .sorted()
            .iter()
            .map(|found| {
                let place = found.place.to_string();
                let at = place.split_once(':').unwrap().1.to_owned();
                format!("{at} {} ({})", found.message, found.nearest.clone().unwrap_or_default())
            })
            .collect();
        assert_eq!(
            shown,
            [
                "2:2 unknown key `closs` (close)",
                "3:2 `close` is \"1e5\" ()",
                "3:18 `interval` is \"1min\" (1m)",
                "4:11 not a JSON object: expected value ()",
            ]
        );
    }
}
