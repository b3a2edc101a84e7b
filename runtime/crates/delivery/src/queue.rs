//! The bounded queue between ingest, which never waits, and one consumer's thread, which does.
//!
//! A buffer without locks decides what waits and what is dropped; the mailbox around it lets the consumer's thread
//! sleep until there is a delivery or an order. The buffer has room for at least two of the largest boundaries that can
//! pass its filter: klines that close at one moment never displace each other, however small the configured queue is.
//! When it is full the oldest closed kline is dropped and counted, and the next delivery reports it. Updates of open
//! windows conflate to the newest of each series, so that the number of series bounds them, and are dropped first when
//! the bound in bytes is reached. Values of other consumers wait separately, with bounds for each publisher.
//! Independent of what a consumer is and how often a delivery is tried.

mod buffer;
mod klines;
mod mailbox;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_domain::kline::{Batch, Kline};
use klines_domain::series::SeriesId;

use self::buffer::Buffer;
pub use self::klines::{KLINE_BYTES, MAX_BYTES};
pub use self::mailbox::Popped;
use self::mailbox::{Ending, WorkShift};
use super::emit::Point;
use super::filter::Watched;
use super::history::Waiting;
use super::order::Command;
use super::trusted_work::TrustedWork;
use crate::call::Subscription;

#[cfg(test)]
mod tests;

/// Default of the minimum number of closed klines that a queue holds.
pub const DEFAULT_CAPACITY: usize = 4_096;

/// How much one delivery holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All waiting klines, up to this number (at least 1).
    UpTo(usize),
    /// The closed klines of exactly one batch of the hub; if no closed kline waits, all waiting updates.
    Boundary,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Waiting closed klines.
    pub closed: usize,
    /// Waiting updates.
    pub updates: usize,
    /// Maximum number of closed klines that it holds.
    pub capacity: usize,
    /// Closed klines that can arrive at one moment, as far as is known.
    pub boundary: usize,
}

/// Returns how many closed klines a queue holds for which `configured` are configured, when `boundary` can arrive at
/// one moment.
#[must_use]
pub const fn capacity(configured: usize, boundary: usize) -> usize {
    klines::capacity(configured, boundary, MAX_BYTES)
}

/// One consumer's queue. Shared by the hub, the worker and the manager.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState {
    buffer: Buffer,
    /// Orders for the consumer's thread.
    orders: VecDeque<Command>,
    /// Whether the consumer's thread sleeps. It is woken only then, because that costs ingest a system call.
    waiting: bool,
    /// Whether a replay waits for room.
    replay_waiting: bool,
    shift: WorkShift,
    ending: Ending,
    /// Whether the consumer has failed or is quarantined, and waits for an order.
    is_resting: bool,
}

/// A locked, empty queue whose consumer's thread sleeps in it.
pub(super) struct Idle<'a> {
    queue: &'a Queue,
    state: MutexGuard<'a, QueueState>,
}

impl Idle<'_> {
    /// Returns the klines of a batch that pass the filter.
    pub(super) fn filtered(&self, batch: &Batch) -> Arc<[Arc<Kline>]> {
        self.state.buffer.filtered(batch)
    }

    /// Enqueues the klines of batch `number` that pass the filter, before any other batch. Returns how many closed
    /// klines were lost.
    pub(super) fn push(mut self, number: u64, batch: &Batch) -> u64 {
        let lost = self.state.buffer.push(number, batch);
        self.queue.wake(self.state);
        lost
    }
}

impl Queue {
    /// Builds an empty queue for klines that pass `allowed`, with room for `configured` closed klines (at least 1) or
    /// two boundaries, whichever is more.
    #[must_use]
    pub fn new(configured: usize, allowed: &Subscription) -> Self {
        let state = QueueState {
            buffer: Buffer::new(configured, allowed),
            orders: VecDeque::new(),
            waiting: false,
            replay_waiting: false,
            shift: WorkShift::default(),
            ending: Ending::Open,
            is_resting: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Marks its consumer as trusted: untrusted code yields to it while it has work.
    pub(super) fn mark_trusted(&self, work: &Arc<TrustedWork>) {
        self.lock().shift = WorkShift::of(work);
    }

    /// Enqueues the klines of the hub's batch `number` that pass the filter. Returns how many closed klines were
    /// lost.
    pub fn push(&self, number: u64, batch: &Batch) -> u64 {
        let mut state = self.lock();
        if state.ending != Ending::Open {
            return 0;
        }
        let lost = state.buffer.push(number, batch);
        self.wake(state);
        lost
    }

    /// Enqueues the published values that the operator allows. Returns how many were dropped because there was no room,
    /// which are all of the same publisher.
    pub fn push_values(&self, points: &[Arc<Point>]) -> u64 {
        let mut state = self.lock();
        let takes = state.ending == Ending::Open;
        let dropped = state.buffer.push_values(points, takes);
        self.wake(state);
        dropped
    }

    /// Sets the watched symbols and intervals: the queue has room for two of the largest boundaries that pass the
    /// filter.
    pub(super) fn watch(&self, watched: Arc<Watched>) {
        self.lock().buffer.watch(watched);
    }

    /// Narrows the filter to what the consumer subscribes to and the operator allows. Removes klines that no longer
    /// pass. Returns whether any kline can pass.
    pub fn narrow(&self, wish: &Subscription) -> bool {
        let mut state = self.lock();
        let passes = state.buffer.narrow(wish);
        self.wake_replay(&mut state);
        passes
    }

    /// Returns how many batches have been published to it.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.lock().buffer.pushed
    }

    /// Returns the same if its consumer's thread sleeps in it, because everything has been delivered and accepted.
    #[must_use]
    pub fn pushed_if_idle(&self) -> Option<u64> {
        let state = self.lock();
        (state.waiting && state.buffer.is_empty()).then_some(state.buffer.pushed)
    }

    /// Returns the klines that pass the filter.
    #[must_use]
    pub fn passing(&self, klines: Vec<Arc<Kline>>) -> Vec<Arc<Kline>> {
        self.lock().buffer.passing(klines)
    }

    /// Locks the queue if its consumer's thread sleeps in it and an inline delivery would overtake nothing; `None`
    /// otherwise.
    pub(super) fn idle(&self) -> Option<Idle<'_>> {
        let state = self.lock();
        let is_idle = state.ending == Ending::Open && state.waiting && state.orders.is_empty();
        (is_idle && state.buffer.has_nothing_to_deliver()).then(|| Idle { queue: self, state })
    }

    /// Gives the consumer's thread an order, and wakes it from any wait. Returns whether there is a thread that will
    /// execute it.
    pub(crate) fn order(&self, command: Command) -> bool {
        let mut state = self.lock();
        if state.ending == Ending::Cancelled {
            return false;
        }
        state.orders.push_back(command);
        self.changed.notify_all();
        true
    }

    /// Returns whether at least half of the queue is free, or the queue has ended.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let state = self.lock();
        state.ending != Ending::Open || state.buffer.suspended || state.buffer.has_room()
    }

    /// Waits until at least half of the queue is free, or the queue has ended. For a replay: unlike a live feed, it can
    /// wait.
    pub fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.ending == Ending::Open && !state.buffer.suspended && !state.buffer.has_room() {
            state.replay_waiting = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the queue: it takes nothing more, and the consumer's thread delivers the rest and ends.
    pub fn close(&self) {
        self.end(Ending::Closed);
    }

    /// Makes the consumer's thread end before its next call.
    pub fn cancel(&self) {
        self.end(Ending::Cancelled);
    }

    /// Closes and empties the queue, orders included, because the thread takes nothing any more. Returns the closed
    /// klines.
    pub fn abandon(&self) -> Vec<Arc<Kline>> {
        self.end(Ending::Cancelled);
        let mut state = self.lock();
        state.shift.end();
        state.orders.clear();
        state.buffer.forget()
    }

    /// Returns whether the queue takes nothing more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.lock().ending != Ending::Open
    }

    /// Returns whether it was cancelled or abandoned.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().ending == Ending::Cancelled
    }

    /// Empties the queue, because the consumer takes nothing now, and counts new closed klines as lost until
    /// [`Self::reopen`]. Returns how many closed klines waited.
    pub fn suspend(&self) -> u64 {
        let mut state = self.lock();
        state.buffer.suspended = true;
        self.changed.notify_all();
        state.buffer.forget().len() as u64
    }

    /// Notes whether its consumer has failed or is quarantined, and waits for an order.
    pub(super) fn rest(&self, is_resting: bool) {
        self.lock().is_resting = is_resting;
    }

    /// Returns whether its consumer has failed or is quarantined, and waits for an order.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.lock().is_resting
    }

    /// Lets new klines wait again.
    pub fn reopen(&self) {
        self.lock().buffer.suspended = false;
    }

    /// Returns how long ago the oldest closed kline of the last delivery arrived; `None` if the delivery had only
    /// updates.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.lock().buffer.waited()
    }

    /// Returns the confirmed klines of a series that wait.
    #[must_use]
    pub fn waiting(&self, series: SeriesId) -> Waiting {
        self.lock().buffer.waiting(series)
    }

    /// Returns how full the queue is.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.lock().buffer.depth()
    }

    /// Wakes the consumer's thread if there is something for it. Releases the lock first: the thread would otherwise
    /// sleep again on the lock, which costs two more context switches.
    fn wake(&self, mut state: MutexGuard<'_, QueueState>) {
        let wakes = state.waiting && !state.buffer.is_empty();
        state.waiting &= !wakes;
        if wakes {
            state.shift.begin();
        }
        drop(state);
        if wakes {
            self.changed.notify_all();
        }
    }

    /// Wakes a replay that waits for room, if there is room.
    fn wake_replay(&self, state: &mut QueueState) {
        if state.replay_waiting && state.buffer.has_room() {
            state.replay_waiting = false;
            self.changed.notify_all();
        }
    }

    fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending = state.ending.max(ending);
        self.changed.notify_all();
    }

    /// Locks the state. Under this lock only a failed allocation can panic, so that the state is always consistent.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
