//! Read access to a consumer while it runs.

use std::sync::Arc;

use crate::queue::Queue;
use crate::stats::{LossReason, Snapshot, State, Stats};

/// One consumer, for code that observes it while it runs.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name in configuration, logs and metrics.
    pub name: String,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Its queue.
    pub queue: Arc<Queue>,
}

impl View {
    /// Empties the consumer's queue, because the process ends now. Returns its counters; everything that it neither
    /// delivered nor kept on disk is counted as lost. A consumer that has already ended has no such klines.
    #[must_use]
    pub fn give_up(&self) -> Snapshot {
        let waiting = self.queue.abandon().len() as u64;
        let mut found = self.stats.snapshot();
        found.losses.add(LossReason::Shutdown, waiting + found.in_hand + found.unsent);
        if !matches!(found.state, State::Stopped | State::Finished | State::Failed | State::Quarantined) {
            found.state = State::Abandoned;
        }
        found
    }
}
