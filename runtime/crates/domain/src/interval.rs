//! How long a kline's window is, how it is written, and where windows start.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::time::{self, DAY, HOUR, MINUTE, Millis, SECOND, WEEK};

/// The shortest window.
pub const SHORTEST: Millis = 100;

/// A window length: a whole number of times in a day, one week, or one calendar month.
///
/// Ordered by length; written in the largest whole unit (`60m` is `1h`, `24h` is `1D`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// Milliseconds, 100 to one day, aligned on the epoch.
    Fixed(u32),
    /// From Monday 00:00 UTC.
    Week,
    /// From the first of the month, 00:00 UTC.
    Month,
}

/// The unit that an interval is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `ms`
    Millisecond,
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `D`
    Day,
    /// `W`
    Week,
    /// `M`
    Month,
}

/// Fixed units from long to short, with their lengths.
const UNITS: [(Unit, Millis); 5] =
    [(Unit::Day, DAY), (Unit::Hour, HOUR), (Unit::Minute, MINUTE), (Unit::Second, SECOND), (Unit::Millisecond, 1)];

impl Interval {
    /// One minute.
    pub const MINUTE: Self = Self::Fixed(60_000);
    /// One day, from 00:00 UTC.
    pub const DAY: Self = Self::Fixed(86_400_000);

    /// Builds an interval of fixed length.
    ///
    /// # Errors
    /// [`IntervalError`] when it is shorter than 100 ms or does not fit a whole number of times in a day.
    pub fn fixed(length: Millis) -> Result<Self, IntervalError> {
        if length < SHORTEST {
            return Err(IntervalError::TooShort);
        }
        if length > DAY || DAY % length != 0 {
            return Err(IntervalError::Uneven);
        }
        u32::try_from(length).map(Self::Fixed).map_err(|_| IntervalError::Uneven)
    }

    /// Returns the start of the window that holds `at`.
    #[must_use]
    #[inline]
    pub const fn start_of(self, at: Millis) -> Millis {
        match self {
            Self::Fixed(length) => at - at.rem_euclid(length as Millis),
            Self::Week => time::week_start(at),
            Self::Month => time::month_start(at),
        }
    }

    /// Returns the start of the window after the one that starts at `start`.
    #[must_use]
    #[inline]
    pub const fn next(self, start: Millis) -> Millis {
        match self {
            Self::Fixed(length) => start + length as Millis,
            Self::Week => start + WEEK,
            Self::Month => time::next_month_start(start),
        }
    }

    /// The length as the predecessor prints it: milliseconds, a week as 7 days and a month as 30.
    #[must_use]
    pub const fn nominal_millis(self) -> Millis {
        match self {
            Self::Fixed(length) => length as Millis,
            Self::Week => WEEK,
            Self::Month => 30 * DAY,
        }
    }

    /// Count and unit in the largest whole unit.
    #[must_use]
    pub fn parts(self) -> (u32, Unit) {
        match self {
            Self::Week => (1, Unit::Week),
            Self::Month => (1, Unit::Month),
            Self::Fixed(length) => {
                let whole = UNITS.iter().find(|(_, unit)| i64::from(length) % unit == 0);
                let (unit, size) = whole.copied().unwrap_or((Unit::Millisecond, 1));
                (u32::try_from(i64::from(length) / size).unwrap_or(length), unit)
            }
        }
    }

    /// Bybit's code for it (`1`, `60`, `D`, …), or nothing when Bybit has no such kline.
    #[must_use]
    pub fn bybit_code(self) -> Option<&'static str> {
        BYBIT_CODES.iter().find(|(_, interval)| *interval == self).map(|(code, _)| *code)
    }

    /// Reads one of Bybit's codes. A bare number of minutes that Bybit has no code for is refused.
    #[must_use]
    pub fn from_bybit_code(code: &str) -> Option<Self> {
        BYBIT_CODES.iter().find(|(known, _)| *known == code).map(|(_, interval)| *interval)
    }
}

/// Bybit's kline intervals (documentation of `kline.{interval}.{symbol}`, v5).
const BYBIT_CODES: [(&str, Interval); 13] = [
    ("1", Interval::Fixed(60_000)),
    ("3", Interval::Fixed(180_000)),
    ("5", Interval::Fixed(300_000)),
    ("15", Interval::Fixed(900_000)),
    ("30", Interval::Fixed(1_800_000)),
    ("60", Interval::Fixed(3_600_000)),
    ("120", Interval::Fixed(7_200_000)),
    ("240", Interval::Fixed(14_400_000)),
    ("360", Interval::Fixed(21_600_000)),
    ("720", Interval::Fixed(43_200_000)),
    ("D", Interval::Fixed(86_400_000)),
    ("W", Interval::Week),
    ("M", Interval::Month),
];

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        if let Some(interval) = Self::from_bybit_code(text) {
            return Ok(interval);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at_checked(digits).ok_or(IntervalError::Malformed)?;
        let count: i64 = count.parse().map_err(|_| IntervalError::Malformed)?;
        let size = match unit {
            "ms" => 1,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "D" => DAY,
            "W" if count == 1 => return Ok(Self::Week),
            "M" if count == 1 => return Ok(Self::Month),
            "W" | "M" => return Err(IntervalError::Uneven),
            _ => return Err(IntervalError::Malformed),
        };
        Self::fixed(count.checked_mul(size).ok_or(IntervalError::Uneven)?)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Millisecond => "ms",
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "D",
            Self::Week => "W",
            Self::Month => "M",
        })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = self.parts();
        write!(out, "{count}{unit}")
    }
}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nominal_millis().cmp(&other.nominal_millis())
    }
}

/// Why a text is not an [`Interval`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IntervalError {
    /// Not a number and a unit, and not one of Bybit's codes.
    #[error("not an interval: write a number and one of ms s m h D W M, such as 1m, or one of Bybit's codes")]
    Malformed,
    /// Shorter than 100 ms.
    #[error("shorter than 100ms")]
    TooShort,
    /// Does not divide a day, or several weeks or months.
    #[error("does not fit a whole number of times in a day (longer ones: 1W and 1M only)")]
    Uneven,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_canonical() {
        for (given, printed) in [
            ("1m", "1m"),
            ("60m", "1h"),
            ("24h", "1D"),
            ("90m", "90m"),
            ("1000ms", "1s"),
            ("100ms", "100ms"),
            ("1500ms", "1500ms"),
            ("86400s", "1D"),
            ("1", "1m"),
            ("60", "1h"),
            ("720", "12h"),
            ("D", "1D"),
            ("W", "1W"),
            ("M", "1M"),
        ] {
            assert_eq!(given.parse::<Interval>().unwrap().to_string(), printed, "{given}");
        }
    }

    #[test]
    fn what_does_not_fit_a_day_is_refused() {
        for (text, error) in [
            ("99ms", IntervalError::TooShort),
            ("0m", IntervalError::TooShort),
            ("7m", IntervalError::Uneven),
            ("2D", IntervalError::Uneven),
            ("2W", IntervalError::Uneven),
            ("2M", IntervalError::Uneven),
            ("9999999999999h", IntervalError::Uneven),
            ("", IntervalError::Malformed),
            ("m", IntervalError::Malformed),
            ("1x", IntervalError::Malformed),
            ("1d", IntervalError::Malformed),
            ("-1m", IntervalError::Malformed),
            ("2", IntervalError::Malformed),
        ] {
            assert_eq!(text.parse::<Interval>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn windows_tile_time() {
        for text in ["100ms", "1s", "90m", "1D", "1W", "1M"] {
            let interval: Interval = text.parse().unwrap();
            let mut start = interval.start_of(1_704_067_200_000 - 1);
            for _ in 0..50 {
                let next = interval.next(start);
                assert_eq!(interval.start_of(start), start);
                assert_eq!(interval.start_of(next - 1), start);
                assert_eq!(interval.start_of(next), next);
                start = next;
            }
        }
    }
}
