//! How far a consumer has got: what it gets of earlier runs first, and what it has acknowledged of this one.

use std::collections::VecDeque;
use std::sync::Arc;

use klines_domain::kline::Kline;
use tracing::{info, warn};

use super::Shared;
use crate::acknowledged::Acknowledged;
use crate::call::Delivery;
use crate::missed::Missed;
use crate::queue::Grouping;

/// The most klines of earlier runs in one delivery, if deliveries are boundaries.
const MAX_MISSED: usize = 1_024;

/// The progress of a consumer.
pub struct Progress {
    acknowledged: Arc<Acknowledged>,
    /// Klines of earlier runs; `None` if there are no more.
    missed: Option<Box<dyn Missed>>,
    waiting: VecDeque<Arc<Kline>>,
    /// How many of them have been delivered.
    delivered: u64,
    /// The batches of this run that have been accepted, and may not have arrived yet.
    accepted: u64,
}

impl Progress {
    pub fn new(acknowledged: Arc<Acknowledged>, missed: Option<Box<dyn Missed>>) -> Self {
        if missed.is_none() {
            acknowledged.catch_up();
        }
        Self { acknowledged, missed, waiting: VecDeque::new(), delivered: 0, accepted: 0 }
    }

    /// The consumer has accepted what brings it to this number of batches. `is_settled` if all of it has arrived.
    pub fn accepted(&mut self, batches: u64, is_settled: bool) {
        self.accepted = self.accepted.max(batches);
        self.settled(is_settled);
    }

    /// Everything that the consumer has accepted has arrived, if `is_settled`.
    pub fn settled(&self, is_settled: bool) {
        self.acknowledged.accept(self.accepted, is_settled);
    }

    /// The consumer has stopped, and nothing is left that it has not acknowledged.
    pub fn finished(&self) {
        self.acknowledged.finish();
    }

    /// Returns the next delivery of klines of earlier runs; `None` if there are no more.
    pub fn next_missed(&mut self, shared: &Shared, grouping: Grouping) -> Option<Delivery> {
        while self.waiting.is_empty() && !shared.queue.is_cancelled() {
            match self.missed.as_mut()?.next() {
                Ok(klines) if klines.is_empty() => self.catch_up(shared),
                Ok(klines) => self.waiting.extend(shared.queue.passing(klines)),
                Err(error) => {
                    let consumer = &shared.name;
                    warn!(consumer, %error, "consumer does not get what it has missed in earlier runs: it cannot be read");
                    self.catch_up(shared);
                }
            }
        }
        let most = if let Grouping::UpTo(most) = grouping { most } else { MAX_MISSED };
        let klines: Arc<[_]> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        self.delivered += klines.len() as u64;
        (!klines.is_empty()).then(|| Delivery { klines, ..Delivery::default() })
    }

    fn catch_up(&mut self, shared: &Shared) {
        self.missed = None;
        self.acknowledged.catch_up();
        if self.delivered > 0 {
            info!(
                consumer = shared.name,
                klines = self.delivered,
                "consumer has got what it had missed in earlier runs"
            );
        }
    }
}
