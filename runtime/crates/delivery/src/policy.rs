//! Decides what follows a crash, and after which pause. Time is an argument; nothing here waits. `worker/calls` decides
//! what follows `Retry`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use klines_system::backoff::Backoff;

/// When an instance that ran at least this long crashes, the pauses start again with the shortest.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Number of crashes within [`QUARANTINE_WINDOW`] after which a consumer is quarantined.
pub const QUARANTINE_AFTER: usize = 5;
/// See [`QUARANTINE_AFTER`].
pub const QUARANTINE_WINDOW: Duration = Duration::from_secs(120);
/// How many instances a delivery may crash; then it is set aside.
pub const TRIES: u32 = 2;

/// The configured reaction to a crash (`on_error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// A new instance after a pause. The delivery is tried [`TRIES`] times and then set aside; after too many crashes
    /// in a short time the consumer is quarantined.
    #[default]
    Restart,
    /// As `Restart`, but the delivery is set aside after its first crash, and there is no quarantine.
    Skip,
    /// No new instance.
    Stop,
}

/// What follows a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Create a new instance after this pause.
    Restart(Duration),
    /// Create no more instances: this consumer crashes too often.
    Quarantine,
}

/// The crashes of one consumer.
#[derive(Debug, Default)]
pub struct Restarts {
    backoff: Backoff,
    recent: VecDeque<Instant>,
    /// When the current instance started; `None` if it did not start yet.
    started: Option<Instant>,
}

impl Restarts {
    /// Notes that an instance has started.
    pub fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// Notes a crash and returns what follows.
    pub fn crashed(&mut self, now: Instant) -> Verdict {
        if self.started.take().is_some_and(|started| now.duration_since(started) >= HEALTHY_AFTER) {
            self.backoff.reset();
        }
        self.recent.retain(|crash| now.duration_since(*crash) < QUARANTINE_WINDOW);
        self.recent.push_back(now);
        if self.recent.len() >= QUARANTINE_AFTER {
            return Verdict::Quarantine;
        }
        Verdict::Restart(self.backoff.wait())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(verdict: Verdict) -> Duration {
        match verdict {
            Verdict::Restart(pause) => pause,
            Verdict::Quarantine => panic!("quarantined"),
        }
    }

    #[test]
    fn five_crashes_in_two_minutes_are_a_quarantine() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        for crash in 0..4 {
            pause(restarts.crashed(start + Duration::from_secs(29 * crash)));
        }
        assert_eq!(restarts.crashed(start + Duration::from_secs(119)), Verdict::Quarantine);
    }

    #[test]
    fn crashes_further_apart_are_not() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        for crash in 0..50 {
            pause(restarts.crashed(start + Duration::from_secs(30 * crash)));
        }
    }

    #[test]
    fn a_healthy_minute_resets_the_pauses() {
        let (mut restarts, mut now) = (Restarts::default(), Instant::now());
        for _ in 0..3 {
            restarts.started(now);
            pause(restarts.crashed(now));
        }
        restarts.started(now);
        now += HEALTHY_AFTER;
        assert!(pause(restarts.crashed(now)) <= 2 * klines_system::backoff::MIN_WAIT);
    }
}
