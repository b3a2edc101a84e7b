//! Adds klines of the past to a store: compares each with what is stored and stores what is missing or better. Nothing
//! that is stored is replaced by something that is not better, and nothing is removed.
//!
//! A kline that is new gets revision 0, a better one the next revision. No stream has carried them: their sequence is 0.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use klines_delivery::history::{Query, Side};
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::time::Millis;

use crate::error::StoreError;
use crate::reader::Reader;
use crate::writer::{Limits, Writer};

/// The sequence of klines that no stream has carried. Those of a stream begin at 1.
pub const NO_SEQUENCE: u64 = 0;
/// No more conflicts than this are kept with their fields; all are counted.
const MAX_CONFLICTS: usize = 10;

/// What became of klines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Klines of windows that were not stored.
    pub added: u64,
    /// Revisions of windows of which less was known.
    pub improved: u64,
    /// Klines that were stored already, or of which more is stored.
    pub unchanged: u64,
    /// Klines that contradict stored ones, which stay.
    pub conflicting: u64,
    /// The first of them.
    pub conflicts: Vec<Conflict>,
}

/// A kline that contradicts the stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The series.
    pub series: SeriesKey,
    /// The start of the window.
    pub start: Millis,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// A field that differs: its name, what is stored, and what was found.
pub type Difference = (&'static str, String, String);

/// How a kline relates to the stored one of its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It knows more, or the stored one is a lower bound of it.
    Better,
    /// It says the same, or knows less.
    Known,
    /// Both are sure of something in which they differ.
    Contradicts(Vec<Difference>),
}

/// Compares a kline with the stored one of the same window.
#[must_use]
pub fn relate(stored: &Kline, found: &Kline) -> Relation {
    let differences = differences(stored, found);
    match (stored.quality, found.quality) {
        (Quality::Partial | Quality::Gapped, Quality::Complete | Quality::Repaired)
        | (Quality::Repaired, Quality::Complete) => Relation::Better,
        // What is only a lower bound contradicts nothing.
        (_, Quality::Partial | Quality::Gapped) => Relation::Known,
        (Quality::Complete | Quality::Repaired, _) if differences.is_empty() => Relation::Known,
        _ => Relation::Contradicts(differences),
    }
}

/// Returns the fields in which two klines differ that both are sure of.
#[must_use]
pub fn differences(stored: &Kline, found: &Kline) -> Vec<Difference> {
    let decimals = [
        ("open", stored.open, found.open),
        ("high", stored.high, found.high),
        ("low", stored.low, found.low),
        ("close", stored.close, found.close),
        ("volume", stored.volume, found.volume),
        ("turnover", stored.turnover, found.turnover),
        ("buy_volume", stored.buy_volume, found.buy_volume),
        ("buy_turnover", stored.buy_turnover, found.buy_turnover),
    ];
    // Of a repaired kline the rest are lower bounds.
    let are_exact = [stored, found].iter().all(|kline| kline.quality == Quality::Complete);
    let sure = if are_exact { decimals.len() } else { 6 };
    let differing = decimals.iter().take(sure).filter(|(_, stored, found)| stored != found);
    let mut all: Vec<Difference> =
        differing.map(|(name, stored, found)| (*name, stored.to_string(), found.to_string())).collect();
    if are_exact && stored.trades != found.trades {
        all.push(("trades", stored.trades.to_string(), found.trades.to_string()));
    }
    all
}

impl Outcome {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.added += other.added;
        self.improved += other.improved;
        self.unchanged += other.unchanged;
        self.conflicting += other.conflicting;
        let room = MAX_CONFLICTS.saturating_sub(self.conflicts.len());
        self.conflicts.extend(other.conflicts.into_iter().take(room));
    }
}

/// Adds klines of the past to a store. Only one process can write a store.
#[derive(Debug)]
pub struct Backfill {
    writer: Writer,
    reader: Reader,
}

impl Backfill {
    /// Opens a store; creates it if there is none. `origin` says where its klines are from.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open(path: &Path, origin: &str) -> Result<Self, StoreError> {
        let writer = Writer::open(path, origin, Limits::none())?;
        Ok(Self { writer, reader: Reader::open(path)? })
    }

    /// Returns what reads the store.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Stores those of confirmed klines, each of another window, that are new or better. All of them are stored or none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn store(&mut self, klines: &[Arc<Kline>]) -> Result<Outcome, StoreError> {
        let mut outcome = Outcome::default();
        let mut new = Vec::new();
        for klines in by_series(klines).values() {
            let found = with_stored(&self.reader, klines)?;
            new.extend(found.iter().filter_map(|(kline, stored)| outcome.take(stored.as_deref(), kline)));
        }
        if self.writer.append(&new)? > 0 {
            self.writer.settle()?;
        }
        Ok(outcome)
    }

    /// Returns the bytes that the file uses.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn bytes(&self) -> Result<u64, StoreError> {
        self.writer.bytes()
    }

    /// Closes the store.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn close(self) -> Result<(), StoreError> {
        self.writer.close()
    }
}

impl Outcome {
    /// Counts a kline. Returns it as it is to be stored, if it is.
    fn take(&mut self, stored: Option<&Kline>, found: &Kline) -> Option<Arc<Kline>> {
        let as_revision =
            |revision| Arc::new(Kline { revision, sequence: NO_SEQUENCE, confirm: true, ..found.clone() });
        let Some(stored) = stored else {
            self.added += 1;
            return Some(as_revision(0));
        };
        match relate(stored, found) {
            Relation::Better => {
                self.improved += 1;
                return Some(as_revision(stored.revision + 1));
            }
            Relation::Known => self.unchanged += 1,
            Relation::Contradicts(differences) => {
                self.conflicting += 1;
                if self.conflicts.len() < MAX_CONFLICTS {
                    let series = SeriesKey::clone(&found.series);
                    self.conflicts.push(Conflict { series, start: found.start, differences });
                }
            }
        }
        None
    }
}

/// How klines of the past relate to stored ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Klines that say what is stored.
    pub equal: u64,
    /// Klines that differ from the stored ones in what both are sure of.
    pub differing: u64,
    /// Klines that only have lower bounds, or whose stored ones have.
    pub uncertain: u64,
    /// Klines of windows that are not stored.
    pub absent: u64,
    /// The first of those that differ.
    pub conflicts: Vec<Conflict>,
}

impl Comparison {
    /// Compares klines, each of another window, with the stored ones.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn add(&mut self, reader: &Reader, klines: &[Arc<Kline>]) -> Result<(), StoreError> {
        for klines in by_series(klines).values() {
            for (found, stored) in with_stored(reader, klines)? {
                let Some(stored) = stored else {
                    self.absent += 1;
                    continue;
                };
                let is_bound = |kline: &Kline| matches!(kline.quality, Quality::Partial | Quality::Gapped);
                let differences = differences(&stored, found);
                if is_bound(&stored) || is_bound(found) {
                    self.uncertain += 1;
                } else if differences.is_empty() {
                    self.equal += 1;
                } else {
                    self.differing += 1;
                    if self.conflicts.len() < MAX_CONFLICTS {
                        let series = SeriesKey::clone(&found.series);
                        self.conflicts.push(Conflict { series, start: found.start, differences });
                    }
                }
            }
        }
        Ok(())
    }
}

/// A kline, and the stored one of its window.
type WithStored<'a> = (&'a Arc<Kline>, Option<Arc<Kline>>);

/// Returns sorted klines of a series with the stored ones of their windows.
fn with_stored<'a>(reader: &Reader, klines: &[&'a Arc<Kline>]) -> Result<Vec<WithStored<'a>>, StoreError> {
    let (Some(first), Some(last)) = (klines.first(), klines.last()) else { return Ok(Vec::new()) };
    let series = SeriesKey::clone(&first.series);
    let query = Query { series, from: first.start, to: last.start, limit: usize::MAX, side: Side::Oldest };
    let mut stored = reader.read(&query)?.into_iter().peekable();
    let find = |kline: &&'a Arc<Kline>| {
        while stored.next_if(|stored| stored.start < kline.start).is_some() {}
        (*kline, stored.next_if(|stored| stored.start == kline.start))
    };
    Ok(klines.iter().map(find).collect())
}

/// Returns klines by series, in order.
fn by_series(klines: &[Arc<Kline>]) -> BTreeMap<SeriesId, Vec<&Arc<Kline>>> {
    let mut series: BTreeMap<SeriesId, Vec<&Arc<Kline>>> = BTreeMap::new();
    for kline in klines.iter().filter(|kline| kline.confirm) {
        series.entry(kline.series).or_default().push(kline);
    }
    for klines in series.values_mut() {
        klines.sort_by_key(|kline| kline.start);
    }
    series
}

#[cfg(test)]
mod tests;
