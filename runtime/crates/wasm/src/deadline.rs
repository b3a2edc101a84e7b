//! How much time a call may still take.
//!
//! Counted are the thread's own time on a core and the time in host calls that wait. Time in which the thread was ready
//! and others ran, or in which the process was stopped, is no fault of the guest. Since the system may also hold a thread
//! in a call that never ends, there is a bound by the clock, many times larger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use klines_delivery::cpu::thread_time;

/// How often the engine's epoch moves on: the grain of every deadline.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The bound by the clock, as a multiple of a call's limit.
const BY_CLOCK: u32 = 30;

/// A time that one thread adds to and another one reads. Clones are the same time.
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

/// A moment, and how long the process had stood still until then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    stood: Duration,
}

/// The deadline of the call in progress.
#[derive(Debug)]
pub(super) struct Deadline {
    limit: Duration,
    /// How long the process stood still since its start: what the clock that ends calls was late.
    standstill: TimeTotal,
    began: Mark,
    /// This thread's time on a core when the call began.
    on_core: Duration,
    /// Time in host calls that waited.
    waited: Duration,
    /// Time that the clock does not hold against the guest either.
    excused: Duration,
    /// How long the call in progress was kept waiting by a granted terminal.
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

    /// The call in progress waited for its turn for so long.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.excused += time;
    }

    /// The call in progress waited in a host call for so long.
    pub(super) fn charge(&mut self, time: Duration) {
        self.waited += time;
    }

    /// What the call in progress was given.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Time on a core that it has taken.
    pub(super) fn on_core(&self) -> Duration {
        thread_time().saturating_sub(self.on_core)
    }

    /// How long it has lasted, by the clock.
    pub(super) fn lasted(&self) -> Duration {
        self.began.at.elapsed()
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        if self.is_over_by_clock() {
            return Duration::ZERO;
        }
        self.limit.saturating_sub(self.on_core() + self.waited)
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Says what it took too much of.
    pub(super) fn verdict(&self) -> String {
        if self.is_over_by_clock() {
            let bound = self.limit * BY_CLOCK;
            return format!("took longer than {bound:?} by the clock, waiting for the system or for a core");
        }
        format!("took longer than {:?}", self.limit)
    }

    fn is_over_by_clock(&self) -> bool {
        // Nearly every look comes long before it.
        self.lasted() >= self.limit * BY_CLOCK
            && self.since(self.began) >= self.limit * BY_CLOCK + self.excused + self.terminal.total()
    }

    fn mark(&self) -> Mark {
        Mark { at: Instant::now(), stood: self.standstill.total() }
    }

    /// Time since then in which the process did not stand still.
    fn since(&self, mark: Mark) -> Duration {
        mark.at.elapsed().saturating_sub(self.standstill.total().saturating_sub(mark.stood))
    }

    /// Starts to measure a wait.
    pub(super) fn wait(&self) -> Wait {
        Wait { from: self.mark(), left: self.left() }
    }

    /// What is left for a wait in progress.
    pub(super) fn left_of(&self, wait: &Wait) -> Duration {
        wait.left.saturating_sub(self.since(wait.from))
    }

    /// Ends a wait, which is charged.
    pub(super) fn waited(&mut self, wait: &Wait) {
        let time = self.since(wait.from);
        self.charge(time);
    }
}

/// A wait in a host call.
#[derive(Debug)]
pub(super) struct Wait {
    from: Mark,
    /// What was left of the call when it began.
    left: Duration,
}

/// Ticks that last for `time`, the present one being under way already.
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
    fn time_on_a_core_counts() {
        let (deadline, _) = begun(Duration::from_millis(5));
        while !deadline.is_over() {
            std::hint::black_box(0);
        }
        assert!(deadline.on_core() >= Duration::from_millis(5));
        assert_eq!(deadline.verdict(), "took longer than 5ms");
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
    fn what_never_ends_is_over_by_the_clock() {
        let (mut deadline, standstill) = begun(Duration::from_secs(1));
        deadline.began.at = Instant::now().checked_sub(Duration::from_secs(31)).unwrap();
        assert!(deadline.is_over());
        assert_eq!(deadline.verdict(), "took longer than 30s by the clock, waiting for the system or for a core");
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
