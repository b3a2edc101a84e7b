//! What waits for one consumer: klines that pass its filter, values that other consumers publish, and the count of
//! dropped klines. Without threads and locks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use klines_domain::kline::{Batch, Kline};
use klines_domain::series::SeriesId;

use super::klines::{KlineBuffer, MAX_BYTES, Taken};
use super::{Depth, Grouping};
use crate::call::{Delivery, Subscription};
use crate::emit::Point;
use crate::emit::per_consumer::PerConsumerBuffer;
use crate::filter::{Filter, Watched};
use crate::history::Waiting;

/// Bounds of one publisher's waiting values: their number and their bytes.
pub(super) const VALUES: (usize, usize) = (8_192, 4 << 20);
/// Maximum number of values in one delivery.
pub(super) const VALUES_A_DELIVERY: usize = 1_024;

/// Everything that waits for one consumer.
#[derive(Debug)]
pub(super) struct Buffer {
    /// What the operator allows; after each start the consumer's subscription narrows it to `filter`.
    allowed: Filter,
    filter: Filter,
    /// The watched symbols and intervals, as far as they are known.
    watched: Arc<Watched>,
    klines: KlineBuffer,
    values: PerConsumerBuffer,
    /// Closed klines dropped since the last delivery.
    pub(super) lost: u64,
    /// When the oldest closed kline of the last delivery arrived.
    oldest_taken: Option<Instant>,
    /// Whether the consumer takes nothing for now: new closed klines are counted as lost.
    pub(super) suspended: bool,
    /// The batches that have been published to it.
    pub(super) pushed: u64,
}

impl Buffer {
    pub(super) fn new(configured: usize, allowed: &Subscription) -> Self {
        let allowed = Filter::new(allowed);
        Self {
            filter: allowed.clone(),
            allowed,
            watched: Arc::default(),
            klines: KlineBuffer::new(configured, MAX_BYTES),
            values: PerConsumerBuffer::new(VALUES.0, VALUES.1),
            lost: 0,
            oldest_taken: None,
            suspended: false,
            pushed: 0,
        }
    }

    /// Adds the klines of batch `number` that pass the filter. Returns how many closed klines were lost:
    /// the ones dropped to make room, or all new ones while the queue is suspended.
    pub(super) fn push(&mut self, number: u64, batch: &Batch) -> u64 {
        self.pushed = number + 1;
        let lost = if self.suspended {
            batch.klines.iter().filter(|kline| kline.confirm && self.filter.passes(kline)).count() as u64
        } else {
            self.klines.push(number, batch, &self.filter)
        };
        self.lost += lost;
        lost
    }

    /// Adds the values that the operator allows, if `takes` is set and the queue is not suspended. Returns how many
    /// were dropped.
    pub(super) fn push_values(&mut self, points: &[Arc<Point>], takes: bool) -> u64 {
        let Self { allowed, values, suspended, .. } = self;
        let takes = takes && !*suspended;
        let passing = points.iter().filter(|point| allowed.passes_value(point));
        passing.map(|point| if takes { values.push(point.clone()).dropped } else { 1 }).sum()
    }

    /// Returns the klines that pass the filter.
    pub(super) fn passing(&self, mut klines: Vec<Arc<Kline>>) -> Vec<Arc<Kline>> {
        klines.retain(|kline| self.filter.passes(kline));
        klines
    }

    /// Returns the klines of a batch that pass the filter.
    pub(super) fn filtered(&self, batch: &Batch) -> Arc<[Arc<Kline>]> {
        batch.klines.iter().filter(|kline| self.filter.passes(kline)).cloned().collect()
    }

    /// Sets the watched symbols and intervals, and makes room for two of the largest boundaries that pass the filter.
    pub(super) fn watch(&mut self, watched: Arc<Watched>) {
        self.values.set_burst(2 * self.allowed.series(&watched));
        self.watched = watched;
        self.update_boundary();
    }

    /// Narrows the filter to what the consumer subscribes to and the operator allows. Removes klines that no longer
    /// pass. Returns whether any kline can pass.
    pub(super) fn narrow(&mut self, wish: &Subscription) -> bool {
        self.filter = self.allowed.clone().and(wish);
        self.klines.retain(&self.filter);
        self.update_boundary();
        !self.filter.passes_nothing()
    }

    /// Updates the size of a boundary after the filter or the watched symbols have changed.
    fn update_boundary(&mut self) {
        self.klines.set_boundary(self.filter.series(&self.watched));
    }

    /// Takes out one delivery.
    pub(super) fn take(&mut self, grouping: Grouping) -> Delivery {
        let Taken { klines, oldest, batches } = self.klines.take(grouping);
        self.oldest_taken = oldest;
        Delivery {
            klines: klines.into(),
            lost: std::mem::take(&mut self.lost),
            values: self.values.take(VALUES_A_DELIVERY),
            ending: false,
            batches,
        }
    }

    /// Removes everything. Returns the closed klines.
    pub(super) fn forget(&mut self) -> Vec<Arc<Kline>> {
        self.values.clear();
        self.klines.forget()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.klines.is_empty() && self.values.is_empty()
    }

    /// Returns whether the next delivery of the queue would have no klines, values or losses, and the queue takes
    /// klines.
    pub(super) fn has_nothing_to_deliver(&self) -> bool {
        self.is_empty() && self.lost == 0 && !self.suspended
    }

    /// Returns whether at least half of it is free.
    pub(super) fn has_room(&self) -> bool {
        self.klines.closed() <= self.klines.capacity() / 2 && self.values.len() <= VALUES.0 / 2
    }

    /// Returns how long ago the oldest closed kline of the last delivery arrived; `None` if there was none.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.oldest_taken.map(|at| at.elapsed())
    }

    /// Returns the confirmed klines of a series that wait.
    pub(super) fn waiting(&self, series: SeriesId) -> Waiting {
        self.klines.waiting(series)
    }

    pub(super) fn depth(&self) -> Depth {
        let klines = &self.klines;
        Depth {
            closed: klines.closed(),
            updates: klines.updates(),
            capacity: klines.capacity(),
            boundary: klines.boundary(),
        }
    }
}
