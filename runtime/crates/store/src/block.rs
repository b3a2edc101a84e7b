//! Bytes of the file: segments of columns, compressed, with a checksum in front. Nothing is believed whose checksum is
//! wrong.

use klines_domain::interval::Interval;
use zstd::bulk::Decompressor;

use crate::columns;
use crate::error::Damage;
use crate::row::{Decimals, Row};
use crate::varint::Cursor;

/// The format of blocks that are compressed.
const COMPRESSED: u8 = 1;
/// The format of blocks that are not, because they are small.
const PLAIN: u8 = 2;
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

/// Returns the bytes of rows, which have to be sorted.
pub fn encode(interval: Interval, rows: &[(Decimals, Row)]) -> Vec<u8> {
    let mut plain = Vec::new();
    for run in rows.chunk_by(|one, next| one.0 == next.0) {
        let Some((decimals, _)) = run.first() else { continue };
        let run: Vec<Row> = run.iter().map(|(_, row)| row.clone()).collect();
        columns::write(interval, *decimals, &run, &mut plain);
    }
    seal(plain)
}

fn seal(plain: Vec<u8>) -> Vec<u8> {
    let packed = if plain.len() < LEAST_COMPRESSED { None } else { zstd::bulk::compress(&plain, LEVEL).ok() };
    let (format, body) = packed.map_or((PLAIN, plain), |packed| (COMPRESSED, packed));
    let mut out = vec![0; 4];
    out.push(format);
    out.extend(body);
    let sum = crc32fast::hash(out.get(4..).unwrap_or_default());
    out.splice(..4, sum.to_le_bytes());
    out
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
    /// [`Damage`] if the bytes are not what [`encode`] returned.
    pub fn decode(&mut self, interval: Interval, bytes: &[u8], out: &mut Rows) -> Result<(), Damage> {
        let (head, body) = bytes.split_at_checked(HEAD).ok_or(Damage::TooShort)?;
        let (sum, format) = head.split_first_chunk::<4>().ok_or(Damage::TooShort)?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(bytes.get(4..).unwrap_or_default()) {
            return Err(Damage::Checksum);
        }
        let mut cursor = match format.first().copied().unwrap_or_default() {
            PLAIN => Cursor(body),
            COMPRESSED => Cursor(self.unpack(body)?),
            other => return Err(Damage::Format(other)),
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
        let bytes = encode("1s".parse().unwrap(), &rows);
        assert!(bytes.len() < 360, "{}", bytes.len());
        let mut found = Rows::new();
        Decoder::default().decode("1s".parse().unwrap(), &bytes, &mut found).unwrap();
        assert_eq!(found, rows);
    }

    #[test]
    fn decimals_can_change_within_a_block() {
        let mut rows: Rows = (1..=50).map(|second| (Decimals::default(), row(second))).collect();
        rows[20].0.price = 2;
        let mut found = Rows::new();
        Decoder::default().decode("1s".parse().unwrap(), &encode("1s".parse().unwrap(), &rows), &mut found).unwrap();
        assert_eq!(found, rows);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let rows: Rows = (1..=200).map(|second| (Decimals::default(), row(second * second))).collect();
        let bytes = encode("1s".parse().unwrap(), &rows);
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(Decoder::default().decode("1s".parse().unwrap(), &damaged, &mut Rows::new()).is_err(), "bit {at}");
        }
        assert_eq!(
            Decoder::default().decode("1s".parse().unwrap(), &bytes[..bytes.len() - 1], &mut Rows::new()),
            Err(Damage::Checksum)
        );
    }
}
