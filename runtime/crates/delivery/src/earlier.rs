//! What the WebSocket server knows of earlier runs, so that its clients can resume.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use klines_domain::series::SeriesKey;

use crate::missed::Missed;

/// The klines of earlier runs.
#[derive(Debug)]
pub struct EarlierRuns {
    /// Identifies the sequences of this run: that of the run before, unless it has crashed. A server that shares its epochs
    /// has no use for it.
    pub epoch: u64,
    /// The epoch of the run before, if it has crashed. The sequences below are from it.
    pub crashed: Option<u64>,
    /// The last sequence of each series.
    pub sequences: HashMap<SeriesKey, u64>,
    /// The newest klines.
    pub newest: Box<dyn Missed>,
}

/// Hands [`EarlierRuns`] to the first server of this run. Empty until the store has been opened, or if there is none.
#[derive(Clone, Debug, Default)]
pub struct EarlierSlot(Arc<Mutex<Option<EarlierRuns>>>);

impl EarlierSlot {
    /// Puts what is known into it.
    pub fn put(&self, earlier: EarlierRuns) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(earlier);
    }

    /// Takes what is in it.
    #[must_use]
    pub fn take(&self) -> Option<EarlierRuns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
