//! Values that wait for somebody who takes them, each consumer's within bounds of its own: what one publishes in excess
//! costs nobody else anything.
//!
//! Confirmed values wait in order; when there is no room the oldest goes. Provisional ones conflate to the newest of
//! each series, and are the first to go. A consumer's share holds what two boundaries bring of each of its names, within
//! bytes. Who takes them is not known here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Point, ValueSeries};
use crate::conflated::Conflated;

/// Values of one consumer before the next one has its turn.
const A_TURN: usize = 64;
/// What a value that waits takes beside itself, in bytes.
const PLACE: usize = size_of::<ValueSeries>() + size_of::<[usize; 8]>();
/// What a number that waits takes in all, in bytes.
const NUMBER: usize = size_of::<Point>() + size_of::<[usize; 2]>() + PLACE;
/// Bytes of one consumer's values, however many series are watched.
const MOST_BYTES: usize = 64 << 20;

/// Values that wait.
#[derive(Debug)]
pub struct PerConsumerBuffer {
    /// One for each consumer that has published.
    shares: Vec<Share>,
    /// Whose turn it is.
    turn: usize,
    least: Bounds,
    /// Values of one name that can come soon after each other: those of two boundaries.
    burst: usize,
}

/// Values of one consumer that wait, and their bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    values: usize,
    bytes: usize,
}

/// What became of others when a value came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Provisional values that a newer one took the place of.
    pub replaced: u64,
    /// Values that were given up for want of room.
    pub dropped: u64,
}

/// One consumer's values.
#[derive(Debug)]
struct Share {
    consumer: Arc<str>,
    /// The names of its series, few.
    names: Vec<Arc<str>>,
    confirmed: VecDeque<Arc<Point>>,
    /// The newest provisional one of each series, in the order in which their series began to wait.
    provisional: Conflated<ValueSeries, Arc<Point>>,
    bytes: usize,
}

impl PerConsumerBuffer {
    /// Builds an empty store for so many values of each consumer, of so many bytes together.
    #[must_use]
    pub const fn new(values: usize, bytes: usize) -> Self {
        Self { shares: Vec::new(), turn: 0, least: Bounds { values, bytes }, burst: 0 }
    }

    /// Holds so many numbers of each name of a consumer from now on, where that is more than it was built for.
    pub const fn expect(&mut self, burst: usize) {
        self.burst = burst;
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.iter().all(|share| share.len() == 0)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.iter().map(Share::len).sum()
    }

    /// Takes a value in.
    pub fn push(&mut self, point: Arc<Point>) -> Effect {
        let (least, burst) = (self.least, self.burst);
        let Some(share) = self.share(&point.consumer) else { return Effect::default() };
        let replaced = share.add(point);
        Effect { replaced, dropped: share.shrink(least, burst) }
    }

    /// Puts confirmed values back that were taken and not used, in their order; returns how many had no room.
    pub fn put_back(&mut self, points: Vec<Arc<Point>>) -> u64 {
        let (least, burst) = (self.least, self.burst);
        for point in points.into_iter().rev() {
            let Some(share) = self.share(&point.consumer) else { continue };
            share.bytes += weight(&point);
            share.confirmed.push_front(point);
        }
        self.shares.iter_mut().map(|share| share.shrink(least, burst)).sum()
    }

    /// Takes at most so many out: each consumer's confirmed ones first and in order, the consumers in turn.
    pub fn take(&mut self, most: usize) -> Vec<Arc<Point>> {
        let (mut taken, mut idle) = (Vec::new(), 0);
        while taken.len() < most && idle < self.shares.len() {
            let at = self.turn % self.shares.len();
            let Some(share) = self.shares.get_mut(at) else { break };
            let (room, before) = ((most - taken.len()).min(A_TURN), taken.len());
            taken.extend((0..room).map_while(|_| share.pop()));
            idle = if taken.len() == before { idle + 1 } else { 0 };
            self.turn = at + 1;
        }
        taken
    }

    /// Forgets everything; returns how many there were.
    pub fn clear(&mut self) -> usize {
        let count = self.len();
        self.shares.clear();
        count
    }

    /// One consumer's share, made at first sight. There are as many as there are consumers: few.
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

    /// Returns how many values it took the place of.
    fn add(&mut self, point: Arc<Point>) -> u64 {
        // An emitter gives one `Arc` a name.
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

    /// Gives up what has no room; returns how many.
    fn shrink(&mut self, least: Bounds, burst: usize) -> u64 {
        let numbers = burst.saturating_mul(self.names.len());
        let values = least.values.max(numbers);
        let bytes = least.bytes.max(numbers.saturating_mul(NUMBER).min(MOST_BYTES));
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
    point.weight() + PLACE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::point;

    fn told(taken: &[Arc<Point>]) -> Vec<String> {
        let text = |point: &Arc<Point>| {
            let mark = if point.confirm { "" } else { "?" };
            format!("{}/{} {}{mark} {}", point.consumer, point.name, point.start / 60_000, point.value)
        };
        taken.iter().map(text).collect()
    }

    #[test]
    fn confirmed_values_come_in_order_and_provisional_ones_conflate() {
        let mut held = PerConsumerBuffer::new(100, 1 << 20);
        for given in [
            point("a", "x", 1, true, "1"),
            point("a", "x", 2, false, "2"),
            point("a", "y", 2, false, "3"),
            point("a", "x", 2, false, "4"),
            point("a", "y", 2, true, "5"),
            point("a", "x", 1, true, "6"),
        ] {
            held.push(given.into());
        }
        assert_eq!(held.len(), 4);
        assert_eq!(told(&held.take(100)), ["a/x 1 1", "a/y 2 5", "a/x 1 6", "a/x 2? 4"]);
        assert!(held.is_empty() && held.shares[0].bytes == 0 && held.shares[0].provisional.is_empty());
    }

    #[test]
    fn one_that_floods_costs_another_nothing() {
        let mut held = PerConsumerBuffer::new(10, 1 << 20);
        for window in 0..3 {
            held.push(point("quiet", "x", window, true, "1").into());
        }
        let dropped: u64 = (0..5_000).map(|at| held.push(point("flood", "x", at, true, "1").into()).dropped).sum();
        assert_eq!((dropped, held.len()), (4_990, 13));
        let taken = told(&held.take(8));
        assert_eq!(taken.iter().filter(|text| text.starts_with("quiet")).count(), 3, "{taken:?}");
    }

    #[test]
    fn two_boundaries_of_each_name_fit_whatever_the_bounds() {
        let mut held = PerConsumerBuffer::new(10, 1 << 20);
        held.expect(2_000);
        let names: Vec<Arc<str>> = vec!["x".into(), "y".into()];
        let number = |name: &Arc<str>, at| Point {
            name: name.clone(),
            value: crate::emit::Value::Number(1.0),
            ..point("a", "x", at, true, "1")
        };
        let mut push = |at| names.iter().map(|name| held.push(number(name, at).into()).dropped).sum::<u64>();
        assert_eq!((0..2_000).map(&mut push).sum::<u64>(), 0);
        assert_eq!(push(2_000), 2, "one more of each");
        assert_eq!(held.len(), 4_000);
        held.expect(0);
        assert_eq!(held.push(number(&names[0], 2_001).into()).dropped, 3_991);
    }

    #[test]
    fn bytes_are_bounded_and_provisional_values_go_first() {
        let large = format!("\"{}\"", "t".repeat(1_000));
        let mut held = PerConsumerBuffer::new(1_000, 10_000);
        held.push(point("a", "x", 1, true, &large).into());
        let dropped: u64 =
            (0..50).map(|at| held.push(point("a", &format!("n{at}"), 2, false, &large).into()).dropped).sum();
        assert!(dropped >= 42 && held.shares[0].bytes <= 10_000, "{dropped}");
        assert_eq!(told(&held.take(1)), [format!("a/x 1 {large}")], "it was not pushed out");
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let mut held = PerConsumerBuffer::new(3, 1 << 20);
        for window in 0..3 {
            held.push(point("a", "x", window, true, "1").into());
        }
        let taken = held.take(2);
        held.push(point("a", "x", 3, true, "1").into());
        assert_eq!(held.put_back(taken), 1, "the oldest has no room any more");
        assert_eq!(told(&held.take(9)), ["a/x 1 1", "a/x 2 1", "a/x 3 1"]);
    }
}
