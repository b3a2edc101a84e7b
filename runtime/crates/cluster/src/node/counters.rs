//! What a node counts, for its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::library::Written;
use crate::model::ledger::Status;

/// The counters of a node.
#[derive(Debug, Default)]
pub struct Counters {
    outcomes: [AtomicU64; 5],
    lost: AtomicU64,
    resent: AtomicU64,
    connects: AtomicU64,
    forced: AtomicU64,
}

/// The values of the counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Klines that were published.
    pub published: u64,
    /// Klines that another node had published already.
    pub same: u64,
    /// Klines for which a better version is published.
    pub kept: u64,
    /// Klines that are no better and no worse than what is published, and other ones.
    pub conflict: u64,
    /// Klines that came too late to be compared.
    pub old: u64,
    /// Klines that the functions refused.
    pub lost: u64,
    /// Klines that were sent again after a failover.
    pub resent: u64,
    /// Connections to Redis that were made.
    pub connects: u64,
    /// Entries of streams that were removed although a group had not acknowledged them.
    pub forced: u64,
}

impl Counters {
    /// Returns the values.
    #[must_use]
    pub fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [published, same, kept, conflict, old] = self.outcomes.each_ref().map(of);
        let (lost, resent, connects, forced) = (of(&self.lost), of(&self.resent), of(&self.connects), of(&self.forced));
        Counts { published, same, kept, conflict, old, lost, resent, connects, forced }
    }

    pub(super) fn note(&self, written: &Written) {
        for outcome in &written.outcomes {
            let [published, same, kept, conflict, old] = &self.outcomes;
            let counter = match outcome.status {
                Status::Published => published,
                Status::Same => same,
                Status::Kept => kept,
                Status::Conflict => conflict,
                Status::Old => old,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lose(&self, klines: u64) {
        self.lost.fetch_add(klines, Ordering::Relaxed);
    }

    pub(super) fn resend(&self, klines: u64) {
        self.resent.fetch_add(klines, Ordering::Relaxed);
    }

    pub(super) fn connect(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn force(&self, entries: u64) {
        self.forced.fetch_add(entries, Ordering::Relaxed);
    }
}
