//! The klines of earlier runs that a consumer has not acknowledged, or that the WebSocket server keeps for its clients.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klines_delivery::history::HistoryError;
use klines_delivery::missed::Missed;
use klines_domain::kline::Kline;
use klines_domain::mutants::Mutant;
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;
use rusqlite::{OptionalExtension as _, params};

use crate::backfill::NO_SEQUENCE;
use crate::block::{Decoder, Rows};
use crate::error::{StepError, StoreError};
use crate::file;
use crate::reader::Reader;
use crate::run::{self, Entry, Left};

/// Klines of earlier runs after a position, in the order of each series. What was folded together comes together: some of it
/// can lie before the position. Klines of a backfill, which no run has published, are left out.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    reader: Option<Reader>,
    /// The position, and then the last entry that was passed on.
    after: u64,
    /// Windows that ended before this time are left out.
    since: Millis,
    tail: VecDeque<Entry>,
    /// The last entry of which there are blocks; the tail is after it.
    folded: u64,
}

impl Replay {
    /// Reads what was stored after entry `after`, of the windows that ended at `since` or later. The run must have begun.
    #[must_use]
    pub fn new(path: &Path, left: &Left, after: u64, since: Millis) -> Self {
        let skipped = u64::from(Mutant::ReplayTooLate.is_made());
        let tail: VecDeque<_> = left.tail.iter().filter(|(entry, _)| *entry > after + skipped).cloned().collect();
        let folded = left.tail.first().map_or(left.entry, |(entry, _)| entry - 1);
        Self { path: path.to_owned(), reader: None, after, since, tail, folded }
    }

    /// Returns the next klines; none when that was all.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read(&mut self) -> Result<Vec<Arc<Kline>>, StoreError> {
        while self.after < self.folded {
            let Some((entry, mut klines)) = self.read_fold()? else {
                self.after = self.folded;
                break;
            };
            self.after = entry;
            klines.retain(|kline| kline.end >= self.since && kline.sequence != NO_SEQUENCE);
            if !klines.is_empty() {
                return Ok(klines);
            }
        }
        while let Some((_, mut klines)) = self.tail.pop_front() {
            klines.retain(|kline| kline.end >= self.since && kline.sequence != NO_SEQUENCE);
            if !klines.is_empty() {
                in_order(&mut klines);
                return Ok(klines);
            }
        }
        Ok(Vec::new())
    }

    /// Reads what was folded at the next time, with its last entry.
    fn read_fold(&mut self) -> Result<Option<Entry>, StoreError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        let span = (self.after, self.folded);
        let found = reader.with(|connection, decoder| read_fold(connection, decoder, span));
        self.reader = Some(reader);
        found
    }
}

impl Missed for Replay {
    fn next(&mut self) -> Result<Vec<Arc<Kline>>, HistoryError> {
        self.read().map_err(|error| HistoryError(error.to_string()))
    }
}

fn read_fold(
    connection: &rusqlite::Connection,
    decoder: &mut Decoder,
    (after, until): (u64, u64),
) -> Result<Option<Entry>, StepError> {
    let next = "SELECT min(entry) FROM blocks WHERE sealed = 0 AND entry > ?1 AND entry <= ?2";
    let next = connection.prepare_cached(next)?;
    let span = params![after.cast_signed(), until.cast_signed()];
    let entry: Option<i64> = { next }.query_row(span, |row| row.get(0)).optional()?.flatten();
    let Some(entry) = entry else { return Ok(None) };
    let series = run::series(connection)?;
    let mut blocks = connection.prepare_cached("SELECT series, data FROM blocks WHERE sealed = 0 AND entry = ?1")?;
    let mut found = blocks.query([entry])?;
    let mut klines = Vec::new();
    while let Some(row) = found.next()? {
        let number = row.get(0)?;
        let Some(series) = series.get(&number).copied() else { continue };
        let mut rows = Rows::new();
        decoder.decode((number, series.interval), row.get_ref(1)?.as_blob().unwrap_or_default(), &mut rows)?;
        klines.extend(run::klines_of(series, &rows));
    }
    in_order(&mut klines);
    Ok(Some((entry.cast_unsigned(), klines)))
}

/// Sorts klines by time, as far as the order of their series permits: a revision comes after what was emitted before it.
fn in_order(klines: &mut [Arc<Kline>]) {
    klines.sort_by_key(|kline| kline.sequence);
    let mut latest: HashMap<SeriesId, Millis> = HashMap::new();
    let mut times: HashMap<(SeriesId, u64), Millis> = HashMap::new();
    for kline in &*klines {
        let latest = latest.entry(kline.series).or_insert(Millis::MIN);
        *latest = kline.end.max(*latest);
        times.insert((kline.series, kline.sequence), *latest);
    }
    klines.sort_by_key(|kline| {
        let time = times.get(&(kline.series, kline.sequence)).copied();
        (time, kline.series.interval, kline.sequence)
    });
}

/// Returns the position after which the newest klines of earlier runs lie, about `most` of them.
///
/// # Errors
/// [`StoreError`]
pub fn newest(path: &Path, most: u64) -> Result<u64, StoreError> {
    let connection = file::open_to_read(path)?;
    let find = "SELECT entry, sum(klines) FROM blocks WHERE sealed = 0 GROUP BY entry ORDER BY entry DESC";
    let read = || -> rusqlite::Result<u64> {
        let mut folds = connection.prepare(find)?;
        let mut found = folds.query([])?;
        let mut room = most;
        while let Some(fold) = found.next()? {
            let (entry, klines) = (fold.get::<_, i64>(0)?.cast_unsigned(), fold.get::<_, i64>(1)?.unsigned_abs());
            match room.checked_sub(klines) {
                Some(left) => room = left,
                None => return Ok(entry),
            }
        }
        Ok(0)
    };
    read().map_err(|error| StoreError::of(path, &error))
}
