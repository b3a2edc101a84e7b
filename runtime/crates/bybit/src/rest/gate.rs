//! The rate limiter that all REST callers of a process share: each request waits here until it may be sent, and a
//! refusal of this IP address stops all requests. Reads the clock; `budget` decides when a request may be sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_domain::time::{LocalMillis, Millis};
use klines_system::clock::LocalClock;
use tokio::time::sleep;
use tracing::{info, warn};

use super::RestError;
use super::budget::{Budget, STOP};

/// A handle to the rate limiter; clones share one budget. A process has one, so that a stop applies to all callers.
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
    /// Whether a refusal was logged and its end was not.
    is_stopped: AtomicBool,
}

/// Metrics of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateMetrics {
    /// Requests sent.
    pub requests: u64,
    /// Answers that reported too many requests.
    pub limited: u64,
    /// Number of times that the exchange refused the address.
    pub stops: u64,
    /// Milliseconds until requests are sent again; 0 if they are allowed now.
    pub resumes_in: Millis,
}

impl Gate {
    /// Creates a gate.
    #[must_use]
    pub fn new(clock: LocalClock) -> Self {
        Self { clock, shared: Arc::default() }
    }

    /// Returns the metrics so far.
    #[must_use]
    pub fn metrics(&self) -> GateMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GateMetrics {
            requests: read(&self.shared.requests),
            limited: read(&self.shared.limited),
            stops: read(&self.shared.stops),
            resumes_in: self.budget().stopped(self.clock.now()).unwrap_or(0),
        }
    }

    /// Returns the local time, which is also the time of receipt of answers.
    pub(super) fn now(&self) -> LocalMillis {
        self.clock.now()
    }

    /// Waits until a request may be sent, and counts it.
    ///
    /// # Errors
    /// [`RestError::Stopped`], without waiting, while requests are stopped, because a stop is too long to wait for here.
    pub(super) async fn acquire(&self) -> Result<(), RestError> {
        self.check()?;
        let wait = self.budget().reserve(self.now());
        if wait > 0 {
            sleep(millis(wait)).await;
            self.check()?;
        }
        if self.shared.is_stopped.swap(false, Ordering::Relaxed) {
            info!("REST requests resume");
        }
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Applies a failure that concerns all callers.
    pub(super) fn record_failure(&self, error: &RestError) {
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
                warn!(cause, resumes, "the exchange refuses this address, no REST requests until then");
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

/// Formats a time for the log.
fn stamp(at: LocalMillis) -> String {
    jiff::Timestamp::from_millisecond(at.get()).map_or_else(|_| at.to_string(), |time| format!("{time:.0}"))
}
