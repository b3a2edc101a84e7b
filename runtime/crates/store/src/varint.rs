//! Integers of variable length: seven bits a byte, the lowest first; signed ones as zigzag.

use crate::error::Damage;

/// Appends an integer.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a signed integer.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends a signed integer of 128 bits.
#[inline]
pub fn put_wide(out: &mut Vec<u8>, value: i128) {
    let mut value = ((value << 1) ^ (value >> 127)).cast_unsigned();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads integers from bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Damage> {
        let (first, rest) = self.0.split_first().ok_or(Damage::TooShort)?;
        self.0 = rest;
        Ok(*first)
    }

    /// Returns the next integer.
    #[inline]
    pub fn next(&mut self) -> Result<u64, Damage> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damage::Number)
    }

    /// Returns the next signed integer.
    #[inline]
    pub fn next_signed(&mut self) -> Result<i64, Damage> {
        let value = self.next()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Returns the next signed integer of 128 bits.
    #[inline]
    pub fn next_wide(&mut self) -> Result<i128, Damage> {
        // Nearly all of them have at most 63 bits, and shifts of 128 bits take several times as long.
        let mut low = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            low |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(i128::from((low >> 1).cast_signed() ^ -(low & 1).cast_signed()));
            }
        }
        self.rest_of_wide(u128::from(low))
    }

    #[cold]
    fn rest_of_wide(&mut self, mut value: u128) -> Result<i128, Damage> {
        for shift in (63..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Damage::Number)
    }

    /// Returns the next integer as a length or a number of things.
    pub fn next_count(&mut self) -> Result<usize, Damage> {
        usize::try_from(self.next()?).map_err(|_| Damage::Number)
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<Cursor<'a>, Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damage::TooShort)?;
        self.0 = rest;
        Ok(Cursor(taken))
    }

    /// Returns whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(values in proptest::collection::vec(any::<(u64, i64, i128)>(), 0..20)) {
            let mut out = Vec::new();
            for (plain, signed, wide) in &values {
                put(&mut out, *plain);
                put_signed(&mut out, *signed);
                put_wide(&mut out, *wide);
            }
            let mut cursor = Cursor(&out);
            for (plain, signed, wide) in values {
                prop_assert_eq!(cursor.next().unwrap(), plain);
                prop_assert_eq!(cursor.next_signed().unwrap(), signed);
                prop_assert_eq!(cursor.next_wide().unwrap(), wide);
            }
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn any_bytes_are_a_number_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Cursor(&bytes).next();
            let _ = Cursor(&bytes).next_wide();
        }
    }
}
