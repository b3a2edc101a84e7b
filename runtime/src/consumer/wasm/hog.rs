//! Notices a consumer that holds a core for long, and lets its thread have only what others leave from then on.
//!
//! A loop is ended by its deadline, a second later unless configured. Until then it would keep those that wake up beside
//! it waiting for their turn, each time by a slice of the scheduler's. So would many calls that are just short enough.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::consumer::courtesy::{self, Call, on_core};

/// The part of a call's time limit that it may hold a core without losing its place.
const PART: u32 = 50;
/// The part of a core that its long calls may hold over a time.
const SHARE: u32 = 5;
/// That time.
const WHILE: Duration = Duration::from_secs(1);
/// Calls below this cost nobody anything.
const SHORT: Duration = Duration::from_millis(1);

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
    /// When the present second began, and this thread's time on a core then.
    since: Option<(Instant, Duration)>,
}

impl Hog {
    pub(super) const fn new(watched: bool) -> Self {
        Self { watched, patience: Duration::ZERO, first: None, since: None }
    }

    /// Begins a call; returns after what time it is worth a look.
    pub(super) fn begin(&mut self, limit: Duration) -> Duration {
        self.first = None;
        self.patience = limit / PART;
        match (self.watched, ASIDE.get()) {
            (false, _) => limit,
            (true, false) => self.patience,
            // It has to give way at any time.
            (true, true) => Duration::ZERO,
        }
    }

    /// Counts the call in progress among those that others may find no core for.
    pub(super) fn call(&self) -> Option<Call> {
        self.watched.then(Call::begin)
    }

    /// Leaves the core for a moment, if others want it and this thread stands aside; returns for how long.
    pub(super) fn give_way(&self) -> Option<Duration> {
        (self.watched && ASIDE.get()).then(courtesy::give_way)
    }

    /// Looks at a call that is still going on after this time; returns after what time it is worth another look, if it is.
    pub(super) fn look(&mut self, consumer: &str, took: Duration) -> Option<Duration> {
        if !self.watched || ASIDE.get() {
            return None;
        }
        // A usual call is over before anything is measured.
        if took < self.patience {
            return Some(self.patience - took);
        }
        let now = on_core();
        let first = *self.first.get_or_insert(now);
        if now.saturating_sub(first) < self.patience {
            return Some(self.patience);
        }
        stand_aside(consumer, "in one call");
        Some(Duration::ZERO)
    }

    /// Looks at a call that is over, after this time.
    pub(super) fn end(&mut self, consumer: &str, took: Duration) {
        if took < SHORT || !self.watched || ASIDE.get() {
            return;
        }
        let (moment, now) = (Instant::now(), on_core());
        let Some((began, before)) = self.since else {
            self.since = Some((moment, now));
            return;
        };
        let passed = moment.saturating_duration_since(began);
        if passed < WHILE {
            return;
        }
        self.since = Some((moment, now));
        if now.saturating_sub(before) * SHARE > passed {
            stand_aside(consumer, "in call after call");
        }
    }
}

fn stand_aside(consumer: &str, how: &str) {
    ASIDE.set(true);
    if courtesy::aside() {
        warn!(consumer, how, "a core was held for long: from now on the consumer gets only what others leave");
    }
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
        assert!(hog.look("mine", LIMIT).is_some(), "the first look only begins to count");
        spin();
        assert_eq!(hog.look("mine", LIMIT), Some(Duration::ZERO), "and has to give way at any time");
        assert_eq!(hog.begin(LIMIT), Duration::ZERO, "from now on it looks up at every tick");
        assert!(hog.give_way().is_some());
    }

    #[test]
    fn a_call_that_waits_holds_no_core() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let mut hog = Hog::new(true);
        hog.begin(HOUR);
        assert!(hog.look("mine", HOUR / PART / 2).is_some() && hog.first.is_none(), "too soon to measure anything");
        assert!(hog.look("mine", HOUR).is_some() && hog.first.is_some());
        spin();
        assert!(hog.look("mine", HOUR).is_some());
        assert!(!ASIDE.get());
    }

    #[test]
    fn many_calls_that_are_just_short_enough_are_one_long_one() {
        let mut hog = Hog::new(true);
        hog.begin(LIMIT);
        // As if the second were over, in which this thread held more than a fifth of a core.
        hog.since = Some((Instant::now() - WHILE, on_core()));
        let begun = on_core();
        while on_core() - begun < WHILE / 4 {
            black_box(0);
        }
        let before = hog.since.unwrap().1;
        hog.end("mine", SHORT / 2);
        assert!(!ASIDE.get(), "a short call is no reason to look");
        // The machine may have been busy: the time that passed is made what it was meant to be.
        hog.since = Some((Instant::now() - WHILE, before));
        hog.end("mine", SHORT);
        assert!(ASIDE.get());
    }

    #[test]
    fn a_trusted_one_is_not_looked_at() {
        let mut hog = Hog::new(false);
        assert_eq!(hog.begin(LIMIT), LIMIT);
        assert!(hog.look("console", LIMIT).is_none());
        assert!(hog.give_way().is_none());
    }
}
