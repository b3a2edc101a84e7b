//! How far each consumer has got, so that the next run can go on from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::queue::Queue;

/// What one consumer has acknowledged.
#[derive(Debug)]
pub struct Acknowledged {
    /// Where its klines wait.
    queue: Arc<Queue>,
    has_caught_up: AtomicBool,
    batches: AtomicU64,
    /// Whether everything that it has accepted has arrived.
    is_settled: AtomicBool,
}

impl Acknowledged {
    /// The consumer has acknowledged every kline of earlier runs that it is to get.
    pub fn catch_up(&self) {
        self.has_caught_up.store(true, Ordering::Release);
    }

    /// The consumer has accepted the first `batches` batches of this run, and acknowledged them if `is_settled`.
    pub fn accept(&self, batches: u64, is_settled: bool) {
        self.is_settled.store(is_settled, Ordering::Release);
        if is_settled {
            self.batches.fetch_max(batches, Ordering::Release);
        }
    }

    /// The consumer has acknowledged everything that was published in this run.
    pub fn finish(&self) {
        self.batches.fetch_max(self.queue.pushed(), Ordering::Release);
    }

    /// Returns whether the consumer has failed or is quarantined, and waits for an order.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.queue.is_resting()
    }

    /// Returns of how many batches of this run it has acknowledged everything; `None` while klines of earlier runs are to
    /// come.
    #[must_use]
    pub fn batches(&self) -> Option<u64> {
        if !self.has_caught_up.load(Ordering::Acquire) {
            return None;
        }
        // If nothing waits, it is not behind what its filter leaves out.
        let idle = self.queue.pushed_if_idle().filter(|_| self.is_settled.load(Ordering::Acquire));
        Some(self.batches.load(Ordering::Acquire).max(idle.unwrap_or_default()))
    }
}

/// What all consumers have acknowledged, by name.
#[derive(Clone, Debug, Default)]
pub struct Acknowledgements(Arc<Mutex<BTreeMap<String, Arc<Acknowledged>>>>);

impl Acknowledgements {
    /// Begins with a consumer. A later one of this name takes the place of it.
    #[must_use]
    pub fn begin(&self, consumer: &str, queue: Arc<Queue>) -> Arc<Acknowledged> {
        let (has_caught_up, batches, is_settled) = (AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(true));
        let acknowledged = Arc::new(Acknowledged { queue, has_caught_up, batches, is_settled });
        self.lock().insert(consumer.to_owned(), acknowledged.clone());
        acknowledged
    }

    /// Returns all consumers.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<Acknowledged>)> {
        self.lock().iter().map(|(name, acknowledged)| (name.clone(), acknowledged.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Acknowledged>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
