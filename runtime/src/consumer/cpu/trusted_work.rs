//! Whether trusted consumers have something to do: while they have, untrusted code leaves the cores to them.
//!
//! Permits and rank are not enough. A trusted thread that was preempted by another one is not picked again before an
//! untrusted thread on the same core has run until the next tick of the scheduler, be that of the lowest rank: what has
//! not run for long is owed more. So untrusted calls are interrupted when there is work, and sleep until it is done.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::CpuGovernor;

/// How long a call gives way at most, and how long it then goes on for certain: half of the cores' time at worst.
const MOST: Duration = Duration::from_millis(3);
/// How often it looks whether it still has to. Whoever ends work wakes nobody up.
const LOOK: Duration = Duration::from_micros(200);

/// The work of the trusted consumers of one hub.
#[derive(Debug, Default)]
pub struct TrustedWork {
    /// Consumers that have something to do.
    at_work: AtomicUsize,
    /// How often one of them was given something.
    begun: AtomicU64,
    /// Of the engines whose untrusted calls are interrupted for it.
    governors: RwLock<Vec<Arc<CpuGovernor>>>,
}

impl TrustedWork {
    /// Has the untrusted calls of an engine interrupted when there is work.
    pub(in super::super) fn interrupts(&self, governor: &Arc<CpuGovernor>) {
        let mut governors = self.governors.write().unwrap_or_else(PoisonError::into_inner);
        if !governors.iter().any(|known| Arc::ptr_eq(known, governor)) {
            governors.push(governor.clone());
        }
    }

    /// A consumer was given something to do: it is at work until the result is dropped.
    pub(in super::super) fn begin(self: &Arc<Self>) -> AtWork {
        self.begun.fetch_add(1, Ordering::Relaxed);
        // The lock is written to at starts alone; who finds it taken brings work and must not wait.
        if self.at_work.fetch_add(1, Ordering::AcqRel) == 0
            && let Ok(governors) = self.governors.try_read()
        {
            governors.iter().for_each(|governor| governor.interrupt());
        }
        AtWork(self.clone())
    }

    /// Whether one of them is at work.
    pub(in super::super) fn is_any(&self) -> bool {
        self.at_work.load(Ordering::Acquire) > 0
    }
}

/// One consumer is at work.
#[derive(Debug)]
pub(in super::super) struct AtWork(Arc<TrustedWork>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How the calls of one untrusted instance give way.
#[derive(Debug)]
pub(super) struct GivingWay {
    work: Arc<TrustedWork>,
    /// When it last did, and how often work had begun by then.
    last: Option<(Instant, u64)>,
}

impl GivingWay {
    pub(super) const fn new(work: Arc<TrustedWork>) -> Self {
        Self { work, last: None }
    }

    /// Sleeps while a trusted consumer is at work, but not for long, not twice in a row, and once for what was begun: one
    /// that is stuck is nothing to wait for. Returns for how long.
    pub(super) fn give_way(&mut self) -> Duration {
        if !self.work.is_any() {
            return Duration::ZERO;
        }
        let (since, begun) = (Instant::now(), self.work.begun.load(Ordering::Relaxed));
        if self.last.is_some_and(|(at, last)| last == begun || since.saturating_duration_since(at) < MOST) {
            return Duration::ZERO;
        }
        while self.work.is_any() && since.elapsed() < MOST {
            thread::park_timeout(LOOK);
        }
        self.last = Some((Instant::now(), self.work.begun.load(Ordering::Relaxed)));
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

    #[test]
    fn calls_are_interrupted_when_work_begins() {
        let interrupted = Arc::new(AtomicUsize::new(0));
        let counter = interrupted.clone();
        let governor = Arc::new(CpuGovernor::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let work = Arc::new(TrustedWork::default());
        work.interrupts(&governor);
        work.interrupts(&governor);
        let (one, other) = (work.begin(), work.begin());
        assert_eq!(interrupted.load(Ordering::Relaxed), 1, "once, whoever else is at work already");
        drop((one, other));
        drop(work.begin());
        assert_eq!(interrupted.load(Ordering::Relaxed), 2);
    }
}
