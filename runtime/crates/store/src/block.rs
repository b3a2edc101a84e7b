//! Bytes of the file: segments of columns, compressed, with a checksum in front that is also of the series. Nothing is believed
//! whose checksum is wrong.

use klines_domain::interval::Interval;
use klines_domain::time::Millis;
use zstd::bulk::Decompressor;

use crate::columns;
use crate::error::Damage;
use crate::row::{Decimals, Row};
use crate::varint::Cursor;

/// The format of blocks that are compressed.
const COMPRESSED: u8 = 3;
/// The format of blocks that are not, because they are small.
const PLAIN: u8 = 4;
/// The same two as they were first: their checksum is not of the series. They are read and no longer written.
const FIRST_COMPRESSED: u8 = 1;
const FIRST_PLAIN: u8 = 2;
/// The compression level: higher ones take twice the time for a few per cent.
const LEVEL: i32 = 3;
/// Blocks of fewer bytes are not compressed.
const LEAST_COMPRESSED: usize = 256;
/// The greatest length that a block can have before it is compressed: two hours of revisions ten times a second.
const MAX_BYTES: usize = 64 << 20;
/// A decoder keeps a buffer of at most this length: an hour of `100ms` klines needs less.
const MAX_KEPT: usize = 2 << 20;
/// The length of the checksum and the format.
const HEAD: usize = 5;

/// Rows with the decimals of their integers.
pub type Rows = Vec<(Decimals, Row)>;

/// Returns the bytes of rows of a series, which have to be sorted.
pub fn encode((series, interval): (i64, Interval), rows: &[(Decimals, Row)]) -> Vec<u8> {
    let mut plain = Vec::new();
    for run in rows.chunk_by(|one, next| one.0 == next.0) {
        let Some((decimals, _)) = run.first() else { continue };
        let run: Vec<Row> = run.iter().map(|(_, row)| row.clone()).collect();
        columns::write(interval, *decimals, &run, &mut plain);
    }
    seal(series, plain)
}

fn seal(series: i64, plain: Vec<u8>) -> Vec<u8> {
    let packed = if plain.len() < LEAST_COMPRESSED { None } else { zstd::bulk::compress(&plain, LEVEL).ok() };
    let (format, body) = packed.map_or((PLAIN, plain), |packed| (COMPRESSED, packed));
    let mut out = vec![0; 4];
    out.push(format);
    out.extend(body);
    let sum = checksum(series, out.get(4..).unwrap_or_default());
    out.splice(..4, sum.to_le_bytes());
    out
}

/// Returns the checksum of the format and what follows it.
fn checksum(series: i64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if !matches!(bytes.first(), Some(&FIRST_COMPRESSED | &FIRST_PLAIN)) {
        hasher.update(&series.to_le_bytes());
    }
    hasher.update(bytes);
    hasher.finalize()
}

/// Returns the format and the body of a block.
///
/// # Errors
/// [`Damage`] if its checksum is wrong, or is that of another series.
pub fn unseal(series: i64, bytes: &[u8]) -> Result<(u8, &[u8]), Damage> {
    let (head, body) = bytes.split_at_checked(HEAD).ok_or(Damage::TooShort)?;
    let (sum, format) = head.split_first_chunk::<4>().ok_or(Damage::TooShort)?;
    if u32::from_le_bytes(*sum) != checksum(series, bytes.get(4..).unwrap_or_default()) {
        return Err(Damage::Checksum);
    }
    Ok((format.first().copied().unwrap_or_default(), body))
}

/// What is wrong with a block that has other klines than the row of its table says.
pub const OTHER_KLINES: &str = "it has other klines than it says";

/// Returns whether these are the rows of a block that says to have `count`, from `first` to `last`.
pub fn is_of(rows: &[(Decimals, Row)], (first, last, count): (Millis, Millis, i64)) -> bool {
    let ends = rows.first().zip(rows.last()).map(|((_, first), (_, last))| (first.start, last.start));
    ends == Some((first, last)) && i64::try_from(rows.len()) == Ok(count)
}

/// Decodes blocks. Keeps the memory that unpacking takes: to make it again takes longer than an average block.
#[derive(Default)]
pub struct Decoder {
    unpacker: Option<Decompressor<'static>>,
    plain: Vec<u8>,
}

impl Decoder {
    /// Appends the rows of bytes. After an error the appended rows mean nothing.
    ///
    /// # Errors
    /// [`Damage`] if the bytes are not what [`encode`] returned for this series.
    pub fn decode(&mut self, (series, interval): (i64, Interval), bytes: &[u8], out: &mut Rows) -> Result<(), Damage> {
        let mut cursor = match unseal(series, bytes)? {
            (PLAIN | FIRST_PLAIN, body) => Cursor(body),
            (COMPRESSED | FIRST_COMPRESSED, body) => Cursor(self.unpack(body)?),
            (other, _) => return Err(Damage::Format(other)),
        };
        while !cursor.is_empty() {
            columns::read(interval, &mut cursor, out)?;
        }
        Ok(())
    }

    fn unpack(&mut self, body: &[u8]) -> Result<&[u8], Damage> {
        // The length is in the frame, so that a block that is too long takes no memory.
        let length = zstd::zstd_safe::get_frame_content_size(body).ok().flatten().ok_or(Damage::Compression)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BYTES).ok_or(Damage::Compression)?;
        self.plain.clear();
        if self.plain.capacity() > MAX_KEPT {
            self.plain = Vec::new();
        }
        self.plain.reserve(length);
        let unpacker = match &mut self.unpacker {
            Some(unpacker) => unpacker,
            none => none.insert(Decompressor::new().map_err(|_| Damage::Compression)?),
        };
        unpacker.decompress_to_buffer(body, &mut self.plain).map_err(|_| Damage::Compression)?;
        Ok(&self.plain)
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("kept", &self.plain.capacity()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Interval = Interval::Fixed(1_000);

    fn row(second: i64) -> Row {
        Row {
            start: second * 1_000,
            sequence: second.cast_unsigned(),
            open: 5,
            high: 5,
            low: 5,
            close: 5,
            ..Row::BLANK
        }
    }

    #[test]
    fn an_hour_without_trades_takes_less_than_a_tenth_of_a_byte_a_second() {
        let rows: Rows = (1..=3_600).map(|second| (Decimals::default(), row(second))).collect();
        let bytes = encode((7, SECOND), &rows);
        assert!(bytes.len() < 360, "{}", bytes.len());
        let mut found = Rows::new();
        Decoder::default().decode((7, SECOND), &bytes, &mut found).unwrap();
        assert_eq!(found, rows);
    }

    #[test]
    fn decimals_can_change_within_a_block() {
        let mut rows: Rows = (1..=50).map(|second| (Decimals::default(), row(second))).collect();
        rows[20].0.price = 2;
        let mut found = Rows::new();
        Decoder::default().decode((7, SECOND), &encode((7, SECOND), &rows), &mut found).unwrap();
        assert_eq!(found, rows);
    }

    #[test]
    fn a_block_of_another_series_is_not_believed_and_one_of_the_first_format_is() {
        for count in [2, 200] {
            let rows: Rows = (1..=count).map(|second| (Decimals::default(), row(second * second))).collect();
            let bytes = encode((7, SECOND), &rows);
            let decoded = |series: i64, bytes: &[u8]| {
                let mut found = Rows::new();
                Decoder::default().decode((series, SECOND), bytes, &mut found).map(|()| found)
            };
            assert_eq!(decoded(7, &bytes).as_ref(), Ok(&rows));
            assert_eq!(decoded(8, &bytes), Err(Damage::Checksum));
            let mut first = bytes.clone();
            first[4] -= COMPRESSED - FIRST_COMPRESSED;
            let sum = crc32fast::hash(&first[4..]);
            first.splice(..4, sum.to_le_bytes());
            assert_eq!(decoded(8, &first).as_ref(), Ok(&rows));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let rows: Rows = (1..=200).map(|second| (Decimals::default(), row(second * second))).collect();
        let bytes = encode((7, SECOND), &rows);
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(Decoder::default().decode((7, SECOND), &damaged, &mut Rows::new()).is_err(), "bit {at}");
        }
        assert_eq!(
            Decoder::default().decode((7, SECOND), &bytes[..bytes.len() - 1], &mut Rows::new()),
            Err(Damage::Checksum)
        );
    }
}
