//! A semaphore for the calls of untrusted code, with one permit fewer than there are cores.
//!
//! Thread priority alone is not enough: the scheduler may queue threads that wake up together on one core while another
//! core runs a busy thread of any rank. One core without untrusted code is always free for klines' own threads.
//!
//! When others wait, a permit is passed on at a tick of the clock that ends calls. The clock's thread does that instead
//! of the holder, because a holder of the lowest rank may not run for a long time. Threads of the lowest rank are
//! served last, and lose their permit to others at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use klines_delivery::trusted_work::TrustedWork;

/// Number of ticks for which a permit is not passed on.
const MIN_HOLD_TICKS: u64 = 2;

/// Hands out the permits of one engine.
#[derive(Debug)]
pub(crate) struct CpuGovernor {
    permits: Mutex<Permits>,
}

#[derive(Debug)]
struct Permits {
    free: usize,
    held: Vec<Grant>,
    /// Threads above the lowest rank, then threads of the lowest rank.
    waiting: [VecDeque<Arc<Claim>>; 2],
    ticks: u64,
}

#[derive(Debug)]
struct Grant {
    claim: Arc<Claim>,
    /// The tick at which it was granted.
    since: u64,
    is_lowest: bool,
}

/// One thread's claim to a permit.
#[derive(Debug)]
struct Claim {
    thread: Thread,
    stage: AtomicU8,
}

/// Neither holds a permit nor waits for one.
const NONE: u8 = 0;
const WAITS: u8 = 1;
const HOLDS: u8 = 2;
/// Its permit was passed on.
const REVOKED: u8 = 3;

impl Claim {
    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), stage: AtomicU8::new(NONE) })
    }

    fn is(&self, stage: u8) -> bool {
        self.stage.load(Ordering::Acquire) == stage
    }

    fn set(&self, stage: u8) {
        self.stage.store(stage, Ordering::Release);
    }
}

impl CpuGovernor {
    /// Creates one permit fewer than there are cores, but at least one.
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::with_permits(cores.saturating_sub(1).max(1))
    }

    fn with_permits(free: usize) -> Self {
        let permits = Permits { free, held: Vec::with_capacity(free), waiting: Default::default(), ticks: 0 };
        Self { permits: Mutex::new(permits) }
    }

    /// Passes on overdue permits if others wait. Runs at every tick of the clock that ends calls. Does not wait for the
    /// lock: a thread of the lowest rank may have been interrupted while it held the lock.
    pub(crate) fn tick(&self) {
        let mut permits = match self.permits.try_lock() {
            Ok(permits) => permits,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        permits.ticks += 1;
        while let Some(at) = permits.overdue() {
            if !permits.pass_on(at) {
                break;
            }
        }
    }

    /// Waits for a permit and returns the time spent waiting.
    fn claim(&self, claim: &Arc<Claim>, is_lowest: bool) -> Duration {
        let mut permits = self.lock();
        if permits.free > 0 {
            permits.free -= 1;
            permits.grant(claim.clone(), is_lowest);
            return Duration::ZERO;
        }
        claim.set(WAITS);
        let [others, lowest] = &mut permits.waiting;
        if is_lowest { lowest } else { others }.push_back(claim.clone());
        if let Some(at) = permits.held.iter().position(|held| held.is_lowest && !is_lowest) {
            permits.pass_on(at);
        }
        drop(permits);
        let since = Instant::now();
        while claim.is(WAITS) {
            thread::park();
        }
        since.elapsed()
    }

    /// Releases a permit, unless it was passed on.
    fn release(&self, claim: &Arc<Claim>) {
        let mut permits = self.lock();
        if let Some(at) = permits.held.iter().position(|held| Arc::ptr_eq(&held.claim, claim)) {
            permits.held.swap_remove(at);
            permits.free += 1;
            permits.grant_next();
        } else {
            permits.waiting.iter_mut().for_each(|waiting| waiting.retain(|other| !Arc::ptr_eq(other, claim)));
        }
        claim.set(NONE);
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permits {
    fn grant(&mut self, claim: Arc<Claim>, is_lowest: bool) {
        claim.set(HOLDS);
        self.held.push(Grant { claim, since: self.ticks, is_lowest });
    }

    /// Grants a free permit to the thread that has waited longest; returns whether there was a permit and such a
    /// thread.
    fn grant_next(&mut self) -> bool {
        if self.free == 0 {
            return false;
        }
        let [others, lowest] = &mut self.waiting;
        let next = others.pop_front().map(|claim| (claim, false));
        let Some((claim, is_lowest)) = next.or_else(|| lowest.pop_front().map(|claim| (claim, true))) else {
            return false;
        };
        self.free -= 1;
        let thread = claim.thread.clone();
        self.grant(claim, is_lowest);
        thread.unpark();
        true
    }

    /// Returns the index of a permit that was held for at least [`MIN_HOLD_TICKS`].
    fn overdue(&self) -> Option<usize> {
        self.held.iter().position(|held| self.ticks.saturating_sub(held.since) >= MIN_HOLD_TICKS)
    }

    /// Passes permit `at` on to the thread that has waited longest; returns whether a thread waits.
    fn pass_on(&mut self, at: usize) -> bool {
        if self.waiting.iter().all(VecDeque::is_empty) {
            return false;
        }
        self.held.swap_remove(at).claim.set(REVOKED);
        self.free += 1;
        self.grant_next()
    }
}

/// The permit of one untrusted instance's calls.
#[derive(Debug)]
pub(crate) struct Permit {
    governor: Arc<CpuGovernor>,
    claim: Arc<Claim>,
    work: Arc<TrustedWork>,
}

impl Permit {
    /// Creates a permit that is not held yet, for calls that yield to `work`.
    pub(crate) fn new(governor: Arc<CpuGovernor>, work: Arc<TrustedWork>) -> Self {
        Self { governor, claim: Claim::new(), work }
    }

    /// Waits until the permit is held and trusted consumers are idle; returns the time spent waiting.
    pub(crate) fn acquire(&mut self) -> Duration {
        if self.claim.thread.id() != thread::current().id() {
            self.governor.release(&self.claim);
            self.claim = Claim::new();
        }
        let waited = if self.claim.is(HOLDS) {
            Duration::ZERO
        } else {
            self.governor.claim(&self.claim, klines_delivery::cpu::is_lowest())
        };
        // The permit stays held while yielding, so that no other untrusted call runs instead.
        waited + self.work.yield_to_work()
    }

    /// Acquires the permit again if it was passed on, and waits until trusted consumers are idle; returns the time
    /// spent waiting.
    pub(crate) fn renew(&mut self) -> Duration {
        if self.claim.is(REVOKED) { self.acquire() } else { self.work.yield_to_work() }
    }

    /// Releases the permit.
    pub(crate) fn release(&self) {
        if !self.claim.is(NONE) {
            self.governor.release(&self.claim);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests;
