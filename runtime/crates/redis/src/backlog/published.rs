//! The backlog of the values that consumers publish: in memory, with a bound for each consumer, and never on disk.
//!
//! Confirmed values wait in order and the oldest are dropped when there is no room. Provisional values conflate; those
//! in flight when the connection is lost are not sent again.

use std::sync::Arc;

use klines_delivery::emit::Point;
use klines_delivery::emit::per_consumer::PerConsumerBuffer;

use super::{Backlog, Batch, ORDER, Tally, count};
use crate::journal::Journal;

/// Bounds of one consumer's values: their number, enough for two boundaries of a whole exchange, and their bytes,
/// enough for as many numbers.
const MAX: (usize, usize) = (65_536, 16 << 20);
/// Maximum number of values in one batch.
const BATCH: usize = 64;

/// A backlog of the values that consumers publish.
pub(crate) struct Published {
    buffer: PerConsumerBuffer,
    journal: Journal,
    tally: Arc<Tally>,
}

impl Published {
    pub(crate) const fn new(journal: Journal, tally: Arc<Tally>) -> Self {
        Self { buffer: PerConsumerBuffer::new(MAX.0, MAX.1), journal, tally }
    }

    /// Counts and logs dropped values.
    fn count_dropped(&mut self, dropped: u64) {
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
            let effect = self.buffer.push(point);
            self.tally.overtaken.fetch_add(effect.replaced, ORDER);
            self.count_dropped(effect.dropped);
        }
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    fn next(&mut self) -> Option<Batch<Point>> {
        let items = self.buffer.take(BATCH);
        (!items.is_empty()).then_some(Batch { items, mark: None })
    }

    fn acknowledged(&mut self, batch: &Batch<Point>) {
        count(&self.tally.acknowledged, batch.items.len());
    }

    fn requeue(&mut self, sent: Vec<Batch<Point>>) {
        let sent = sent.into_iter().flat_map(|batch| batch.items);
        let (confirmed, provisional): (Vec<_>, Vec<_>) = sent.partition(|point| point.confirm);
        count(&self.tally.overtaken, provisional.len());
        let dropped = self.buffer.put_back(confirmed);
        self.count_dropped(dropped);
    }

    fn on_outage(&mut self) {}

    fn on_connected(&mut self) {
        self.journal.has_room();
    }

    fn finish(&mut self) {
        let left = self.buffer.clear();
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

    fn starts(batch: &Batch<Point>) -> Vec<i64> {
        batch.items.iter().map(|point| point.start / 60_000).collect()
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
        backlog.requeue(vec![first]);
        let second = backlog.next().unwrap();
        assert_eq!(starts(&second), [0, 1, 2, 4, 5]);
        backlog.acknowledged(&second);
        give(&mut backlog, "flood", 0..80_000, true);
        give(&mut backlog, "mine", 6..9, true);
        backlog.finish();
        let Totals { taken, acknowledged, overtaken, dropped, .. } = tally.totals();
        assert_eq!((taken, acknowledged, overtaken, dropped), (80_010, 5, 2, 80_003));
    }
}
