//! Inline delivery: the publishing thread delivers a few klines itself to a consumer that is idle.
//!
//! Waking a thread takes longer, and costs ingest more, than writing a frame into a socket. A consumer that never waits
//! may therefore take small deliveries inline. The order is kept: klines are delivered inline only while the queue is
//! empty and its consumer's thread waits in it.

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

/// Maximum number of klines of an inline delivery.
pub const MAX_KLINES: usize = 4;

/// Delivers small batches inline to one consumer, instead of its queue at the hub.
#[derive(Default)]
pub struct InlineDelivery {
    /// Takes deliveries; `None` while the consumer's thread does not allow inline delivery.
    target: Mutex<Option<Arc<dyn DeliverInline>>>,
    /// A failure of an inline delivery, which the consumer's own thread handles.
    deferred_failure: Mutex<Option<Failure>>,
}

impl InlineDelivery {
    /// Allows inline deliveries to `target` from now on, or forbids them with `None`. Called by the consumer's thread
    /// before it waits for a delivery.
    pub(super) fn allow(&self, target: Option<Arc<dyn DeliverInline>>) {
        *lock(&self.target) = target;
    }

    /// Takes the failure of an inline delivery that has to be handled; `None` if there is none.
    pub(super) fn take_deferred_failure(&self) -> Option<Failure> {
        lock(&self.deferred_failure).take()
    }

    /// Delivers the klines of batch `number` that pass the filter, if the batch is small, the consumer takes inline
    /// deliveries, and nothing in `queue` would be overtaken. Returns whether the batch is done; if not, it has to be
    /// queued.
    ///
    /// After a panic the delivery goes to the consumer's own thread, which handles the panic as a crash of its call.
    pub(super) fn deliver(&self, number: u64, batch: &Batch, queue: &Queue, stats: &Stats) -> bool {
        if batch.klines.len() > MAX_KLINES || lock(&self.target).is_none() {
            return false;
        }
        // The queue stays locked during the call, so that the consumer's thread can neither start a call of its own nor
        // forbid inline deliveries.
        let Some(idle) = queue.idle() else { return false };
        let Some(target) = lock(&self.target).clone() else { return false };
        let klines = idle.filtered(batch);
        if klines.is_empty() {
            return true;
        }
        let delivery = Delivery { klines, ..Delivery::default() };
        let began = Instant::now();
        match guarded(|| Ok(target.deliver(&delivery))) {
            Ok(true) => {
                let (took, closed) = (began.elapsed(), delivery.klines.iter().any(|kline| kline.confirm));
                stats.record_call(took);
                stats.accepted(delivery.klines.len(), closed.then_some(took));
                true
            }
            Ok(false) => false,
            Err(failure) => {
                *lock(&self.deferred_failure) = Some(failure);
                // This is the next delivery of the thread, so that the failure belongs to it. An empty queue has room.
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

/// Locks `of`. No code panics while it holds one of these locks.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
