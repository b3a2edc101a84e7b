//! The state of one instance: it is read from what the lease began with, and written by the driver of the group.

use std::sync::Arc;

use klines_delivery::shared_state::{Change, Entry, SharedState};

use super::book::{Book, Holding, lost};

/// The state under a lease.
#[derive(Debug)]
pub(super) struct LeasedState {
    pub(super) book: Arc<Book>,
    pub(super) holding: Holding,
    /// The number of the instance's generation.
    pub(super) generation: u64,
}

impl SharedState for LeasedState {
    fn read(&self) -> Result<Vec<Entry>, String> {
        self.book.state(self.holding).ok_or_else(|| lost(self.holding.partition))
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), String> {
        self.book.commit(self.holding, self.generation, changes)
    }
}

/// The state of an instance that is only asked what it wants to receive: empty, and what it writes is not kept.
#[derive(Debug)]
pub(super) struct NoState;

impl SharedState for NoState {
    fn read(&self) -> Result<Vec<Entry>, String> {
        Ok(Vec::new())
    }

    fn write(&self, _: Vec<Change>) -> Result<(), String> {
        Ok(())
    }
}
