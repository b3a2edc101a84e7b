//! Rows of one series as columns: each number as its difference from what its neighbours suggest, so that most of them
//! take one byte and a kline without trades takes nearly nothing once the columns are compressed.
//!
//! A segment is a run of rows with the same decimals. Its columns lie one behind the other, each after its length. All
//! arithmetic wraps, so that whatever integers come in go out.

use klines_domain::interval::Interval;
use klines_domain::kline::Quality;

use crate::error::Damage;
use crate::row::{Decimals, Row};
use crate::varint::{Cursor, put, put_signed, put_wide};

/// The number of columns.
const COLUMNS: usize = 13;
/// Set in the flags of a row that has trades or sums, or whose prices differ.
const BODY: u64 = 1 << 2;
/// Set in the flags of a row that has a revision.
const REVISED: u64 = 1 << 3;
/// The part of the flags that is the quality.
const QUALITY: u64 = 3;
/// The fewest bytes of a row: one for each of start, sequence, flags and open.
const LEAST_BYTES: usize = 4;

/// What the numbers of a row are compared with.
struct Neighbour {
    start: i64,
    sequence: u64,
    close: i64,
}

/// Appends a segment. The rows have to be of the interval.
pub fn write(interval: Interval, decimals: Decimals, rows: &[Row], out: &mut Vec<u8>) {
    let Some(first) = rows.first() else { return };
    put(out, rows.len() as u64);
    out.extend([decimals.price, decimals.size, decimals.turnover]);
    put_signed(out, first.start);
    put(out, first.sequence);
    put_signed(out, first.open);
    let mut columns: [Vec<u8>; COLUMNS] = Default::default();
    let mut before = Neighbour { start: first.start, sequence: first.sequence.wrapping_sub(1), close: first.open };
    for (at, row) in rows.iter().enumerate() {
        put_row(&mut columns, row, &before, (at == 0, interval));
        before = Neighbour { start: row.start, sequence: row.sequence, close: row.close };
    }
    for column in columns {
        put(out, column.len() as u64);
        out.extend(column);
    }
}

fn put_row(columns: &mut [Vec<u8>; COLUMNS], row: &Row, before: &Neighbour, (is_first, interval): (bool, Interval)) {
    let [starts, sequences, flags, revisions, opens, body @ ..] = columns;
    let is_next = is_first || interval.next(before.start) == row.start;
    put(starts, if is_next { 0 } else { 1 + zigzag(row.start.wrapping_sub(before.start)) });
    put_signed(sequences, row.sequence.wrapping_sub(before.sequence).wrapping_sub(1).cast_signed());
    let is_flat = row.is_flat();
    let (has_body, is_revised) = (if is_flat { 0 } else { BODY }, if row.revision > 0 { REVISED } else { 0 });
    put(flags, quality_code(row.quality) | has_body | is_revised);
    if row.revision > 0 {
        put(revisions, u64::from(row.revision));
    }
    put_signed(opens, row.open.wrapping_sub(before.close));
    if is_flat {
        return;
    }
    let [closes, highs, lows, trades, volumes, turnovers, buys, last_times] = body;
    put_signed(closes, row.close.wrapping_sub(row.open));
    put_signed(highs, row.high.wrapping_sub(row.open.max(row.close)));
    put_signed(lows, row.open.min(row.close).wrapping_sub(row.low));
    put(trades, row.trades);
    put_wide(volumes, row.volume);
    put_wide(turnovers, row.turnover.wrapping_sub(expected_turnover(row.volume, row.close)));
    put_wide(buys, row.buy_volume);
    put_wide(buys, row.buy_turnover.wrapping_sub(share(row.turnover, row.buy_volume, row.volume)));
    put_signed(last_times, row.last_trade_time.wrapping_sub(row.start));
}

/// Reads a segment, and appends its rows with their decimals. After an error the appended rows mean nothing.
pub fn read(interval: Interval, cursor: &mut Cursor<'_>, rows: &mut Vec<(Decimals, Row)>) -> Result<(), Damage> {
    let count = cursor.next_count()?;
    let mut decimals = [0; 3];
    decimals.copy_from_slice(cursor.take(3)?.0);
    let [price, size, turnover] = decimals;
    let decimals = Decimals { price, size, turnover };
    let start = cursor.next_signed()?;
    let sequence = cursor.next()?.wrapping_sub(1);
    let mut before = Neighbour { start, sequence, close: cursor.next_signed()? };
    let mut columns = [Cursor(&[]); COLUMNS];
    for column in &mut columns {
        let length = cursor.next_count()?;
        *column = cursor.take(length)?;
    }
    // A length that the columns cannot have must not take memory.
    let held: usize = columns.iter().map(|column| column.0.len()).sum();
    if count > held / LEAST_BYTES {
        return Err(Damage::TooShort);
    }
    // Each row is read into its place: to move one takes as long as to read it.
    let begin = rows.len();
    rows.resize(begin + count, (decimals, Row::BLANK));
    for (at, (_, row)) in rows.iter_mut().skip(begin).enumerate() {
        read_row(&mut columns, &before, (at == 0, interval), row)?;
        before = Neighbour { start: row.start, sequence: row.sequence, close: row.close };
    }
    if columns.iter().any(|column| !column.is_empty()) {
        return Err(Damage::Contradiction("a column has more rows than it says"));
    }
    Ok(())
}

#[inline]
fn read_row(
    columns: &mut [Cursor<'_>; COLUMNS],
    before: &Neighbour,
    (is_first, interval): (bool, Interval),
    row: &mut Row,
) -> Result<(), Damage> {
    let [starts, sequences, flags, revisions, opens, body @ ..] = columns;
    row.start = match starts.next()? {
        0 if is_first => before.start,
        0 => interval.next(before.start),
        code => before.start.wrapping_add(unzigzag(code - 1)),
    };
    row.sequence = before.sequence.wrapping_add(1).wrapping_add(sequences.next_signed()?.cast_unsigned());
    let flags = flags.next()?;
    let revision = if flags & REVISED == 0 { 0 } else { revisions.next()? };
    row.revision = u32::try_from(revision).map_err(|_| Damage::Number)?;
    row.quality = quality_of(flags & QUALITY);
    let open = before.close.wrapping_add(opens.next_signed()?);
    (row.open, row.high, row.low, row.close) = (open, open, open, open);
    if flags & BODY != 0 {
        let [closes, highs, lows, trades, volumes, turnovers, buys, last_times] = body;
        row.close = open.wrapping_add(closes.next_signed()?);
        row.high = open.max(row.close).wrapping_add(highs.next_signed()?);
        row.low = open.min(row.close).wrapping_sub(lows.next_signed()?);
        row.trades = trades.next()?;
        row.volume = volumes.next_wide()?;
        row.turnover = turnovers.next_wide()?.wrapping_add(expected_turnover(row.volume, row.close));
        row.buy_volume = buys.next_wide()?;
        row.buy_turnover = buys.next_wide()?.wrapping_add(share(row.turnover, row.buy_volume, row.volume));
        row.last_trade_time = row.start.wrapping_add(last_times.next_signed()?);
    }
    Ok(())
}

/// Returns what a volume costs at a price: near the turnover, if its decimals are those of price and size together.
#[inline]
fn expected_turnover(volume: i128, price: i64) -> i128 {
    volume.wrapping_mul(i128::from(price))
}

/// Returns the part of a sum that belongs to a part of the volume.
#[inline]
fn share(sum: i128, part: i128, whole: i128) -> i128 {
    if part == whole {
        return sum;
    }
    // The division of 64 bits is several times as fast.
    let product = sum.wrapping_mul(part);
    match (u64::try_from(product), u64::try_from(whole)) {
        (Ok(product), Ok(whole)) => product.checked_div(whole).map_or(0, i128::from),
        _ => product.checked_div(whole).unwrap_or(0),
    }
}

#[inline]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

const fn quality_code(quality: Quality) -> u64 {
    match quality {
        Quality::Complete => 0,
        Quality::Partial => 1,
        Quality::Gapped => 2,
        Quality::Repaired => 3,
    }
}

const fn quality_of(code: u64) -> Quality {
    match code {
        0 => Quality::Complete,
        1 => Quality::Partial,
        2 => Quality::Gapped,
        _ => Quality::Repaired,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn qualities() -> impl Strategy<Value = Quality> {
        (0..4_u64).prop_map(quality_of)
    }

    /// Any row at all, and rows as they are in practice.
    fn row() -> impl Strategy<Value = Row> {
        let body = (any::<[i64; 4]>(), any::<[i128; 4]>(), any::<(u64, i64)>());
        let head = (any::<i64>(), any::<(u32, u64)>(), qualities());
        (head, body, any::<bool>()).prop_map(|((start, (revision, sequence), quality), body, is_flat)| {
            let ([open, high, low, close], [volume, turnover, buy_volume, buy_turnover], (trades, last)) = body;
            // The start of an interval of a month has to be a date.
            let start = start % 10_000_000_000_000;
            let flat = Row {
                start,
                revision: revision % 3,
                sequence,
                quality,
                open,
                high: open,
                low: open,
                close: open,
                ..Row::BLANK
            };
            if is_flat {
                return flat;
            }
            Row { high, low, close, volume, turnover, buy_volume, buy_turnover, trades, last_trade_time: last, ..flat }
        })
    }

    proptest! {
        #[test]
        fn rows_are_read_as_they_were_written(
            rows in proptest::collection::vec(row(), 1..40),
            interval in prop_oneof![Just("1s"), Just("1m"), Just("1W"), Just("1M")],
            price in 0..20_u8,
        ) {
            let interval: Interval = interval.parse().unwrap();
            let decimals = Decimals { price, size: 3, turnover: price + 3 };
            let (mut out, mut read_rows) = (Vec::new(), Vec::new());
            write(interval, decimals, &rows, &mut out);
            let mut cursor = Cursor(&out);
            read(interval, &mut cursor, &mut read_rows).unwrap();
            prop_assert!(cursor.is_empty());
            prop_assert_eq!(read_rows, rows.into_iter().map(|row| (decimals, row)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Interval::MINUTE, &mut Cursor(&bytes), &mut Vec::new());
        }
    }
}
