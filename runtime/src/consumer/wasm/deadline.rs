//! How long a call may still take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::engine::TICK;

/// The deadline of the call in progress. Time that the terminal kept the guest waiting, or that it left the core to others,
/// does not count.
#[derive(Debug)]
pub(super) struct Deadline {
    limit: Duration,
    started: Instant,
    waited: Waited,
}

/// Nanoseconds spent waiting for the terminal during the call in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Waited(Arc<AtomicU64>);

impl Waited {
    pub(super) fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Deadline {
    pub(super) fn new(waited: Waited) -> Self {
        Self { limit: Duration::ZERO, started: Instant::now(), waited }
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, limit: Duration) {
        self.limit = limit;
        self.started = Instant::now();
        self.waited.0.store(0, Ordering::Relaxed);
    }

    /// The call in progress gave way to others for so long, which does not count.
    pub(super) fn excuse(&self, time: Duration) {
        self.waited.add(time);
    }

    /// What the call in progress was given.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// How long it has taken.
    pub(super) fn took(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        let waited = Duration::from_nanos(self.waited.0.load(Ordering::Relaxed));
        (self.limit + waited).saturating_sub(self.started.elapsed())
    }
}

/// Ticks that last for `time`, the present one being under way already, unless the epoch is moved on for another reason.
pub(super) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_never_fewer_than_the_time() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
    }

    /// The present tick may have just begun, or be all but over.
    #[test]
    fn a_loop_is_interrupted_within_two_ticks_of_its_deadline() {
        for millis in 0..1_000 {
            let limit = Duration::from_millis(millis);
            let ticks = u32::try_from(ticks(limit)).unwrap();
            let (earliest, latest) = (TICK * (ticks - 1), TICK * ticks);
            assert!(earliest >= limit && latest < limit + 2 * TICK, "{limit:?}: {earliest:?} to {latest:?}");
        }
        assert_eq!(TICK, Duration::from_millis(10), "docs/sandbox.md names twice as much");
    }

    #[test]
    fn waiting_for_the_terminal_does_not_count() {
        let waited = Waited::default();
        let mut deadline = Deadline::new(waited.clone());
        deadline.begin(Duration::ZERO);
        assert_eq!(deadline.left(), Duration::ZERO);
        waited.add(Duration::from_secs(3_600));
        assert!(deadline.left() > Duration::from_secs(3_000));
        deadline.begin(Duration::ZERO);
        assert_eq!(deadline.left(), Duration::ZERO);
    }
}
