//! Distributes every batch to every consumer's queue. Never waits for a consumer; independent of the kinds of
//! consumers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use klines_domain::kline::Batch;

use super::acknowledged::Acknowledgements;
use super::filter::Watched;
use super::inline::InlineDelivery;
use super::queue::Queue;
use super::stats::{Durations, Histogram, Stats};
use super::tap::Taps;
use super::trusted_work::TrustedWork;

/// Distributes batches from ingest to the consumers. Klines are shared, never copied.
#[derive(Debug, Default)]
pub struct Hub {
    /// Trusted consumers first, so that untrusted ones are woken after them. Last those without an instance: what they store
    /// has reached every consumer's queue. Ingest holds this lock for a few pushes; only changes
    /// of the consumers and [`Hub::watch`] hold it otherwise, and briefly [`Hub::wait_for_room`].
    outlets: Mutex<Vec<Outlet>>,
    /// The watched symbols and intervals, once they are known.
    watched: Mutex<Arc<Watched>>,
    published: AtomicU64,
    trusted_work: Arc<TrustedWork>,
    closing: Histogram,
    acknowledgements: Acknowledgements,
    taps: Taps,
}

/// Where the klines of one consumer go.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) queue: Arc<Queue>,
    pub(super) stats: Arc<Stats>,
    /// What may deliver instead of the queue.
    pub(super) inline: Arc<InlineDelivery>,
    pub(super) rank: Rank,
}

/// The order in which consumers receive a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Trusted,
    Untrusted,
    /// It stores klines.
    Store,
}

impl Outlet {
    /// Delivers a batch inline, or enqueues it. A full queue drops its oldest closed klines, which are counted.
    fn deliver(&self, number: u64, batch: &Batch) {
        if self.inline.deliver(number, batch, &self.queue, &self.stats) {
            return;
        }
        let lost = self.queue.push(number, batch);
        if lost > 0 {
            self.stats.count_lost_in_queue(lost);
        }
    }
}

impl Hub {
    /// Builds a hub without consumers. A consumer does not receive batches that are published before it is added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the same with taps that others have, too.
    #[must_use]
    pub fn with_taps(self, taps: Taps) -> Self {
        Self { taps, ..self }
    }

    /// Returns a hub whose consumers work beside those of this one: its untrusted consumers yield to the trusted ones of both.
    /// Nobody taps it.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { trusted_work: self.trusted_work.clone(), ..Self::default() }
    }

    /// Returns its taps.
    #[must_use]
    pub const fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Adds a queue without a consumer, which receives every later batch, after the consumers.
    pub fn add(&self, queue: Arc<Queue>, stats: Arc<Stats>) {
        self.exchange(None, Some(Outlet { queue, stats, inline: Arc::default(), rank: Rank::Store }));
    }

    /// Puts a consumer in the place of another one. If there are both, every batch reaches exactly one of them.
    pub(super) fn exchange(&self, old: Option<&Arc<Queue>>, new: Option<Outlet>) {
        // All happens under this lock, so that a set that changes meanwhile reaches the queue from here or from
        // `watch`.
        let mut outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.retain(|outlet| old.is_none_or(|old| !Arc::ptr_eq(old, &outlet.queue)));
        if let Some(new) = new {
            new.queue.watch(self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone());
            let at = outlets.partition_point(|outlet| outlet.rank <= new.rank);
            outlets.insert(at, new);
        }
    }

    /// Sets the watched symbols and intervals: every queue then holds two of the largest boundaries that can pass its
    /// filter.
    pub fn watch(&self, watched: Watched) {
        let watched = Arc::new(watched);
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&watched);
        for outlet in &*self.outlets.lock().unwrap_or_else(PoisonError::into_inner) {
            outlet.queue.watch(watched.clone());
        }
    }

    /// Publishes a batch to every queue. A full queue drops its oldest closed klines, which are counted.
    pub fn publish(&self, batch: &Batch) {
        if batch.klines.is_empty() {
            return;
        }
        self.note_closing(batch);
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        for outlet in &*self.outlets.lock().unwrap_or_else(PoisonError::into_inner) {
            outlet.deliver(number, batch);
        }
        self.taps.klines(batch);
    }

    /// Returns the work of its trusted consumers.
    #[must_use]
    pub fn trusted_work(&self) -> &Arc<TrustedWork> {
        &self.trusted_work
    }

    /// Returns what its consumers have acknowledged.
    #[must_use]
    pub const fn acknowledgements(&self) -> &Acknowledgements {
        &self.acknowledgements
    }

    /// Returns the number of batches published so far.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Returns how long after the end of a window its closed kline was emitted, by the exchange's clock: measured once
    /// for each boundary, with its first kline. Corrections do not count.
    #[must_use]
    pub fn closing(&self) -> Durations {
        self.closing.read()
    }

    /// Returns the queues in the order in which they receive a batch.
    #[cfg(test)]
    pub(super) fn queues(&self) -> Vec<Arc<Queue>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|outlet| outlet.queue.clone()).collect()
    }

    fn note_closing(&self, batch: &Batch) {
        if let Some(kline) = batch.klines.first().filter(|kline| kline.confirm && kline.revision == 0) {
            self.closing.add(Duration::from_millis((kline.emitted - kline.end - 1).unsigned_abs()));
        }
    }

    /// Returns whether every queue is at most half full, so that the next batch fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.iter().all(|outlet| outlet.queue.has_room())
    }

    /// Waits until every queue is at most half full, so that the next batch fits. Only for a replay: a live feed never
    /// waits for a consumer.
    pub fn wait_for_room(&self) {
        let queues: Vec<_> = {
            let outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
            outlets.iter().map(|outlet| outlet.queue.clone()).collect()
        };
        for queue in queues {
            queue.wait_for_room();
        }
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::symbol::Symbol;

    use super::*;
    use crate::fixture::{batch, everything, kline};
    use crate::queue::{Grouping, Popped};

    #[test]
    fn watched_symbols_reach_queues_that_are_added_before_and_after() {
        let hub = Hub::new();
        let queues = [0; 2].map(|_| Arc::new(Queue::new(1, &everything())));
        let watched = |count: usize| Watched {
            symbols: (0..count).map(|at| Symbol::new(&format!("S{at}")).unwrap()).collect(),
            intervals: vec!["1s".parse().unwrap(), "1m".parse().unwrap()],
        };
        hub.add(queues[0].clone(), Arc::default());
        hub.watch(watched(7));
        hub.add(queues[1].clone(), Arc::default());
        assert_eq!(queues.each_ref().map(|queue| queue.depth().capacity), [28, 28]);
        hub.watch(watched(9));
        assert_eq!(queues.each_ref().map(|queue| queue.depth().capacity), [36, 36]);
    }

    #[test]
    fn a_full_queue_costs_only_its_own_consumer() {
        let hub = Hub::new();
        let queues = [1, 10].map(|capacity| {
            let (queue, stats) = (Arc::new(Queue::new(capacity, &everything())), Arc::new(Stats::default()));
            hub.add(queue.clone(), stats.clone());
            (queue, stats)
        });
        for window in 0..3 {
            hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
        }
        let found = queues.map(|(queue, stats)| match queue.pop(Grouping::UpTo(64)) {
            Popped::Delivery(delivery) => (delivery.klines.len(), delivery.lost, stats.snapshot().lost()),
            other => panic!("{other:?}"),
        });
        // Two boundaries of one kline fit into the smallest queue.
        assert_eq!(found, [(2, 1, 1), (3, 0, 0)]);
    }
}
