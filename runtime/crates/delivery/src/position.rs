//! How far each consumer has got, so that the next run can go on from there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The position of one consumer.
#[derive(Debug, Default)]
pub struct Position {
    has_caught_up: AtomicBool,
    batches: AtomicU64,
}

impl Position {
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

/// The positions of all consumers, by name.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<Mutex<BTreeMap<String, Arc<Position>>>>);

impl Positions {
    /// Begins the position of a consumer. A later one of this name takes the place of it.
    #[must_use]
    pub fn begin(&self, consumer: &str) -> Arc<Position> {
        let position = Arc::<Position>::default();
        self.lock().insert(consumer.to_owned(), position.clone());
        position
    }

    /// Returns all positions.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<Position>)> {
        self.lock().iter().map(|(name, position)| (name.clone(), position.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Position>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
