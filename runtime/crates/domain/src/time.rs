//! Time as integers: spans, the instants of two clocks, which cannot be mixed, and the week and month starts of the
//! calendar.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A span of time in milliseconds. Windows and klines also use it for exchange time since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// Defines an instant of one clock: the difference of two instants is a span, and instant + span is an instant.
macro_rules! instant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(Millis);

        impl $name {
            /// The earliest instant.
            pub const MIN: Self = Self(Millis::MIN);
            /// The latest instant; means "never".
            pub const MAX: Self = Self(Millis::MAX);

            /// Builds the instant this many milliseconds after 1970-01-01T00:00:00Z.
            #[must_use]
            #[inline]
            pub const fn new(millis: Millis) -> Self {
                Self(millis)
            }

            /// Returns the milliseconds since 1970-01-01T00:00:00Z.
            #[must_use]
            #[inline]
            pub const fn get(self) -> Millis {
                self.0
            }

            /// Returns the instant `span` later, at most [`Self::MAX`].
            #[must_use]
            #[inline]
            pub const fn saturating_add(self, span: Millis) -> Self {
                Self(self.0.saturating_add(span))
            }

            /// Returns the instant `span` earlier, at least [`Self::MIN`].
            #[must_use]
            #[inline]
            pub const fn saturating_sub(self, span: Millis) -> Self {
                Self(self.0.saturating_sub(span))
            }
        }

        impl Add<Millis> for $name {
            type Output = Self;

            #[inline]
            fn add(self, span: Millis) -> Self {
                Self(self.0 + span)
            }
        }

        impl AddAssign<Millis> for $name {
            #[inline]
            fn add_assign(&mut self, span: Millis) {
                self.0 += span;
            }
        }

        impl Sub<Millis> for $name {
            type Output = Self;

            #[inline]
            fn sub(self, span: Millis) -> Self {
                Self(self.0 - span)
            }
        }

        impl Sub for $name {
            type Output = Millis;

            #[inline]
            fn sub(self, earlier: Self) -> Millis {
                self.0 - earlier.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

instant! {
    /// An instant of the local clock of this machine, or of a recorder: when something was received, or is due.
    ///
    /// Only a [`ClockOffset`](crate::clock::ClockOffset) converts it to exchange time.
    LocalMillis
}

instant! {
    /// An instant of the exchange's clock: when a trade happened, or when a frame was stamped.
    ExchangeMillis
}

/// One second.
pub const SECOND: Millis = 1_000;
/// One minute.
pub const MINUTE: Millis = 60 * SECOND;
/// One hour.
pub const HOUR: Millis = 60 * MINUTE;
/// One day; UTC days always have this length here.
pub const DAY: Millis = 24 * HOUR;
/// One week.
pub const WEEK: Millis = 7 * DAY;
/// 1970-01-05 was the first Monday after the epoch.
const FIRST_MONDAY: Millis = 4 * DAY;

/// Returns the start of the Monday-to-Sunday week that contains `at`.
#[must_use]
pub const fn week_start(at: Millis) -> Millis {
    at - (at - FIRST_MONDAY).rem_euclid(WEEK)
}

/// Returns the start of the calendar month that contains `at`.
#[must_use]
pub const fn month_start(at: Millis) -> Millis {
    let (year, month) = month_of(at.div_euclid(DAY));
    days_before(year, month) * DAY
}

/// Returns the start of the calendar month after the one that contains `at`.
#[must_use]
pub const fn next_month_start(at: Millis) -> Millis {
    let (year, month) = month_of(at.div_euclid(DAY));
    if month == 12 { days_before(year + 1, 1) * DAY } else { days_before(year, month + 1) * DAY }
}

/// Returns year and month (1 to 12) of a day counted from the epoch, by the proleptic Gregorian calendar.
///
/// Years start in March, so that the leap day is the last day of its year.
const fn month_of(day: i64) -> (i64, i64) {
    let shifted = day + 719_468; // days from 0000-03-01 to the epoch
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + (month <= 2) as i64, month)
}

/// Returns the day, counted from the epoch, on which a month starts.
const fn days_before(year: i64, month: i64) -> i64 {
    let from_march_year = if month <= 2 { year - 1 } else { year };
    let era = from_march_year.div_euclid(400);
    let year_of_era = from_march_year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5;
    era * 146_097 + 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-01T00:00:00Z, a Monday and the first of a month.
    const NEW_YEAR_2024: Millis = 1_704_067_200_000;

    #[test]
    fn weeks_start_on_monday() {
        assert_eq!(week_start(NEW_YEAR_2024), NEW_YEAR_2024);
        assert_eq!(week_start(NEW_YEAR_2024 - 1), NEW_YEAR_2024 - WEEK);
        assert_eq!(week_start(0), -3 * DAY);
    }

    #[test]
    fn months_follow_the_calendar() {
        let lengths: Vec<i64> = (0..14)
            .scan(NEW_YEAR_2024, |start, _| {
                let next = next_month_start(*start);
                assert_eq!(month_start(next - 1), *start);
                assert_eq!(month_start(next), next);
                Some((next - std::mem::replace(start, next)) / DAY)
            })
            .collect();
        assert_eq!(lengths, [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28]);
    }

    #[test]
    fn month_starts_before_the_epoch_are_right() {
        assert_eq!(month_start(-1), -31 * DAY);
        assert_eq!(next_month_start(-1), 0);
    }
}
