//! The newest records of one topic, klines or values, with the sequence from which clients resume. Does not limit its
//! own size.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use klines_delivery::emit::Point;
use klines_delivery::encode;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;

/// How far a position may be ahead of a server that shares its epoch; one that is farther is not believed.
const MOST_AHEAD: u64 = 1_000;

/// A record of a topic of `/v1/stream`: a kline or a value.
pub trait Record {
    /// The `type` of its pushes.
    const KIND: &'static str;
    /// Returns the first millisecond of the window.
    fn start(&self) -> Millis;
    /// Returns whether the window is confirmed.
    fn confirm(&self) -> bool;
    /// Returns the record's number in the topic.
    fn sequence(&self) -> u64;
    /// Returns a copy with another sequence.
    fn with_sequence(&self, sequence: u64) -> Self;
    /// Appends the record as a JSON object.
    fn write(&self, out: &mut String);
    /// Returns the maximum size of a push of the record, bytes.
    fn longest_push(&self) -> usize;
}

/// What the epochs of a topic begin with; the number of interruptions follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// The number of this server, which alone has these sequences.
    #[default]
    Own,
    /// An epoch that several servers share, as they share the sequences.
    Shared(u64),
    /// The number of this server, because the epoch that several share is not known.
    Unknown,
}

/// The newest records of one topic.
#[derive(Debug)]
pub struct Recent<T> {
    /// Confirmed records and revisions, by sequence.
    closed: VecDeque<Arc<T>>,
    open: Option<Arc<T>>,
    /// The sequence of the last confirmed record; 0 before the first.
    last: u64,
    /// What the epoch of the last record begins with.
    base: Base,
    /// How often the sequence was interrupted; in a shared epoch, since it began or this server did.
    breaks: u32,
    /// The first sequence since the last interruption.
    contiguous_from: u64,
    /// The last sequence of earlier runs; 0 if there was none.
    earlier: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        let (closed, base) = (VecDeque::new(), Base::Own);
        Self { closed, open: None, last: 0, base, breaks: 0, contiguous_from: 0, earlier: 0 }
    }
}

impl<T: Record> Recent<T> {
    /// Creates an empty topic whose last record had this sequence in an earlier run, in an epoch of `base`.
    #[must_use]
    pub fn resuming(last: u64, base: Base) -> Self {
        Self { last, base, contiguous_from: last + 1, earlier: last, ..Self::default() }
    }

    /// Stores records of an earlier run, in the order of their sequences, before any of this run. Of those before a hole none
    /// is stored, and none at all if the last one is missing.
    pub fn keep_earlier(&mut self, mut records: VecDeque<Arc<T>>) {
        let mut next = self.earlier;
        let kept = records.iter().rev().take_while(|record| {
            let is_next = record.sequence() == next;
            next = next.wrapping_sub(1);
            is_next
        });
        let surplus = records.len() - kept.count();
        records.drain(..surplus);
        self.contiguous_from = records.front().map_or(self.earlier + 1, |first| first.sequence());
        self.closed = records;
    }

    /// Returns the last sequence of earlier runs; 0 if there was none.
    #[must_use]
    pub const fn earlier(&self) -> u64 {
        self.earlier
    }

    /// Stores a record, which was published in an epoch of `base`. Returns whether it follows the last one; if not,
    /// records were lost before it and the topic starts a new epoch, or it begins a shared epoch, or the first one that
    /// this server sees of it is a later one. If a revision has overtaken an update, or the update has overtaken
    /// confirmed records of a shared epoch, the update gets the sequence after the last one.
    pub fn keep(&mut self, record: &mut Arc<T>, base: Base) -> bool {
        let sequence = record.sequence();
        if !record.confirm() {
            let is_ahead = base != Base::Own && sequence > self.last + 1;
            if sequence <= self.last || is_ahead {
                *record = Arc::new(record.with_sequence(self.last + 1));
            }
            self.open = Some(record.clone());
            return true;
        }
        let (follows, is_same) = (sequence == self.last + 1, base == self.base);
        if !follows || !is_same || self.last == 0 {
            self.contiguous_from = sequence;
        }
        // This server has lost nothing if it has seen nothing of the epoch, or if shared numbers come again.
        let begins = !is_same || self.last == self.earlier;
        self.breaks = match base {
            Base::Shared(_) if begins => 0,
            Base::Shared(_) if sequence <= self.last => self.breaks,
            _ => self.breaks + u32::from(!follows || !is_same),
        };
        (self.last, self.base) = (sequence, base);
        self.closed.push_back(record.clone());
        // After a revision, the open record gets the sequence that it will have when it is confirmed.
        let open = self.open.take().filter(|open| open.start() > record.start());
        self.open = open.map(|open| Arc::new(open.with_sequence(sequence + 1)));
        follows && is_same
    }

    /// Drops the oldest confirmed records until at most `most` are left; returns the number of dropped ones.
    pub fn shorten(&mut self, most: usize) -> usize {
        let surplus = self.closed.len().saturating_sub(most);
        self.closed.drain(..surplus);
        surplus
    }

    /// Removes and returns the oldest confirmed record.
    pub fn pop(&mut self) -> Option<Arc<T>> {
        self.closed.pop_front()
    }

    /// Drops the newest update.
    pub fn forget_open(&mut self) {
        self.open = None;
    }

    /// Returns the number of stored confirmed records and revisions.
    #[must_use]
    pub fn closed_len(&self) -> usize {
        self.closed.len()
    }

    /// Returns the sequence of the last confirmed record; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Returns what the epoch of the last record begins with.
    #[must_use]
    pub const fn base(&self) -> Base {
        self.base
    }

    /// Returns how often the sequence was interrupted.
    #[must_use]
    pub const fn breaks(&self) -> u32 {
        self.breaks
    }

    /// Returns the newest update of the open window.
    #[must_use]
    pub const fn open(&self) -> Option<&Arc<T>> {
        self.open.as_ref()
    }

    /// Returns all records confirmed after `sequence`, in order; `None` if some of them are not stored any more, or
    /// `sequence` does not exist.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Option<Vec<Arc<T>>> {
        let missed = self.last.checked_sub(sequence)?;
        if missed > (self.last + 1).saturating_sub(self.contiguous_from) {
            return None;
        }
        // Counted from the end: records of earlier epochs may have the same numbers.
        let skipped = self.closed.len().checked_sub(usize::try_from(missed).ok()?)?;
        Some(self.closed.iter().skip(skipped).cloned().collect())
    }

    /// Returns whether a position of this epoch is ahead: another server that shares the epoch has sent the records up to
    /// `sequence`, which this one still has to get.
    #[must_use]
    pub const fn is_ahead(&self, sequence: u64) -> bool {
        let has_some = self.last > 0 && matches!(self.base, Base::Shared(_));
        has_some && sequence > self.last && sequence - self.last <= MOST_AHEAD
    }

    /// Returns the last revisions of at most `count` windows whose start is in `range`, oldest first: the newest
    /// windows, or the oldest with `oldest`.
    #[must_use]
    pub fn range(&self, range: RangeInclusive<Millis>, count: usize, oldest: bool) -> Vec<Arc<T>> {
        let mut by_start = BTreeMap::new();
        for record in self.closed.iter().filter(|record| range.contains(&record.start())) {
            by_start.insert(record.start(), record);
        }
        let surplus = if oldest { 0 } else { by_start.len().saturating_sub(count) };
        by_start.into_values().skip(surplus).take(count).cloned().collect()
    }

    /// Returns the last revisions of the newest `count` closed windows, oldest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<Arc<T>> {
        self.range(Millis::MIN..=Millis::MAX, count, false)
    }
}

impl Record for Kline {
    const KIND: &'static str = "kline";

    fn start(&self) -> Millis {
        self.start
    }

    fn confirm(&self) -> bool {
        self.confirm
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn with_sequence(&self, sequence: u64) -> Self {
        Self { sequence, ..self.clone() }
    }

    fn write(&self, out: &mut String) {
        encode::object(self, out);
    }

    fn longest_push(&self) -> usize {
        640
    }
}

impl Record for Point {
    const KIND: &'static str = "value";

    fn start(&self) -> Millis {
        self.start
    }

    fn confirm(&self) -> bool {
        self.confirm
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn with_sequence(&self, sequence: u64) -> Self {
        Self { sequence, ..self.clone() }
    }

    fn write(&self, out: &mut String) {
        encode::value(self, out);
    }

    fn longest_push(&self) -> usize {
        // The longest names, and a number with the maximum number of digits.
        768 + self.weight()
    }
}
