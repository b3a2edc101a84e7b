//! Tracks whether trusted consumers have work: while they have, untrusted code leaves the cores to them.
//!
//! Permits and priorities are not enough. When a trusted thread is preempted by another one, the scheduler first lets
//! an untrusted thread on the same core run until the next tick, even one of the lowest priority, because it has not
//! run for long. Therefore untrusted calls are interrupted when there is work, and sleep until it is done.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum duration of a pause of all untrusted calls, and minimum time that they run after it: they lose at most half
/// of their time.
const MAX_PAUSE: Duration = Duration::from_millis(3);
/// How often paused calls check whether there is still work. The end of work does not wake them.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// Makes all untrusted calls of an engine check whether they have to pause.
pub type Interrupt = dyn Fn() + Send + Sync;

/// The work of the trusted consumers of one hub.
#[derive(Default)]
pub struct TrustedWork {
    /// Number of consumers that have work.
    at_work: AtomicUsize,
    /// How often a consumer got work or made progress.
    begun: AtomicU64,
    /// When the last pause of untrusted calls began, and the value of `begun` then. Only untrusted calls take this
    /// lock.
    last_pause: Mutex<Option<(Instant, u64)>>,
    /// The interrupts of the engines whose untrusted calls yield to this work.
    interrupts: RwLock<Vec<Arc<Interrupt>>>,
}

impl fmt::Debug for TrustedWork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TrustedWork").field("at_work", &self.at_work).finish_non_exhaustive()
    }
}

impl TrustedWork {
    /// Adds an interrupt, which is called whenever work begins, by the thread that creates the work.
    pub fn add_interrupt(&self, interrupt: &Arc<Interrupt>) {
        let is_known = |known: &[Arc<Interrupt>]| known.iter().any(|known| Arc::ptr_eq(known, interrupt));
        // It is nearly always known; then no write lock gets in the way of a thread that creates work.
        if is_known(&self.interrupts.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut interrupts = self.interrupts.write().unwrap_or_else(PoisonError::into_inner);
        if !is_known(&interrupts) {
            interrupts.push(interrupt.clone());
        }
    }

    /// Notes that a consumer got work: it is at work until the result is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> AtWork {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.at_work.fetch_add(1, Ordering::AcqRel);
        // This thread must not wait. The lock is held for writing only when an instance starts.
        if let Ok(interrupts) = self.interrupts.try_read() {
            interrupts.iter().for_each(|interrupt| interrupt());
        }
        AtWork(self.clone())
    }

    /// Notes that a consumer at work takes its next delivery, so that it is not stuck.
    pub fn note_progress(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// Sleeps while a trusted consumer is at work. For untrusted calls, which keep their permit meanwhile. A pause has
    /// a maximum duration, and a minimum time must pass before the next pause of any call. There is no second pause
    /// without new work or progress, so that a stuck consumer is not waited for. Returns how long it slept.
    pub fn yield_to_work(&self) -> Duration {
        if !self.is_any() {
            return Duration::ZERO;
        }
        let (now, begun) = (Instant::now(), self.begun());
        let Some(until) = self.pause_until(now, begun) else { return Duration::ZERO };
        while self.is_any() && Instant::now() < until {
            thread::park_timeout(POLL_INTERVAL);
        }
        now.elapsed()
    }

    /// Returns until when to pause: the end of the current pause, or of a new one; `None` if the call has to run.
    fn pause_until(&self, now: Instant, begun: u64) -> Option<Instant> {
        let mut last_pause = self.last_pause.lock().unwrap_or_else(PoisonError::into_inner);
        match *last_pause {
            Some((since, _)) if now < since + MAX_PAUSE => Some(since + MAX_PAUSE),
            Some((since, last)) if now < since + 2 * MAX_PAUSE || last == begun => None,
            _ => {
                *last_pause = Some((now, begun));
                Some(now + MAX_PAUSE)
            }
        }
    }

    /// Returns whether a consumer is at work.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.at_work.load(Ordering::Acquire) > 0
    }

    /// Returns how often a consumer got work or made progress.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

/// Marks a consumer as at work until it is dropped.
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
        work.add_interrupt(&interrupt);
        work.add_interrupt(&interrupt);
        let at_work = [work.begin(), work.begin()];
        assert_eq!(interrupted.load(Ordering::Relaxed), 2, "once for each begin, although it was added twice");
        assert_eq!((work.is_any(), work.begun()), (true, 2));
        drop(at_work);
        assert!(!work.is_any());
        drop(work.begin());
        assert_eq!((interrupted.load(Ordering::Relaxed), work.begun()), (3, 3));
    }

    #[test]
    fn a_call_yields_only_to_work() {
        let work = Arc::new(TrustedWork::default());
        assert_eq!(work.yield_to_work(), Duration::ZERO);
        let (one, other) = (work.begin(), work.begin());
        drop(one);
        assert!(work.yield_to_work() >= MAX_PAUSE);
        drop(other);
        assert_eq!(work.yield_to_work(), Duration::ZERO);
    }

    #[test]
    fn all_calls_together_pause_for_at_most_half_of_the_time() {
        let (work, start) = (TrustedWork::default(), Instant::now());
        let end = start + MAX_PAUSE;
        assert_eq!(work.pause_until(start, 1), Some(end));
        assert_eq!(work.pause_until(start + MAX_PAUSE / 2, 2), Some(end), "a later call joins the current pause");
        assert_eq!(work.pause_until(end, 3), None);
        assert_eq!(work.pause_until(end + MAX_PAUSE / 2, 4), None, "whichever call it is, and whatever work began");
        assert_eq!(work.pause_until(end + MAX_PAUSE, 5), Some(end + 2 * MAX_PAUSE));
    }

    #[test]
    fn calls_yield_to_a_stuck_consumer_only_once() {
        let (work, start) = (Arc::new(TrustedWork::default()), Instant::now());
        let _stuck = work.begin();
        assert!(work.pause_until(start, work.begun()).is_some());
        let later = start + 10 * MAX_PAUSE;
        assert_eq!(work.pause_until(later, work.begun()), None);
        work.note_progress();
        assert!(work.pause_until(later, work.begun()).is_some(), "it was not stuck");
    }
}
