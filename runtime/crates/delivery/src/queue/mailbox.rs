//! The methods of a queue for its consumer's thread: it sleeps here until there is a delivery, an order, or the end.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Grouping, Queue};
use crate::call::Delivery;
use crate::order::Command;
use crate::trusted_work::{AtWork, TrustedWork};

/// What [`Queue::pop`] returns to the consumer's thread.
#[derive(Debug)]
pub enum Popped {
    /// A delivery.
    Delivery(Delivery),
    /// An order has to be executed.
    Ordered,
    /// The queue is closed and drained.
    Finished,
    /// The thread has to end now, whatever still waits.
    Cancelled,
}

/// Whether a queue is open, closed or cancelled; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Open,
    Closed,
    Cancelled,
}

/// Marks a trusted consumer as working from the moment it is woken until it waits again. Does nothing for others.
#[derive(Debug, Default)]
pub(super) struct WorkShift {
    trusted: Option<Arc<TrustedWork>>,
    at_work: Option<AtWork>,
}

impl WorkShift {
    pub(super) fn of(work: &Arc<TrustedWork>) -> Self {
        Self { trusted: Some(work.clone()), at_work: None }
    }

    pub(super) fn begin(&mut self) {
        let Some(work) = &self.trusted else { return };
        if self.at_work.is_some() {
            work.note_progress();
        } else {
            self.at_work = Some(work.begin());
        }
    }

    pub(super) fn end(&mut self) {
        self.at_work = None;
    }
}

impl Queue {
    /// Waits for the next delivery, or for an order.
    pub fn pop(&self, grouping: Grouping) -> Popped {
        let mut state = self.lock();
        loop {
            if state.buffer.is_empty() || state.ending == Ending::Cancelled {
                state.shift.end();
            }
            match state.ending {
                Ending::Cancelled => return Popped::Cancelled,
                _ if !state.orders.is_empty() => return Popped::Ordered,
                _ if !state.buffer.is_empty() => {
                    let delivery = state.buffer.take(grouping);
                    state.shift.begin();
                    self.wake_replay(&mut state);
                    return Popped::Delivery(delivery);
                }
                Ending::Closed => return Popped::Finished,
                Ending::Open => {}
            }
            state.waiting = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting = false;
        }
    }

    /// Returns whether there is an order.
    #[must_use]
    pub fn has_order(&self) -> bool {
        !self.lock().orders.is_empty()
    }

    /// Takes the oldest order.
    pub(crate) fn next_order(&self) -> Option<Command> {
        self.lock().orders.pop_front()
    }

    /// Waits only for an order. Returns whether there is one; if not, the queue was closed or cancelled.
    pub fn wait_for_order(&self) -> bool {
        let mut state = self.lock();
        state.shift.end();
        while state.ending == Ending::Open && state.orders.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.orders.is_empty()
    }

    /// Waits for `pause`, or until there is an order or the queue is closed or cancelled. Waits at most a second if the
    /// queue is already closed, so that draining continues. Returns whether it was cancelled.
    pub fn pause(&self, pause: Duration) -> bool {
        let mut state = self.lock();
        state.shift.end();
        let on_entry = state.ending;
        let pause = if on_entry == Ending::Open { pause } else { pause.min(Duration::from_secs(1)) };
        let until = Instant::now() + pause;
        while state.ending == on_entry && state.ending != Ending::Cancelled && state.orders.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ending == Ending::Cancelled
    }
}
