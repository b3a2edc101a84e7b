//! Reads the klines of a range from blocks and log, a period at a time. Of a period, no block is read that can have none of the
//! klines that are returned: it does not matter whether that one is damaged.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use klines_delivery::history::{Query, Side, Waiting};
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;
use rusqlite::{Transaction, params};

use crate::block::{self, Decoder, Rows};
use crate::error::{Damage, StepError, place_of_block, place_of_entry};
use crate::row::{Decimals, Row};
use crate::{log, merge, period};

/// Returns what [`Reader::read_before`](super::Reader::read_before) does, of the series with a number. Reads from the side that
/// is asked for until there is enough: what is left lies beyond.
pub(super) fn read(
    transaction: &Transaction<'_>,
    decoder: &mut Decoder,
    number: i64,
    query: &Query,
    waiting: &Waiting,
) -> Result<Vec<Arc<Kline>>, StepError> {
    let interval = query.series.interval;
    let is_wanted = |row: &Row| (query.from..=query.to).contains(&row.start) && !waiting.has(row.start, row.revision);
    let mut logged = log_rows(transaction, number, interval, is_wanted)?;
    let order = if query.side == Side::Oldest { "first" } else { "first DESC" };
    let find = format!(
        "SELECT id, first, last, klines FROM blocks WHERE series = ?1 AND first > ?2 AND first <= ?3 AND last >= ?4 ORDER BY {order}"
    );
    let mut blocks = transaction.prepare_cached(&find)?;
    // A block lies within its period.
    let from = query.from.saturating_sub(period::length(interval));
    let mut blocks = blocks.query_map(params![number, from, query.to, query.from], StoredBlock::of)?.peekable();
    let mut series = Series { transaction, decoder, number, id: SeriesId::of(query.series.clone()) };
    // Klines in the order in which their periods are read, sorted within each.
    let (mut runs, mut count): (Vec<Vec<Arc<Kline>>>, usize) = (Vec::new(), 0);
    while count < query.limit
        && let Some(period) = Period::next(&mut blocks, interval, query.side)?
    {
        // What the log has beyond that belongs to periods that are not read yet.
        let due: Rows = logged.extract_if(.., |(_, row)| period.reaches(row.start)).collect();
        let rows = period.rows(&mut series, due, (query.limit - count, is_wanted))?;
        count += finish(&mut runs, series.id, (rows, is_wanted));
    }
    if count < query.limit {
        finish(&mut runs, series.id, (logged, is_wanted));
    }
    Ok(joined(runs, query))
}

/// Joins the klines of periods, and leaves out those beyond the limit.
fn joined(mut runs: Vec<Vec<Arc<Kline>>>, query: &Query) -> Vec<Arc<Kline>> {
    if query.side == Side::Newest {
        runs.reverse();
    }
    let mut runs = runs.into_iter();
    let mut all = runs.next().unwrap_or_default();
    runs.for_each(|mut run| all.append(&mut run));
    let surplus = all.len().saturating_sub(query.limit);
    match query.side {
        Side::Oldest => all.truncate(query.limit),
        Side::Newest => drop(all.drain(..surplus)),
    }
    all
}

/// A block without its bytes.
struct StoredBlock {
    id: i64,
    first: Millis,
    last: Millis,
    klines: i64,
}

impl StoredBlock {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, first: row.get(1)?, last: row.get(2)?, klines: row.get(3)? })
    }
}

/// The blocks of a period, from the side that is asked for.
struct Period {
    start: Millis,
    length: Millis,
    side: Side,
    blocks: Vec<StoredBlock>,
}

impl Period {
    /// Returns the next one of blocks that are in order.
    fn next(
        blocks: &mut Peekable<impl Iterator<Item = rusqlite::Result<StoredBlock>>>,
        interval: Interval,
        side: Side,
    ) -> rusqlite::Result<Option<Self>> {
        let Some(first) = blocks.next().transpose()? else { return Ok(None) };
        let start = period::start_of(interval, first.first);
        let mut all = vec![first];
        let is_same = |next: &rusqlite::Result<StoredBlock>| {
            next.as_ref().is_ok_and(|next| period::start_of(interval, next.first) == start)
        };
        while let Some(block) = blocks.next_if(is_same).transpose()? {
            all.push(block);
        }
        match side {
            Side::Oldest => all.sort_by_key(|block| (block.first, block.id)),
            Side::Newest => all.sort_by_key(|block| (Reverse(block.last), block.id)),
        }
        Ok(Some(Self { start, length: period::length(interval), side, blocks: all }))
    }

    /// Returns whether a window is in it, or lies on the side from which is read.
    const fn reaches(&self, start: Millis) -> bool {
        match self.side {
            Side::Oldest => start < self.start + self.length,
            Side::Newest => start >= self.start,
        }
    }

    /// Returns its rows and those of the log, as far as they belong to the next `left` windows that are wanted.
    fn rows(
        self,
        series: &mut Series<'_>,
        logged: Rows,
        (left, is_wanted): (usize, impl Fn(&Row) -> bool),
    ) -> Result<Rows, StepError> {
        let mut rows = Rows::new();
        for block in self.blocks {
            // Neither this block nor one after it has a revision of these windows.
            let is_whole = |(_, row): &(Decimals, Row)| match self.side {
                Side::Oldest => row.start < block.first,
                Side::Newest => row.start > block.last,
            };
            if rows.len() + logged.len() >= left {
                let whole = rows.iter().chain(&logged).filter(|row| is_whole(row) && is_wanted(&row.1));
                if whole.map(|(_, row)| row.start).collect::<BTreeSet<_>>().len() >= left {
                    rows.extend(logged);
                    rows.retain(is_whole);
                    return Ok(rows);
                }
            }
            series
                .add_rows(&block, &mut rows)
                .map_err(|error| error.at(place_of_block(block.id, &series.id, (block.first, block.last))))?;
        }
        rows.extend(logged);
        Ok(rows)
    }
}

/// Reads the blocks of a series.
struct Series<'a> {
    transaction: &'a Transaction<'a>,
    decoder: &'a mut Decoder,
    number: i64,
    id: SeriesId,
}

impl Series<'_> {
    /// Appends the rows of a block.
    fn add_rows(&mut self, block: &StoredBlock, rows: &mut Rows) -> Result<(), StepError> {
        let mut find = self.transaction.prepare_cached("SELECT data FROM blocks WHERE id = ?1")?;
        let mut found = find.query([block.id])?;
        let Some(row) = found.next()? else {
            return Err(Damage::Contradiction("the index names a block that does not exist").into());
        };
        let before = rows.len();
        self.decoder.decode((self.number, self.id.interval), row.get_ref(0)?.as_blob().unwrap_or_default(), rows)?;
        if !block::is_of(rows.get(before..).unwrap_or_default(), (block.first, block.last, block.klines)) {
            return Err(Damage::Contradiction(block::OTHER_KLINES).into());
        }
        Ok(())
    }
}

/// Adds the klines of the rows of a period that are wanted. Returns how many windows they are.
fn finish(
    runs: &mut Vec<Vec<Arc<Kline>>>,
    series: SeriesId,
    (mut rows, is_wanted): (Rows, impl Fn(&Row) -> bool),
) -> usize {
    merge::sort(&mut rows);
    rows.retain(|(_, row)| is_wanted(row));
    merge::newest(&mut rows);
    // Rows are large: those of one period fit into the processor's cache, those of a day do not.
    let klines: Vec<_> = rows.iter().map(|(decimals, row)| row.kline(series, *decimals)).collect();
    let count = klines.len();
    runs.push(klines);
    count
}

/// Returns the rows of a series in the log that are wanted.
fn log_rows(
    transaction: &Transaction<'_>,
    series: i64,
    interval: Interval,
    is_wanted: impl Fn(&Row) -> bool,
) -> Result<Rows, StepError> {
    let mut rows = Rows::new();
    let mut entries = transaction.prepare_cached("SELECT id, data FROM log ORDER BY id")?;
    let mut found = entries.query([])?;
    while let Some(entry) = found.next()? {
        let number: i64 = entry.get(0)?;
        let interval_of = |other| (other == series).then_some(interval);
        let decoded = log::decode(entry.get_ref(1)?.as_blob().unwrap_or_default(), interval_of, |_, new| {
            rows.extend(new.into_iter().filter(|(_, row)| is_wanted(row)));
        });
        // It can have a revision of any window.
        decoded.map_err(|damage| StepError::from(damage).at(place_of_entry(number)))?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
