//! The archive files of one symbol as one sequence of rows, in order of time. One file is open at a time.
//!
//! A file is assumed to be complete for the days, or for the month, of its rows. Where a day or month is missing between
//! two files, or before the first or after the last one while other symbols have one, the sequence says so.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;

use klines_domain::symbol::{Category, SymbolId, SymbolTable};
use klines_domain::time::{DAY, ExchangeMillis, Millis};

use super::file::{ArchiveFile, Rows};
use super::row::{DISORDER, Row, UNITS_PER_MILLI};
use crate::source::error::SourceError;
use crate::source::input::Progress;
use crate::source::record::{Body, Record};
use crate::source::reorder::Reorder;
use crate::source::skipped::Skipped;

/// The rows of one symbol.
pub(in crate::source) struct ArchiveTrack {
    category: Category,
    symbol: SymbolId,
    files: VecDeque<ArchiveFile>,
    open: Option<(ArchiveFile, Rows)>,
    /// The time of the newest trade of the open file so far.
    newest: Option<i64>,
    window: Reorder<Row>,
    /// What identifies the last trades of the file before the open one.
    seam: HashSet<(i64, u64, u64)>,
    /// The file before the open one.
    before: Option<PathBuf>,
    /// Records that follow when the window is empty.
    after: VecDeque<(Millis, Record)>,
    progress: Progress,
    skipped: Skipped,
}

/// How much earlier than a row before it a row can be, in units of 100 µs: one minute. A trade that is so late could
/// change klines that were written already.
const MAX_DISORDER: i64 = 60_000 * UNITS_PER_MILLI;
/// How much later than the rows before it a row of the same file can be: 32 days, more than a file covers.
const MAX_STEP: i64 = 32 * DAY * UNITS_PER_MILLI;

#[cold]
fn too_early(units: i64) -> String {
    let seconds = units.div_euclid(1_000 * UNITS_PER_MILLI);
    format!("is {seconds} s earlier than a row before it: the file is in no order of time; sort it by its timestamps")
}

#[cold]
fn too_late(units: i64) -> String {
    let days = units.div_euclid(DAY * UNITS_PER_MILLI);
    format!("is {days} days later than the row before it: a file has the trades of one day or month")
}

/// Returns the tracks of these files, one for each symbol, and adds their symbols to the table.
pub(in crate::source) fn tracks(
    files: Vec<ArchiveFile>,
    symbols: &mut SymbolTable,
    progress: &Progress,
) -> Result<Vec<ArchiveTrack>, SourceError> {
    let begins = Category::ALL
        .map(|category| files.iter().filter(|file| file.category == category).map(ArchiveFile::from).min());
    let mut tracks: Vec<ArchiveTrack> = Vec::new();
    for file in files {
        let symbol = symbols.intern(&file.symbol);
        match tracks.iter_mut().find(|track| (track.category, track.symbol) == (file.category, symbol)) {
            Some(track) => track.files.push_back(file),
            None => tracks.push(ArchiveTrack::new(file, symbol, progress)),
        }
    }
    for track in &mut tracks {
        track.files.make_contiguous().sort_by_key(|file| file.first);
        let neighbours = track.files.iter().zip(track.files.iter().skip(1));
        for (one, next) in neighbours {
            if next.first <= one.first || next.first.saturating_add(DISORDER) < one.known_until() {
                return Err(overlap(one, next));
            }
        }
        let from = track.files.front().map_or(Millis::MAX, ArchiveFile::from);
        let begin = Category::ALL.iter().zip(begins).find(|(category, _)| **category == track.category);
        if begin.and_then(|(_, begin)| begin).is_some_and(|begin| begin < from) {
            track.after.push_back(track.present(from));
            track.window.drain(true);
        }
    }
    Ok(tracks)
}

fn overlap(one: &ArchiveFile, other: &ArchiveFile) -> SourceError {
    SourceError::Overlap { one: one.path().to_owned(), other: other.path().to_owned(), symbol: one.symbol.clone() }
}

impl ArchiveTrack {
    fn new(file: ArchiveFile, symbol: SymbolId, progress: &Progress) -> Self {
        Self {
            category: file.category,
            symbol,
            files: VecDeque::from([file]),
            open: None,
            newest: None,
            window: Reorder::new(DISORDER),
            seam: HashSet::new(),
            before: None,
            after: VecDeque::new(),
            progress: progress.clone(),
            skipped: Skipped::default(),
        }
    }

    pub(in crate::source) const fn category(&self) -> Category {
        self.category
    }

    /// Returns the path of the oldest file that is not read yet.
    pub(in crate::source) fn path(&self) -> PathBuf {
        self.files.front().map(|file| file.path().to_owned()).unwrap_or_default()
    }

    /// Returns whether nothing follows.
    pub(in crate::source) fn is_at_end(&self) -> bool {
        self.open.is_none() && self.files.is_empty() && self.after.is_empty() && self.window.is_empty()
    }

    pub(in crate::source) const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Returns the next record and its time.
    pub(in crate::source) fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        loop {
            if let Some((fine_time, row)) = self.window.pop() {
                return Ok(Some(self.row(fine_time.div_euclid(UNITS_PER_MILLI), row)));
            }
            if self.window.is_empty()
                && let Some(next) = self.after.pop_front()
            {
                return Ok(Some(next));
            }
            let Some((file, rows)) = &mut self.open else {
                let Some(mut file) = self.files.pop_front() else { return Ok(None) };
                let rows = file.open(&self.progress)?;
                self.newest = None;
                self.window.drain(false);
                self.open = Some((file, rows));
                continue;
            };
            match file.next(rows, self.symbol, &mut self.skipped)? {
                Some(row) => {
                    // The last trades of a file in the next one, too: the files overlap by less than a second.
                    if !self.seam.is_empty() && row.identity().is_some_and(|identity| self.seam.contains(&identity)) {
                        let one = self.before.take().unwrap_or_default();
                        let (other, symbol) = (file.path().to_owned(), file.symbol.clone());
                        return Err(SourceError::Overlap { one, other, symbol });
                    }
                    // The time of a row that is no trade can be anything.
                    if row.trade.is_some() {
                        let newest = self.newest.unwrap_or(row.fine_time);
                        if row.fine_time.saturating_add(MAX_DISORDER) < newest {
                            return Err(rows.wrong(too_early(newest - row.fine_time)));
                        }
                        if row.fine_time.saturating_sub(MAX_STEP) > newest {
                            return Err(rows.wrong(too_late(row.fine_time - newest)));
                        }
                        self.newest = Some(newest.max(row.fine_time));
                    }
                    self.window.push(row.fine_time, row);
                }
                None => self.close()?,
            }
        }
    }

    /// Closes the open file, whose rows have all been read.
    fn close(&mut self) -> Result<(), SourceError> {
        let Some((file, _)) = self.open.take() else { return Ok(()) };
        // The time of a row that is no trade can be anything.
        let newest = self.newest.unwrap_or_else(|| self.window.newest());
        let until = file.until(newest.div_euclid(UNITS_PER_MILLI));
        self.skipped.incomplete += u64::from(file.is_incomplete);
        self.seam = self.window.waiting().filter_map(Row::identity).collect();
        self.before = Some(file.path().to_owned());
        match self.files.front() {
            Some(next) if next.first.saturating_add(DISORDER) < newest => return Err(overlap(&file, next)),
            Some(next) if next.from() <= until + 1 => {}
            next => {
                self.after.push_back((until + 1, self.record(Body::Missing(self.symbol, ExchangeMillis::new(until)))));
                if let Some(from) = next.map(ArchiveFile::from) {
                    self.after.push_back(self.present(from));
                }
                self.window.drain(true);
            }
        }
        Ok(())
    }

    fn present(&self, from: Millis) -> (Millis, Record) {
        (from, self.record(Body::Present(self.symbol, ExchangeMillis::new(from))))
    }

    fn row(&self, time: Millis, row: Row) -> (Millis, Record) {
        let body = match row.trade {
            Some(trade) => Body::Trade(trade),
            None => Body::Rejected(self.symbol, ExchangeMillis::new(time)),
        };
        (time, self.record(body))
    }

    const fn record(&self, body: Body) -> Record {
        Record { received: None, category: self.category, connection: None, body }
    }
}
