//! A buffer of published values with bounds for each publishing consumer: one that publishes too much never affects
//! another.
//!
//! Confirmed values wait in order; when there is no room the oldest is dropped. Provisional values conflate to the
//! newest of each series, and are dropped first. A consumer's share has room for the values of two boundaries for each
//! of its names, within a bound in bytes. Independent of who takes the values.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Point, ValueSeries};
use crate::conflated::Conflated;

/// Maximum number of values taken from one consumer before it is the next one's turn.
const TURN: usize = 64;
/// Bytes that a waiting value uses in addition to its own size.
const OVERHEAD: usize = size_of::<ValueSeries>() + size_of::<[usize; 8]>();
/// Total bytes that a waiting number uses.
const NUMBER_BYTES: usize = size_of::<Point>() + size_of::<[usize; 2]>() + OVERHEAD;
/// Maximum bytes of one consumer's values, however many series are watched.
const MAX_BYTES: usize = 64 << 20;

/// Waiting values of all consumers.
#[derive(Debug)]
pub struct PerConsumerBuffer {
    /// One share for each consumer that has published.
    shares: Vec<Share>,
    /// Index of the share whose turn it is.
    turn: usize,
    /// Bounds of each share, unless `burst` needs more.
    min: Bounds,
    /// Values of one name that can arrive shortly after each other: those of two boundaries.
    burst: usize,
}

/// Bounds of one consumer's waiting values.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    values: usize,
    bytes: usize,
}

/// What happened to other values when a value was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Provisional values that were replaced by a newer one.
    pub replaced: u64,
    /// Values that were dropped because there was no room.
    pub dropped: u64,
}

/// One consumer's waiting values.
#[derive(Debug)]
struct Share {
    consumer: Arc<str>,
    /// The names of its series; there are few.
    names: Vec<Arc<str>>,
    confirmed: VecDeque<Arc<Point>>,
    /// The newest provisional value of each series, in the order in which the series began to wait.
    provisional: Conflated<ValueSeries, Arc<Point>>,
    bytes: usize,
}

impl PerConsumerBuffer {
    /// Builds an empty buffer for `values` values of each consumer, of together at most `bytes` bytes.
    #[must_use]
    pub const fn new(values: usize, bytes: usize) -> Self {
        Self { shares: Vec::new(), turn: 0, min: Bounds { values, bytes }, burst: 0 }
    }

    /// Makes room for `burst` numbers of each name of a consumer, if that is more than the bounds of [`Self::new`].
    pub const fn set_burst(&mut self, burst: usize) {
        self.burst = burst;
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.iter().all(|share| share.len() == 0)
    }

    /// Returns how many values wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.iter().map(Share::len).sum()
    }

    /// Adds a value.
    pub fn push(&mut self, point: Arc<Point>) -> Effect {
        let (min, burst) = (self.min, self.burst);
        let Some(share) = self.share(&point.consumer) else { return Effect::default() };
        let replaced = share.add(point);
        Effect { replaced, dropped: share.drop_excess(min, burst) }
    }

    /// Puts confirmed values back that were taken and not used, in their order. Returns how many were dropped because
    /// there was no room.
    pub fn put_back(&mut self, points: Vec<Arc<Point>>) -> u64 {
        let (min, burst) = (self.min, self.burst);
        for point in points.into_iter().rev() {
            let Some(share) = self.share(&point.consumer) else { continue };
            share.bytes += weight(&point);
            share.confirmed.push_front(point);
        }
        self.shares.iter_mut().map(|share| share.drop_excess(min, burst)).sum()
    }

    /// Takes out at most `max` values: the consumers in turn, each one's confirmed values first and in order.
    pub fn take(&mut self, max: usize) -> Vec<Arc<Point>> {
        let (mut taken, mut idle) = (Vec::new(), 0);
        while taken.len() < max && idle < self.shares.len() {
            let at = self.turn % self.shares.len();
            let Some(share) = self.shares.get_mut(at) else { break };
            let (room, before) = ((max - taken.len()).min(TURN), taken.len());
            taken.extend((0..room).map_while(|_| share.pop()));
            idle = if taken.len() == before { idle + 1 } else { 0 };
            self.turn = at + 1;
        }
        taken
    }

    /// Removes everything. Returns how many values there were.
    pub fn clear(&mut self) -> usize {
        let count = self.len();
        self.shares.clear();
        count
    }

    /// Returns a consumer's share, which is created when it first publishes. There are few consumers, hence few shares.
    fn share(&mut self, consumer: &Arc<str>) -> Option<&mut Share> {
        if !self.shares.iter().any(|share| share.consumer == *consumer) {
            self.shares.push(Share::new(consumer.clone()));
        }
        self.shares.iter_mut().find(|share| share.consumer == *consumer)
    }
}

impl Share {
    fn new(consumer: Arc<str>) -> Self {
        let (confirmed, provisional) = (VecDeque::new(), Conflated::default());
        Self { consumer, names: Vec::new(), confirmed, provisional, bytes: 0 }
    }

    fn len(&self) -> usize {
        self.confirmed.len() + self.provisional.len()
    }

    /// Adds a value. Returns how many values it replaced.
    fn add(&mut self, point: Arc<Point>) -> u64 {
        // An emitter uses the same `Arc` for the same name, so that comparing pointers mostly suffices.
        if !self.names.iter().any(|name| Arc::ptr_eq(name, &point.name) || *name == point.name) {
            self.names.push(point.name.clone());
        }
        let series = point.value_series();
        self.bytes += weight(&point);
        let replaced = if point.confirm {
            let is_over = self.provisional.get(&series).is_some_and(|waiting| waiting.start <= point.start);
            self.confirmed.push_back(point);
            if is_over { self.provisional.remove(&series) } else { None }
        } else {
            self.provisional.replace(series, point)
        };
        self.bytes -= replaced.as_deref().map_or(0, weight);
        u64::from(replaced.is_some())
    }

    /// Drops the values that exceed the bounds. Returns how many.
    fn drop_excess(&mut self, min: Bounds, burst: usize) -> u64 {
        let numbers = burst.saturating_mul(self.names.len());
        let values = min.values.max(numbers);
        let bytes = min.bytes.max(numbers.saturating_mul(NUMBER_BYTES).min(MAX_BYTES));
        let mut dropped = 0;
        while self.len() > values || self.bytes > bytes {
            let first = self.provisional.pop_front().map(|(_, point)| point).or_else(|| self.confirmed.pop_front());
            let Some(point) = first else { break };
            self.bytes -= weight(&point);
            dropped += 1;
        }
        dropped
    }

    fn pop(&mut self) -> Option<Arc<Point>> {
        let point = self.confirmed.pop_front().or_else(|| self.provisional.pop_front().map(|(_, point)| point))?;
        self.bytes -= weight(&point);
        Some(point)
    }
}

fn weight(point: &Point) -> usize {
    point.weight() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::point;

    fn texts(taken: &[Arc<Point>]) -> Vec<String> {
        let text = |point: &Arc<Point>| {
            let mark = if point.confirm { "" } else { "?" };
            format!("{}/{} {}{mark} {}", point.consumer, point.name, point.start / 60_000, point.value)
        };
        taken.iter().map(text).collect()
    }

    #[test]
    fn confirmed_values_keep_their_order_and_provisional_ones_conflate() {
        let mut buffer = PerConsumerBuffer::new(100, 1 << 20);
        for given in [
            point("a", "x", 1, true, "1"),
            point("a", "x", 2, false, "2"),
            point("a", "y", 2, false, "3"),
            point("a", "x", 2, false, "4"),
            point("a", "y", 2, true, "5"),
            point("a", "x", 1, true, "6"),
        ] {
            buffer.push(given.into());
        }
        assert_eq!(buffer.len(), 4);
        assert_eq!(texts(&buffer.take(100)), ["a/x 1 1", "a/y 2 5", "a/x 1 6", "a/x 2? 4"]);
        assert!(buffer.is_empty() && buffer.shares[0].bytes == 0 && buffer.shares[0].provisional.is_empty());
    }

    #[test]
    fn a_flooding_consumer_does_not_affect_another() {
        let mut buffer = PerConsumerBuffer::new(10, 1 << 20);
        for window in 0..3 {
            buffer.push(point("quiet", "x", window, true, "1").into());
        }
        let dropped: u64 = (0..5_000).map(|at| buffer.push(point("flood", "x", at, true, "1").into()).dropped).sum();
        assert_eq!((dropped, buffer.len()), (4_990, 13));
        let taken = texts(&buffer.take(8));
        assert_eq!(taken.iter().filter(|text| text.starts_with("quiet")).count(), 3, "{taken:?}");
    }

    #[test]
    fn two_boundaries_of_each_name_fit_whatever_the_bounds() {
        let mut buffer = PerConsumerBuffer::new(10, 1 << 20);
        buffer.set_burst(2_000);
        let names: Vec<Arc<str>> = vec!["x".into(), "y".into()];
        let number = |name: &Arc<str>, at| Point {
            name: name.clone(),
            value: crate::emit::Value::Number(1.0),
            ..point("a", "x", at, true, "1")
        };
        let mut push = |at| names.iter().map(|name| buffer.push(number(name, at).into()).dropped).sum::<u64>();
        assert_eq!((0..2_000).map(&mut push).sum::<u64>(), 0);
        assert_eq!(push(2_000), 2, "one more of each");
        assert_eq!(buffer.len(), 4_000);
        buffer.set_burst(0);
        assert_eq!(buffer.push(number(&names[0], 2_001).into()).dropped, 3_991);
    }

    #[test]
    fn bytes_are_bounded_and_provisional_values_go_first() {
        let large = format!("\"{}\"", "t".repeat(1_000));
        let mut buffer = PerConsumerBuffer::new(1_000, 10_000);
        buffer.push(point("a", "x", 1, true, &large).into());
        let dropped: u64 =
            (0..50).map(|at| buffer.push(point("a", &format!("n{at}"), 2, false, &large).into()).dropped).sum();
        assert!(dropped >= 42 && buffer.shares[0].bytes <= 10_000, "{dropped}");
        assert_eq!(texts(&buffer.take(1)), [format!("a/x 1 {large}")], "the confirmed value was not dropped");
    }

    #[test]
    fn values_that_are_put_back_come_first_again() {
        let mut buffer = PerConsumerBuffer::new(3, 1 << 20);
        for window in 0..3 {
            buffer.push(point("a", "x", window, true, "1").into());
        }
        let taken = buffer.take(2);
        buffer.push(point("a", "x", 3, true, "1").into());
        assert_eq!(buffer.put_back(taken), 1, "there is no more room for the oldest");
        assert_eq!(texts(&buffer.take(9)), ["a/x 1 1", "a/x 2 1", "a/x 3 1"]);
    }
}
