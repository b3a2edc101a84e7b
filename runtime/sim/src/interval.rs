//! Bybit's thirteen kline intervals and the starts of their windows (UTC). Knows no prices.

pub(crate) const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const WEEK_MS: i64 = 7 * DAY_MS;
/// The epoch was a Thursday; the first Monday is four days later.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// One of Bybit's kline intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interval {
    Minutes(i64),
    Day,
    Week,
    Month,
}

impl Interval {
    pub const ALL: [Self; 13] = [
        Self::Minutes(1),
        Self::Minutes(3),
        Self::Minutes(5),
        Self::Minutes(15),
        Self::Minutes(30),
        Self::Minutes(60),
        Self::Minutes(120),
        Self::Minutes(240),
        Self::Minutes(360),
        Self::Minutes(720),
        Self::Day,
        Self::Week,
        Self::Month,
    ];

    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interval| interval.code() == code)
    }

    pub fn code(self) -> String {
        match self {
            Self::Minutes(minutes) => minutes.to_string(),
            Self::Day => "D".to_owned(),
            Self::Week => "W".to_owned(),
            Self::Month => "M".to_owned(),
        }
    }

    /// Returns the length in ms; for a month, that of the shortest month.
    pub fn shortest_ms(self) -> i64 {
        match self {
            Self::Minutes(minutes) => minutes * MINUTE_MS,
            Self::Day => DAY_MS,
            Self::Week => WEEK_MS,
            Self::Month => 28 * DAY_MS,
        }
    }

    /// Returns the start of the window that contains `at` (ms since the epoch).
    pub fn start_of(self, at: i64) -> i64 {
        match self {
            Self::Minutes(_) | Self::Day => at - at.rem_euclid(self.shortest_ms()),
            Self::Week => at - (at - FIRST_MONDAY_MS).rem_euclid(WEEK_MS),
            Self::Month => {
                let day = at.div_euclid(DAY_MS);
                (day - day_of_month(day) + 1) * DAY_MS
            }
        }
    }

    /// Returns the start of the window before the one that begins at `start`.
    pub fn before(self, start: i64) -> i64 {
        self.start_of(start - 1)
    }

    /// Returns the start of the window after the one that begins at `start`.
    pub fn after(self, start: i64) -> i64 {
        match self {
            // The 1st plus 31 days is always inside the next month.
            Self::Month => self.start_of(start + 31 * DAY_MS),
            _ => start + self.shortest_ms(),
        }
    }
}

/// Returns the day of the month, 1..=31, of a day number since the epoch (proleptic Gregorian). Years are counted from
/// 1 March, so that the leap day is the last day of its year and months follow a fixed pattern of 153 days per five.
fn day_of_month(day: i64) -> i64 {
    let since_march_0 = day + 719_468;
    let of_era = since_march_0.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

/// Returns the day number since the epoch of a date (proleptic Gregorian), counted as in [`day_of_month`].
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_others_are_unknown() {
        for interval in Interval::ALL {
            assert_eq!(Interval::from_code(&interval.code()), Some(interval));
        }
        for code in ["2", "1m", "d", "", "01"] {
            assert_eq!(Interval::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        // 2026-08-09 21:26:58 was a Sunday.
        let sunday = 1_786_310_818_000;
        assert_eq!(Interval::Week.start_of(sunday), 1_785_715_200_000); // Monday 2026-08-03
        assert_eq!(Interval::Month.start_of(sunday), 1_785_542_400_000); // 2026-08-01
        assert_eq!(Interval::Month.after(1_785_542_400_000), 1_788_220_800_000); // 2026-09-01
        // 2024-02-29 12:00 lies in a leap February.
        assert_eq!(Interval::Month.start_of(1_709_208_000_000), 1_706_745_600_000);
        assert_eq!(Interval::Month.after(1_706_745_600_000), 1_709_251_200_000);
    }

    #[test]
    fn dates_have_their_day_number() {
        assert_eq!(days_of(1970, 1, 1), 0);
        assert_eq!(days_of(2024, 2, 29) * DAY_MS, 1_709_164_800_000);
        assert_eq!(days_of(2026, 8, 9) * DAY_MS, 1_786_233_600_000);
        assert_eq!(day_of_month(days_of(1999, 12, 31)), 31);
    }

    #[test]
    fn a_window_contains_its_own_start_and_ends_where_the_next_begins() {
        for interval in Interval::ALL {
            for at in [0, 1_786_310_818_123, 1_709_208_000_000, 951_782_400_000] {
                let start = interval.start_of(at);
                let next = interval.after(start);
                assert!(start <= at && at < next, "{interval:?} {at}");
                assert_eq!(interval.start_of(next - 1), start);
                assert_eq!(interval.start_of(next), next);
                assert_eq!(interval.before(next), start);
            }
        }
    }
}
