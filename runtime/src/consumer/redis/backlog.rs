//! What waits for Redis in one lane, and what its klines came to.
//!
//! Three kinds: `Ordered` loses nothing while it has room on disk, `Newest` keeps the last of each series, `Published`
//! keeps what consumers publish within bounds in memory. None knows the connection; the lane tells them what was sent, acknowledged and lost.

mod newest;
mod ordered;
mod published;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::consumer::spill::Mark;
use crate::domain::kline::Kline;

pub(super) use newest::Newest;
pub(super) use ordered::Ordered;
pub(super) use published::Published;

/// What is sent and acknowledged together.
#[derive(Clone, Debug)]
pub(super) struct Parcel<T = Kline> {
    /// The klines or values.
    pub(super) items: Vec<Arc<T>>,
    /// Where they stand in the spill, if they do.
    mark: Option<Mark>,
}

/// What waits.
pub(super) trait Backlog {
    /// Klines or values.
    type Item: Send + Sync + 'static;
    /// Takes what came together.
    fn admit(&mut self, items: Vec<Arc<Self::Item>>);
    /// Whether it takes more. If not, they wait before it.
    fn has_room(&self) -> bool;
    /// Whether nothing waits to be sent.
    fn is_idle(&self) -> bool;
    /// Hands out what is to be sent next.
    fn next(&mut self) -> Option<Parcel<Self::Item>>;
    /// Redis has acknowledged a parcel. Parcels are acknowledged in the order of sending.
    fn acknowledged(&mut self, parcel: &Parcel<Self::Item>);
    /// Redis was lost: these were sent, in this order, and not acknowledged.
    fn recall(&mut self, sent: Vec<Parcel<Self::Item>>);
    /// Redis has been away for some time.
    fn away(&mut self);
    /// Redis takes klines again.
    fn back(&mut self);
    /// Nothing more will be sent: keeps what can be kept.
    fn conclude(&mut self);
}

/// What one lane has done so far, readable by others at any time.
#[derive(Debug, Default)]
pub struct Tally {
    taken: AtomicU64,
    found: AtomicU64,
    acknowledged: AtomicU64,
    spilled: AtomicU64,
    overtaken: AtomicU64,
    dropped: AtomicU64,
    kept: AtomicU64,
}

/// A [`Tally`] at one moment, in klines or values. At the end of a run
/// `taken + found = acknowledged + overtaken + dropped + kept`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Handed to the lane.
    pub taken: u64,
    /// Left on disk by an earlier run.
    pub found: u64,
    /// Acknowledged by Redis.
    pub acknowledged: u64,
    /// Of those taken, how many waited on disk.
    pub spilled: u64,
    /// Last values, or provisional ones, that a newer one replaced before they were sent, or that were on their way when
    /// Redis was lost.
    pub overtaken: u64,
    /// Given up because there was no room for them, or no disk, or no time at the end.
    pub dropped: u64,
    /// Left on disk for the next run.
    pub kept: u64,
}

// Each counter stands alone: nothing is concluded from the order in which two of them change.
const ORDER: Ordering = Ordering::Relaxed;

impl Tally {
    /// Returns all counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            taken: self.taken.load(ORDER),
            found: self.found.load(ORDER),
            acknowledged: self.acknowledged.load(ORDER),
            spilled: self.spilled.load(ORDER),
            overtaken: self.overtaken.load(ORDER),
            dropped: self.dropped.load(ORDER),
            kept: self.kept.load(ORDER),
        }
    }
}

fn count(counter: &AtomicU64, klines: usize) {
    counter.fetch_add(klines as u64, ORDER);
}
