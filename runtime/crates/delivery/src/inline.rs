//! Inline delivery: the thread that publishes hands a few klines to a consumer that waits for work anyway.
//!
//! Waking a thread takes longer, and costs ingest more, than writing a frame into a socket. A consumer that never waits
//! may therefore take small deliveries at once. The queue keeps the order: nothing goes inline unless the queue is empty
//! and its consumer's thread sleeps in it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use klines_domain::kline::Batch;

use super::queue::Queue;
use super::stats::Stats;
use crate::call::{Delivery, Failure, guarded};
use crate::consumer::DeliverInline;

#[cfg(test)]
mod tests;

/// The most klines that are delivered inline.
pub const MOST: usize = 4;

/// Delivers inline what one consumer takes so, in front of its queue at the hub.
#[derive(Default)]
pub struct InlineDelivery {
    /// What takes deliveries, while the consumer's thread allows it.
    target: Mutex<Option<Arc<dyn DeliverInline>>>,
    /// A failure of an inline delivery, which the consumer's own thread handles.
    deferred_failure: Mutex<Option<Failure>>,
}

impl InlineDelivery {
    /// Lets `target` take what comes from now on, or nothing when there is none. For the consumer's thread, before it
    /// waits for a delivery.
    pub(super) fn allow(&self, target: Option<Arc<dyn DeliverInline>>) {
        *lock(&self.target) = target;
    }

    /// Takes the failure that has to be handled, if there is one.
    pub(super) fn take_deferred_failure(&self) -> Option<Failure> {
        lock(&self.deferred_failure).take()
    }

    /// Delivers what passes of batch `number`, if it is small, the consumer takes deliveries inline, and nothing in `queue`
    /// would be overtaken. Returns whether nothing of it has to be queued any more.
    ///
    /// After a panic the delivery comes to the consumer's own thread, for which it is a crash of its call.
    pub(super) fn deliver(&self, number: u64, batch: &Batch, queue: &Queue, stats: &Stats) -> bool {
        if batch.klines.len() > MOST || lock(&self.target).is_none() {
            return false;
        }
        // Held over the call, so that the consumer's thread cannot begin one of its own, nor say something else.
        let Some(idle) = queue.idle() else { return false };
        let Some(target) = lock(&self.target).clone() else { return false };
        let klines = idle.passing(batch);
        if klines.is_empty() {
            return true;
        }
        let delivery = Delivery { klines, ..Delivery::default() };
        let began = Instant::now();
        match guarded(|| Ok(target.deliver(&delivery))) {
            Ok(true) => {
                let (took, closed) = (began.elapsed(), delivery.klines.iter().any(|kline| kline.confirm));
                stats.took(took);
                stats.accepted(delivery.klines.len(), closed.then_some(took));
                true
            }
            Ok(false) => false,
            Err(failure) => {
                *lock(&self.deferred_failure) = Some(failure);
                // The next delivery of the thread is this one, to which the failure belongs. An empty queue has room.
                idle.push(number, batch);
                true
            }
        }
    }
}

impl fmt::Debug for InlineDelivery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("InlineDelivery").finish_non_exhaustive()
    }
}

/// Nothing panics while one of them is held.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
