//! Whether trusted consumers have something to do: while they have, untrusted code leaves the cores to them.
//!
//! Permits and rank are not enough. A trusted thread that was preempted by another one is not picked again before an
//! untrusted thread on the same core has run until the next tick of the scheduler, be that of the lowest rank: what has
//! not run for long is owed more. So untrusted calls are interrupted when there is work, and sleep until it is done.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long untrusted calls stand still at most, and how long they then go on for certain, all of them together: half of
/// their time at worst.
const MOST: Duration = Duration::from_millis(3);
/// How often they look whether they still have to. Whoever ends work wakes nobody up.
const LOOK: Duration = Duration::from_micros(200);

/// Has all untrusted calls of an engine look at whether they may go on.
pub type Interrupt = dyn Fn() + Send + Sync;

/// The work of the trusted consumers of one hub.
#[derive(Default)]
pub struct TrustedWork {
    /// Consumers that have something to do.
    at_work: AtomicUsize,
    /// How often one of them was given something, or took more of it.
    begun: AtomicU64,
    /// When untrusted calls stood still last, and how often work had begun by then. Only they hold the lock.
    stood: Mutex<Option<(Instant, u64)>>,
    /// Of the engines whose untrusted calls give way to it.
    interrupts: RwLock<Vec<Arc<Interrupt>>>,
}

impl fmt::Debug for TrustedWork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TrustedWork").field("at_work", &self.at_work).finish_non_exhaustive()
    }
}

impl TrustedWork {
    /// Calls `interrupt` whenever work begins, from the thread that brings it.
    pub fn interrupts(&self, interrupt: &Arc<Interrupt>) {
        let is_known = |known: &[Arc<Interrupt>]| known.iter().any(|known| Arc::ptr_eq(known, interrupt));
        // Nearly always it is, and who brings work does not meet a lock that is written to.
        if is_known(&self.interrupts.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut interrupts = self.interrupts.write().unwrap_or_else(PoisonError::into_inner);
        if !is_known(&interrupts) {
            interrupts.push(interrupt.clone());
        }
    }

    /// A consumer was given something to do: it is at work until the result is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> AtWork {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.at_work.fetch_add(1, Ordering::AcqRel);
        // The lock is written to at starts alone; who finds it taken brings work and must not wait.
        if let Ok(interrupts) = self.interrupts.try_read() {
            interrupts.iter().for_each(|interrupt| interrupt());
        }
        AtWork(self.clone())
    }

    /// One that is at work takes more: it is not stuck.
    pub fn go_on(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Sleeps while a trusted consumer is at work: for an untrusted call, which holds its permit meanwhile. Not for long,
    /// not twice in a row whoever calls, and once for what was begun: a consumer that is stuck is nothing to wait for.
    /// Returns for how long.
    pub fn give_way(&self) -> Duration {
        if !self.is_any() {
            return Duration::ZERO;
        }
        let (now, begun) = (Instant::now(), self.begun());
        let Some(until) = self.stand_still(now, begun) else { return Duration::ZERO };
        while self.is_any() && Instant::now() < until {
            thread::park_timeout(LOOK);
        }
        now.elapsed()
    }

    /// Until when to stand still, if at all: the rest of the present time of it, or a new one after one of going on.
    fn stand_still(&self, now: Instant, begun: u64) -> Option<Instant> {
        let mut stood = self.stood.lock().unwrap_or_else(PoisonError::into_inner);
        match *stood {
            Some((since, _)) if now < since + MOST => Some(since + MOST),
            Some((since, last)) if now < since + 2 * MOST || last == begun => None,
            _ => {
                *stood = Some((now, begun));
                Some(now + MOST)
            }
        }
    }

    /// Whether one of them is at work.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.at_work.load(Ordering::Acquire) > 0
    }

    /// How often one of them was given something to do.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

/// One consumer is at work.
#[derive(Debug)]
pub struct AtWork(Arc<TrustedWork>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_interrupted_when_work_begins() {
        let interrupted = Arc::new(AtomicUsize::new(0));
        let counter = interrupted.clone();
        let interrupt: Arc<Interrupt> = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let work = Arc::new(TrustedWork::default());
        work.interrupts(&interrupt);
        work.interrupts(&interrupt);
        let at_work = [work.begin(), work.begin()];
        assert_eq!(interrupted.load(Ordering::Relaxed), 2, "once each, however often it was said");
        assert_eq!((work.is_any(), work.begun()), (true, 2));
        drop(at_work);
        assert!(!work.is_any());
        drop(work.begin());
        assert_eq!((interrupted.load(Ordering::Relaxed), work.begun()), (3, 3));
    }

    #[test]
    fn a_call_gives_way_to_work_and_to_nothing_else() {
        let work = Arc::new(TrustedWork::default());
        assert_eq!(work.give_way(), Duration::ZERO);
        let (one, other) = (work.begin(), work.begin());
        drop(one);
        assert!(work.give_way() >= MOST);
        drop(other);
        assert_eq!(work.give_way(), Duration::ZERO);
    }

    #[test]
    fn all_calls_together_stand_still_for_half_of_the_time_at_most() {
        let (work, start) = (TrustedWork::default(), Instant::now());
        let end = start + MOST;
        assert_eq!(work.stand_still(start, 1), Some(end));
        assert_eq!(work.stand_still(start + MOST / 2, 2), Some(end), "whoever comes later does so for the rest");
        assert_eq!(work.stand_still(end, 3), None);
        assert_eq!(work.stand_still(end + MOST / 2, 4), None, "whoever it is, and whatever began");
        assert_eq!(work.stand_still(end + MOST, 5), Some(end + 2 * MOST));
    }

    #[test]
    fn a_consumer_that_is_stuck_is_given_way_to_once() {
        let (work, start) = (Arc::new(TrustedWork::default()), Instant::now());
        let _stuck = work.begin();
        assert!(work.stand_still(start, work.begun()).is_some());
        let later = start + 10 * MOST;
        assert_eq!(work.stand_still(later, work.begun()), None);
        work.go_on();
        assert!(work.stand_still(later, work.begun()).is_some(), "it was not stuck");
    }
}
