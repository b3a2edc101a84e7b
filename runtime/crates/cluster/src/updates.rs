//! Updates of open windows: one message for each partition and moment, by pub/sub. They are not kept, and one that is lost is
//! replaced by the next.

use klines_domain::kline::Kline;
use klines_domain::series::{SeriesId, SeriesKey};

use crate::encoding;

/// The maximum length of a message; about twice what a partition of a large exchange needs.
const MAX_MESSAGE: usize = 1 << 20;

/// Returns the message with these updates: a line for each, with the identity, a tab, and the values.
#[must_use]
pub fn encode<'a>(updates: impl IntoIterator<Item = &'a Kline>) -> String {
    let mut text = String::new();
    for kline in updates {
        let Some(identity) = encoding::identity(kline) else { continue };
        let version = encoding::version(&identity, kline);
        let values = encoding::value(&version, 0, 0);
        text.push_str(&format!("{} {}\t{values}\n", identity.series, identity.start));
    }
    text
}

/// Reads a message. Returns the updates of the series that `find` knows, and the number of lines that are none.
pub fn decode(message: &[u8], mut find: impl FnMut(&SeriesKey) -> Option<SeriesId>) -> (Vec<Kline>, u64) {
    let Some(text) = std::str::from_utf8(message).ok().filter(|text| text.len() <= MAX_MESSAGE) else {
        return (Vec::new(), 1);
    };
    let (mut updates, mut unreadable) = (Vec::new(), 0);
    for line in text.lines() {
        let (field, values) = line.split_once('\t').unwrap_or_default();
        match encoding::decode(field, values, &mut find) {
            Ok(kline) => updates.push(Kline { confirm: false, ..kline }),
            // Nobody here wants the series.
            Err(encoding::DecodeError::Series) => {}
            Err(_) => unreadable += 1,
        }
    }
    (updates, unreadable)
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;

    use super::*;

    #[test]
    fn updates_are_read_as_they_were_written_but_for_their_sequence() {
        let updates =
            ["1m", "1h"].map(|interval| Kline { sequence: 0, ..fixture::kline("BTCUSDT", interval, 600, false) });
        let message = encode(&updates);
        let (read, unreadable) = decode(message.as_bytes(), |key| Some(SeriesId::of(key.clone())));
        assert_eq!((read.as_slice(), unreadable), (updates.as_slice(), 0));
        assert_eq!(decode(message.as_bytes(), |_| None), (Vec::new(), 0));
    }

    #[test]
    fn what_is_no_update_is_counted() {
        let read = |bytes: &[u8]| decode(bytes, |key| Some(SeriesId::of(key.clone()))).1;
        assert_eq!([read(b"x\ty\nz\n"), read(&[0xff]), read(&vec![b'\n'; MAX_MESSAGE + 1]), read(b"")], [2, 1, 1, 0]);
    }
}
