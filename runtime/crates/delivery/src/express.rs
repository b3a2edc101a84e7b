//! The short way of a few klines: the thread that brings them hands them to a consumer that waits for work anyway.
//!
//! To wake a thread takes longer, and costs ingest more, than to write a frame into a socket. So a consumer that never waits
//! may offer to do a little at once. Its queue sees to it that nothing overtakes anything: only an empty queue, whose
//! consumer's thread sleeps in it, is passed by.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::stats::Stats;
use crate::call::{Delivery, Failure, guarded};

/// The most klines that go the short way.
pub const MOST: usize = 4;

/// What a consumer does at once, on any thread.
pub trait Express: Send + Sync {
    /// Takes a delivery if that is a matter of microseconds and of waiting for nobody. Returns whether it was taken,
    /// which is all or nothing.
    fn take(&self, delivery: &Delivery) -> bool;
}

/// What went wrong on the short way, for the consumer's own thread to see to.
#[derive(Clone, Default)]
pub(super) struct Mishap(Arc<Mutex<Option<Failure>>>);

impl Mishap {
    /// Takes it, if there was one.
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The short way to one consumer, with its counters.
#[derive(Clone)]
pub(super) struct Shortcut {
    way: Arc<dyn Express>,
    stats: Arc<Stats>,
    mishap: Mishap,
}

impl Shortcut {
    pub(super) fn new(way: Arc<dyn Express>, stats: Arc<Stats>, mishap: Mishap) -> Self {
        Self { way, stats, mishap }
    }

    /// Tries it. After a panic the delivery comes to the consumer's own thread, for which it is a crash of its call.
    pub(super) fn take(&self, delivery: &Delivery) -> bool {
        let began = Instant::now();
        match guarded(|| Ok(self.way.take(delivery))) {
            Ok(true) => {
                let (took, closed) = (began.elapsed(), delivery.klines.iter().any(|kline| kline.confirm));
                self.stats.took(took);
                self.stats.accepted(delivery.klines.len(), closed.then_some(took));
                true
            }
            Ok(false) => false,
            Err(failure) => {
                *self.mishap.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                false
            }
        }
    }
}

impl fmt::Debug for Shortcut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shortcut").finish_non_exhaustive()
    }
}
