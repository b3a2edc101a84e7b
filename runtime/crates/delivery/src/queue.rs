//! The bounded queue between ingest, which never waits, and one consumer's thread, which does.
//!
//! It holds at least two of the largest boundaries that can pass its filter: what closes at one moment never has to make
//! room for itself, however small the configured queue is. When it is full the oldest closed kline makes room and is
//! counted: the next delivery tells the consumer. Updates of open windows conflate to the newest of each series, so that
//! they are bounded by the number of series, and are the first to go when bytes run out. What other consumers publish
//! waits apart, each one's within bounds of its own. It knows nothing of what a consumer is or of how often a delivery
//! is tried.

mod buffer;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use klines_domain::kline::{Batch, Kline};

pub use self::buffer::{KLINE_BYTES, MOST_BYTES};
use self::buffer::{KlineBuffer, Taken};
use super::emit::Point;
use super::emit::held::Held;
use super::express::{self, Shortcut};
use super::filter::{Filter, Watched};
use super::trusted_work::{AtWork, TrustedWork};
use crate::call::{Delivery, Subscription};

#[cfg(test)]
mod tests;

/// How many closed klines a queue holds at least, unless configured.
pub const DEFAULT_CAPACITY: usize = 4_096;
/// Values of one consumer that wait, and their bytes.
const VALUES: (usize, usize) = (8_192, 4 << 20);
/// Values of all consumers in one delivery.
const VALUES_A_DELIVERY: usize = 1_024;

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
    buffer::capacity(configured, boundary, MOST_BYTES)
}

/// What the consumer's thread finds.
#[derive(Debug)]
pub enum Popped {
    /// Something to deliver.
    Delivery(Delivery),
    /// The consumer's thread was called: there is an order for it.
    Called,
    /// Closed and drained.
    Finished,
    /// Told to end now, whatever is left.
    Cancelled,
}

/// One consumer's queue. Shared by the hub, the worker and the manager.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What the operator allows; the consumer's wish narrows it anew after each start.
    allowed: Filter,
    filter: Filter,
    /// What can come, as far as is known.
    watched: Arc<Watched>,
    klines: KlineBuffer,
    values: Held,
    /// When the oldest closed kline of the last delivery came.
    taken: Option<Instant>,
    /// Dropped since the last delivery.
    lost: u64,
    /// Whether the consumer's thread sleeps: a wake-up costs ingest a system call.
    waiting: bool,
    /// What takes a few klines at once meanwhile.
    shortcut: Option<Shortcut>,
    /// Whether a replay waits for room.
    feeder_waiting: bool,
    /// Whether there is an order for the consumer's thread.
    called: bool,
    /// For a trusted consumer: its work, which untrusted code gives way to.
    trusted: Option<Arc<TrustedWork>>,
    /// While there is any: from its being woken up until it waits.
    at_work: Option<AtWork>,
    /// Whether nobody takes anything until further notice: what comes is counted as lost.
    suspended: bool,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Open,
    Closed,
    Cancelled,
}

impl Queue {
    /// Builds an empty queue for the closed klines that pass `allowed`: for `configured` of them (at least 1), or for two
    /// boundaries where that is more.
    #[must_use]
    pub fn new(configured: usize, allowed: &Subscription) -> Self {
        let allowed = Filter::new(allowed);
        let state = State {
            filter: allowed.clone(),
            allowed,
            watched: Arc::default(),
            klines: KlineBuffer::new(configured, MOST_BYTES),
            values: Held::new(VALUES.0, VALUES.1),
            taken: None,
            lost: 0,
            waiting: false,
            shortcut: None,
            feeder_waiting: false,
            called: false,
            trusted: None,
            at_work: None,
            suspended: false,
            ending: Ending::Open,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Says that its consumer is trusted: untrusted code gives way to it while it has something to do.
    pub(super) fn put_first(&self, work: &Arc<TrustedWork>) {
        self.lock().trusted = Some(work.clone());
    }

    /// Queues what passes of the hub's batch number `number`; returns how many closed klines were dropped for it.
    pub fn push(&self, number: u64, batch: &Batch) -> u64 {
        let mut state = self.lock();
        if state.ending != Ending::Open || state.passes_by(batch) {
            return 0;
        }
        let State { filter, klines, suspended, .. } = &mut *state;
        let lost = if *suspended {
            batch.klines.iter().filter(|kline| kline.confirm && filter.passes(kline)).count() as u64
        } else {
            klines.push(number, batch, filter)
        };
        state.lost += lost;
        self.wake(state);
        lost
    }

    /// Queues what passes of a consumer's values, by what the operator allows; returns how many were dropped for want of
    /// room, of that consumer's alone.
    pub fn push_values(&self, points: &[Arc<Point>]) -> u64 {
        let mut state = self.lock();
        let State { allowed, values, suspended, ending, .. } = &mut *state;
        let takes = !*suspended && *ending == Ending::Open;
        let passing = points.iter().filter(|point| allowed.passes_value(point));
        let dropped = passing.map(|point| if takes { values.push(point.clone()).dropped } else { 1 }).sum();
        self.wake(state);
        dropped
    }

    /// Says what is watched: the queue holds two of the largest boundaries of it that pass the filter.
    pub(super) fn watch(&self, watched: Arc<Watched>) {
        let mut state = self.lock();
        state.watched = watched;
        let State { values, allowed, watched, .. } = &mut *state;
        values.expect(2 * allowed.series(watched));
        state.follow();
    }

    /// Narrows the queue to what the operator allows of the consumer's wish; what no longer passes is forgotten.
    /// Returns whether anything can still pass.
    pub fn narrow(&self, wish: &Subscription) -> bool {
        let mut state = self.lock();
        state.filter = state.allowed.clone().and(wish);
        let State { klines, filter, .. } = &mut *state;
        klines.retain(filter);
        state.follow();
        if state.feeder_waiting && state.has_room() {
            state.feeder_waiting = false;
            self.changed.notify_all();
        }
        !state.filter.is_nothing()
    }

    /// Waits for the next delivery, or for a call.
    pub fn pop(&self, grouping: Grouping) -> Popped {
        self.pop_beside(grouping, None)
    }

    /// The same; meanwhile `shortcut` is offered what comes, and what it takes is not delivered.
    pub(super) fn pop_beside(&self, grouping: Grouping, shortcut: Option<&Shortcut>) -> Popped {
        let mut state = self.lock();
        loop {
            if state.is_empty() || state.ending == Ending::Cancelled {
                state.at_work = None;
            }
            if state.ending != Ending::Cancelled && std::mem::take(&mut state.called) {
                return Popped::Called;
            }
            match state.ending {
                Ending::Cancelled => return Popped::Cancelled,
                _ if !state.is_empty() => {
                    let delivery = state.take(grouping);
                    state.begin_work();
                    if state.feeder_waiting && state.has_room() {
                        state.feeder_waiting = false;
                        self.changed.notify_all();
                    }
                    return Popped::Delivery(delivery);
                }
                Ending::Closed => return Popped::Finished,
                Ending::Open => {}
            }
            state.waiting = true;
            state.shortcut = shortcut.cloned();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting = false;
            state.shortcut = None;
        }
    }

    /// Tells the consumer's thread that there is an order for it: whatever it waits for, it stops waiting.
    pub fn call(&self) {
        self.lock().called = true;
        self.changed.notify_all();
    }

    /// Waits for a call and nothing else. Returns whether there was one; otherwise the queue was closed or cancelled.
    pub fn wait_for_call(&self) -> bool {
        let mut state = self.lock();
        state.at_work = None;
        while state.ending == Ending::Open && !state.called {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut state.called)
    }

    /// Whether there is a call.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.lock().called
    }

    /// Takes the call that a pause was ended by, if there was one.
    pub fn was_called(&self) -> bool {
        std::mem::take(&mut self.lock().called)
    }

    /// Waits for `pause`, or until the queue is called, closed or cancelled; on a closed queue at most a second, so
    /// that draining goes on. Returns whether it was cancelled.
    pub fn pause(&self, pause: Duration) -> bool {
        let mut state = self.lock();
        state.at_work = None;
        let on_entry = state.ending;
        let pause = if on_entry == Ending::Open { pause } else { pause.min(Duration::from_secs(1)) };
        let until = Instant::now() + pause;
        while state.ending == on_entry && state.ending != Ending::Cancelled && !state.called {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ending == Ending::Cancelled
    }

    /// Waits until at least half of the queue is free, or the queue has ended. For a replay, which can wait, unlike
    /// a live feed.
    pub fn wait_for_room(&self) {
        let mut state = self.lock();
        while state.ending == Ending::Open && !state.suspended && !state.has_room() {
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

    /// Takes nothing more and forgets what is left, because no one will ever take it. Returns the closed klines.
    pub fn abandon(&self) -> Vec<Arc<Kline>> {
        self.end(Ending::Cancelled);
        let mut state = self.lock();
        state.at_work = None;
        state.forget()
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.lock().ending != Ending::Open
    }

    /// Forgets what waits, because no one takes it now, and counts what comes as lost until [`Self::reopen`]. Returns
    /// how many closed klines waited.
    pub fn suspend(&self) -> u64 {
        let mut state = self.lock();
        state.suspended = true;
        self.changed.notify_all();
        state.forget().len() as u64
    }

    /// Holds what comes again.
    pub fn reopen(&self) {
        self.lock().suspended = false;
    }

    /// How long ago the oldest closed kline of the last delivery came in; nothing if it held updates alone.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.lock().taken.map(|at| at.elapsed())
    }

    /// What waits at this moment.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let state = self.lock();
        let klines = &state.klines;
        Depth {
            closed: klines.closed(),
            updates: klines.updates(),
            capacity: klines.capacity(),
            boundary: klines.boundary(),
        }
    }

    /// Whether it was cancelled or abandoned.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().ending == Ending::Cancelled
    }

    /// Wakes the consumer's thread if there is something for it. It finds the lock free: one that met it taken would
    /// go to sleep again, which costs a delivery two more switches of threads.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wakes = state.waiting && !state.is_empty();
        state.waiting &= !wakes;
        if wakes {
            state.begin_work();
        }
        drop(state);
        if wakes {
            self.changed.notify_all();
        }
    }

    fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending = state.ending.max(ending);
        self.changed.notify_all();
    }

    /// Nothing panics under the lock but an allocation failure, so that what it protects is always whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_work(&mut self) {
        let Some(work) = &self.trusted else { return };
        if self.at_work.is_some() {
            work.go_on();
        } else {
            self.at_work = Some(work.begin());
        }
    }

    fn is_empty(&self) -> bool {
        self.klines.is_empty() && self.values.is_empty()
    }

    fn has_room(&self) -> bool {
        self.klines.closed() <= self.klines.capacity() / 2 && self.values.len() <= VALUES.0 / 2
    }

    /// Lets the bounds follow what is watched and what passes.
    fn follow(&mut self) {
        self.klines.expect(self.filter.series(&self.watched));
    }

    /// Returns the closed klines.
    fn forget(&mut self) -> Vec<Arc<Kline>> {
        self.values.clear();
        self.klines.forget()
    }

    /// Hands a batch to the shortcut, where there is one and nothing would be overtaken. Returns whether that is done with.
    fn passes_by(&self, batch: &Batch) -> bool {
        let Some(shortcut) = &self.shortcut else { return false };
        let is_idle = self.waiting && self.is_empty() && self.lost == 0 && !self.called && !self.suspended;
        if !is_idle || batch.klines.len() > express::MOST {
            return false;
        }
        let klines: Arc<[_]> = batch.klines.iter().filter(|kline| self.filter.passes(kline)).cloned().collect();
        klines.is_empty() || shortcut.take(&Delivery { klines, ..Delivery::default() })
    }

    fn take(&mut self, grouping: Grouping) -> Delivery {
        let Taken { klines, oldest } = self.klines.take(grouping);
        self.taken = oldest;
        Delivery {
            klines: klines.into(),
            lost: std::mem::take(&mut self.lost),
            values: self.values.take(VALUES_A_DELIVERY),
        }
    }
}
