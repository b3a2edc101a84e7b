//! What a store may keep: each interval for its time, and all of it within a size.
//!
//! If the file is too large, the oldest periods of the shortest interval go first, until it is a twentieth below: long
//! intervals take little room and are asked for over years.

use std::collections::BTreeMap;
use std::fmt;

use klines_domain::interval::Interval;
use klines_domain::time::Millis;
use rusqlite::{Connection, params};

use crate::{file, period};

/// The bounds of a store.
pub struct Limits {
    /// For how long klines of an interval are kept, in ms; `None` for ever.
    pub retain: Box<dyn Fn(Interval) -> Option<Millis> + Send>,
    /// The maximum size of the file, in bytes.
    pub max_bytes: u64,
}

impl Limits {
    /// Returns the limits of a store that keeps everything.
    #[must_use]
    pub fn none() -> Self {
        Self { retain: Box::new(|_| None), max_bytes: u64::MAX }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Limits").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// Keeps a store within its limits.
#[derive(Debug)]
pub(super) struct Retention {
    limits: Limits,
    /// How often it was asked whether the size is to be looked at.
    asked: u32,
}

/// The number of transactions after which the size is looked at.
const LOOKED_AFTER: u32 = 64;
/// How many pages are given back to the file system at once.
const PAGES: u32 = 1_024;

impl Retention {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, asked: 0 }
    }

    /// Returns the earliest start that is kept of an interval.
    pub(super) fn oldest(&self, interval: Interval, newest: Millis) -> Option<Millis> {
        (self.limits.retain)(interval).map(|retained| newest.saturating_sub(retained))
    }

    pub(super) const fn is_due(&mut self) -> bool {
        self.asked += 1;
        self.asked.is_multiple_of(LOOKED_AFTER)
    }

    /// Removes the oldest periods of the shortest intervals until the size is right.
    pub(super) fn shrink(
        &self,
        connection: &mut Connection,
        intervals: &BTreeMap<i64, Interval>,
    ) -> rusqlite::Result<()> {
        if used(connection)? > self.limits.max_bytes {
            let aim = self.limits.max_bytes - self.limits.max_bytes / 20;
            let mut shortest: Vec<Interval> = intervals.values().copied().collect();
            shortest.sort();
            shortest.dedup();
            let mut shortest = shortest.into_iter();
            let mut interval = shortest.next();
            while let Some(this) = interval.filter(|_| used(connection).is_ok_and(|used| used > aim)) {
                if !remove_oldest_period(connection, this, intervals)? {
                    interval = shortest.next();
                }
            }
        }
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))
    }
}

/// Returns the bytes of the pages that are in use.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = file::number(connection, "page_count")?.saturating_sub(file::number(connection, "freelist_count")?);
    Ok(pages * file::number(connection, "page_size")?)
}

/// Removes the blocks of a series that ended before a time.
pub(super) fn expire(connection: &Connection, series: i64, oldest: Millis) -> rusqlite::Result<()> {
    let expire = "DELETE FROM blocks WHERE series = ?1 AND first < ?2 AND last < ?2";
    connection.prepare_cached(expire)?.execute(params![series, oldest])?;
    Ok(())
}

/// Removes the oldest period of an interval. Returns whether there was one.
fn remove_oldest_period(
    connection: &mut Connection,
    interval: Interval,
    intervals: &BTreeMap<i64, Interval>,
) -> rusqlite::Result<bool> {
    let all: Vec<i64> = intervals.iter().filter(|(_, other)| **other == interval).map(|(series, _)| *series).collect();
    let transaction = connection.transaction()?;
    let mut oldest: Option<Millis> = None;
    for series in &all {
        let find = "SELECT min(first) FROM blocks WHERE series = ?1";
        let first: Option<Millis> = transaction.prepare_cached(find)?.query_row([series], |row| row.get(0))?;
        oldest = first.map(|first| oldest.map_or(first, |oldest| oldest.min(first))).or(oldest);
    }
    let Some(oldest) = oldest else { return Ok(false) };
    let until = period::start_of(interval, oldest) + period::length(interval);
    for series in &all {
        let remove = "DELETE FROM blocks WHERE series = ?1 AND first < ?2";
        transaction.prepare_cached(remove)?.execute(params![series, until])?;
    }
    transaction.commit()?;
    Ok(true)
}
