//! Writes a store: appends klines to the log, folds the log into blocks, seals blocks, and removes what is too old or too
//! much. Each of these steps is one transaction, so that a crash between any two leaves a whole store.

mod retention;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;
use klines_domain::time::{HOUR, LocalMillis, MINUTE, Millis};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

pub use self::retention::Limits;
use self::retention::Retention;
use crate::block::{self, Decoder, Rows};
use crate::error::{StepError, StoreError, place_of_entry};
use crate::file::{self, Identity, Lock};
use crate::row::Row;
use crate::{log, merge, period, run, schema};

/// The log is folded when it is this long, or has this many klines: every reader reads all of it.
const FOLDED_AFTER: Millis = MINUTE;
const MAX_LOG: usize = 100_000;
/// The note of the last entry that was folded.
const ENTRY: &str = "entry";

/// Writes a store. Only one process can have one.
#[derive(Debug)]
pub struct Writer {
    pub(crate) path: PathBuf,
    /// The file that is written.
    file: Option<Identity>,
    pub(crate) connection: Connection,
    /// The number of the last entry of the log.
    pub(crate) entry: u64,
    /// Positions of consumers that have changed since they were written.
    positions: Vec<(String, u64)>,
    series: HashMap<SeriesId, i64>,
    intervals: BTreeMap<i64, Interval>,
    /// The klines in the log.
    in_log: usize,
    /// The end of the newest kline, and what it was when the log was last folded.
    newest: Option<Millis>,
    folded_at: Option<Millis>,
    /// The hour until which was last sealed, and the series that are still to be sealed.
    sealed_at: Option<Millis>,
    to_seal: VecDeque<i64>,
    retention: Retention,
    pub(crate) lock: Lock,
}

impl Writer {
    /// Opens a store; creates it if there is none. `origin` says where its klines are from.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(path: &Path, origin: &str, limits: Limits) -> Result<Self, StoreError> {
        let (connection, lock) = file::open(path, origin)?;
        let mut writer = Self {
            path: path.to_owned(),
            file: Identity::of(path),
            connection,
            entry: 0,
            positions: Vec::new(),
            series: HashMap::new(),
            intervals: BTreeMap::new(),
            in_log: 0,
            newest: None,
            folded_at: None,
            sealed_at: None,
            to_seal: VecDeque::new(),
            retention: Retention::new(limits),
            lock,
        };
        writer.load_series().map_err(|error| StoreError::of(path, &error))?;
        Ok(writer)
    }

    fn load_series(&mut self) -> rusqlite::Result<()> {
        self.intervals = intervals(&self.connection)?;
        let newest = "SELECT max(last) FROM blocks";
        self.newest = self.connection.query_row(newest, [], |row| row.get(0))?;
        let noted = file::note(&self.connection, ENTRY)?.and_then(|entry| entry.parse().ok()).unwrap_or(0);
        let logged = "SELECT coalesce(max(id), 0) FROM log";
        let logged = self.connection.query_row(logged, [], |row| row.get::<_, i64>(0))?.cast_unsigned();
        self.entry = logged.max(noted);
        Ok(())
    }

    /// Commits confirmed klines; others are left out. Returns how many were stored.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it is stored.
    pub fn append(&mut self, klines: &[Arc<Kline>]) -> Result<usize, StoreError> {
        let confirmed = klines.iter().filter(|kline| kline.confirm);
        let rows: Vec<_> = confirmed.filter_map(|kline| Some((kline.series, Row::of(kline)?))).collect();
        if rows.is_empty() {
            return Ok(0);
        }
        // SQLite would go on writing a file that nobody finds any more.
        if Identity::of(&self.path) != self.file {
            return Err(StoreError::Gone(self.path.clone()));
        }
        let count = rows.len();
        let newest = klines.iter().filter(|kline| kline.confirm).map(|kline| kline.end).max();
        let new = self.write(rows).map_err(|error| StoreError::of(&self.path, &error))?;
        for (series, id) in new {
            self.intervals.insert(id, series.interval);
            self.series.insert(series, id);
        }
        self.in_log += count;
        self.entry += 1;
        self.positions.clear();
        self.newest = self.newest.max(newest);
        self.folded_at = self.folded_at.or(self.newest);
        Ok(count)
    }

    /// Returns the number of the last entry.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Sets the positions of consumers, which are written with the next klines: for each one the last entry of which it has
    /// acknowledged everything.
    pub fn set_positions(&mut self, positions: Vec<(String, u64)>) {
        self.positions = positions;
    }

    /// Notes that klines up to a moment were published and cannot be stored now, so that the next run knows it if this one
    /// crashes. What cannot be noted either is missing.
    pub fn note_unstored(&self, until: Millis) {
        drop(self.lock.note_unstored(until));
    }

    /// Writes an entry of the log. Returns the series that are new to the cache.
    fn write(&mut self, rows: Vec<(SeriesId, (crate::row::Decimals, Row))>) -> rusqlite::Result<Vec<(SeriesId, i64)>> {
        let transaction = self.connection.transaction()?;
        let (mut new, mut entry) = (Vec::new(), BTreeMap::new());
        for (series, row) in rows {
            let cached = self.series.get(&series).copied();
            let known = cached.or_else(|| new.iter().find(|(known, _)| *known == series).map(|(_, id)| *id));
            let id = if let Some(id) = known {
                id
            } else {
                let id = number_of(&transaction, series)?;
                new.push((series, id));
                id
            };
            entry.entry(id).or_insert_with(|| (series.interval, Rows::new())).1.push(row);
        }
        let number = self.entry.cast_signed() + 1;
        let add = "INSERT INTO log (id, data) VALUES (?1, ?2)";
        transaction.prepare_cached(add)?.execute(params![number, log::encode(&entry)])?;
        run::write_positions(&transaction, &self.positions)?;
        transaction.commit()?;
        Ok(new)
    }

    /// Does what is due: folds the log, seals a few series, removes what is too old or too much. Call it after each
    /// [`append`](Self::append). Age is counted from the newest kline, or from the local time `now` if that is earlier: one kline
    /// from a clock that leaps must not make all others old.
    ///
    /// # Errors
    /// [`StoreError`]; then it is due again.
    pub fn maintain(&mut self, now: LocalMillis) -> Result<(), StoreError> {
        let is_long = self.newest.zip(self.folded_at).is_some_and(|(newest, folded)| newest - folded >= FOLDED_AFTER);
        if self.in_log >= MAX_LOG || is_long {
            self.fold()?;
        }
        let of = |path: &Path, error: &rusqlite::Error| StoreError::of(path, error);
        for _ in 0..SEALED_AT_ONCE {
            let Some(series) = self.to_seal.pop_front() else { break };
            self.seal(series)?;
            let limit = self.intervals.get(&series).zip(self.newest);
            let limit = limit.and_then(|(interval, newest)| self.retention.oldest(*interval, newest.min(now.get())));
            if let Some(oldest) = limit {
                retention::expire(&self.connection, series, oldest).map_err(|error| of(&self.path, &error))?;
            }
        }
        if self.to_seal.is_empty() && self.retention.is_due() {
            let removed = self.retention.shrink(&mut self.connection, &self.intervals);
            removed.map_err(|error| of(&self.path, &error))?;
        }
        Ok(())
    }

    /// Folds the log and seals what is over, without removing anything.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.fold()?;
        let series: Vec<i64> = self.intervals.keys().copied().collect();
        series.into_iter().try_for_each(|series| self.seal(series))
    }

    /// Folds the log, so that the next start and every reader have less to do.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn close(mut self) -> Result<(), StoreError> {
        self.fold()?;
        self.keep_positions()?;
        let checkpoint = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        checkpoint.map_err(|error| StoreError::of(&self.path, &error))
    }

    /// Writes the positions that were set, if they have not been written.
    fn keep_positions(&mut self) -> Result<(), StoreError> {
        let of = |error: rusqlite::Error| StoreError::of(&self.path, &error);
        let transaction = self.connection.transaction().map_err(of)?;
        run::write_positions(&transaction, &self.positions).map_err(of)?;
        transaction.commit().map_err(of)
    }

    /// Returns the bytes that the file uses.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn bytes(&self) -> Result<u64, StoreError> {
        retention::used(&self.connection).map_err(|error| StoreError::of(&self.path, &error))
    }

    /// Moves the log into blocks of one series and one period each.
    pub(crate) fn fold(&mut self) -> Result<(), StoreError> {
        let Self { path, connection, intervals, entry: last, .. } = self;
        let of = |error: rusqlite::Error| StoreError::of(path, &error);
        let transaction = connection.transaction().map_err(of)?;
        let mut rows: BTreeMap<i64, Rows> = BTreeMap::new();
        {
            let mut entries = transaction.prepare_cached("SELECT id, data FROM log ORDER BY id").map_err(of)?;
            let mut found = entries.query([]).map_err(of)?;
            while let Some(entry) = found.next().map_err(of)? {
                let place = place_of_entry(entry.get(0).map_err(of)?);
                let entry = entry.get_ref(1).map_err(of)?.as_blob().unwrap_or_default();
                let take = |series, new: Rows| rows.entry(series).or_default().extend(new);
                let decoded = log::decode(entry, |series| intervals.get(&series).copied(), take);
                decoded.map_err(|damage| StoreError::damaged(path, &place, damage))?;
            }
        }
        let mut newest = self.newest;
        for (series, mut rows) in rows {
            let Some(interval) = intervals.get(&series).copied() else { continue };
            merge::sort(&mut rows);
            newest = newest.max(rows.last().map(|(_, row)| interval.next(row.start) - 1));
            let period = |row: &Row| period::start_of(interval, row.start);
            for rows in rows.chunk_by(|one, next| period(&one.1) == period(&next.1)) {
                insert(&transaction, (series, interval), rows, Some(*last)).map_err(of)?;
            }
            schema::note(&transaction, series, &rows, interval).map_err(of)?;
        }
        transaction.execute("DELETE FROM log", []).map_err(of)?;
        file::set_note(&transaction, ENTRY, &last.to_string()).map_err(of)?;
        transaction.commit().map_err(of)?;
        (self.in_log, self.newest, self.folded_at) = (0, newest, newest);
        let hour = newest.map(|newest| newest - newest.rem_euclid(HOUR));
        if hour > self.sealed_at {
            self.sealed_at = hour;
            self.to_seal = self.intervals.keys().copied().collect();
        }
        Ok(())
    }

    /// Seals the periods of a series that are over for long enough.
    fn seal(&mut self, series: i64) -> Result<(), StoreError> {
        let Self { path, connection, intervals, .. } = self;
        let of = |error: rusqlite::Error| StoreError::of(path, &error);
        let Some((interval, newest)) = intervals.get(&series).copied().zip(self.newest) else { return Ok(()) };
        let until = period::start_of(interval, newest - period::SEALED_AFTER);
        loop {
            let transaction = connection.transaction().map_err(of)?;
            let unsealed = "SELECT min(first) FROM blocks WHERE series = ?1 AND sealed = 0 AND first < ?2";
            let mut oldest = transaction.prepare_cached(unsealed).map_err(of)?;
            let first: Option<Millis> = oldest.query_row(params![series, until], |row| row.get(0)).map_err(of)?;
            drop(oldest);
            let Some(first) = first else { return Ok(()) };
            let from = period::start_of(interval, first);
            let span = (from, from + period::length(interval));
            seal_period(&transaction, (series, interval), span)
                .map_err(|error| error.on(path, "a block that is to be sealed"))?;
            transaction.commit().map_err(of)?;
        }
    }
}

/// How many series are sealed between two transactions of the log: each takes some milliseconds.
const SEALED_AT_ONCE: usize = 16;

/// Joins the blocks of a period into one.
fn seal_period(
    transaction: &Transaction<'_>,
    (series, interval): (i64, Interval),
    (from, to): (Millis, Millis),
) -> Result<(), StepError> {
    let (mut rows, mut decoder) = (Rows::new(), Decoder::default());
    {
        let blocks = "SELECT data FROM blocks WHERE series = ?1 AND first >= ?2 AND first < ?3 ORDER BY id";
        let mut blocks = transaction.prepare_cached(blocks)?;
        let mut found = blocks.query(params![series, from, to])?;
        while let Some(data) = found.next()? {
            decoder.decode((series, interval), data.get_ref(0)?.as_blob().unwrap_or_default(), &mut rows)?;
        }
    }
    merge::sort(&mut rows);
    let remove = "DELETE FROM blocks WHERE series = ?1 AND first >= ?2 AND first < ?3";
    transaction.prepare_cached(remove)?.execute(params![series, from, to])?;
    insert(transaction, (series, interval), &rows, None)?;
    Ok(())
}

/// Stores a block: a sealed one, or one with what the entries of the log up to `entry` have brought.
fn insert(
    transaction: &Transaction<'_>,
    (series, interval): (i64, Interval),
    rows: &[(crate::row::Decimals, Row)],
    entry: Option<u64>,
) -> rusqlite::Result<()> {
    let (Some((_, first)), Some((_, last))) = (rows.first(), rows.last()) else { return Ok(()) };
    let add =
        "INSERT INTO blocks (series, first, last, klines, sealed, data, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (is_sealed, entry) = (entry.is_none(), entry.unwrap_or(0).cast_signed());
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let data = block::encode((series, interval), rows);
    transaction.prepare_cached(add)?.execute(params![
        series,
        first.start,
        last.start,
        count,
        is_sealed,
        data,
        entry
    ])?;
    Ok(())
}

/// Returns the number of a series; adds it if it is new.
fn number_of(transaction: &Transaction<'_>, series: SeriesId) -> rusqlite::Result<i64> {
    let names = [series.category.to_string(), series.symbol.to_string(), series.interval.to_string()];
    let find = "SELECT id FROM series WHERE category = ?1 AND symbol = ?2 AND interval = ?3";
    let known = transaction.prepare_cached(find)?.query_row(names.each_ref(), |row| row.get(0)).optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let add = "INSERT INTO series (category, symbol, interval) VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(add)?.execute(names.each_ref())?;
    Ok(transaction.last_insert_rowid())
}

/// Returns the intervals of all series, by their numbers. One that this version does not know is left out.
pub(crate) fn intervals(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, Interval>> {
    let mut all = connection.prepare("SELECT id, interval FROM series")?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let rows: Vec<(i64, String)> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(rows.into_iter().filter_map(|(id, interval)| Some((id, interval.parse().ok()?))).collect())
}
