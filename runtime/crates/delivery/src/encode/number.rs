//! Numbers as text, without the formatting machinery of `fmt`, which takes about four times as long.

use std::fmt::Write;

use klines_domain::decimal::Decimal;

/// Maximum number of digits of a `u64`.
const MAX_DIGITS: usize = 20;

/// Appends an exact decimal without trailing zeros, except that it has at least `min` digits after the point; `min` is
/// 0 or 1.
pub(super) fn decimal(value: Decimal, min: usize, out: &mut String) {
    let (mut scale, unit) = (value.scale(), 10u64.checked_pow(u32::from(value.scale())));
    let (Ok(mut mantissa), Some(mut unit)) = (u64::try_from(value.mantissa()), unit) else {
        // The number is negative or too large for a `u64`, which is rare.
        let value = value.trimmed();
        let _ = write!(out, "{value}");
        if value.scale() == 0 && min > 0 {
            out.push_str(".0");
        }
        return;
    };
    while scale > 0 && mantissa % 10 == 0 {
        (mantissa, unit, scale) = (mantissa / 10, unit / 10, scale - 1);
    }
    integer(mantissa / unit, out);
    let width = usize::from(scale).max(min);
    if width == 0 {
        return;
    }
    out.push('.');
    let (digits, length) = digits(mantissa % unit);
    (length..width).for_each(|_| out.push('0'));
    push(&digits, length, out);
}

/// Appends an integer.
pub(super) fn integer(value: u64, out: &mut String) {
    let (digits, length) = digits(value);
    push(&digits, length, out);
}

/// Appends an integer that can be negative.
pub(super) fn signed(value: i64, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    integer(value.unsigned_abs(), out);
}

/// Returns a buffer that ends with the decimal digits, and their number.
fn digits(mut value: u64) -> ([u8; MAX_DIGITS], usize) {
    let mut buffer = [b'0'; MAX_DIGITS];
    let mut length = 0;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        length += 1;
        if value == 0 {
            break;
        }
    }
    (buffer, length)
}

fn push(digits: &[u8; MAX_DIGITS], length: usize, out: &mut String) {
    let used = digits.get(MAX_DIGITS - length..).and_then(|digits| str::from_utf8(digits).ok());
    out.push_str(used.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: Decimal, min: usize) -> String {
        let mut out = String::new();
        decimal(value, min, &mut out);
        out
    }

    proptest! {
        #[test]
        fn decimals_are_exact_and_have_the_least_digits(mantissa in any::<i128>(), small in any::<u32>(), scale in 0u8..=38) {
            for mantissa in [mantissa / 100, i128::from(small), i128::from(small) * 1_000, -i128::from(small), 0] {
                let value = Decimal::new(mantissa, scale);
                let plain = value.to_string();
                prop_assert_eq!(Decimal::parse(&plain).unwrap(), value);
                prop_assert_eq!(text(value, 0), plain.clone());
                prop_assert_eq!(text(value, 1), if plain.contains('.') { plain } else { plain + ".0" });
            }
        }

        #[test]
        fn integers_are_as_fmt_writes_them(value in any::<i64>(), large in any::<u64>()) {
            let mut out = String::new();
            for value in [value, i64::MIN, i64::MAX, 0, -1] {
                signed(value, &mut out);
                out.push(' ');
            }
            integer(large, &mut out);
            prop_assert_eq!(out, format!("{value} {} {} 0 -1 {large}", i64::MIN, i64::MAX));
        }
    }
}
