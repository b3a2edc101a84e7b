//! Limits how often connections are opened and how often repeated failures are logged. Pure: time is an argument.

use klines_domain::time::{LocalMillis, Millis, SECOND};

/// A connection that was open this long was healthy: the backoff after its loss starts again at the shortest wait. It is
/// short, so that of two connections that are lost again and again one is up nearly all the time; how many are opened is
/// limited anyway.
pub const HEALTHY: Millis = 5 * SECOND;

/// Connections that may be opened at once.
const BURST: i64 = 20;
/// After the burst, one connection in this many milliseconds.
const SPACING: Millis = 650;

/// Keeps new connections under Bybit's 500 in 5 minutes: a burst of 20, then one every 650 ms, which is at most 482.
///
/// One pacer serves all connections to a host.
#[derive(Debug, Default)]
pub struct Pacer {
    /// When the token bucket would be full again.
    full_at: LocalMillis,
}

impl Pacer {
    /// Reserves the next connection. Returns the milliseconds to wait before it may be opened.
    pub fn reserve(&mut self, now: LocalMillis) -> Millis {
        let wait = (self.full_at - now - (BURST - 1) * SPACING).max(0);
        self.full_at = self.full_at.max(now) + SPACING;
        wait
    }
}

/// Decides which repetitions of the same kind of failure are logged: the 1st, 4th, 16th and so on.
#[derive(Debug)]
pub struct LogThrottle<K> {
    last: Option<K>,
    times: u32,
}

impl<K> Default for LogThrottle<K> {
    fn default() -> Self {
        Self { last: None, times: 0 }
    }
}

impl<K: PartialEq> LogThrottle<K> {
    /// Counts a failure. Returns how often its kind occurred in a row if it is to be logged.
    pub fn record_failure(&mut self, kind: K) -> Option<u32> {
        if self.last.as_ref() != Some(&kind) {
            *self = Self { last: Some(kind), times: 0 };
        }
        self.times = self.times.saturating_add(1);
        (self.times.is_power_of_two() && self.times.trailing_zeros().is_multiple_of(2)).then_some(self.times)
    }

    /// Resets the count after a success.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use klines_domain::time::MINUTE;

    use super::*;

    #[test]
    fn repeated_failures_are_logged_rarely_and_new_kinds_at_once() {
        let mut throttle = LogThrottle::default();
        let logged: Vec<u32> = (0..70).filter_map(|_| throttle.record_failure("refused")).collect();
        assert_eq!(logged, [1, 4, 16, 64]);
        assert_eq!(throttle.record_failure("timed out"), Some(1));
        throttle.clear();
        assert_eq!(throttle.record_failure("timed out"), Some(1));
    }

    proptest! {
        #[test]
        fn never_500_connections_in_five_minutes(pauses in proptest::collection::vec(0i64..2_000, 1..2_000)) {
            let mut pacer = Pacer::default();
            let mut now = LocalMillis::new(1_000_000);
            let mut opened = Vec::new();
            for pause in pauses {
                now += pause / 4;
                opened.push(now + pacer.reserve(now));
            }
            opened.sort_unstable();
            for (first, last) in opened.iter().zip(opened.iter().skip(499)) {
                prop_assert!(*last - *first > 5 * MINUTE);
            }
        }
    }
}
