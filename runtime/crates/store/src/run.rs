//! What a run finds in a store when it begins, and what it leaves when it ends.
//!
//! A run that has ended as it should has stored everything that it published, and the next one continues its epoch. After a
//! crash, what was published last may be missing: the next run begins another epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use klines_domain::aggregator::{Earlier, EarlierSeries};
use klines_domain::kline::Kline;
use klines_domain::mutants::Mutant;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{DAY, ExchangeMillis, Millis, SECOND};
use rusqlite::{Connection, Transaction};

use crate::block::{Decoder, Rows};
use crate::error::{StepError, StoreError, place_of_entry};
use crate::reader::key_of;
use crate::unfinished::Unfinished;
use crate::writer::Writer;
use crate::{file, log, unfinished};

/// The notes of a run in the file.
const EPOCH: &str = "epoch";
const STATE: &str = "run";
/// The last entry of the log when it began.
const BEGUN: &str = "begun";
/// For each crash, the moment before which windows that are not stored may have been published.
const CRASHES: &str = "crashes";
const OPEN: &str = "open";
const ENDED: &str = "ended";
/// Marks a copy of a store as one of a run that has not ended, if it is of a run at all.
pub const CRASHED: &str = "UPDATE meta SET value = 'open' WHERE key = 'run'";

/// A window that ended so long after the last stored kline may have been published before a crash: the store commits within
/// milliseconds, unless the disk stalls.
const UNSTORED: Millis = 10 * SECOND;

/// A note that the disk was full for longer than this is not believed.
const LONGEST_FULL: Millis = 7 * DAY;

/// Crashes that were longer ago are forgotten: nothing that ended then is repaired any more.
const REMEMBERED: Millis = 7 * DAY;

/// What a run finds.
#[derive(Clone, Debug)]
pub struct Left {
    /// Identifies the sequences of this run: that of the run before, unless it has crashed.
    pub epoch: u64,
    /// The epoch of the run before, if it has crashed.
    pub crashed: Option<u64>,
    /// What is known of the klines of each series.
    pub last: Vec<(SeriesKey, Last)>,
    /// The number of the last entry: what has a greater one is from this run.
    pub entry: u64,
    /// The last entry of which each consumer has acknowledged everything.
    pub positions: BTreeMap<String, u64>,
    /// For each crash, the moment before which windows that are not stored may have been published.
    crashes: Vec<Millis>,
    /// The entries that were in the log.
    pub(crate) tail: Arc<[Entry]>,
}

/// What earlier runs have left of the symbols of each category.
pub type EarlierSymbols = BTreeMap<Category, BTreeMap<Symbol, Earlier>>;

/// The klines of an entry of the log, or of those up to it that were folded together, with its number.
pub(crate) type Entry = (u64, Vec<Arc<Kline>>);

/// What is known of the klines of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// The last sequence number.
    pub sequence: u64,
    /// The first moment after the last window.
    pub next: Millis,
    /// What could not be finished before.
    pub unfinished: Unfinished,
}

impl Left {
    /// Returns the end of the newest kline; `None` if there is none.
    #[must_use]
    pub fn newest(&self) -> Option<Millis> {
        self.last.iter().map(|(_, last)| last.next - 1).max()
    }

    /// Returns where the klines of each symbol go on. What is more than `horizon` ms ago is not repaired.
    #[must_use]
    pub fn symbols(&self, horizon: Millis) -> EarlierSymbols {
        let at = ExchangeMillis::new;
        let crashes: Vec<ExchangeMillis> = self.crashes.iter().copied().map(at).collect();
        let mut symbols = EarlierSymbols::new();
        for (key, Last { sequence, next, unfinished }) in &self.last {
            let of_category = symbols.entry(key.category).or_default();
            let nothing = || Earlier { series: Vec::new(), crashes: crashes.clone(), horizon };
            let earlier = of_category.entry(key.symbol.clone()).or_insert_with(nothing);
            earlier.series.push(EarlierSeries {
                interval: key.interval,
                sequence: *sequence,
                next: at(*next),
                missing: unfinished.missing.iter().map(|(from, to)| (at(*from), at(*to))).collect(),
                doubtful: unfinished.doubtful.iter().map(|(start, revision)| (at(*start), *revision)).collect(),
            });
        }
        symbols
    }
}

impl Writer {
    /// Begins a run. `epoch` is a random number for it. What is more than `horizon` ms ago is not repaired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn begin_run(&mut self, epoch: u64, horizon: Millis) -> Result<Left, StoreError> {
        let path = self.path.clone();
        let of = |error: StepError| error.on(&path, "an entry of its log");
        let tail = tail(&self.connection).map_err(of)?;
        self.fold()?;
        // That this run has begun must not be forgotten if the machine crashes: the end of the one before would be believed.
        let synchronous = |connection: &Connection, how: &str| {
            connection.pragma_update(None, "synchronous", how).map_err(|error| StoreError::of(&path, &error))
        };
        synchronous(&self.connection, "FULL")?;
        let transaction = self.connection.transaction().map_err(|error| StoreError::of(&path, &error))?;
        let noted = self.lock.unstored_until().filter(|_| !Mutant::FullDiskForgotten.is_made());
        let left = begin(&transaction, epoch, (self.entry, tail), (noted, horizon)).map_err(of)?;
        transaction.commit().map_err(|error| StoreError::of(&path, &error))?;
        synchronous(&self.connection, "NORMAL")?;
        Ok(left)
    }

    /// Ends the run: everything that it published is stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn end_run(&mut self) -> Result<(), StoreError> {
        file::set_note(&self.connection, STATE, ENDED).map_err(|error| StoreError::of(&self.path, &error))?;
        // What waited for a full disk is stored by now.
        self.note_unstored(0);
        Ok(())
    }
}

fn begin(
    transaction: &Transaction<'_>,
    fresh: u64,
    (entry, tail): (u64, Vec<Entry>),
    (unstored_until, horizon): (Option<Millis>, Millis),
) -> Result<Left, StepError> {
    let before: Option<u64> = file::note(transaction, EPOCH)?.and_then(|text| text.parse().ok());
    let has_ended = file::note(transaction, STATE)?.is_some_and(|state| state == ENDED);
    let last = last(transaction, horizon)?;
    let newest = last.iter().map(|(_, last)| last.next - 1).max();
    let unstored_until =
        unstored_until.filter(|noted| newest.is_some_and(|newest| (newest..newest + LONGEST_FULL).contains(noted)));
    // After a run that has ended as it should, one without its store can have published.
    let crashed = before.filter(|_| !has_ended || unstored_until.is_some());
    let epoch = before.filter(|_| crashed.is_none()).unwrap_or(fresh);
    let has_stored = file::note(transaction, BEGUN)?.is_none_or(|begun| begun != entry.to_string());
    let noted = file::note(transaction, CRASHES)?.unwrap_or_default();
    let mut crashes: Vec<Millis> = noted.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    if let Some(newest) = newest {
        let lost_before = unstored_until.unwrap_or(newest) + 1 + UNSTORED;
        if has_stored {
            // Whatever was published before has been stored, or ended before it.
            crashes.iter_mut().for_each(|crash| *crash = lost_before.min(*crash));
        }
        // Of a run that has stored nothing, it is not known until when it has published.
        crashes.extend(crashed.map(|_| if has_stored { lost_before } else { Millis::MAX }));
        crashes.retain(|crash| *crash > newest - REMEMBERED);
    }
    let noted: Vec<String> = crashes.iter().map(Millis::to_string).collect();
    file::set_note(transaction, CRASHES, &noted.join(" "))?;
    file::set_note(transaction, BEGUN, &entry.to_string())?;
    file::set_note(transaction, EPOCH, &epoch.to_string())?;
    file::set_note(transaction, STATE, OPEN)?;
    let mut positions = transaction.prepare("SELECT consumer, entry FROM positions")?;
    let positions = positions.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    let positions = positions.collect::<rusqlite::Result<_>>()?;
    Ok(Left { epoch, crashed, last, entry, positions, crashes, tail: tail.into() })
}

/// Returns what is known of the klines of each series.
fn last(transaction: &Transaction<'_>, horizon: Millis) -> Result<Vec<(SeriesKey, Last)>, StepError> {
    let all = "SELECT id, category, symbol, interval, sequence, next FROM series WHERE next > 0";
    let mut series = transaction.prepare(all)?;
    let mut found = series.query([])?;
    let mut all: Vec<(i64, SeriesKey, Last)> = Vec::new();
    while let Some(row) = found.next()? {
        let names = [row.get(1)?, row.get(2)?, row.get(3)?];
        let Some(key) = key_of(&names) else { continue };
        let sequence = row.get::<_, i64>(4)?.cast_unsigned();
        all.push((row.get(0)?, key, Last { sequence, next: row.get(5)?, unfinished: Unfinished::default() }));
    }
    let newest = all.iter().map(|(.., last)| last.next - 1).max().unwrap_or_default();
    if horizon > 0 {
        let mut decoder = Decoder::default();
        for (id, key, last) in &mut all {
            // What is damaged is reported by those who read it; it does not keep a run from storing.
            let found = unfinished::find(transaction, (*id, key.interval), (newest, horizon), &mut decoder);
            last.unfinished = found.unwrap_or_default();
        }
    }
    Ok(all.into_iter().map(|(_, key, last)| (key, last)).collect())
}

/// Returns the klines of each entry of the log.
fn tail(connection: &Connection) -> Result<Vec<Entry>, StepError> {
    let series = series(connection)?;
    let mut entries = connection.prepare("SELECT id, data FROM log ORDER BY id")?;
    let mut found = entries.query([])?;
    let mut all = Vec::new();
    while let Some(entry) = found.next()? {
        let mut klines = Vec::new();
        let data = entry.get_ref(1)?.as_blob().unwrap_or_default();
        let take = |id: i64, rows: Rows| {
            let series = series.get(&id).copied();
            klines.extend(series.into_iter().flat_map(|series| klines_of(series, &rows)));
        };
        let number: i64 = entry.get(0)?;
        let decoded = log::decode(data, |id| Some(series.get(&id)?.interval), take);
        decoded.map_err(|damage| StepError::from(damage).at(place_of_entry(number)))?;
        all.push((number.cast_unsigned(), klines));
    }
    Ok(all)
}

/// Returns the klines of rows.
pub(crate) fn klines_of(series: SeriesId, rows: &Rows) -> Vec<Arc<Kline>> {
    rows.iter().map(|(decimals, row)| row.kline(series, *decimals)).collect()
}

/// Returns all series by their numbers.
pub(crate) fn series(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, SeriesId>> {
    let mut all = connection.prepare("SELECT id, category, symbol, interval FROM series")?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?])))?;
    let rows: Vec<(i64, [String; 3])> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(rows.iter().filter_map(|(id, names)| Some((*id, SeriesId::of(key_of(names)?)))).collect())
}

/// Writes the positions of consumers.
pub(crate) fn write_positions(transaction: &Transaction<'_>, positions: &[(String, u64)]) -> rusqlite::Result<()> {
    for (consumer, entry) in positions {
        let write = "INSERT OR REPLACE INTO positions VALUES (?1, ?2)";
        transaction.prepare_cached(write)?.execute(rusqlite::params![consumer, entry.cast_signed()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
