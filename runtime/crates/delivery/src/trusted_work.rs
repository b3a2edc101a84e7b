//! Whether trusted consumers have something to do: while they have, untrusted code leaves the cores to them.
//!
//! Permits and rank are not enough. A trusted thread that was preempted by another one is not picked again before an
//! untrusted thread on the same core has run until the next tick of the scheduler, be that of the lowest rank: what has
//! not run for long is owed more. So untrusted calls are interrupted when there is work, and sleep until it is done.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Has all untrusted calls of an engine look at whether they may go on.
pub type Interrupt = dyn Fn() + Send + Sync;

/// The work of the trusted consumers of one hub.
#[derive(Default)]
pub struct TrustedWork {
    /// Consumers that have something to do.
    at_work: AtomicUsize,
    /// How often one of them was given something.
    begun: AtomicU64,
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
        let mut interrupts = self.interrupts.write().unwrap_or_else(PoisonError::into_inner);
        if !interrupts.iter().any(|known| Arc::ptr_eq(known, interrupt)) {
            interrupts.push(interrupt.clone());
        }
    }

    /// A consumer was given something to do: it is at work until the result is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> AtWork {
        self.begun.fetch_add(1, Ordering::Relaxed);
        // The lock is written to at starts alone; who finds it taken brings work and must not wait.
        if self.at_work.fetch_add(1, Ordering::AcqRel) == 0
            && let Ok(interrupts) = self.interrupts.try_read()
        {
            interrupts.iter().for_each(|interrupt| interrupt());
        }
        AtWork(self.clone())
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
        assert_eq!(interrupted.load(Ordering::Relaxed), 1, "once, whoever else is at work already");
        assert_eq!((work.is_any(), work.begun()), (true, 2));
        drop(at_work);
        assert!(!work.is_any());
        drop(work.begin());
        assert_eq!((interrupted.load(Ordering::Relaxed), work.begun()), (2, 3));
    }
}
