//! Tracks how much time a call may still take.
//!
//! The thread's CPU time and the time in host calls that wait count. Time in which the thread was ready but others ran,
//! or in which the process was stopped, does not count. Because the system may block a thread forever, there is also a
//! much larger limit on the time by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use klines_delivery::cpu::thread_time;

/// Interval at which the engine's epoch advances: the resolution of every deadline.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The limit by the clock, as a multiple of a call's limit.
const BY_CLOCK: u32 = 30;

/// A duration that one thread adds to and another thread reads. Clones share the same value.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeTotal(Arc<AtomicU64>);

impl TimeTotal {
    pub(super) fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A moment, and the total standstill of the process until then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    stood: Duration,
}

/// The deadline of the call in progress.
#[derive(Debug)]
pub(super) struct Deadline {
    limit: Duration,
    /// Total time for which the process stood still, measured by how late the clock that ends calls was.
    standstill: TimeTotal,
    began: Mark,
    /// This thread's CPU time when the call began.
    on_core: Duration,
    /// Time in host calls that waited.
    waited: Duration,
    /// Time that does not count towards the limit by the clock either.
    excused: Duration,
    /// Time for which the call in progress waited for a granted terminal.
    terminal: TimeTotal,
}

impl Deadline {
    pub(super) fn new(standstill: TimeTotal, terminal: TimeTotal) -> Self {
        let began = Mark { at: Instant::now(), stood: standstill.total() };
        let (limit, on_core, waited, excused) = Default::default();
        Self { limit, standstill, began, on_core, waited, excused, terminal }
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, limit: Duration) {
        self.limit = limit;
        self.began = self.mark();
        self.on_core = thread_time();
        self.waited = Duration::ZERO;
        self.excused = Duration::ZERO;
        self.terminal.reset();
    }

    /// Excludes `time`, in which the call in progress waited for its turn.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.excused += time;
    }

    /// Charges `time`, in which the call in progress waited in a host call.
    pub(super) fn charge(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Returns the limit of the call in progress.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the CPU time that the call has used.
    pub(super) fn on_core(&self) -> Duration {
        thread_time().saturating_sub(self.on_core)
    }

    /// Returns the time since the call began, by the clock.
    pub(super) fn lasted(&self) -> Duration {
        self.began.at.elapsed()
    }

    /// Returns the remaining time of the call.
    pub(super) fn left(&self) -> Duration {
        if self.is_over_by_clock() {
            return Duration::ZERO;
        }
        self.limit.saturating_sub(self.on_core() + self.waited)
    }

    /// Returns whether the time of the call is over.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Returns a message that says which limit of time the call exceeded.
    pub(super) fn timeout_message(&self) -> String {
        if self.is_over_by_clock() {
            let bound = self.limit * BY_CLOCK;
            return format!("took longer than {bound:?} by the clock, waiting for the system or for a core");
        }
        format!("took longer than {:?}", self.limit)
    }

    fn is_over_by_clock(&self) -> bool {
        // The cheap comparison comes first: almost every check happens long before the limit.
        self.lasted() >= self.limit * BY_CLOCK
            && self.since(self.began) >= self.limit * BY_CLOCK + self.excused + self.terminal.total()
    }

    fn mark(&self) -> Mark {
        Mark { at: Instant::now(), stood: self.standstill.total() }
    }

    /// Returns the time since `mark` without the standstill of the process.
    fn since(&self, mark: Mark) -> Duration {
        mark.at.elapsed().saturating_sub(self.standstill.total().saturating_sub(mark.stood))
    }

    /// Starts the measurement of a wait.
    pub(super) fn wait(&self) -> Wait {
        Wait { from: self.mark(), left: self.left() }
    }

    /// Returns the remaining time for a wait in progress.
    pub(super) fn left_of(&self, wait: &Wait) -> Duration {
        wait.left.saturating_sub(self.since(wait.from))
    }

    /// Ends a wait and charges its duration.
    pub(super) fn waited(&mut self, wait: &Wait) {
        let time = self.since(wait.from);
        self.charge(time);
    }
}

/// A wait in a host call.
#[derive(Debug)]
pub(super) struct Wait {
    from: Mark,
    /// The remaining time of the call when the wait began.
    left: Duration,
}

/// Returns the number of ticks that cover `time`, given that the present tick has already begun.
pub(super) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn begun(limit: Duration) -> (Deadline, TimeTotal) {
        let standstill = TimeTotal::default();
        let mut deadline = Deadline::new(standstill.clone(), TimeTotal::default());
        deadline.begin(limit);
        (deadline, standstill)
    }

    #[test]
    fn ticks_are_never_shorter_than_the_time() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
    }

    /// The present tick may have just begun or be almost over.
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
    fn cpu_time_counts() {
        let (deadline, _) = begun(Duration::from_millis(5));
        while !deadline.is_over() {
            std::hint::black_box(0);
        }
        assert!(deadline.on_core() >= Duration::from_millis(5));
        assert_eq!(deadline.timeout_message(), "took longer than 5ms");
    }

    #[test]
    fn time_in_which_others_ran_does_not_count() {
        let (mut deadline, _) = begun(HOUR);
        deadline.began.at = Instant::now().checked_sub(HOUR * 2).unwrap();
        assert!(deadline.left() > HOUR / 2);
    }

    #[test]
    fn a_wait_in_the_host_counts_and_one_for_a_turn_does_not() {
        let (mut deadline, _) = begun(HOUR);
        deadline.excuse(HOUR * 2);
        assert!(deadline.left() > HOUR / 2);
        deadline.charge(HOUR);
        assert!(deadline.is_over());
        deadline.begin(HOUR);
        assert!(!deadline.is_over());
    }

    #[test]
    fn a_blocked_call_is_over_by_the_clock() {
        let (mut deadline, standstill) = begun(Duration::from_secs(1));
        deadline.began.at = Instant::now().checked_sub(Duration::from_secs(31)).unwrap();
        assert!(deadline.is_over());
        assert_eq!(
            deadline.timeout_message(),
            "took longer than 30s by the clock, waiting for the system or for a core"
        );
        deadline.excuse(Duration::from_secs(10));
        assert!(!deadline.is_over(), "it waited for its turn in between");
        deadline.excused = Duration::ZERO;
        standstill.add(Duration::from_secs(10));
        assert!(!deadline.is_over(), "the process stood still in between");
        deadline.began.at = Instant::now().checked_sub(Duration::from_secs(50)).unwrap();
        assert!(deadline.is_over());
        deadline.terminal.add(Duration::from_secs(20));
        assert!(!deadline.is_over(), "a terminal kept it waiting");
    }

    #[test]
    fn a_wait_does_not_end_early_because_the_process_stood_still() {
        let (mut deadline, standstill) = begun(HOUR);
        let mut wait = deadline.wait();
        wait.from.at = Instant::now().checked_sub(HOUR * 2).unwrap();
        assert_eq!(deadline.left_of(&wait), Duration::ZERO);
        standstill.add(HOUR * 2);
        assert!(deadline.left_of(&wait) > HOUR / 2);
        deadline.waited(&wait);
        assert!(deadline.left() > HOUR / 2);
    }
}
