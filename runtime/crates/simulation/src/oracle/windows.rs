//! Where windows begin and end, with arithmetic of its own: months are counted one by one.

use klines_domain::time::Millis;

/// The units of fixed length.
const UNITS: [(&str, Millis); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("D", 86_400_000)];
const DAY: Millis = 86_400_000;
const WEEK: Millis = 7 * DAY;
/// Monday, 1970-01-05T00:00:00Z.
const FIRST_MONDAY: Millis = 4 * DAY;
/// The days of the months of a common year.
const MONTHS: [Millis; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// 2020-01-01T00:00:00Z, the beginning of a leap year; no simulated trade is older.
const EPOCH: Millis = 1_577_836_800_000;

/// The windows of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Of this length, from the epoch on.
    Fixed(Millis),
    /// Weeks from Monday on.
    Weeks,
    /// Calendar months.
    Months,
}

impl Windows {
    /// Reads an interval; `None` if it is none.
    pub fn of(text: &str) -> Option<Self> {
        let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
        let (count, unit) = (text.get(..digits)?.parse::<Millis>().ok()?, text.get(digits..)?);
        match unit {
            "W" => Some(Self::Weeks),
            "M" => Some(Self::Months),
            _ => UNITS.iter().find(|(name, _)| *name == unit).map(|(_, length)| Self::Fixed(count * length)),
        }
    }

    /// Returns the start of the window that contains a time.
    pub fn start_of(self, at: Millis) -> Millis {
        match self {
            Self::Fixed(length) => at - at % length,
            Self::Weeks => at - (at - FIRST_MONDAY) % WEEK,
            Self::Months => month_of(at).0,
        }
    }

    /// Returns the start of the window after the one that contains `at`.
    pub fn next(self, at: Millis) -> Millis {
        match self {
            Self::Fixed(length) => self.start_of(at) + length,
            Self::Weeks => self.start_of(at) + WEEK,
            Self::Months => month_of(at).1,
        }
    }

    /// Returns whether windows without trades have klines.
    pub fn is_filled(self) -> bool {
        !matches!(self, Self::Fixed(length) if length < 1_000)
    }

    /// Returns whether windows are made of whole minutes.
    pub fn is_whole(self) -> bool {
        !matches!(self, Self::Fixed(length) if length % 60_000 != 0)
    }
}

/// Returns the start of the month that contains a time, and that of the next one.
fn month_of(at: Millis) -> (Millis, Millis) {
    let mut start = EPOCH;
    let mut year = 2020;
    loop {
        for (month, days) in MONTHS.iter().enumerate() {
            let leap = i64::from(month == 1 && year % 4 == 0);
            let next = start + (days + leap) * DAY;
            if at < next {
                return (start, next);
            }
            start = next;
        }
        year += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_weeks_begin_where_a_calendar_says() {
        let (leap_day, march) = (1_835_395_200_000, 1_835_481_600_000);
        assert_eq!(Windows::Months.next(leap_day), march, "2028-02-29");
        assert_eq!(Windows::Months.next(1_735_689_599_999), 1_735_689_600_000, "2024-12-31");
        assert_eq!(Windows::Weeks.start_of(1_704_067_200_000), 1_704_067_200_000, "2024-01-01 is a Monday");
        assert_eq!(Windows::of("36m"), Some(Windows::Fixed(2_160_000)));
    }
}
