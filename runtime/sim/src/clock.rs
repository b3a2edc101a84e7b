//! Market time: the wall clock, the time of a recording, or either at another speed. The only module that reads the
//! wall clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Maps elapsed real time to market time.
#[derive(Debug)]
pub(crate) struct Clock {
    origin_ms: i64,
    started: Instant,
    speed: f64,
    leapt_ms: AtomicI64,
}

impl Clock {
    /// Starts at `origin_ms` market time; `speed` is market seconds per real second.
    pub fn start(origin_ms: i64, speed: f64) -> Self {
        Self { origin_ms, started: Instant::now(), speed, leapt_ms: AtomicI64::new(0) }
    }

    /// Returns the market time in ms since the epoch.
    pub fn now(&self) -> i64 {
        let real_ms = self.elapsed().as_secs_f64() * 1_000.0;
        // Only a run of centuries at full speed would leave the exact range of f64.
        let leapt = self.leapt_ms.load(Ordering::Relaxed);
        self.origin_ms.saturating_add(leapt).saturating_add((real_ms * self.speed) as i64)
    }

    /// Moves the clock ahead by `ms` of market time.
    pub fn leap(&self, ms: i64) {
        self.leapt_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Returns the real time since the start; the times of scripts refer to it.
    pub fn elapsed(&self) -> std::time::Duration {
        self.started.elapsed()
    }
}

/// Returns the wall-clock time in ms since the epoch.
#[allow(clippy::disallowed_methods, reason = "an exchange stamps its frames with the wall clock")]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
