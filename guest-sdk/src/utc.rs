//! Dates and times of day in UTC, computed from the milliseconds in klines. Reads no clock and supports no other time
//! zones.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

const DAY_MS: u64 = 86_400_000;
/// The days from 0000-03-01 to 1970-01-01. Years here begin in March, so that the leap day is the last day of a year.
const MARCH_ZERO: u64 = 719_468;
/// The days in 400 years.
const ERA: u64 = 146_097;

/// A calendar date, UTC, not before 1970-01-01; written `2026-08-09`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    days: u64,
}

/// The error for a text that is not a date such as `2026-08-09`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseDateError;

impl Date {
    /// Returns the date of a time in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn of(ms: u64) -> Self {
        Self { days: ms / DAY_MS }
    }

    /// Returns the date `days` earlier; never before 1970-01-01.
    #[must_use]
    pub fn minus_days(self, days: u64) -> Self {
        Self { days: self.days.saturating_sub(days) }
    }

    /// Returns the year, the month (1 to 12) and the day (1 to 31).
    #[must_use]
    pub fn civil(self) -> (u64, u64, u64) {
        let days = self.days + MARCH_ZERO;
        let (era, day_of_era) = (days / ERA, days % ERA);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Counted from March, every five months have 153 days.
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        (era * 400 + year_of_era + u64::from(month <= 2), month, day)
    }

    /// Returns the date of a year, month and day; `None` if there is no such date from 1970-01-01 on.
    fn from_civil(year: u64, month: u64, day: u64) -> Option<Self> {
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let march_year = year.checked_sub(u64::from(month <= 2))?;
        let (era, year_of_era) = (march_year / 400, march_year % 400);
        let march_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * march_month + 2) / 5 + day - 1;
        let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let date = Self { days: (era * ERA + day_of_era).checked_sub(MARCH_ZERO)? };
        (date.civil() == (year, month, day)).then_some(date)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        f.pad(&format!("{year:04}-{month:02}-{day:02}"))
    }
}

impl FromStr for Date {
    type Err = ParseDateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('-').collect();
        let &[year, month, day] = parts.as_slice() else { return Err(ParseDateError) };
        let number = |part: &str, digits: usize| {
            let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse::<u64>().ok()).flatten().ok_or(ParseDateError)
        };
        Self::from_civil(number(year, 4)?, number(month, 2)?, number(day, 2)?).ok_or(ParseDateError)
    }
}

impl fmt::Display for ParseDateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date such as 2026-08-09")
    }
}

impl Error for ParseDateError {}

/// A time of day, UTC; written `23:59:59`, and `23:59:59.999` with `{:.3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    ms: u64,
}

impl TimeOfDay {
    /// Returns the time of day of a time in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn of(ms: u64) -> Self {
        Self { ms: ms % DAY_MS }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.ms / 1_000, self.ms % 1_000);
        write!(f, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
        if f.precision().is_some() { write!(f, ".{ms:03}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar_over_leap_years() {
        for (ms, text) in [
            (0, "1970-01-01"),
            (951_782_399_999, "2000-02-28"),
            (951_782_400_000, "2000-02-29"),
            (1_704_067_200_000, "2024-01-01"),
            (1_709_164_800_000, "2024-02-29"),
            (1_735_689_599_999, "2024-12-31"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(Date::of(ms).to_string(), text);
        }
    }

    #[test]
    fn every_date_of_four_centuries_is_parsed_from_its_text() {
        let mut previous = String::new();
        for days in 0..ERA {
            let date = Date { days };
            let text = date.to_string();
            assert!(text > previous);
            assert_eq!(text.parse(), Ok(date));
            previous = text;
        }
    }

    #[test]
    fn invalid_dates_are_refused() {
        for text in
            ["", "2026-02-29", "2026-13-01", "2026-00-01", "2026-1-01", "1969-12-31", "2026-01-01x", "+026-01-01"]
        {
            assert_eq!(text.parse::<Date>(), Err(ParseDateError), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_has_milliseconds_with_a_precision() {
        let time = TimeOfDay::of(DAY_MS * 3 + 3_723_045);
        assert_eq!(time.to_string(), "01:02:03");
        assert_eq!(format!("{time:.3}"), "01:02:03.045");
    }
}
