//! What one consumer has done so far, readable by others at any time. Counts; decides nothing.

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
pub use self::meters::{Figure, Footprint, HandedOn, Kind, Meter, Row};
use crate::call::CrashKind;

/// Where a consumer is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Its first instance is being made and set up.
    #[default]
    Starting,
    /// It takes deliveries.
    Running,
    /// It asked for a delivery to be repeated.
    Retrying,
    /// It takes deliveries, and what they go to cannot be reached or takes nothing.
    Disconnected,
    /// An operator paused it: nothing is handed to it.
    Paused,
    /// Its instance crashed; the next one is made after a pause.
    Backoff,
    /// It ended because the runtime ends.
    Stopped,
    /// It said, or its component shows, that it can never work.
    Failed,
    /// It crashed too often.
    Quarantined,
    /// It was still in a call when the process ended.
    Abandoned,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Starting,
        Self::Running,
        Self::Retrying,
        Self::Disconnected,
        Self::Paused,
        Self::Backoff,
        Self::Stopped,
        Self::Failed,
        Self::Quarantined,
        Self::Abandoned,
    ];

    /// The lower-case name used in every output.
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

/// Counters of one consumer. Klines are counted when the consumer accepted them; a consumer that hands them on itself
/// counts what was acknowledged to it, and what it dropped ([`Meter::handed_on`]).
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
    maker: Mutex<Maker>,
}

/// What is known of the blueprint that instances come from.
#[derive(Debug, Default)]
struct Maker {
    meter: Option<Arc<dyn Meter>>,
    version: Option<String>,
}

/// [`Stats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Where the consumer is in its life.
    pub state: State,
    /// Klines that the last hop acknowledged, updates included: the consumer itself, or the server that it hands them
    /// to, once for each of its outputs.
    pub delivered: u64,
    /// Deliveries that it accepted.
    pub calls: u64,
    /// Closed klines that were dropped, by the reason.
    pub losses: Losses,
    /// Closed klines handed to it and not accepted yet.
    pub in_hand: u64,
    /// Klines that it accepted, did not hand on yet, and holds in memory.
    pub unsent: u64,
    /// Klines that it has on disk, for this run or the next.
    pub on_disk: u64,
    /// Klines written to its dead-letter file.
    pub set_aside: u64,
    /// Calls that it asked to be repeated.
    pub retries: u64,
    /// Instances made after a crash.
    pub restarts: u64,
    /// Instances that gave way to a fresh one after they had done their share.
    pub recycled: u64,
    /// Versions that took over.
    pub reloads: u64,
    /// Crashes by trap or panic.
    pub traps: u64,
    /// Crashes by time-out.
    pub timeouts: u64,
    /// Crashes after a refusal of memory.
    pub memory_refusals: u64,
}

impl Snapshot {
    /// Closed klines that were dropped, for whatever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// Closed klines that were dropped because the run ended.
    #[must_use]
    pub fn lost_at_the_end(&self) -> u64 {
        self.losses.of(LossReason::Shutdown)
    }

    /// Adds what the consumer counts itself of what it hands on.
    fn with(mut self, handed_on: &HandedOn) -> Self {
        self.delivered = handed_on.delivered;
        self.losses.merge(&handed_on.losses);
        (self.unsent, self.on_disk) = (handed_on.in_memory, handed_on.on_disk);
        if handed_on.is_disconnected && matches!(self.state, State::Running | State::Retrying) {
            self.state = State::Disconnected;
        }
        self
    }

    /// Crashes of every kind.
    #[must_use]
    pub const fn crashes(&self) -> u64 {
        self.traps + self.timeouts + self.memory_refusals
    }
}

// Each counter stands alone: nothing is concluded from the order in which two of them change.
const ORDER: Ordering = Ordering::Relaxed;

impl Stats {
    /// Returns all counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let handed_on = self.handed_on();
        let own = Snapshot {
            state: State::ALL.get(usize::from(self.state.load(ORDER))).copied().unwrap_or_default(),
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
        match handed_on {
            Some(handed_on) => own.with(&handed_on),
            None => own,
        }
    }

    /// Whether what it hands klines on to takes none and it drops what it gets.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.handed_on().is_some_and(|handed_on| handed_on.is_full)
    }

    /// How long each call of `consume` took, accepted or not.
    #[must_use]
    pub fn calls_took(&self) -> Durations {
        self.calls_took.read()
    }

    /// How long the oldest closed kline of each accepted delivery took from the hub to the end of that call: waiting in
    /// the queue, repetitions and restarts included. Deliveries of updates alone do not count, because updates are
    /// replaced while they wait.
    #[must_use]
    pub fn waited(&self) -> Durations {
        self.waited.read()
    }

    /// What the instances take, where that is known.
    #[must_use]
    pub fn footprint(&self) -> Option<Footprint> {
        self.meter()?.footprint()
    }

    /// Figures of the consumer's kind.
    #[must_use]
    pub fn figures(&self, now: Millis) -> Vec<Figure> {
        self.meter().map(|meter| meter.figures(now)).unwrap_or_default()
    }

    fn handed_on(&self) -> Option<HandedOn> {
        self.meter()?.handed_on()
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.maker().meter.clone()
    }

    /// SHA-256 of the component that instances are made of, in hex; nothing for what is not a component.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.maker().version.clone()
    }

    /// Notes what instances come from, now and after each reload.
    pub(super) fn made_by(&self, meter: Option<Arc<dyn Meter>>, version: Option<String>) {
        *self.maker() = Maker { meter, version };
    }

    fn maker(&self) -> MutexGuard<'_, Maker> {
        self.maker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Times one call of `consume`.
    pub(super) fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = call();
        self.took(began.elapsed());
        result
    }

    pub(super) fn took(&self, time: Duration) {
        self.calls_took.add(time);
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, ORDER);
    }

    /// `waited` is how long ago the oldest closed kline of the delivery came from the hub, if it has any.
    pub(super) fn accepted(&self, klines: usize, waited: Option<Duration>) {
        if let Some(waited) = waited {
            self.waited.add(waited);
        }
        self.calls.fetch_add(1, ORDER);
        self.delivered.fetch_add(klines as u64, ORDER);
    }

    /// Counts closed klines that were dropped.
    pub(super) fn lost(&self, reason: LossReason, klines: u64) {
        self.losses.add(reason, klines);
    }

    /// Counts closed klines that the consumer's queue dropped: it was full, or its consumer takes nothing any more.
    pub(super) fn lost_in_queue(&self, klines: u64) {
        let has_failed = [State::Failed, State::Quarantined].iter().any(|state| *state as u8 == self.state.load(ORDER));
        self.lost(if has_failed { LossReason::Failed } else { LossReason::QueueFull }, klines);
    }

    /// Notes how many closed klines the consumer has in hand: they are in neither its queue nor any count.
    pub(super) fn hold(&self, klines: u64) {
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
