//! The short way of a few klines: the thread that brings them hands them to a consumer that waits for work anyway.
//!
//! To wake a thread takes longer, and costs ingest more, than to write a frame into a socket. So a consumer that never waits
//! may offer to do a little at once. Its queue sees to it that nothing overtakes anything: only an empty queue, whose
//! consumer's thread sleeps in it, is passed by.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stats::Stats;
use super::worker::guarded;
use super::{Delivery, Failure};

/// The most klines that go the short way.
pub const MOST: usize = 4;

/// What a consumer does at once, on any thread.
pub trait Express: Send + Sync {
    /// Takes a delivery if that is a matter of microseconds and of waiting for nobody. Returns whether it was taken,
    /// which is all or nothing.
    fn take(&self, delivery: &Delivery) -> bool;
}

/// The short way to one consumer, with its counters.
#[derive(Clone)]
pub(super) struct Shortcut {
    way: Arc<dyn Express>,
    stats: Arc<Stats>,
}

impl Shortcut {
    pub(super) fn new(way: Arc<dyn Express>, stats: Arc<Stats>) -> Self {
        Self { way, stats }
    }

    /// Tries it. A panic is left to the consumer's own thread, which does it again and is told what it was.
    pub(super) fn take(&self, delivery: &Delivery) -> bool {
        let began = Instant::now();
        let taken = guarded(|| Ok::<_, Failure>(self.way.take(delivery))).unwrap_or(false);
        if taken {
            let closed = delivery.klines.iter().any(|kline| kline.confirm);
            self.stats.took(began.elapsed());
            self.stats.accepted(delivery.klines.len(), closed.then_some(Duration::ZERO));
        }
        taken
    }
}

impl fmt::Debug for Shortcut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shortcut").finish_non_exhaustive()
    }
}
