//! Non-negative exact decimals of the simulator: scaled integers, never floats. Separate code on purpose, so that an
//! arithmetic mistake of the program under test is not repeated here. Knows no trades or JSON.

use std::cmp::Ordering;

/// With more digits, a price times a size could overflow `i128`.
const MAX_DIGITS: usize = 18;

/// A non-negative decimal `units / 10^scale`. The scale is kept as written: "16578.50" has scale 2.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amount {
    units: i128,
    scale: u32,
}

impl Amount {
    pub const ZERO: Self = Self { units: 0, scale: 0 };
    /// The number of decimals of a quotient.
    pub const QUOTIENT_SCALE: u32 = 8;

    pub fn new(units: i128, scale: u32) -> Self {
        Self { units, scale }
    }

    /// Parses plain decimals (`12`, `0.050`) of at most 18 digits. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = whole.len() + fraction.len();
        let plain = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || digits > MAX_DIGITS || !plain || text.ends_with('.') {
            return None;
        }
        let units = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { units, scale: u32::try_from(fraction.len()).ok()? })
    }

    pub fn units(self) -> i128 {
        self.units
    }

    pub fn scale(self) -> u32 {
        self.scale
    }

    pub fn is_zero(self) -> bool {
        self.units == 0
    }

    fn at_scale(self, scale: u32) -> i128 {
        self.units.saturating_mul(pow10(scale.saturating_sub(self.scale)))
    }

    pub fn plus(self, other: Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { units: self.at_scale(scale).saturating_add(other.at_scale(scale)), scale }
    }

    pub fn times(self, other: Self) -> Self {
        Self { units: self.units.saturating_mul(other.units), scale: self.scale + other.scale }
    }

    /// Returns `self / other` rounded half to even at 8 decimals: the coin amount of an inverse trade. Returns zero if
    /// `other` is zero.
    pub fn divided_by(self, other: Self) -> Self {
        // size / 10^s divided by price / 10^p, times 10^8.
        let dividend = self.units.saturating_mul(pow10(Self::QUOTIENT_SCALE + other.scale));
        let divisor = other.units.saturating_mul(pow10(self.scale));
        let (Some(quotient), Some(rest)) = (dividend.checked_div(divisor), dividend.checked_rem(divisor)) else {
            return Self::ZERO;
        };
        let up = match rest.saturating_mul(2).cmp(&divisor) {
            Ordering::Less => 0,
            Ordering::Equal => quotient & 1,
            Ordering::Greater => 1,
        };
        Self { units: quotient + up, scale: Self::QUOTIENT_SCALE }
    }

    pub fn max(self, other: Self) -> Self {
        if self.compare(other) == Ordering::Less { other } else { self }
    }

    pub fn min(self, other: Self) -> Self {
        if self.compare(other) == Ordering::Greater { other } else { self }
    }

    pub fn compare(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        self.at_scale(scale).cmp(&other.at_scale(scale))
    }

    /// Returns the text with all digits of the scale, such as `16578.50`, as in Bybit's trades.
    pub fn padded(self) -> String {
        if self.scale == 0 {
            return self.units.to_string();
        }
        let base = pow10(self.scale);
        let width = self.scale as usize;
        format!("{}.{:0width$}", self.units / base, self.units % base)
    }

    /// Returns the text without trailing zeros, such as `16578.5`, as in Bybit's klines.
    pub fn trimmed(self) -> String {
        let text = self.padded();
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

fn pow10(exponent: u32) -> i128 {
    10i128.checked_pow(exponent).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn padding_is_kept_and_trimmed_on_request() {
        assert_eq!(amount("16578.50").padded(), "16578.50");
        assert_eq!(amount("16578.50").trimmed(), "16578.5");
        assert_eq!(amount("0.100").trimmed(), "0.1");
        assert_eq!(amount("100").trimmed(), "100");
        assert_eq!(amount("0.00").trimmed(), "0");
    }

    #[test]
    fn text_that_is_not_a_plain_decimal_is_rejected() {
        for text in ["", ".", "1.", ".5", "-1", "1e5", "1,5", "1234567890123456789"] {
            assert!(Amount::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn sums_and_products_are_exact_over_scales() {
        assert_eq!(amount("0.1").plus(amount("0.02")).trimmed(), "0.12");
        assert_eq!(amount("1922.50").times(amount("0.16")).trimmed(), "307.6");
        assert_eq!(amount("1.5").max(amount("1.50")).trimmed(), "1.5");
        assert_eq!(amount("2").compare(amount("1.99")), Ordering::Greater);
    }

    #[test]
    fn inverse_turnover_rounds_half_to_even_at_eight_decimals() {
        assert_eq!(amount("100").divided_by(amount("64250.5")).padded(), "0.00155641");
        assert_eq!(amount("1").divided_by(amount("200000000")).padded(), "0.00000000");
        assert_eq!(amount("3").divided_by(amount("200000000")).padded(), "0.00000002");
        assert!(amount("1").divided_by(Amount::ZERO).is_zero());
    }
}
