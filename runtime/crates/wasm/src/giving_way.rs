//! How the calls of one untrusted instance give way to the work of trusted consumers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::trusted_work::TrustedWork;

/// How long a call gives way at most, and how long it then goes on for certain: half of the cores' time at worst.
const MOST: Duration = Duration::from_millis(3);
/// How often it looks whether it still has to. Whoever ends work wakes nobody up.
const LOOK: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(crate) struct GivingWay {
    work: Arc<TrustedWork>,
    /// When it last did, and how often work had begun by then.
    last: Option<(Instant, u64)>,
}

impl GivingWay {
    pub(crate) const fn new(work: Arc<TrustedWork>) -> Self {
        Self { work, last: None }
    }

    /// Sleeps while a trusted consumer is at work, but not for long, not twice in a row, and once for what was begun: one
    /// that is stuck is nothing to wait for. Returns for how long.
    pub(crate) fn give_way(&mut self) -> Duration {
        if !self.work.is_any() {
            return Duration::ZERO;
        }
        let (since, begun) = (Instant::now(), self.work.begun());
        if self.last.is_some_and(|(at, last)| last == begun || since.saturating_duration_since(at) < MOST) {
            return Duration::ZERO;
        }
        while self.work.is_any() && since.elapsed() < MOST {
            thread::park_timeout(LOOK);
        }
        self.last = Some((Instant::now(), self.work.begun()));
        since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gives_way_to_work_and_to_nothing_else() {
        let work = Arc::new(TrustedWork::default());
        let mut giving_way = GivingWay::new(work.clone());
        assert_eq!(giving_way.give_way(), Duration::ZERO);
        let (one, other) = (work.begin(), work.begin());
        drop(one);
        assert!(giving_way.give_way() >= MOST);
        drop(other);
        giving_way.last = None;
        assert_eq!(giving_way.give_way(), Duration::ZERO);
    }

    #[test]
    fn a_consumer_that_is_stuck_is_given_way_to_once() {
        let work = Arc::new(TrustedWork::default());
        let mut giving_way = GivingWay::new(work.clone());
        let _stuck = work.begin();
        assert!(giving_way.give_way() >= MOST);
        // As if that were long ago.
        giving_way.last = giving_way.last.map(|(at, begun)| (at.checked_sub(MOST).unwrap(), begun));
        assert_eq!(giving_way.give_way(), Duration::ZERO);
        let _more = work.begin();
        assert!(giving_way.give_way() >= MOST);
        let _yet_more = work.begin();
        // As if it had given way at this moment.
        giving_way.last = giving_way.last.map(|(_, begun)| (Instant::now(), begun));
        assert_eq!(giving_way.give_way(), Duration::ZERO, "it goes on for as long as it gave way");
    }
}
