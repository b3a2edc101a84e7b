//! `klines history`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use klines_config::exchange::SymbolChoice;
use klines_config::nearest_interval;
use klines_config::value::Scalar;
use klines_domain::interval::Interval;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;
use klines_domain::time::{DAY, Millis};

use super::store::StoreArgs;

/// The number of klines that are shown if no flag says otherwise.
pub const DEFAULT_LAST: usize = 100;
/// Numbers below this one are probably seconds: as milliseconds they are in 1970 to 1973, when nothing was traded.
const LEAST_MILLIS: Millis = 100_000_000_000;
/// The forms of a time, for messages.
const TIME: &str = "a time such as 2024-01-31, 2024-01-31T12:00:00Z or 1706702400000 (ms since 1970)";

/// `klines history`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads confirmed klines from the store in data_dir, the newest revision of each, oldest first. Works beside a run and \
without one. Times are in UTC: a date, RFC 3339, or ms since 1970.

Exit codes: 0 ok, 1 there are no such klines, or they cannot be read, 2 usage, 78 configuration refused.

Examples:
  klines history BTCUSDT
  klines history ETHUSDT 1h --from 2024-01-01 --to 2024-01-31 --format csv > klines.csv
  klines history spot:BTCUSDT 5m --format chart")]
pub struct HistoryArgs {
    /// Symbol as Bybit writes it, such as BTCUSDT or spot:ETHUSDT
    #[arg(value_name = "SYMBOL", value_parser = scalar::<SymbolChoice>)]
    pub symbol: SymbolChoice,
    /// Interval: a number and ms, s, m, h, D, W or M
    #[arg(value_name = "INTERVAL", default_value = "1m", value_parser = interval)]
    pub interval: Interval,
    /// Category: linear, spot or inverse [default: linear]
    #[arg(long, value_name = "CATEGORY", value_parser = scalar::<Category>)]
    pub category: Option<Category>,
    /// Earliest start of a kline
    #[arg(long, value_name = "TIME", value_parser = from)]
    pub from: Option<Millis>,
    /// Latest start of a kline, included; a date means the whole day
    #[arg(long, value_name = "TIME", value_parser = to)]
    pub to: Option<Millis>,
    /// Only the newest N klines of the range [default: 100 without --from and --to; all with them]
    #[arg(long, value_name = "N", value_parser = last)]
    pub last: Option<usize>,
    /// Format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: HistoryFormat,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The format in which stored klines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HistoryFormat {
    /// Aligned columns
    Table,
    /// The rows of `klines replay --format csv`
    Csv,
    /// One JSON object per line with all fields, decimals as strings
    Ndjson,
    /// Candlesticks, the newest that fit into the terminal
    Chart,
}

impl HistoryArgs {
    /// Refuses flags that contradict each other.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> Result<(), String> {
        if let (Some(written), Some(flag)) = (self.symbol.category, self.category)
            && written != flag
        {
            return Err(format!("the symbol is one of {written}, and --category is {flag}"));
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            return Err("--from is later than --to".to_owned());
        }
        Ok(())
    }

    /// Returns the series to read.
    #[must_use]
    pub fn series(&self) -> SeriesKey {
        let category = self.symbol.category.or(self.category).unwrap_or_default();
        SeriesKey { category, symbol: self.symbol.symbol.clone(), interval: self.interval }
    }

    /// Returns the maximum number of klines; `None` means all of the range.
    #[must_use]
    pub fn limit(&self) -> Option<usize> {
        let has_range = self.from.is_some() || self.to.is_some();
        self.last.or((!has_range).then_some(DEFAULT_LAST))
    }
}

/// Reads a value as the configuration does.
pub(super) fn scalar<T: Scalar>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|fault| {
        let near = fault.nearest.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        format!("{}, expected {}{near}", fault.message, fault.expected)
    })
}

/// Reads an interval.
fn interval(text: &str) -> Result<Interval, String> {
    text.parse().map_err(|error| {
        let near = nearest_interval(text).map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        format!("{error}{near}")
    })
}

/// Reads the maximum number of klines.
fn last(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if number == 0 { Err("must be 1 or more".to_owned()) } else { Ok(number) }
}

/// Reads the earliest time of a range.
pub(super) fn from(text: &str) -> Result<Millis, String> {
    time(text).map(|time| time.0)
}

/// Reads the latest time of a range.
pub(super) fn to(text: &str) -> Result<Millis, String> {
    time(text).map(|(start, is_day)| if is_day { start + DAY - 1 } else { start })
}

/// Reads a time, and returns it in ms since 1970, and whether it is a date. Without an offset it is in UTC.
fn time(text: &str) -> Result<(Millis, bool), String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return millis(text).map(|millis| (millis, false));
    }
    let expected = |_| format!("expected {TIME}");
    if !text.contains([':', 'T', 't', ' ']) {
        let date: Date = text.parse().map_err(expected)?;
        let start = date.to_zoned(TimeZone::UTC).map_err(expected)?;
        return Ok((start.timestamp().as_millisecond(), true));
    }
    let time = text.parse::<Timestamp>().or_else(|_| {
        let local: DateTime = text.parse()?;
        Ok(local.to_zoned(TimeZone::UTC)?.timestamp())
    });
    time.map(|time| (time.as_millisecond(), false)).map_err(|_: jiff::Error| format!("expected {TIME}"))
}

/// Reads a number of milliseconds since 1970.
fn millis(text: &str) -> Result<Millis, String> {
    let millis: Millis = text.parse().map_err(|_| "too large".to_owned())?;
    if millis > 0 && millis < LEAST_MILLIS {
        let near = match text.len() {
            4 => format!(": did you mean `{text}-01-01`?"),
            10 => format!(": did you mean `{text}000`?"),
            _ => String::new(),
        };
        return Err(format!("a number is a time in ms since 1970, expected {TIME}{near}"));
    }
    Ok(millis)
}
