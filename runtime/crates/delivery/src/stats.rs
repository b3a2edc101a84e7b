//! Counters and state of one consumer. Any thread may read them at any time. Only counts; decides nothing.

mod histogram;
mod losses;
mod meters;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use klines_domain::time::Millis;

pub use self::histogram::{Durations, Histogram};
pub use self::losses::{LossCounters, LossReason, Losses};
pub use self::meters::{Footprint, Forwarded, Kind, Meter, Metric, Sample};
use crate::call::CrashKind;

/// The state of a consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Its first instance is created and started.
    #[default]
    Starting,
    /// It takes deliveries.
    Running,
    /// It answered `Retry` to its last call.
    Retrying,
    /// It takes deliveries, but the server behind it cannot be reached or takes nothing.
    Disconnected,
    /// An operator paused it: it receives nothing.
    Paused,
    /// Its instance crashed; the next one is created after a pause.
    Backoff,
    /// It ended because the run ended.
    Stopped,
    /// It ended because the reader of its standard output has gone.
    Finished,
    /// It failed and can never work: it answered `Fatal`, its component is unusable, or it crashed under `on_error =
    /// "stop"`.
    Failed,
    /// It crashed too often.
    Quarantined,
    /// It was still in a call when the process ended.
    Abandoned,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Starting,
        Self::Running,
        Self::Retrying,
        Self::Disconnected,
        Self::Paused,
        Self::Backoff,
        Self::Stopped,
        Self::Finished,
        Self::Failed,
        Self::Quarantined,
        Self::Abandoned,
    ];

    /// Returns the lower-case name that every output uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Disconnected => "disconnected",
            Self::Paused => "paused",
            Self::Backoff => "backoff",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Counters of one consumer. Klines are counted when the consumer accepts them. A consumer that forwards them itself
/// counts which were acknowledged and which it dropped ([`Meter::forwarded`]).
#[derive(Debug, Default)]
pub struct Stats {
    state: AtomicU8,
    delivered: AtomicU64,
    calls: AtomicU64,
    losses: LossCounters,
    in_hand: AtomicU64,
    set_aside: AtomicU64,
    retries: AtomicU64,
    restarts: AtomicU64,
    recycled: AtomicU64,
    reloads: AtomicU64,
    traps: AtomicU64,
    timeouts: AtomicU64,
    memory_refusals: AtomicU64,
    calls_took: Histogram,
    waited: Histogram,
    source: Mutex<Source>,
}

/// What is known of the current blueprint.
#[derive(Debug, Default)]
struct Source {
    meter: Option<Arc<dyn Meter>>,
    version: Option<String>,
}

/// [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The state of the consumer.
    pub state: State,
    /// Klines that the last hop acknowledged, updates included. The last hop is the consumer itself, or the server that
    /// it forwards them to; then klines count once for each of its outputs.
    pub delivered: u64,
    /// Deliveries that it accepted.
    pub calls: u64,
    /// Dropped closed klines, by the reason.
    pub losses: Losses,
    /// Closed klines of the delivery that it has not accepted yet.
    pub in_hand: u64,
    /// Klines that it accepted, has not forwarded yet, and keeps in memory.
    pub unsent: u64,
    /// Klines that it keeps on disk, for this run or the next.
    pub on_disk: u64,
    /// Klines written to its dead-letter file.
    pub set_aside: u64,
    /// Calls that it answered with `Retry`.
    pub retries: u64,
    /// Instances created after a crash.
    pub restarts: u64,
    /// Instances that were replaced by a fresh one as scheduled.
    pub recycled: u64,
    /// New versions that were loaded.
    pub reloads: u64,
    /// Crashes by trap or panic.
    pub traps: u64,
    /// Crashes by time-out.
    pub timeouts: u64,
    /// Crashes after a refusal of memory.
    pub memory_refusals: u64,
}

impl Snapshot {
    /// Returns how many closed klines were dropped, for any reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// Returns how many closed klines were dropped because the run ended.
    #[must_use]
    pub fn lost_at_the_end(&self) -> u64 {
        self.losses.of(LossReason::Shutdown)
    }

    /// Adds the consumer's own counts of the klines that it forwards.
    fn with(mut self, forwarded: &Forwarded) -> Self {
        self.delivered = forwarded.delivered;
        self.losses.merge(&forwarded.losses);
        (self.unsent, self.on_disk) = (forwarded.in_memory, forwarded.on_disk);
        if forwarded.is_disconnected && matches!(self.state, State::Running | State::Retrying) {
            self.state = State::Disconnected;
        }
        self
    }

    /// Returns the number of crashes of all kinds.
    #[must_use]
    pub const fn crashes(&self) -> u64 {
        self.traps + self.timeouts + self.memory_refusals
    }
}

// Each counter is independent: no code depends on the order in which two of them change.
const ORDER: Ordering = Ordering::Relaxed;

impl Stats {
    /// Returns the current state.
    #[must_use]
    pub fn state(&self) -> State {
        State::ALL.get(usize::from(self.state.load(ORDER))).copied().unwrap_or_default()
    }

    /// Returns all counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let forwarded = self.forwarded();
        let own = Snapshot {
            state: self.state(),
            delivered: self.delivered.load(ORDER),
            calls: self.calls.load(ORDER),
            losses: self.losses.read(),
            in_hand: self.in_hand.load(ORDER),
            unsent: 0,
            on_disk: 0,
            set_aside: self.set_aside.load(ORDER),
            retries: self.retries.load(ORDER),
            restarts: self.restarts.load(ORDER),
            recycled: self.recycled.load(ORDER),
            reloads: self.reloads.load(ORDER),
            traps: self.traps.load(ORDER),
            timeouts: self.timeouts.load(ORDER),
            memory_refusals: self.memory_refusals.load(ORDER),
        };
        match forwarded {
            Some(forwarded) => own.with(&forwarded),
            None => own,
        }
    }

    /// Returns whether the server behind it takes no klines and it drops new ones.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.forwarded().is_some_and(|forwarded| forwarded.is_full)
    }

    /// Returns the durations of all calls of `consume`, accepted or not.
    #[must_use]
    pub fn calls_took(&self) -> Durations {
        self.calls_took.read()
    }

    /// Returns how long the oldest closed kline of each accepted delivery took from the hub to the end of that call,
    /// including the time in the queue, repetitions and restarts. Deliveries of updates alone do not count, because
    /// updates are replaced while they wait.
    #[must_use]
    pub fn waited(&self) -> Durations {
        self.waited.read()
    }

    /// Returns the memory that the instances use, if it is measured.
    #[must_use]
    pub fn footprint(&self) -> Option<Footprint> {
        self.meter()?.footprint()
    }

    /// Returns the metrics that the consumer's kind measures.
    #[must_use]
    pub fn metrics(&self, now: Millis) -> Vec<Metric> {
        self.meter().map(|meter| meter.metrics(now)).unwrap_or_default()
    }

    fn forwarded(&self) -> Option<Forwarded> {
        self.meter()?.forwarded()
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.source().meter.clone()
    }

    /// Returns the SHA-256 of the component, in hex; `None` if the consumer is not a component.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.source().version.clone()
    }

    /// Sets the meter and version of the blueprint, at the start and after each reload.
    pub(super) fn set_source(&self, meter: Option<Arc<dyn Meter>>, version: Option<String>) {
        *self.source() = Source { meter, version };
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures one call of `consume`.
    pub(super) fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = call();
        self.record_call(began.elapsed());
        result
    }

    pub(super) fn record_call(&self, time: Duration) {
        self.calls_took.add(time);
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, ORDER);
    }

    /// Counts an accepted delivery. `waited` is how long ago its oldest closed kline came from the hub; `None` if it
    /// has none.
    pub(super) fn accepted(&self, klines: usize, waited: Option<Duration>) {
        if let Some(waited) = waited {
            self.waited.add(waited);
        }
        self.calls.fetch_add(1, ORDER);
        self.delivered.fetch_add(klines as u64, ORDER);
    }

    /// Counts dropped closed klines.
    pub(super) fn count_lost(&self, reason: LossReason, klines: u64) {
        self.losses.add(reason, klines);
    }

    /// Counts closed klines that the consumer's queue dropped: it was full, or its consumer takes nothing any more.
    pub(super) fn count_lost_in_queue(&self, klines: u64) {
        self.count_lost(self.resting_loss().unwrap_or(LossReason::QueueFull), klines);
    }

    /// Counts closed klines that waited for a consumer which takes nothing any more.
    pub(super) fn count_lost_while_resting(&self, klines: u64) {
        self.count_lost(self.resting_loss().unwrap_or(LossReason::Failed), klines);
    }

    /// Returns why the consumer takes nothing any more; `None` if it does.
    fn resting_loss(&self) -> Option<LossReason> {
        let state = self.state.load(ORDER);
        let is = |candidate: State| candidate as u8 == state;
        if is(State::Finished) {
            Some(LossReason::OutputClosed)
        } else {
            (is(State::Failed) || is(State::Quarantined)).then_some(LossReason::Failed)
        }
    }

    /// Sets how many closed klines the delivery in progress has: they are no longer in the queue and not yet counted.
    pub(super) fn set_in_hand(&self, klines: u64) {
        self.in_hand.store(klines, ORDER);
    }

    pub(super) fn set_aside(&self, klines: usize) {
        self.set_aside.fetch_add(klines as u64, ORDER);
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, ORDER);
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, ORDER);
    }

    pub(super) fn recycled(&self) {
        self.recycled.fetch_add(1, ORDER);
    }

    pub(super) fn reloaded(&self) {
        self.reloads.fetch_add(1, ORDER);
    }

    pub(super) fn crashed(&self, kind: CrashKind) {
        let counter = match kind {
            CrashKind::Trap => &self.traps,
            CrashKind::Timeout => &self.timeouts,
            CrashKind::Memory => &self.memory_refusals,
        };
        counter.fetch_add(1, ORDER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_being_stored() {
        let stats = Stats::default();
        for state in State::ALL {
            stats.set_state(state);
            assert_eq!(stats.snapshot().state, state);
        }
    }

    #[test]
    fn crashes_are_counted_by_kind() {
        let stats = Stats::default();
        for kind in [CrashKind::Trap, CrashKind::Timeout, CrashKind::Timeout, CrashKind::Memory] {
            stats.crashed(kind);
        }
        let found = stats.snapshot();
        assert_eq!((found.traps, found.timeouts, found.memory_refusals, found.crashes()), (1, 2, 1, 4));
    }
}
