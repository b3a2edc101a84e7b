//! Notices an untrusted consumer that holds a core for long, and gives its thread the lowest rank from then on.
//!
//! A loop is ended by its deadline, a second later unless configured. Until then it would delay threads that wake up, each
//! time by a slice of the scheduler's. So would a series of calls that are just short enough.

use std::time::{Duration, Instant};

use klines_delivery::cpu::{is_lowest, rank_lowest, thread_time};
use tracing::warn;

use super::deadline::Deadline;

/// The part of a call's time limit for which it may hold a core.
const PART: u32 = 50;
/// The part of a core that all calls of over [`SHORT`] may hold during [`PERIOD`].
const SHARE: u32 = 5;
const PERIOD: Duration = Duration::from_secs(1);
/// Calls below this are not looked at.
const SHORT: Duration = Duration::from_millis(1);

/// Watches the calls of one instance.
#[derive(Debug)]
pub(super) struct CpuWatch {
    is_on: bool,
    /// When the present period began, and this thread's time on a core then.
    since: Option<(Instant, Duration)>,
}

impl CpuWatch {
    pub(super) const fn new(is_on: bool) -> Self {
        Self { is_on, since: None }
    }

    /// Whether there is anything to watch: shipped components are trusted.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Looks at the call in progress.
    pub(super) fn look(&self, consumer: &str, call: &Deadline) {
        if self.is_on && !is_lowest() && call.on_core() >= call.limit() / PART {
            lower(consumer, "in one call");
        }
    }

    /// Looks at a call that is over.
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
        warn!(consumer, how, "a core was held for long: from now on the consumer gets only what others leave");
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
    fn a_call_that_holds_a_core_lowers_its_thread_for_good() {
        let (watch, call) = (CpuWatch::new(true), call());
        spin(LIMIT / PART);
        watch.look("mine", &call);
        assert!(is_lowest());
    }

    #[test]
    fn a_call_that_waits_holds_no_core() {
        let (watch, call) = (CpuWatch::new(true), call());
        while call.lasted() < LIMIT / PART {
            thread::park_timeout(LIMIT / PART);
        }
        watch.look("mine", &call);
        assert!(!is_lowest());
    }

    #[test]
    fn calls_that_are_each_just_short_enough_add_up() {
        let mut watch = CpuWatch::new(true);
        // As if the second were over, in which this thread held more than a fifth of a core.
        let before = thread_time();
        spin(PERIOD / 4);
        watch.since = Some((Instant::now().checked_sub(PERIOD).unwrap(), before));
        watch.end("mine", &call());
        assert!(!is_lowest(), "a short call is no reason to look");
        let call = call();
        spin(SHORT);
        // The machine may have been busy: the time that passed is made what it was meant to be.
        watch.since = Some((Instant::now().checked_sub(PERIOD).unwrap(), before));
        watch.end("mine", &call);
        assert!(is_lowest());
    }

    #[test]
    fn a_trusted_one_is_not_watched() {
        let (mut watch, call) = (CpuWatch::new(false), call());
        spin(LIMIT / PART);
        watch.look("console", &call);
        watch.end("console", &call);
        assert!(!is_lowest());
    }
}
