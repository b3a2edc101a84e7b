//! Computes how long to wait before the next attempt. Pure: it does not wait itself.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The default of the shortest wait.
pub const MIN_WAIT: Duration = Duration::from_secs(1);
/// The default of the longest wait.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// Waits that double, by default from 1–2 s to 15–30 s. Each is drawn at random from its range, so that many clients
/// that failed together do not retry together. The sequence never ends.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(MIN_WAIT, MAX_WAIT)
    }
}

impl Backoff {
    /// Builds waits that double from `shortest` on, up to `longest`.
    #[must_use]
    pub fn between(shortest: Duration, longest: Duration) -> Self {
        Self::of(ExponentialBuilder::new(), shortest, longest)
    }

    /// Builds the default waits with a random seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::of(ExponentialBuilder::new().with_jitter_seed(seed), MIN_WAIT, MAX_WAIT)
    }

    fn of(builder: ExponentialBuilder, shortest: Duration, longest: Duration) -> Self {
        // The random part at most doubles a wait.
        let builder = builder.with_min_delay(shortest).with_max_delay(longest / 2).without_max_times().with_jitter();
        Self { builder, waits: builder.build(), longest }
    }

    /// Returns the next wait.
    pub fn wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest)
    }

    /// Restarts from the shortest wait.
    pub fn reset(&mut self) {
        self.waits = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_a_second_to_half_a_minute_and_never_end() {
        let mut backoff = Backoff::seeded(7);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.wait()).collect();
        for (wait, least) in waits.iter().zip([1, 2, 4, 8, 15, 15, 15]) {
            assert!(*wait >= Duration::from_secs(least) && *wait <= Duration::from_secs(2 * least), "{wait:?}");
        }
        assert!(waits.iter().all(|wait| *wait <= MAX_WAIT));
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_secs(2));
    }

    #[test]
    fn clients_that_failed_together_do_not_retry_together() {
        assert_ne!(Backoff::seeded(1).wait(), Backoff::seeded(2).wait());
        let mut late = [1, 2].map(Backoff::seeded);
        late.iter_mut().for_each(|backoff| (0..20).for_each(|_| assert!(backoff.wait() <= MAX_WAIT)));
        let [one, other] = late.map(|mut backoff| backoff.wait());
        assert_ne!(one, other, "not after many attempts either");
    }

    #[test]
    fn other_bounds_hold_too() {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::between(shortest, longest);
        assert!((0..40).map(|_| backoff.wait()).all(|wait| wait >= shortest && wait <= longest));
    }
}
