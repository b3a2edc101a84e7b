//! The backlog of what consumers publish: bounded in memory for each of them, and never on disk.
//!
//! Confirmed values wait in order and the oldest are dropped when there is no room; provisional ones conflate, and those
//! on their way when Redis is lost are not sent again.

use std::sync::Arc;

use klines_delivery::emit::Point;
use klines_delivery::emit::per_consumer::PerConsumerBuffer;

use super::{Backlog, ORDER, Parcel, Tally, count};
use crate::journal::Journal;

/// Values of one consumer that wait, and their bytes: two boundaries of a whole exchange, and for numbers as many bytes.
const MOST: (usize, usize) = (65_536, 16 << 20);
/// Values in one parcel.
const PARCEL: usize = 64;

/// See the module.
pub(crate) struct Published {
    held: PerConsumerBuffer,
    journal: Journal,
    tally: Arc<Tally>,
}

impl Published {
    pub(crate) const fn new(journal: Journal, tally: Arc<Tally>) -> Self {
        Self { held: PerConsumerBuffer::new(MOST.0, MOST.1), journal, tally }
    }

    fn drop_some(&mut self, dropped: u64) {
        if dropped > 0 {
            self.tally.dropped.fetch_add(dropped, ORDER);
            self.journal.dropping_values(dropped);
        }
    }
}

impl Backlog for Published {
    type Item = Point;

    fn admit(&mut self, points: Vec<Arc<Point>>) {
        count(&self.tally.taken, points.len());
        for point in points {
            let effect = self.held.push(point);
            self.tally.overtaken.fetch_add(effect.replaced, ORDER);
            self.drop_some(effect.dropped);
        }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    fn next(&mut self) -> Option<Parcel<Point>> {
        let items = self.held.take(PARCEL);
        (!items.is_empty()).then_some(Parcel { items, mark: None })
    }

    fn acknowledged(&mut self, parcel: &Parcel<Point>) {
        count(&self.tally.acknowledged, parcel.items.len());
    }

    fn recall(&mut self, sent: Vec<Parcel<Point>>) {
        let sent = sent.into_iter().flat_map(|parcel| parcel.items);
        let (confirmed, provisional): (Vec<_>, Vec<_>) = sent.partition(|point| point.confirm);
        count(&self.tally.overtaken, provisional.len());
        let dropped = self.held.put_back(confirmed);
        self.drop_some(dropped);
    }

    fn away(&mut self) {}

    fn back(&mut self) {
        self.journal.has_room();
    }

    fn conclude(&mut self) {
        let left = self.held.clear();
        count(&self.tally.dropped, left);
        self.journal.ended_values(&self.tally.totals());
    }
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture::point;

    use super::*;
    use crate::tally::Totals;

    fn give(backlog: &mut Published, consumer: &str, windows: std::ops::Range<i64>, confirm: bool) {
        let points = windows.map(|window| Arc::new(point(consumer, "x", window, confirm, "1")));
        backlog.admit(points.collect());
    }

    fn starts(parcel: &Parcel<Point>) -> Vec<i64> {
        parcel.items.iter().map(|point| point.start / 60_000).collect()
    }

    #[test]
    fn confirmed_values_that_were_lost_are_sent_again_in_order_and_all_are_accounted_for() {
        let tally = Arc::new(Tally::default());
        let mut backlog = Published::new(Journal::new("redis", "values", "nowhere"), tally.clone());
        give(&mut backlog, "mine", 0..3, true);
        give(&mut backlog, "mine", 3..5, false);
        let first = backlog.next().unwrap();
        assert_eq!(starts(&first), [0, 1, 2, 4]);
        give(&mut backlog, "mine", 4..6, true);
        backlog.recall(vec![first]);
        let second = backlog.next().unwrap();
        assert_eq!(starts(&second), [0, 1, 2, 4, 5]);
        backlog.acknowledged(&second);
        give(&mut backlog, "flood", 0..80_000, true);
        give(&mut backlog, "mine", 6..9, true);
        backlog.conclude();
        let Totals { taken, acknowledged, overtaken, dropped, .. } = tally.totals();
        assert_eq!((taken, acknowledged, overtaken, dropped), (80_010, 5, 2, 80_003));
    }
}
