//! Exact decimal numbers: an integer and its number of decimals. Arithmetic uses no binary floats.

use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

/// The maximum number of decimals of a [`Decimal`]; `10^38` is the greatest power of ten in an `i128`.
pub const MAX_SCALE: u8 = 38;

/// Powers of ten that fit in an `i128`, by exponent.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse it")]
const POWERS: [i128; MAX_SCALE as usize + 1] = {
    let mut powers = [1i128; MAX_SCALE as usize + 1];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// Powers of ten that a binary float holds exactly, by exponent.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse it")]
const FLOAT_POWERS: [f64; 23] = {
    let mut powers = [1f64; 23];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10.0;
        exponent += 1;
    }
    powers
};

/// Returns `10^exponent`; `None` if an `i128` cannot hold it.
#[must_use]
pub fn power_of_ten(exponent: u8) -> Option<i128> {
    POWERS.get(usize::from(exponent)).copied()
}

/// Returns `mantissa * 10^by`; `None` if it does not fit.
#[must_use]
pub fn widen(mantissa: i128, by: u8) -> Option<i128> {
    mantissa.checked_mul(power_of_ten(by)?)
}

/// The number `mantissa / 10^scale`, exactly.
///
/// Equal numbers compare equal whatever their scales. The text has no exponent and no trailing zeros.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    mantissa: i128,
    scale: u8,
}

impl Decimal {
    /// Zero without decimals.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// Builds the number `mantissa / 10^scale`. A scale over [`MAX_SCALE`] is reduced to it.
    #[must_use]
    pub const fn new(mantissa: i128, scale: u8) -> Self {
        Self { mantissa, scale: if scale > MAX_SCALE { MAX_SCALE } else { scale } }
    }

    /// Returns the integer in units of `10^-scale`.
    #[must_use]
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// Returns the number of decimals, 0 to [`MAX_SCALE`].
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Parses plain decimal text: an optional `-`, digits, and optionally a point with digits after it.
    ///
    /// # Errors
    /// [`ParseDecimalError`] if the text has another form or does not fit 38 digits.
    pub fn parse(text: &str) -> Result<Self, ParseDecimalError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || (fraction.is_empty() && digits.contains('.')) {
            return Err(ParseDecimalError::Malformed);
        }
        let mut mantissa = 0i128;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(ParseDecimalError::Malformed);
            }
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|value| value.checked_add(i128::from(byte - b'0')))
                .ok_or(ParseDecimalError::TooLong)?;
        }
        let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= MAX_SCALE);
        let scale = scale.ok_or(ParseDecimalError::TooLong)?;
        Ok(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }

    /// Returns the sum of two numbers; `None` if it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let [one, other] = [self, other].map(|value| widen(value.mantissa, scale - value.scale));
        Some(Self { mantissa: one?.checked_add(other?)?, scale })
    }

    /// Returns the same number with the fewest decimals.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        if self.mantissa == 0 {
            return Self::ZERO;
        }
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// Returns the nearest binary float, for consumers that calculate with floats.
    #[inline]
    #[must_use]
    pub fn to_f64(self) -> f64 {
        const EXACT: u64 = 1 << 53;
        // Both operands are exact as floats, so that the single division rounds to the nearest float. Converting an
        // `i128` takes five times as long, and a component receives eight floats per kline.
        if let (Ok(mantissa), Some(unit)) = (i64::try_from(self.mantissa), FLOAT_POWERS.get(usize::from(self.scale)))
            && mantissa.unsigned_abs() <= EXACT
        {
            #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
            return mantissa as f64 / unit;
        }
        self.to_f64_by_text()
    }

    #[cold]
    #[inline(never)]
    fn to_f64_by_text(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.trimmed();
        let sign = if value.mantissa < 0 { "-" } else { "" };
        let magnitude = value.mantissa.unsigned_abs();
        let unit = power_of_ten(value.scale).unwrap_or(1).unsigned_abs();
        if value.scale == 0 {
            return write!(out, "{sign}{magnitude}");
        }
        let width = usize::from(value.scale);
        write!(out, "{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.trimmed(), other.trimmed());
        left.mantissa == right.mantissa && left.scale == right.scale
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (widen(self.mantissa, scale - self.scale), widen(other.mantissa, scale - other.scale)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // If one of them is too large to widen, the one with fewer decimals has the larger magnitude.
            (None, _) => self.mantissa.cmp(&0),
            (_, None) => 0.cmp(&other.mantissa),
        }
    }
}

/// Why a text is not a [`Decimal`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseDecimalError {
    /// The text is not in plain decimal notation.
    #[error("not a plain decimal number")]
    Malformed,
    /// The text has more digits than can be stored exactly.
    #[error("more digits than can be stored exactly")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_the_decimals_of_the_finer_number_or_does_not_fit() {
        let sum = Decimal::new(15, 1).checked_add(Decimal::new(-1_234, 3)).unwrap();
        assert_eq!((sum.mantissa(), sum.scale()), (266, 3));
        assert!(Decimal::new(i128::MAX, 0).checked_add(Decimal::new(1, 0)).is_none());
        assert!(Decimal::new(i128::MAX, 0).checked_add(Decimal::new(1, 1)).is_none(), "it does not fit with a decimal");
    }

    #[test]
    fn text_is_trimmed_and_plain() {
        for (given, printed) in [
            ("16578.50", "16578.5"),
            ("0.100", "0.1"),
            ("0", "0"),
            ("0.000", "0"),
            ("-0.0", "0"),
            ("-1.50", "-1.5"),
            ("100", "100"),
            ("007.070", "7.07"),
            ("0.00000001", "0.00000001"),
        ] {
            assert_eq!(Decimal::parse(given).unwrap().to_string(), printed, "{given}");
        }
    }

    #[test]
    fn anything_but_plain_notation_is_refused() {
        for text in ["", "-", ".", "1.", ".5", "1e5", "+1", "1,5", " 1", "1.2.3", "NaN", "٣"] {
            assert_eq!(Decimal::parse(text).unwrap_err(), ParseDecimalError::Malformed, "{text}");
        }
        assert_eq!(Decimal::parse(&"9".repeat(40)).unwrap_err(), ParseDecimalError::TooLong);
    }

    #[test]
    fn equality_and_order_ignore_the_scale() {
        assert_eq!(Decimal::new(150, 2), Decimal::new(15, 1));
        assert!(Decimal::new(151, 2) > Decimal::new(15, 1));
        assert!(Decimal::new(i128::MAX, 0) > Decimal::new(1, 38));
        assert!(Decimal::new(i128::MIN + 1, 0) < Decimal::new(1, 38));
    }

    #[test]
    fn floats_are_the_nearest() {
        for text in ["0.1", "16578.5", "0.07055", "121504380097.3", "9007199254740993", "0.1234567890123456789"] {
            assert_eq!(
                Decimal::parse(text).unwrap().to_f64().to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
    }
}
