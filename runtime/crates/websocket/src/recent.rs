//! The newest records of one topic, klines or values, and the numbers by which clients resume. Does not bound itself.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use klines_delivery::emit::Point;
use klines_delivery::encode;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;

/// What a topic of `/v1/stream` consists of.
pub trait Record {
    /// The `type` of its pushes.
    const KIND: &'static str;
    /// First millisecond of its window.
    fn start(&self) -> Millis;
    /// Whether its window is over.
    fn confirm(&self) -> bool;
    /// Its number in the topic.
    fn sequence(&self) -> u64;
    /// The same with another number.
    fn numbered(&self, sequence: u64) -> Self;
    /// Appends it as a JSON object.
    fn write(&self, out: &mut String);
    /// Bytes of a push of it, at most.
    fn longest_push(&self) -> usize;
}

/// The newest records of one topic.
#[derive(Debug)]
pub struct Recent<T> {
    /// Confirmed ones and revisions, by sequence.
    closed: VecDeque<Arc<T>>,
    open: Option<Arc<T>>,
    /// Sequence of the last confirmed one; 0 before the first.
    last: u64,
    /// How often the numbering broke.
    breaks: u32,
    /// The first sequence since the last break.
    whole_from: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { closed: VecDeque::new(), open: None, last: 0, breaks: 0, whole_from: 0 }
    }
}

impl<T: Record> Recent<T> {
    /// Keeps a record. Returns whether its number follows the last one; if not, records were lost before it and the
    /// topic starts anew. An update gets the number that the next confirmed record will have, should a revision have
    /// overtaken it.
    pub fn keep(&mut self, record: &mut Arc<T>) -> bool {
        let sequence = record.sequence();
        if !record.confirm() {
            if sequence <= self.last {
                *record = Arc::new(record.numbered(self.last + 1));
            }
            self.open = Some(record.clone());
            return true;
        }
        let is_next = sequence == self.last + 1;
        if !is_next || self.last == 0 {
            self.whole_from = sequence;
        }
        self.breaks += u32::from(!is_next);
        self.last = sequence;
        self.closed.push_back(record.clone());
        // A revision came between: what is open carries the number that it will now get.
        let open = self.open.take().filter(|open| open.start() > record.start());
        self.open = open.map(|open| Arc::new(open.numbered(sequence + 1)));
        is_next
    }

    /// Forgets the oldest confirmed ones but for so many; returns how many those were.
    pub fn shorten(&mut self, most: usize) -> usize {
        let surplus = self.closed.len().saturating_sub(most);
        self.closed.drain(..surplus);
        surplus
    }

    /// Forgets the oldest confirmed one.
    pub fn pop(&mut self) -> Option<Arc<T>> {
        self.closed.pop_front()
    }

    /// Forgets the newest update.
    pub fn forget_open(&mut self) {
        self.open = None;
    }

    /// Confirmed ones that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.closed.len()
    }

    /// Sequence of the last confirmed one; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// How often the numbering broke.
    #[must_use]
    pub const fn breaks(&self) -> u32 {
        self.breaks
    }

    /// The newest update of the open window.
    #[must_use]
    pub const fn open(&self) -> Option<&Arc<T>> {
        self.open.as_ref()
    }

    /// Everything confirmed after `sequence`, in order, or nothing if some of it is no longer there.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Option<Vec<Arc<T>>> {
        if sequence == self.last {
            return Some(Vec::new());
        }
        let first = self.closed.front().map_or(u64::MAX, |record| record.sequence()).max(self.whole_from);
        if sequence > self.last || sequence.saturating_add(1) < first {
            return None;
        }
        Some(self.closed.iter().filter(|record| record.sequence() > sequence).cloned().collect())
    }

    /// The last revision of at most `count` closed ones whose start lies in `range`, oldest first: the newest of them,
    /// or with `oldest` the oldest.
    #[must_use]
    pub fn range(&self, range: RangeInclusive<Millis>, count: usize, oldest: bool) -> Vec<Arc<T>> {
        let mut by_start = BTreeMap::new();
        for record in self.closed.iter().filter(|record| range.contains(&record.start())) {
            by_start.insert(record.start(), record);
        }
        let surplus = if oldest { 0 } else { by_start.len().saturating_sub(count) };
        by_start.into_values().skip(surplus).take(count).cloned().collect()
    }

    /// The last revision of the newest `count` closed ones, oldest first.
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

    fn numbered(&self, sequence: u64) -> Self {
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

    fn numbered(&self, sequence: u64) -> Self {
        Self { sequence, ..self.clone() }
    }

    fn write(&self, out: &mut String) {
        encode::value(self, out);
    }

    fn longest_push(&self) -> usize {
        // The longest names, and a number with all the digits that one can have.
        768 + self.weight()
    }
}
