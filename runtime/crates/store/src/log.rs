//! An entry of the log: the klines of one transaction, by series, with a checksum in front.

use std::collections::BTreeMap;

use klines_domain::interval::Interval;

use crate::block::Rows;
use crate::columns;
use crate::error::Damage;
use crate::row::Row;
use crate::varint::{Cursor, put};

/// The length of the checksum.
const HEAD: usize = 4;

/// Returns the entry of klines, by the number of their series.
pub fn encode(klines: &BTreeMap<i64, (Interval, Rows)>) -> Vec<u8> {
    let mut out = vec![0; HEAD];
    let mut segment = Vec::new();
    for (series, (interval, rows)) in klines {
        for run in rows.chunk_by(|one, next| one.0 == next.0) {
            let Some((decimals, _)) = run.first() else { continue };
            let run: Vec<Row> = run.iter().map(|(_, row)| row.clone()).collect();
            segment.clear();
            columns::write(*interval, *decimals, &run, &mut segment);
            put(&mut out, series.cast_unsigned());
            put(&mut out, segment.len() as u64);
            out.extend(&segment);
        }
    }
    let sum = crc32fast::hash(out.get(HEAD..).unwrap_or_default());
    out.splice(..HEAD, sum.to_le_bytes());
    out
}

/// Passes the rows of an entry to `take`, a series at a time. `interval_of` returns the interval of a series whose rows are
/// wanted.
///
/// # Errors
/// [`Damage`] if it is not what [`encode`] returned.
pub fn decode(
    entry: &[u8],
    interval_of: impl Fn(i64) -> Option<Interval>,
    mut take: impl FnMut(i64, Rows),
) -> Result<(), Damage> {
    let (sum, body) = entry.split_first_chunk::<HEAD>().ok_or(Damage::TooShort)?;
    if u32::from_le_bytes(*sum) != crc32fast::hash(body) {
        return Err(Damage::Checksum);
    }
    let mut cursor = Cursor(body);
    while !cursor.is_empty() {
        let series = cursor.next()?.cast_signed();
        let length = cursor.next_count()?;
        let mut segment = cursor.take(length)?;
        if let Some(interval) = interval_of(series) {
            let mut rows = Rows::new();
            columns::read(interval, &mut segment, &mut rows)?;
            take(series, rows);
        }
    }
    Ok(())
}
