//! Lengths of kline windows: their notation, and where windows start.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::time::{self, DAY, HOUR, MINUTE, Millis, SECOND, WEEK};

/// The length of the shortest window.
pub const MIN_INTERVAL: Millis = 100;

/// The length of a window: a divisor of a day, one week, or one calendar month.
///
/// Ordered by length; written in the largest whole unit (`60m` is `1h`, `24h` is `1D`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// A length in milliseconds, 100 to one day; windows are aligned to the epoch.
    Fixed(u32),
    /// A week from Monday 00:00 UTC.
    Week,
    /// A month from its first day, 00:00 UTC.
    Month,
}

/// The unit in which an interval is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds, `ms`.
    Millisecond,
    /// Seconds, `s`.
    Second,
    /// Minutes, `m`.
    Minute,
    /// Hours, `h`.
    Hour,
    /// Days, `D`.
    Day,
    /// Weeks, `W`.
    Week,
    /// Months, `M`.
    Month,
}

/// Units of fixed length from long to short, with their lengths.
const UNITS: [(Unit, Millis); 5] =
    [(Unit::Day, DAY), (Unit::Hour, HOUR), (Unit::Minute, MINUTE), (Unit::Second, SECOND), (Unit::Millisecond, 1)];

impl Interval {
    /// One minute.
    pub const MINUTE: Self = Self::Fixed(60_000);
    /// One hour.
    pub const HOUR: Self = Self::Fixed(3_600_000);
    /// One day, from 00:00 UTC.
    pub const DAY: Self = Self::Fixed(86_400_000);

    /// Builds an interval of fixed length.
    ///
    /// # Errors
    /// [`IntervalError`] if it is shorter than 100 ms or does not divide a day.
    pub fn fixed(length: Millis) -> Result<Self, IntervalError> {
        if length < MIN_INTERVAL {
            return Err(IntervalError::TooShort);
        }
        if length > DAY || DAY % length != 0 {
            return Err(IntervalError::Uneven);
        }
        u32::try_from(length).map(Self::Fixed).map_err(|_| IntervalError::Uneven)
    }

    /// Returns the start of the window that contains `at`.
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

    /// Returns whether windows of this length, placed side by side, are exactly the windows of another one.
    #[must_use]
    pub const fn tiles(self, other: Self) -> bool {
        match (self, other) {
            (Self::Fixed(length), Self::Fixed(other)) => other % length == 0,
            (Self::Fixed(_), Self::Week | Self::Month) | (Self::Week, Self::Week) | (Self::Month, Self::Month) => true,
            (Self::Week, Self::Month) | (Self::Month, Self::Week) | (Self::Week | Self::Month, Self::Fixed(_)) => false,
        }
    }

    /// Returns the length as the streamer prints it: milliseconds, with a week of 7 days and a month of 30.
    #[must_use]
    pub const fn nominal_millis(self) -> Millis {
        match self {
            Self::Fixed(length) => length as Millis,
            Self::Week => WEEK,
            Self::Month => 30 * DAY,
        }
    }

    /// Returns the count and the largest whole unit.
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

    /// Returns Bybit's code (`1`, `60`, `D`, …); `None` if Bybit has no such kline.
    #[must_use]
    pub fn bybit_code(self) -> Option<&'static str> {
        BYBIT_CODES.iter().find(|(_, interval)| *interval == self).map(|(code, _)| *code)
    }

    /// Parses one of Bybit's codes. Returns `None` for a number of minutes that is no code.
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
    /// The text is neither a number with a unit nor one of Bybit's codes.
    #[error("not an interval: write a number and one of ms s m h D W M, such as 1m, or one of Bybit's codes")]
    Malformed,
    /// The interval is shorter than 100 ms.
    #[error("shorter than 100ms")]
    TooShort,
    /// The interval does not divide a day, or is several weeks or months.
    #[error("does not divide a day; the only longer intervals are 1W and 1M")]
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
    fn windows_tile_longer_ones_that_they_divide() {
        let tiles = |short: &str, long: &str| short.parse::<Interval>().unwrap().tiles(long.parse().unwrap());
        for (short, long) in
            [("1s", "1m"), ("1m", "1m"), ("30s", "90s"), ("1h", "1D"), ("8h", "1W"), ("1D", "1M"), ("1W", "1W")]
        {
            assert!(tiles(short, long), "{short} {long}");
        }
        for (short, long) in [("1m", "90s"), ("1m", "1s"), ("1W", "1M"), ("1M", "1W"), ("1W", "1D")] {
            assert!(!tiles(short, long), "{short} {long}");
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
