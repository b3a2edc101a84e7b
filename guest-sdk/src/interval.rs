//! Formats and parses intervals: `100ms`, `1s`, `1m`, `1h`, `1D`, `1W`, `1M`. Does not know which intervals the
//! operator has configured.

use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Unexpected};
use serde::{Serialize, Serializer};

use crate::{Interval, IntervalUnit};

/// The units of fixed length up to a day, longest first, in milliseconds.
const FIXED: [(IntervalUnit, u64); 5] = [
    (IntervalUnit::Day, 86_400_000),
    (IntervalUnit::Hour, 3_600_000),
    (IntervalUnit::Minute, 60_000),
    (IntervalUnit::Second, 1_000),
    (IntervalUnit::Millisecond, 1),
];

/// The error for a text that is not an interval such as `1m`, `4h` or `1D`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIntervalError {
    text: String,
}

impl fmt::Display for ParseIntervalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an interval such as 100ms, 1s, 1m, 4h, 1D, 1W or 1M", self.text)
    }
}

impl Error for ParseIntervalError {}

impl Interval {
    /// Returns the length in milliseconds; `None` for months, because their lengths differ.
    #[must_use]
    pub fn as_millis(&self) -> Option<u64> {
        let unit = match self.unit {
            IntervalUnit::Month => return None,
            IntervalUnit::Week => 7 * 86_400_000,
            fixed => FIXED.iter().find(|(unit, _)| *unit == fixed)?.1,
        };
        Some(u64::from(self.count) * unit)
    }

    /// Returns the same interval in the largest unit up to a day that gives a whole number, as in klines.
    fn canonical(self) -> Option<Self> {
        if self.count == 0 {
            return None;
        }
        if matches!(self.unit, IntervalUnit::Week | IntervalUnit::Month) {
            return Some(self);
        }
        let length = self.as_millis()?;
        let (unit, size) = FIXED.into_iter().find(|(_, size)| length.is_multiple_of(*size))?;
        Some(Self { count: u32::try_from(length / size).ok()?, unit })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            IntervalUnit::Millisecond => "ms",
            IntervalUnit::Second => "s",
            IntervalUnit::Minute => "m",
            IntervalUnit::Hour => "h",
            IntervalUnit::Day => "D",
            IntervalUnit::Week => "W",
            IntervalUnit::Month => "M",
        };
        f.pad(&format!("{}{unit}", self.count))
    }
}

impl FromStr for Interval {
    type Err = ParseIntervalError;

    /// Parses an interval. `60m` becomes `1h`, so that the result equals the interval in klines.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIntervalError { text: text.to_owned() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = match unit {
            "ms" => IntervalUnit::Millisecond,
            "s" => IntervalUnit::Second,
            "m" => IntervalUnit::Minute,
            "h" => IntervalUnit::Hour,
            "D" => IntervalUnit::Day,
            "W" => IntervalUnit::Week,
            "M" => IntervalUnit::Month,
            _ => return Err(refuse()),
        };
        let count = count.parse().map_err(|_| refuse())?;
        Self { count, unit }.canonical().ok_or_else(refuse)
    }
}

impl Eq for Interval {}

impl Hash for Interval {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.count, self.unit as u8).hash(state);
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::invalid_value(
                Unexpected::Str(&text),
                &"an interval such as 100ms, 1s, 1m, 4h, 1D, 1W or 1M",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_is_formatted_as_it_was_parsed() {
        for text in ["100ms", "1s", "5s", "1m", "15m", "1h", "4h", "1D", "1W", "1M"] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_interval_is_parsed_into_its_largest_whole_unit() {
        for (text, canonical) in [("60m", "1h"), ("24h", "1D"), ("1000ms", "1s"), ("90s", "90s"), ("1440m", "1D")] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn invalid_intervals_are_refused() {
        for text in ["", "m", "0m", "1", "1x", "-1m", "1 m", "1d", "99999999999m", "é"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_months_have_no_fixed_length() {
        assert_eq!("1W".parse::<Interval>().unwrap().as_millis(), Some(604_800_000));
        assert_eq!("1M".parse::<Interval>().unwrap().as_millis(), None);
    }
}
