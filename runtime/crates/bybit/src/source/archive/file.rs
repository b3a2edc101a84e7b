//! One file of an archive: finds out whether its rows are oldest-first or newest-first, and reads them oldest-first.
//!
//! The order is seen from the first and the last row, or, in a packed file, from its first rows. A newest-first file is
//! read backwards in blocks; a packed one is unpacked into a temporary file before.

use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::Millis;

use super::row::{ArchiveKind, Columns, DISORDER, Row, UNITS_PER_MILLI, is_monthly, symbol_in_name};
use crate::source::error::SourceError;
use crate::source::input::{Backwards, Input, Lines, Progress};
use crate::source::record::Options;
use crate::source::skipped::Skipped;

/// How many rows at the start of a packed file show its order; more if all of them have the same time.
const HEAD_ROWS: usize = 1_000;

/// A file of an archive that is not open.
#[derive(Debug)]
pub(in crate::source) struct ArchiveFile {
    input: Input,
    columns: Columns,
    header: Vec<u8>,
    /// The bytes before the first row, in an unpacked file.
    start: u64,
    pub(super) symbol: Symbol,
    pub(super) category: Category,
    number: u32,
    is_newest_first: bool,
    is_monthly: bool,
    /// The earliest time that is known before it is read, in units of 100 µs.
    pub(super) first: i64,
    /// The latest one, in a packed file that of its first rows.
    latest: i64,
    /// The latest one; `None` for a packed file, which is oldest-first then.
    pub(super) last: Option<i64>,
    /// Whether the end of the file is missing: its latest rows, or its earliest ones if it is newest-first.
    pub(super) is_incomplete: bool,
}

/// An open file.
pub(super) enum Rows {
    Forwards(Lines),
    Backwards(Backwards),
}

/// What is seen of a file's rows before it is read.
#[derive(Debug, Default)]
struct Seen {
    rows: usize,
    first: i64,
    last: i64,
    earliest: i64,
    latest: i64,
}

impl Seen {
    fn add(&mut self, time: i64) {
        if self.rows == 0 {
            (self.first, self.earliest, self.latest) = (time, time, time);
        }
        self.rows += 1;
        self.last = time;
        (self.earliest, self.latest) = (self.earliest.min(time), self.latest.max(time));
    }
}

impl Rows {
    /// Returns an error for the row that was read last.
    pub(super) fn wrong(&self, reason: String) -> SourceError {
        match self {
            Self::Forwards(lines) => lines.wrong(reason),
            Self::Backwards(lines) => lines.wrong(reason),
        }
    }
}

impl ArchiveFile {
    /// Looks at a file whose next line is the first row; `header` is the line before. Returns `None` if it has no rows.
    pub(in crate::source) fn find(
        input: Input,
        (kind, header): (ArchiveKind, Vec<u8>),
        mut lines: Lines,
        options: &Options,
        number: u32,
    ) -> Result<Option<Self>, SourceError> {
        let columns = Columns::new(kind, &header);
        let start = lines.offset();
        let row = loop {
            match lines.next()? {
                None => return Ok(None),
                Some(line) if is_no_row(line, &header) => {}
                Some(line) => break line.to_vec(),
            }
        };
        let (symbol, category) = match kind {
            ArchiveKind::Derivatives => columns.symbol(&row).map_err(|reason| lines.wrong(reason))?,
            ArchiveKind::Spot => {
                let named = symbol_in_name(input.path()).or_else(|| options.symbol.clone());
                let named = named.ok_or_else(|| SourceError::NoSymbol { path: input.path().to_owned() })?;
                (named, Category::Spot)
            }
        };
        let is_monthly = is_monthly(input.path());
        let mut file = Self {
            columns,
            header,
            start,
            symbol,
            category,
            number,
            is_newest_first: false,
            is_monthly,
            first: 0,
            latest: 0,
            last: None,
            is_incomplete: false,
            input,
        };
        file.look(&row, &mut lines)?;
        Ok(Some(file))
    }

    /// Finds out the order and the times of the rows; `row` is the first one.
    fn look(&mut self, row: &[u8], lines: &mut Lines) -> Result<(), SourceError> {
        let mut seen = Seen::default();
        let first = self.row(row).map_err(|reason| lines.wrong(reason))?;
        if first.trade.is_some() {
            seen.add(first.fine_time);
        }
        let mut is_whole = true;
        while let Some(time) = self.next_time(lines)? {
            seen.add(time);
            if seen.rows >= HEAD_ROWS && seen.first != seen.last {
                is_whole = false;
                break;
            }
        }
        self.is_newest_first = seen.first > seen.last;
        if !is_whole {
            let tail = match self.input.unpacked() {
                Some(file) => self.tail(Backwards::new(&self.input, file, self.start, &Progress::default())?)?,
                None if self.is_newest_first => {
                    while let Some(time) = self.next_time(lines)? {
                        seen.add(time);
                    }
                    Some(seen.last)
                }
                None => None,
            };
            is_whole = tail.is_some();
            if let Some(tail) = tail {
                self.is_newest_first = seen.first > tail;
                seen.add(tail);
            }
        }
        if seen.rows == 0 {
            seen.add(first.fine_time);
        }
        self.is_incomplete |= self.input.ends_early();
        (self.first, self.latest) = (seen.earliest, seen.latest);
        self.last = is_whole.then_some(seen.latest);
        Ok(())
    }

    /// Returns the time of the next trade, because that of a row that is none can be anything; `None` after the last one,
    /// and before one that was cut at the end.
    fn next_time(&mut self, lines: &mut Lines) -> Result<Option<i64>, SourceError> {
        loop {
            let Some(line) = lines.next()? else {
                self.is_incomplete |= lines.ends_early();
                return Ok(None);
            };
            if is_no_row(line, &self.header) {
                continue;
            }
            match self.row(line) {
                Ok(row) => {
                    self.is_incomplete |= lines.is_cut();
                    if row.trade.is_some() {
                        return Ok(Some(row.fine_time));
                    }
                }
                Err(_) if lines.is_cut() => {
                    self.is_incomplete = true;
                    return Ok(None);
                }
                Err(reason) => return Err(lines.wrong(reason)),
            }
        }
    }

    /// Returns the time of the last trade whose row was not cut.
    fn tail(&mut self, mut lines: Backwards) -> Result<Option<i64>, SourceError> {
        while let Some(line) = lines.next()? {
            if !is_no_row(line, &self.header) {
                match self.row(line) {
                    Ok(row) => {
                        self.is_incomplete |= lines.is_cut();
                        if row.trade.is_some() {
                            return Ok(Some(row.fine_time));
                        }
                    }
                    Err(_) if lines.is_cut() => self.is_incomplete = true,
                    Err(reason) => return Err(lines.wrong(reason)),
                }
            }
        }
        Ok(None)
    }

    fn row(&self, line: &[u8]) -> Result<Row, String> {
        self.columns.row(line, &self.symbol, SymbolId(0), self.number)
    }

    /// The day or the month that a file covers.
    pub(super) const fn unit(&self) -> Interval {
        if self.is_monthly { Interval::Month } else { Interval::DAY }
    }

    /// Returns the time from which on its rows are complete: the start of the day or month of its earliest row. A row of
    /// the second before midnight does not make the day before complete.
    pub(super) fn from(&self) -> Millis {
        if self.is_newest_first && self.is_incomplete {
            return self.first.div_euclid(UNITS_PER_MILLI);
        }
        self.start_of(self.first + DISORDER).min(self.start_of(self.latest))
    }

    /// Returns the time until which its rows are complete, both included, if `latest` is the time of its latest row.
    pub(super) fn until(&self, latest: Millis) -> Millis {
        if !self.is_newest_first && self.is_incomplete {
            // What was cut off can be earlier by as much as rows are out of order.
            return latest - DISORDER.div_euclid(UNITS_PER_MILLI);
        }
        let latest = latest * UNITS_PER_MILLI;
        self.unit().next(self.start_of(latest - DISORDER).max(self.start_of(self.first))) - 1
    }

    /// Returns the start of the day or month of a time in units of 100 µs.
    fn start_of(&self, fine_time: i64) -> Millis {
        self.unit().start_of(fine_time.div_euclid(UNITS_PER_MILLI))
    }

    /// Returns the latest time, in units of 100 µs, at which it is known to have rows, or not to have any of another
    /// file: a file of a month contains the whole month.
    pub(super) fn known_until(&self) -> i64 {
        let first = self.first.div_euclid(UNITS_PER_MILLI);
        let end = || (self.unit().next(self.unit().start_of(first)) - 1).saturating_mul(UNITS_PER_MILLI);
        let of_month = self.is_monthly.then(end);
        self.last.into_iter().chain(of_month).max().unwrap_or(self.first)
    }

    pub(in crate::source) const fn category(&self) -> Category {
        self.category
    }

    pub(super) fn path(&self) -> &std::path::Path {
        self.input.path()
    }

    /// Opens the file at its oldest row.
    pub(super) fn open(&mut self, progress: &Progress) -> Result<Rows, SourceError> {
        if !self.is_newest_first {
            return Ok(Rows::Forwards(self.lines(progress)?));
        }
        let file = match self.input.unpacked() {
            Some(file) => file,
            None => {
                let mut lines = self.lines(progress)?;
                self.input = self.input.copy(&self.header, &mut lines)?;
                self.start = self.header.len() as u64 + 1;
                self.input.unpacked().ok_or_else(|| SourceError::Empty { path: self.input.path().to_owned() })?
            }
        };
        Ok(Rows::Backwards(Backwards::new(&self.input, file, self.start, progress)?))
    }

    /// Opens the file behind its header.
    fn lines(&self, progress: &Progress) -> Result<Lines, SourceError> {
        let mut lines = self.input.lines(progress)?;
        while lines.next()?.is_some_and(|line| line != self.header) {}
        Ok(lines)
    }

    /// Reads the next row, whose trade gets the number `symbol`.
    pub(super) fn next(
        &mut self,
        rows: &mut Rows,
        symbol: SymbolId,
        skipped: &mut Skipped,
    ) -> Result<Option<Row>, SourceError> {
        let parse = |line: &[u8]| self.columns.row(line, &self.symbol, symbol, self.number);
        loop {
            match rows {
                Rows::Forwards(lines) => {
                    let Some(line) = lines.next()? else {
                        self.is_incomplete |= lines.ends_early();
                        return Ok(None);
                    };
                    match parse(line) {
                        Ok(row) => {
                            // What is cut off behind the last column that is read can be whole rows.
                            self.is_incomplete |= lines.is_cut();
                            return Ok(Some(row));
                        }
                        Err(_) if is_no_row(line, &self.header) => skipped.count(line),
                        Err(_) if lines.is_cut() => {
                            self.is_incomplete = true;
                            return Ok(None);
                        }
                        Err(reason) => return Err(lines.wrong(reason)),
                    }
                }
                Rows::Backwards(lines) => {
                    let Some(line) = lines.next()? else { return Ok(None) };
                    match parse(line) {
                        Ok(row) => return Ok(Some(row)),
                        Err(_) if is_no_row(line, &self.header) => skipped.count(line),
                        Err(_) if lines.is_cut() => {}
                        Err(reason) => return Err(lines.wrong(reason)),
                    }
                }
            }
        }
    }
}

/// Returns whether a line between rows is none: a comment, or the header again where files were put together.
fn is_no_row(line: &[u8], header: &[u8]) -> bool {
    line.starts_with(b"#") || line == header
}
