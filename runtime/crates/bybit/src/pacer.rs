//! How often connections may be opened, and which failures are worth a word. Pure: time is an argument.

use klines_domain::time::{LocalMillis, MINUTE, Millis};

/// A connection that lived this long was healthy: the next loss starts from the shortest wait again.
pub const HEALTHY: Millis = MINUTE;

/// Connections that may be opened at once.
const BURST: i64 = 20;
/// Then one in this many milliseconds.
const SPACING: Millis = 650;

/// Keeps new connections under Bybit's 500 in 5 minutes: a burst of 20, then one every 650 ms, which is at most 482.
///
/// One pacer serves all connections to a host.
#[derive(Debug, Default)]
pub struct Pacer {
    /// When the bucket would be full again.
    full_at: LocalMillis,
}

impl Pacer {
    /// Takes the next place; returns how many milliseconds to wait for it.
    pub fn reserve(&mut self, now: LocalMillis) -> Millis {
        let wait = (self.full_at - now - (BURST - 1) * SPACING).max(0);
        self.full_at = self.full_at.max(now) + SPACING;
        wait
    }
}

/// Which repetitions of the same kind of failure are worth a line in the log: the 1st, 4th, 16th and so on.
#[derive(Debug)]
pub struct Repeats<K> {
    last: Option<K>,
    times: u32,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self { last: None, times: 0 }
    }
}

impl<K: PartialEq> Repeats<K> {
    /// Counts a failure; returns how often its kind came in a row if that is worth saying.
    pub fn note(&mut self, kind: K) -> Option<u32> {
        if self.last.as_ref() != Some(&kind) {
            *self = Self { last: Some(kind), times: 0 };
        }
        self.times = self.times.saturating_add(1);
        (self.times.is_power_of_two() && self.times.trailing_zeros().is_multiple_of(2)).then_some(self.times)
    }

    /// Forgets: what went wrong works again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_failures_fall_silent_and_new_ones_speak() {
        let mut repeats = Repeats::default();
        let said: Vec<u32> = (0..70).filter_map(|_| repeats.note("refused")).collect();
        assert_eq!(said, [1, 4, 16, 64]);
        assert_eq!(repeats.note("timed out"), Some(1));
        repeats.clear();
        assert_eq!(repeats.note("timed out"), Some(1));
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
