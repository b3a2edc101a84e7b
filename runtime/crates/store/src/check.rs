//! Looks at a store as a whole: what it holds, whether it is intact, and a copy of it.

mod quick;
mod sums;

use std::collections::BTreeMap;
use std::path::Path;

use klines_domain::interval::Interval;
use klines_domain::time::Millis;
use rusqlite::Connection;

use crate::backfill::NO_SEQUENCE;
use crate::block::{self, Decoder, Rows};
use crate::error::{StepError, StoreError, is_damage, place_of_block, place_of_entry};
use crate::file::Content;
use crate::reader::Reader;
use crate::writer::intervals;
use crate::{file, log, period, run};

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The schema of the file.
    pub schema: u64,
    /// Where its klines are from.
    pub origin: String,
    /// The size of the file, in bytes, without its write-ahead log.
    pub bytes: u64,
    /// Klines that are not in blocks yet.
    pub in_log: u64,
    /// By interval, shortest first.
    pub intervals: Vec<IntervalInfo>,
}

/// What a store holds of an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntervalInfo {
    /// The interval.
    pub interval: Interval,
    /// The number of its series.
    pub series: u64,
    /// Klines and revisions in blocks.
    pub klines: u64,
    /// The bytes of the blocks.
    pub bytes: u64,
    /// The start of the first and of the last window, ms since 1970.
    pub span: (Millis, Millis),
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The blocks that were read.
    pub blocks: u64,
    /// The klines and revisions in them and in the log.
    pub klines: u64,
    /// The klines that were compared with the sum of shorter ones.
    pub sums: u64,
    /// What is wrong; nothing if the store is intact.
    pub faults: Vec<String>,
}

/// No more faults than this are listed.
const MAX_FAULTS: usize = 100;

/// Returns what a store holds.
///
/// # Errors
/// [`StoreError`]
pub fn info(path: &Path) -> Result<Info, StoreError> {
    Reader::open(path)?.with(|connection, _| {
        let bytes = file::number(connection, "page_count")? * file::number(connection, "page_size")?;
        let mut by_interval: BTreeMap<Interval, IntervalInfo> = BTreeMap::new();
        let sums = "SELECT interval, count(DISTINCT series.id), sum(klines), sum(length(data)), min(first), max(last)
            FROM series JOIN blocks ON blocks.series = series.id GROUP BY interval";
        let mut sums = connection.prepare(sums)?;
        let mut found = sums.query([])?;
        while let Some(row) = found.next()? {
            let Ok(interval) = row.get::<_, String>(0)?.parse() else { continue };
            let [series, klines, bytes] = [row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?].map(i64::unsigned_abs);
            let span = (row.get(4)?, row.get(5)?);
            by_interval.insert(interval, IntervalInfo { interval, series, klines, bytes, span });
        }
        let in_log = check_log(connection, &mut Vec::new())?;
        Ok(Info {
            origin: file::origin_of(connection)?,
            schema: file::number(connection, "user_version")?,
            bytes,
            in_log,
            intervals: by_interval.into_values().collect(),
        })
    })
}

/// Checks the pages of the file, every block and every entry of the log, and that klines of longer intervals are the sums of
/// shorter ones where all of them are complete. Damage is a fault, also if it keeps a check from going on.
///
/// # Errors
/// [`StoreError`] if it cannot be read for another reason.
pub fn verify(path: &Path) -> Result<Verdict, StoreError> {
    match examine(path) {
        Err(StoreError::Damaged { what, .. }) => Ok(Verdict { faults: vec![what], ..Verdict::default() }),
        examined => examined,
    }
}

fn examine(path: &Path) -> Result<Verdict, StoreError> {
    let reader = Reader::open(path)?;
    let mut verdict = reader.with(|connection, decoder| {
        let mut verdict = Verdict::default();
        let pages = check_pages(connection, "integrity_check", &mut verdict.faults);
        note(pages, "the pages of the file", &mut verdict.faults)?;
        let in_log = check_log(connection, &mut verdict.faults);
        verdict.klines += note(in_log, "the log", &mut verdict.faults)?;
        let blocks = check_blocks(connection, decoder, &mut verdict);
        note(blocks, "the blocks", &mut verdict.faults)?;
        Ok(verdict)
    })?;
    if verdict.faults.is_empty() {
        verdict.sums = sums::check(&reader, &mut verdict.faults)?;
    }
    verdict.faults.truncate(MAX_FAULTS);
    Ok(verdict)
}

/// Writes a copy of a store to a new file, beside the process that writes the store. The copy is whole: as of one moment.
/// Returns what is wrong with the pages and the checksums of the store: a damaged one is copied as it is, page by page, because
/// that is better than no copy.
///
/// # Errors
/// [`StoreError`]; a file that exists is not replaced.
pub fn backup(path: &Path, copy: &Path) -> Result<Vec<String>, StoreError> {
    if copy.exists() {
        let message = "it exists: name a file that does not".to_owned();
        return Err(StoreError::Unusable { path: copy.to_owned(), message });
    }
    let connection = file::open_to_read(path)?;
    let faults = quick::faults(&connection).map_err(|error| error.on(path, "a block"))?;
    let content = if faults.is_empty() { Content::Rebuilt } else { Content::Pages };
    // A run that continues the copy knows nothing of what was published after it, and begins another epoch.
    file::copy(&connection, copy, (content, run::CRASHED))?;
    Ok(faults)
}

/// Turns the damage that has kept a check of something from going on into a fault.
fn note<T: Default>(found: Result<T, StepError>, what: &str, faults: &mut Vec<String>) -> Result<T, StepError> {
    match found {
        Err(StepError::Database(error)) if is_damage(&error) => {
            faults.push(format!("{what} cannot all be read: {error}"));
            Ok(T::default())
        }
        found => found,
    }
}

/// Checks the pages of the file by a pragma of SQLite.
fn check_pages(connection: &Connection, pragma: &str, faults: &mut Vec<String>) -> Result<(), StepError> {
    let mut check = connection.prepare(&format!("PRAGMA {pragma}(20)"))?;
    for said in check.query_map([], |row| row.get::<_, String>(0))? {
        // A line names the database in which those after it are.
        let said = said?;
        let lines = said.lines().filter(|line| *line != "ok" && !line.starts_with("***"));
        faults.extend(lines.map(str::to_owned));
    }
    Ok(())
}

fn check_log(connection: &Connection, faults: &mut Vec<String>) -> Result<u64, StepError> {
    let intervals = intervals(connection)?;
    let mut entries = connection.prepare("SELECT id, data FROM log ORDER BY id")?;
    let mut found = entries.query([])?;
    let mut klines = 0;
    while let Some(entry) = found.next()? {
        let data = entry.get_ref(1)?.as_blob().unwrap_or_default();
        let decoded =
            log::decode(data, |series| intervals.get(&series).copied(), |_, rows| klines += rows.len() as u64);
        if let Err(damage) = decoded {
            faults.push(format!("{}: {damage}", place_of_entry(entry.get(0)?)));
        }
    }
    Ok(klines)
}

fn check_blocks(connection: &Connection, decoder: &mut Decoder, verdict: &mut Verdict) -> Result<(), StepError> {
    let all = run::series(connection)?;
    let mut blocks = connection
        .prepare("SELECT id, series, first, last, klines, data, sealed FROM blocks ORDER BY series, first")?;
    let mut found = blocks.query([])?;
    let mut sealed = None;
    while let Some(row) = found.next()? {
        let (id, series): (i64, i64) = (row.get(0)?, row.get(1)?);
        verdict.blocks += 1;
        let Some(key) = all.get(&series).copied() else {
            verdict.faults.push(format!("block {id}: its series {series} is not known"));
            continue;
        };
        let (interval, place) = (key.interval, place_of_block(id, &key, (row.get(2)?, row.get(3)?)));
        let period = (series, period::start_of(interval, row.get(2)?));
        if row.get(6)? && sealed.replace(period) == Some(period) {
            verdict.faults.push(format!("{place}: its period is sealed twice"));
        }
        let mut rows = Rows::new();
        let data = row.get_ref(5)?.as_blob().unwrap_or_default();
        let fault = match decoder.decode((series, interval), data, &mut rows) {
            Err(damage) => Some(damage.to_string()),
            Ok(()) => {
                verdict.klines += rows.len() as u64;
                fault_of(interval, &rows, (row.get(2)?, row.get(3)?, row.get(4)?))
            }
        };
        verdict.faults.extend(fault.map(|fault| format!("{place}: {fault}")));
    }
    Ok(())
}

/// Returns what is wrong with the rows of a block that says to have `count`, from `first` to `last`.
fn fault_of(interval: Interval, rows: &Rows, (first, last, count): (Millis, Millis, i64)) -> Option<String> {
    if !block::is_of(rows, (first, last, count)) {
        return Some(block::OTHER_KLINES.to_owned());
    }
    if period::start_of(interval, first) != period::start_of(interval, last) {
        return Some("it has klines of two periods".to_owned());
    }
    for pair in rows.windows(2) {
        if let [(_, one), (_, next)] = pair
            && (one.start, one.revision) >= (next.start, next.revision)
        {
            return Some(format!("kline {} is not after the one before", next.start));
        }
        if let [(_, one), (_, next)] = pair
            && one.start == next.start
            && next.sequence != NO_SEQUENCE
            && one.sequence >= next.sequence
        {
            return Some(format!("revision {} of kline {} has no later sequence", next.revision, next.start));
        }
    }
    let wrong = rows.iter().map(|(_, row)| row).find(|row| {
        let prices = [row.open, row.close];
        interval.start_of(row.start) != row.start
            || prices.iter().any(|price| *price > row.high || *price < row.low)
            || row.buy_volume > row.volume
            || row.buy_turnover > row.turnover
    });
    wrong.map(|row| format!("kline {} contradicts itself", row.start))
}
