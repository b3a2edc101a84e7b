//! Notices a call that holds a core for long, and lets its thread have only what others leave from then on.
//!
//! A loop is ended by its deadline, a second later unless configured. Until then it would keep those that wake up beside
//! it waiting for their turn, each time by a slice of the scheduler's.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::consumer::courtesy;

/// The part of a call's time limit that it may hold a core without losing its place.
const PART: u32 = 50;

thread_local! {
    /// Whether this thread stands aside already, which is for good: only a privileged one could come back.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Looks at the calls of one instance.
#[derive(Debug)]
pub(super) struct Hog {
    /// Whether there is anything to look at: what is part of the program is trusted.
    watched: bool,
    patience: Duration,
    /// Time on a core of this thread when the call in progress was first looked at.
    first: Option<Duration>,
}

impl Hog {
    pub(super) const fn new(watched: bool) -> Self {
        Self { watched, patience: Duration::ZERO, first: None }
    }

    /// Begins a call; returns after what time it is worth a look.
    pub(super) fn begin(&mut self, limit: Duration) -> Duration {
        self.first = None;
        self.patience = limit / PART;
        if self.watched && !ASIDE.get() { self.patience } else { limit }
    }

    /// Looks at a call that is still going on; returns after what time it is worth another look, if it is.
    pub(super) fn look(&mut self, consumer: &str) -> Option<Duration> {
        if !self.watched || ASIDE.get() {
            return None;
        }
        let now = on_core();
        // The first look comes late enough that a usual call is over: only from here on it costs anything.
        let first = *self.first.get_or_insert(now);
        if now.saturating_sub(first) < self.patience {
            return Some(self.patience);
        }
        ASIDE.set(true);
        if courtesy::aside() {
            let time = self.patience;
            warn!(consumer, ?time, "a call held a core for long: from now on the consumer gets only what others leave");
        }
        None
    }
}

/// What this thread has had of a core in its life.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn spin() {
        let begun = on_core();
        while on_core() - begun < Duration::from_millis(2) {
            black_box(0);
        }
    }

    #[test]
    fn a_call_that_holds_a_core_loses_its_place_for_good() {
        let mut hog = Hog::new(true);
        assert_eq!(hog.begin(LIMIT), Duration::from_millis(1));
        assert!(hog.look("mine").is_some(), "the first look only begins to count");
        spin();
        assert!(hog.look("mine").is_none());
        assert_eq!(hog.begin(LIMIT), LIMIT, "there is nothing more to look at");
    }

    #[test]
    fn a_call_that_waits_holds_no_core() {
        let mut hog = Hog::new(true);
        hog.begin(Duration::from_secs(3_600));
        assert!(hog.look("mine").is_some());
        spin();
        assert!(hog.look("mine").is_some());
    }

    #[test]
    fn a_trusted_one_is_not_looked_at() {
        let mut hog = Hog::new(false);
        assert_eq!(hog.begin(LIMIT), LIMIT);
        assert!(hog.look("console").is_none());
    }
}
