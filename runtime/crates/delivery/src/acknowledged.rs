//! How far each consumer has got, so that the next run can go on from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What one consumer has acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged {
    has_caught_up: AtomicBool,
    batches: AtomicU64,
}

impl Acknowledged {
    /// The consumer has acknowledged every kline of earlier runs that it is to get.
    pub fn catch_up(&self) {
        self.has_caught_up.store(true, Ordering::Release);
    }

    /// The consumer has acknowledged the first `batches` batches of this run.
    pub fn reach(&self, batches: u64) {
        self.batches.fetch_max(batches, Ordering::Release);
    }

    /// Returns of how many batches of this run it has acknowledged everything; `None` while klines of earlier runs are to
    /// come.
    #[must_use]
    pub fn batches(&self) -> Option<u64> {
        self.has_caught_up.load(Ordering::Acquire).then(|| self.batches.load(Ordering::Acquire))
    }
}

/// What all consumers have acknowledged, by name.
#[derive(Clone, Debug, Default)]
pub struct Acknowledgements(Arc<Mutex<BTreeMap<String, Arc<Acknowledged>>>>);

impl Acknowledgements {
    /// Begins with a consumer. A later one of this name takes the place of it.
    #[must_use]
    pub fn begin(&self, consumer: &str) -> Arc<Acknowledged> {
        let acknowledged = Arc::<Acknowledged>::default();
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
