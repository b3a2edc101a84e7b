//! The id of an entry of a stream in Redis. Ids are compared, never calculated with.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The id of an entry: milliseconds of the clock of Redis, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub millis: u64,
    /// The number within the millisecond.
    pub number: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.millis, self.number)
    }
}

/// A text is not the id of an entry.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not the id of an entry of a stream, such as 1786310820000-0")]
pub struct StreamIdError;

impl FromStr for StreamId {
    type Err = StreamIdError;

    fn from_str(text: &str) -> Result<Self, StreamIdError> {
        let (millis, number) = text.split_once('-').ok_or(StreamIdError)?;
        let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(millis) || !plain(number) {
            return Err(StreamIdError);
        }
        let parse = |digits: &str| digits.parse().map_err(|_| StreamIdError);
        Ok(Self { millis: parse(millis)?, number: parse(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_both_numbers_and_read_as_written() {
        let ids = ["0-0", "5-18446744073709551615", "6-0", "6-1", "18446744073709551615-0"];
        let parsed: Vec<StreamId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        assert!(parsed.is_sorted());
        assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), ids);
        for text in ["", "1", "1-", "-1", "+1-0", "1-0-0", "18446744073709551616-0", "$", "*"] {
            assert_eq!(text.parse::<StreamId>(), Err(StreamIdError), "{text}");
        }
    }
}
