//! A consumer as others may look at it while it runs.

use std::sync::Arc;

use crate::queue::Queue;
use crate::stats::{LossReason, Snapshot, State, Stats};

/// One consumer, to look at while it runs.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name in configuration, logs and metrics.
    pub name: String,
    /// What its worker counts.
    pub stats: Arc<Stats>,
    /// What waits for it.
    pub queue: Arc<Queue>,
}

impl View {
    /// Takes away what waits for the consumer, because the process ends now. Returns its counters with everything that
    /// it did not deliver or keep on disk as lost; one that has ended by itself has nothing of that.
    #[must_use]
    pub fn give_up(&self) -> Snapshot {
        let waiting = self.queue.abandon().len() as u64;
        let mut found = self.stats.snapshot();
        found.losses.add(LossReason::Shutdown, waiting + found.in_hand + found.unsent);
        if !matches!(found.state, State::Stopped | State::Failed | State::Quarantined) {
            found.state = State::Abandoned;
        }
        found
    }
}
