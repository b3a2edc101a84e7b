//! The bounded queue between ingest, which never waits, and one consumer's thread, which does.
//!
//! A pure buffer under a mailbox: the buffer decides what waits and what is dropped, the mailbox lets the consumer's thread
//! sleep until there is a delivery or an order. The buffer holds at least two of the largest boundaries that can pass its
//! filter: what closes at one moment never has to make room for itself, however small the configured queue is. When it is
//! full the oldest closed kline makes room and is counted: the next delivery says so. Updates of open windows conflate to
//! the newest of each series, so that they are bounded by the number of series, and are the first to go when bytes run out.
//! What other consumers publish waits apart, each one's within bounds of its own. Nothing here knows what a consumer is or
//! how often a delivery is tried.

mod buffer;
mod klines;
mod mailbox;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_domain::kline::{Batch, Kline};

use self::buffer::Buffer;
pub use self::klines::{KLINE_BYTES, MOST_BYTES};
pub use self::mailbox::Popped;
use self::mailbox::{Ending, WorkShift};
use super::emit::Point;
use super::filter::Watched;
use super::order::Command;
use super::trusted_work::TrustedWork;
use crate::call::Subscription;

#[cfg(test)]
mod tests;

/// How many closed klines a queue holds at least, unless configured.
pub const DEFAULT_CAPACITY: usize = 4_096;

/// How much one delivery holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Whatever is there, up to this many klines (at least 1).
    UpTo(usize),
    /// The closed klines of exactly one batch of the hub; without any, all pending updates.
    Boundary,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Closed klines that wait.
    pub closed: usize,
    /// Series whose update waits.
    pub updates: usize,
    /// Closed klines that it holds at most.
    pub capacity: usize,
    /// Closed klines that can come at one moment, as far as is known.
    pub boundary: usize,
}

/// Returns how many closed klines a queue of `configured` ones holds where `boundary` of them can come at one moment.
#[must_use]
pub const fn capacity(configured: usize, boundary: usize) -> usize {
    klines::capacity(configured, boundary, MOST_BYTES)
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
    /// For the consumer's thread.
    orders: VecDeque<Command>,
    /// Whether the consumer's thread sleeps: a wake-up costs ingest a system call.
    waiting: bool,
    /// Whether a replay waits for room.
    feeder_waiting: bool,
    shift: WorkShift,
    ending: Ending,
}

/// An empty queue whose consumer's thread sleeps in it, held so.
pub(super) struct Idle<'a> {
    queue: &'a Queue,
    state: MutexGuard<'a, QueueState>,
}

impl Idle<'_> {
    /// Returns the klines of a batch that pass the filter.
    pub(super) fn passing(&self, batch: &Batch) -> Arc<[Arc<Kline>]> {
        self.state.buffer.passing(batch)
    }

    /// Enqueues the klines of batch `number` that pass, before anything else can be. Returns how many closed klines were
    /// dropped for it.
    pub(super) fn push(mut self, number: u64, batch: &Batch) -> u64 {
        let lost = self.state.buffer.push(number, batch);
        self.queue.wake(self.state);
        lost
    }
}

impl Queue {
    /// Builds an empty queue for the closed klines that pass `allowed`: for `configured` of them (at least 1), or for two
    /// boundaries where that is more.
    #[must_use]
    pub fn new(configured: usize, allowed: &Subscription) -> Self {
        let state = QueueState {
            buffer: Buffer::new(configured, allowed),
            orders: VecDeque::new(),
            waiting: false,
            feeder_waiting: false,
            shift: WorkShift::default(),
            ending: Ending::Open,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Marks its consumer as trusted: untrusted code yields to it while it has something to do.
    pub(super) fn put_first(&self, work: &Arc<TrustedWork>) {
        self.lock().shift = WorkShift::of(work);
    }

    /// Enqueues the klines of the hub's batch `number` that pass the filter. Returns how many closed klines were dropped
    /// for it.
    pub fn push(&self, number: u64, batch: &Batch) -> u64 {
        let mut state = self.lock();
        if state.ending != Ending::Open {
            return 0;
        }
        let lost = state.buffer.push(number, batch);
        self.wake(state);
        lost
    }

    /// Enqueues the values of a consumer that the operator allows. Returns how many were dropped for want of room, of that
    /// consumer's alone.
    pub fn push_values(&self, points: &[Arc<Point>]) -> u64 {
        let mut state = self.lock();
        let takes = state.ending == Ending::Open;
        let dropped = state.buffer.push_values(points, takes);
        self.wake(state);
        dropped
    }

    /// Notes what is watched: the queue holds two of the largest boundaries of it that pass the filter.
    pub(super) fn watch(&self, watched: Arc<Watched>) {
        self.lock().buffer.watch(watched);
    }

    /// Narrows the queue to what the operator allows of the consumer's wish, and forgets what no longer passes. Returns
    /// whether anything can still pass.
    pub fn narrow(&self, wish: &Subscription) -> bool {
        let mut state = self.lock();
        let passes = state.buffer.narrow(wish);
        self.admit_feeder(&mut state);
        passes
    }

    /// Holds the queue while its consumer's thread sleeps in it and a delivery from elsewhere would overtake nothing.
    pub(super) fn idle(&self) -> Option<Idle<'_>> {
        let state = self.lock();
        let is_idle = state.ending == Ending::Open && state.waiting && state.orders.is_empty();
        (is_idle && state.buffer.has_nothing_to_say()).then(|| Idle { queue: self, state })
    }

    /// Gives the consumer's thread an order: whatever it waits for, it stops waiting. Returns whether there is a thread
    /// that will look at it.
    pub(crate) fn order(&self, command: Command) -> bool {
        let mut state = self.lock();
        if state.ending == Ending::Cancelled {
            return false;
        }
        state.orders.push_back(command);
        self.changed.notify_all();
        true
    }

    /// Waits until at least half of the queue is free, or the queue has ended. For a replay, which can wait, unlike a live
    /// feed.
    pub fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.ending == Ending::Open && !state.buffer.suspended && !state.buffer.has_room() {
            state.feeder_waiting = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing more; the consumer's thread delivers what is left and ends.
    pub fn close(&self) {
        self.end(Ending::Closed);
    }

    /// Makes the consumer's thread end before its next call.
    pub fn cancel(&self) {
        self.end(Ending::Cancelled);
    }

    /// Takes nothing more and forgets what is left, orders included, because no one will ever take it. Returns the closed
    /// klines.
    pub fn abandon(&self) -> Vec<Arc<Kline>> {
        self.end(Ending::Cancelled);
        let mut state = self.lock();
        state.shift.end();
        state.orders.clear();
        state.buffer.forget()
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.lock().ending != Ending::Open
    }

    /// Whether it was cancelled or abandoned.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().ending == Ending::Cancelled
    }

    /// Forgets what waits, because no one takes it now, and counts what comes as lost until [`Self::reopen`]. Returns how
    /// many closed klines waited.
    pub fn suspend(&self) -> u64 {
        let mut state = self.lock();
        state.buffer.suspended = true;
        self.changed.notify_all();
        state.buffer.forget().len() as u64
    }

    /// Holds what comes again.
    pub fn reopen(&self) {
        self.lock().buffer.suspended = false;
    }

    /// Returns how long ago the oldest closed kline of the last delivery came in; `None` if it held updates alone.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.lock().buffer.waited()
    }

    /// Returns what waits at this moment.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.lock().buffer.depth()
    }

    /// Wakes the consumer's thread if there is something for it. It finds the lock free: one that met it taken would go to
    /// sleep again, which costs a delivery two more switches of threads.
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

    /// Lets a replay that waits for room go on, if there is some.
    fn admit_feeder(&self, state: &mut QueueState) {
        if state.feeder_waiting && state.buffer.has_room() {
            state.feeder_waiting = false;
            self.changed.notify_all();
        }
    }

    fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending = state.ending.max(ending);
        self.changed.notify_all();
    }

    /// Nothing panics under the lock but an allocation failure, so that what it protects is always whole.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
