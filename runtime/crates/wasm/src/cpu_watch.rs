//! Detects an untrusted consumer that keeps a core busy for long, and gives its thread the lowest rank from then on.
//!
//! The deadline ends a loop, after one second by default. Until then the loop would delay threads that wake up, each
//! time by a time slice of the scheduler. So would a series of calls that each stay below the limit.

use std::time::{Duration, Instant};

use klines_delivery::cpu::{is_lowest, rank_lowest, thread_time};
use tracing::warn;

use super::deadline::Deadline;

/// A call may keep a core busy for this fraction of its time limit: one in `PART`.
const PART: u32 = 50;
/// The calls of an instance may use this fraction of a core during [`PERIOD`]: one in `SHARE`.
const SHARE: u32 = 5;
const PERIOD: Duration = Duration::from_secs(1);
/// Shorter calls trigger no check.
const SHORT: Duration = Duration::from_millis(1);

/// Watches the calls of one instance.
#[derive(Debug)]
pub(super) struct CpuWatch {
    is_on: bool,
    /// Start of the present period, and this thread's CPU time at that moment.
    since: Option<(Instant, Duration)>,
}

impl CpuWatch {
    pub(super) const fn new(is_on: bool) -> Self {
        Self { is_on, since: None }
    }

    /// Returns whether calls are watched; those of shipped components, which are trusted, are not.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Checks the call in progress.
    pub(super) fn look(&self, consumer: &str, call: &Deadline) {
        if self.is_on && !is_lowest() && call.on_core() >= call.limit() / PART {
            lower(consumer, "in one call");
        }
    }

    /// Checks a finished call.
    pub(super) fn end(&mut self, consumer: &str, call: &Deadline) {
        if !self.is_on || is_lowest() || call.lasted() < SHORT {
            return;
        }
        let (moment, now) = (Instant::now(), thread_time());
        let Some((began, before)) = self.since else {
            self.since = Some((moment, now));
            return;
        };
        let passed = moment.saturating_duration_since(began);
        if passed < PERIOD {
            return;
        }
        self.since = Some((moment, now));
        if now.saturating_sub(before) * SHARE > passed {
            lower(consumer, "in call after call");
        }
    }
}

fn lower(consumer: &str, how: &str) {
    if rank_lowest() {
        warn!(consumer, how, "consumer keeps a core busy: its thread runs at the lowest priority from now on");
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::thread;

    use super::*;
    use crate::deadline::TimeTotal;

    const LIMIT: Duration = Duration::from_millis(50);

    fn call() -> Deadline {
        let mut call = Deadline::new(TimeTotal::default(), TimeTotal::default());
        call.begin(LIMIT);
        call
    }

    fn spin(time: Duration) {
        let begun = thread_time();
        while thread_time() - begun < time {
            black_box(0);
        }
    }

    #[test]
    fn a_call_that_keeps_a_core_busy_lowers_its_thread_permanently() {
        let (watch, call) = (CpuWatch::new(true), call());
        spin(LIMIT / PART);
        watch.look("mine", &call);
        assert!(is_lowest());
    }

    #[test]
    fn a_call_that_waits_does_not_lower_its_thread() {
        let (watch, call) = (CpuWatch::new(true), call());
        while call.lasted() < LIMIT / PART {
            thread::park_timeout(LIMIT / PART);
        }
        watch.look("mine", &call);
        assert!(!is_lowest());
    }

    #[test]
    fn many_calls_below_the_limit_add_up() {
        let mut watch = CpuWatch::new(true);
        // Pretends that a second has passed in which this thread used more than a fifth of a core.
        let before = thread_time();
        spin(PERIOD / 4);
        watch.since = Some((Instant::now().checked_sub(PERIOD).unwrap(), before));
        watch.end("mine", &call());
        assert!(!is_lowest(), "a short call triggers no check");
        let call = call();
        spin(SHORT);
        // The machine may have been busy, so the start of the period is set again.
        watch.since = Some((Instant::now().checked_sub(PERIOD).unwrap(), before));
        watch.end("mine", &call);
        assert!(is_lowest());
    }

    #[test]
    fn a_trusted_consumer_is_not_watched() {
        let (mut watch, call) = (CpuWatch::new(false), call());
        spin(LIMIT / PART);
        watch.look("console", &call);
        watch.end("console", &call);
        assert!(!is_lowest());
    }
}
