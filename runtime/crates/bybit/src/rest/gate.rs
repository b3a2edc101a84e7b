//! The way to REST that all callers of a process share: each request waits here for its place, and a refusal of the
//! address ends all of them. Knows the clock; what may be asked and when is `budget`'s.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_domain::time::{LocalMillis, Millis};
use klines_system::clock::LocalClock;
use tokio::time::sleep;
use tracing::{info, warn};

use super::RestError;
use super::budget::{Budget, STOP};

/// A handle; clones share one budget. A process has one, so that no caller asks while another was told to stop.
#[derive(Clone, Debug)]
pub struct Gate {
    clock: LocalClock,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    budget: Mutex<Budget>,
    requests: AtomicU64,
    limited: AtomicU64,
    stops: AtomicU64,
    /// A refusal was announced, and its end not yet.
    is_stopped: AtomicBool,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests sent.
    pub requests: u64,
    /// Answers that complained of too many.
    pub limited: u64,
    /// Times that the exchange refused the address.
    pub stops: u64,
    /// Milliseconds until it may be asked again; 0 when it may.
    pub resumes_in: Millis,
}

impl Gate {
    /// Opens a gate.
    #[must_use]
    pub fn new(clock: LocalClock) -> Self {
        Self { clock, shared: Arc::default() }
    }

    /// What went through so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            requests: read(&self.shared.requests),
            limited: read(&self.shared.limited),
            stops: read(&self.shared.stops),
            resumes_in: self.budget().stopped(self.clock.now()).unwrap_or(0),
        }
    }

    /// Local time, which stamps answers too.
    pub(super) fn now(&self) -> LocalMillis {
        self.clock.now()
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`RestError::Stopped`], at once, while the exchange must not be asked: that takes too long to be waited for here.
    pub(super) async fn pass(&self) -> Result<(), RestError> {
        self.check()?;
        let wait = self.budget().reserve(self.now());
        if wait > 0 {
            sleep(millis(wait)).await;
            self.check()?;
        }
        if self.shared.is_stopped.swap(false, Ordering::Relaxed) {
            info!("the exchange is asked again over REST");
        }
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes note of a failure that concerns all callers.
    pub(super) fn note(&self, error: &RestError) {
        let now = self.now();
        match error {
            RestError::Limited { wait } => {
                self.shared.limited.fetch_add(1, Ordering::Relaxed);
                self.budget().limit(now, Millis::try_from(wait.as_millis()).unwrap_or(STOP));
            }
            RestError::TooFrequent { .. } => {
                let Some(resumes) = self.budget().stop(now) else { return };
                self.shared.stops.fetch_add(1, Ordering::Relaxed);
                self.shared.is_stopped.store(true, Ordering::Relaxed);
                let (resumes, cause) = (stamp(resumes), error.to_string());
                warn!(cause, resumes, "the exchange refuses this address: nobody asks it over REST until then");
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), RestError> {
        match self.budget().stopped(self.now()) {
            Some(left) => Err(RestError::Stopped { wait: millis(left) }),
            None => Ok(()),
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.shared.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A time as logs write it.
fn stamp(at: LocalMillis) -> String {
    jiff::Timestamp::from_millisecond(at.get()).map_or_else(|_| at.to_string(), |time| format!("{time:.0}"))
}
