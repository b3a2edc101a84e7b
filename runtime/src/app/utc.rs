//! Times as text, in UTC.

use jiff::Timestamp;
use jiff::fmt::strtime;
use klines_domain::interval::Interval;
use klines_domain::time::{DAY, MINUTE, Millis, SECOND};

/// Returns a time as the format of `strftime` says, or in ms since 1970 if no calendar reaches that far.
pub fn text(at: Millis, format: &str) -> String {
    let time = Timestamp::from_millisecond(at).and_then(|time| strtime::format(format, time));
    time.unwrap_or_else(|_| at.to_string())
}

/// Returns a time with all its milliseconds, as RFC 3339.
pub fn exact(at: Millis) -> String {
    let format = if at.rem_euclid(SECOND) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
    text(at, format)
}

/// Returns the format in which starts of an interval differ from each other.
pub fn format(interval: Interval) -> &'static str {
    match interval.nominal_millis() {
        length if length >= DAY => "%Y-%m-%d",
        length if length % MINUTE == 0 => "%Y-%m-%d %H:%M",
        length if length % SECOND == 0 => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S%.3f",
    }
}

/// Returns the format without what is the same in all starts of a chart that covers `span` ms.
pub fn short_format(interval: Interval, span: Millis) -> &'static str {
    match format(interval) {
        "%Y-%m-%d" => "%Y-%m-%d",
        _ if span >= DAY => "%m-%d %H:%M",
        "%Y-%m-%d %H:%M" => "%H:%M",
        "%Y-%m-%d %H:%M:%S" => "%H:%M:%S",
        _ => "%H:%M:%S%.3f",
    }
}
