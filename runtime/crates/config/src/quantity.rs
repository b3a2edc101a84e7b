//! Quantities in human-readable form: durations (`1m30s`) and byte sizes (`64MiB`).
//!
//! Both the command line and the configuration use these types. Kline intervals have other rules, see
//! `domain::interval`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A duration in whole milliseconds, written as the sum of one or more numbers with `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes, written as a number with `B`, `KiB`, `MiB`, `GiB` or `kB`, `MB`, `GB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Why a text is not a quantity.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    /// A number has no unit.
    #[error("the unit is missing")]
    NoUnit,
    /// The text does not consist of numbers with units.
    #[error("not a number with a unit")]
    Malformed,
    /// The value overflows its type.
    #[error("too large")]
    TooLarge,
}

/// Units of time in milliseconds, longest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Binary units of size, largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Decimal units of size, which are accepted but never printed.
const DECIMAL_SIZES: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

impl HumanDuration {
    /// The expected form, for the command line and diagnostics.
    pub const EXPECTED: &str = "a duration such as 80ms, 1s or 1m30s";

    /// Returns a duration of `millis` milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Returns what a number without a unit most likely means: seconds, or milliseconds if these are nearer to the usual
    /// value of the key.
    #[must_use]
    pub fn with_unit(number: &str, usual: Option<Self>) -> String {
        let usual = usual.map_or(0, |usual| usual.0.as_millis());
        let count: u128 = number.parse().unwrap_or(0);
        // `count` ms is nearer by ratio than `count` s if the usual value is below their geometric mean.
        let is_millis = usual > 0 && usual.saturating_mul(usual) < count.saturating_mul(count).saturating_mul(1_000);
        format!("{number}{}", if is_millis { "ms" } else { "s" })
    }

    /// Reads the value of a flag.
    ///
    /// # Errors
    /// What is wrong, and the number with a unit if only that is missing.
    pub fn of_flag(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| match error {
            QuantityError::NoUnit => format!("{error}: did you mean `{}`?", Self::with_unit(text, None)),
            _ => format!("{error}, expected {}", Self::EXPECTED),
        })
    }
}

impl ByteSize {
    /// The expected form, for the command line and diagnostics.
    pub const EXPECTED: &str = "a size such as 64MiB, 512KiB or 1000B";
}

impl FromStr for HumanDuration {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() || text.is_empty() {
            let (count, after) = leading_number(rest)?;
            let letters = after.find(|found: char| !found.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(letters);
            if unit.is_empty() && !next.is_empty() {
                return Err(QuantityError::Malformed);
            }
            total = total.checked_add(scaled(count, unit, &TIMES)?).ok_or(QuantityError::TooLarge)?;
            rest = next;
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (count, unit) = leading_number(text)?;
        let unit = unit.trim_start();
        scaled(count, unit, &SIZES).or_else(|_| scaled(count, unit, &DECIMAL_SIZES)).map(Self)
    }
}

/// Splits the whole number off the front of `text`.
fn leading_number(text: &str) -> Result<(u64, &str), QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(QuantityError::Malformed);
    }
    let (number, rest) = text.split_at(digits);
    Ok((number.parse().map_err(|_| QuantityError::TooLarge)?, rest))
}

fn scaled(count: u64, unit: &str, units: &[(&str, u64)]) -> Result<u64, QuantityError> {
    if unit.is_empty() {
        return Err(QuantityError::NoUnit);
    }
    let (_, size) = units.iter().find(|(name, _)| *name == unit).ok_or(QuantityError::Malformed)?;
    count.checked_mul(*size).ok_or(QuantityError::TooLarge)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return out.write_str("0s");
        }
        for (unit, size) in TIMES {
            if rest >= size {
                write!(out, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size));
        let (unit, size) = whole.copied().unwrap_or(("B", 1));
        write!(out, "{}{unit}", self.0 / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_the_same() {
        for (given, millis, printed) in [
            ("80ms", 80, "80ms"),
            ("20s", 20_000, "20s"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1d2h", 93_600_000, "1d2h"),
            ("0s", 0, "0s"),
            ("0", 0, "0s"),
            ("1500ms", 1_500, "1s500ms"),
        ] {
            let read: HumanDuration = given.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (HumanDuration::millis(millis), printed), "{given}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_duration_is_refused_with_the_reason() {
        for (given, error) in [
            ("", QuantityError::Malformed),
            ("s", QuantityError::Malformed),
            ("5", QuantityError::NoUnit),
            ("5x", QuantityError::Malformed),
            ("-5s", QuantityError::Malformed),
            ("1.5s", QuantityError::Malformed),
            ("1m 30s", QuantityError::Malformed),
            ("99999999999999999999s", QuantityError::TooLarge),
            ("999999999999999999d", QuantityError::TooLarge),
        ] {
            assert_eq!(given.parse::<HumanDuration>().unwrap_err(), error, "{given}");
        }
    }

    #[test]
    fn a_number_without_a_unit_gets_the_unit_that_is_nearer_to_the_usual_value() {
        for (number, usual, expected) in [
            ("1", Some("1m"), "1s"),
            ("60", Some("1m"), "60s"),
            ("60000", Some("1m"), "60000ms"),
            ("80", Some("80ms"), "80ms"),
            ("1", Some("1s"), "1s"),
            ("500", Some("1s"), "500ms"),
            ("20", None, "20s"),
            ("1m30", Some("1m"), "1m30s"),
        ] {
            let usual = usual.map(|usual| usual.parse().unwrap());
            assert_eq!(HumanDuration::with_unit(number, usual), expected, "{number}, {usual:?}");
        }
        assert_eq!(HumanDuration::of_flag("20").unwrap_err(), "the unit is missing: did you mean `20s`?");
        let soon = "not a number with a unit, expected a duration such as 80ms, 1s or 1m30s";
        assert_eq!(HumanDuration::of_flag("soon").unwrap_err(), soon);
    }

    #[test]
    fn sizes_read_and_print_the_same() {
        for (given, bytes, printed) in [
            ("64MiB", 64 << 20, "64MiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("1000B", 1_000, "1000B"),
            ("8 MiB", 8 << 20, "8MiB"),
            ("1kB", 1_000, "1000B"),
            ("0B", 0, "0B"),
        ] {
            let read: ByteSize = given.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (ByteSize(bytes), printed), "{given}");
        }
        assert_eq!("64".parse::<ByteSize>().unwrap_err(), QuantityError::NoUnit);
        assert_eq!("64 potatoes".parse::<ByteSize>().unwrap_err(), QuantityError::Malformed);
    }
}
