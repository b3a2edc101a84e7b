//! The binary format of a record: klines with every field, exactly, in about eighty bytes each.
//!
//! A record is the length and CRC-32 of its body (`u32`, little-endian), then the body: the number of klines, and the
//! klines. Numbers are LEB128, signed ones zigzag; texts are prefixed with their length.

use std::io::{self, Read};
use std::sync::Arc;

use klines_domain::decimal::{Decimal, MAX_SCALE};
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};

/// Size of length and checksum, in bytes.
pub(super) const PREFIX: u64 = 8;

const QUALITIES: [Quality; 4] = [Quality::Complete, Quality::Partial, Quality::Gapped, Quality::Repaired];

/// Appends a record to `out`.
pub(super) fn encode(klines: &[Arc<Kline>], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; PREFIX as usize]);
    unsigned(klines.len() as u128, out);
    for kline in klines {
        encode_kline(kline, out);
    }
    let Some((prefix, body)) = out.get_mut(begin..).and_then(|record| record.split_first_chunk_mut::<8>()) else {
        return;
    };
    // A batch never reaches 4 GiB: a hundred thousand klines are eight megabytes.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = crc32fast::hash(body).to_le_bytes();
    for (place, byte) in prefix.iter_mut().zip(length.into_iter().chain(checksum)) {
        *place = byte;
    }
}

/// Reads a record's body into `buffer` and returns the length of the record; `None` if it is longer than `left` bytes
/// or its checksum is wrong.
pub(super) fn read(source: &mut impl Read, left: u64, buffer: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut prefix = [0u8; PREFIX as usize];
    if left < PREFIX {
        return Ok(None);
    }
    source.read_exact(&mut prefix)?;
    let [a, b, c, d, checksum @ ..] = prefix;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length > left - PREFIX {
        return Ok(None);
    }
    buffer.clear();
    source.take(length).read_to_end(buffer)?;
    let is_whole = buffer.len() as u64 == length && crc32fast::hash(buffer) == u32::from_le_bytes(checksum);
    Ok(is_whole.then_some(PREFIX + length))
}

/// Decodes the klines of a record's body; `None` if it is not valid.
pub(super) fn decode(body: &[u8]) -> Option<Vec<Kline>> {
    let mut rest = Rest(body);
    let count = rest.number::<usize>()?;
    // `count` is not used as a capacity: in a damaged record it may be any number.
    let klines: Option<Vec<Kline>> = (0..count).map(|_| rest.kline()).collect();
    klines.filter(|_| rest.0.is_empty())
}

fn encode_kline(kline: &Kline, out: &mut Vec<u8>) {
    let category = Category::ALL.iter().position(|category| *category == kline.series.category).unwrap_or_default();
    let quality = QUALITIES.iter().position(|quality| *quality == kline.quality).unwrap_or_default();
    unsigned(category as u128, out);
    text(kline.series.symbol.as_str(), out);
    text(&kline.series.interval.to_string(), out);
    for time in [kline.start, kline.end, kline.last_trade_time, kline.emitted] {
        signed(i128::from(time), out);
    }
    let Kline { open, high, low, close, volume, turnover, buy_volume, buy_turnover, .. } = *kline;
    for value in [open, high, low, close, volume, turnover, buy_volume, buy_turnover] {
        signed(value.mantissa(), out);
        out.push(value.scale());
    }
    out.extend([kline.price_decimals, kline.volume_decimals, u8::from(kline.confirm)]);
    for count in [u128::from(kline.trades), u128::from(kline.revision), quality as u128, u128::from(kline.sequence)] {
        unsigned(count, out);
    }
}

fn unsigned(mut value: u128, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn signed(value: i128, out: &mut Vec<u8>) {
    unsigned(((value << 1) ^ (value >> 127)).cast_unsigned(), out);
}

fn text(text: &str, out: &mut Vec<u8>) {
    unsigned(text.len() as u128, out);
    out.extend_from_slice(text.as_bytes());
}

/// The bytes that are not decoded yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn kline(&mut self) -> Option<Kline> {
        let category = *Category::ALL.get(self.number::<usize>()?)?;
        let symbol = Symbol::new(self.text()?).ok()?;
        let interval = self.text()?.parse().ok()?;
        let [start, end, last_trade_time, emitted] = [self.time()?, self.time()?, self.time()?, self.time()?];
        let mut values = [Decimal::ZERO; 8];
        for value in &mut values {
            let mantissa = self.signed()?;
            let scale = self.byte().filter(|scale| *scale <= MAX_SCALE)?;
            *value = Decimal::new(mantissa, scale);
        }
        let [open, high, low, close, volume, turnover, buy_volume, buy_turnover] = values;
        let [price_decimals, volume_decimals, confirm] = [self.byte()?, self.byte()?, self.byte()?];
        Some(Kline {
            series: SeriesId::new(category, symbol, interval),
            start,
            end,
            open,
            high,
            low,
            close,
            volume,
            turnover,
            buy_volume,
            buy_turnover,
            price_decimals,
            volume_decimals,
            trades: self.number()?,
            last_trade_time,
            confirm: confirm != 0,
            revision: self.number()?,
            quality: *QUALITIES.get(self.number::<usize>()?)?,
            sequence: self.number()?,
            emitted,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn unsigned(&mut self) -> Option<u128> {
        let mut value = 0u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i128> {
        let value = self.unsigned()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn number<T: TryFrom<u128>>(&mut self) -> Option<T> {
        T::try_from(self.unsigned()?).ok()
    }

    fn time(&mut self) -> Option<i64> {
        i64::try_from(self.signed()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }
}
