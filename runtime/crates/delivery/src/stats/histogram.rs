//! A histogram of durations without locks. Any thread may add; a reader does not see all counts at the same moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in nanoseconds: two for each power of ten, from 10 µs to 5 min. The last bucket has no
/// bound.
const BOUNDS: [u64; 16] = [
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
    1_000_000_000,
    3_000_000_000,
    10_000_000_000,
    30_000_000_000,
    100_000_000_000,
    300_000_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;
const NANOS: f64 = 1e9;

/// Counts of durations, by buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    /// Sum of all durations in nanoseconds; wraps after five centuries.
    sum: AtomicU64,
}

/// A [`Histogram`] at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    /// Upper bound of each bucket in seconds, and the number of durations above the bound before and up to this one.
    /// The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Number of durations: the sum of the buckets.
    pub count: u64,
    /// Sum of all durations, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the current counts.
    #[must_use]
    pub fn read(&self) -> Durations {
        #[expect(clippy::cast_precision_loss, reason = "seconds for a chart, not a sum of money")]
        let seconds = |nanos: u64| nanos as f64 / NANOS;
        let bounds = BOUNDS.iter().map(|nanos| seconds(*nanos)).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Durations { buckets, count, sum: seconds(self.sum.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for nanos in [0, 10_000, 10_001, 1_000_000_000, u64::MAX / 4] {
            histogram.add(Duration::from_nanos(nanos));
        }
        let found = histogram.read();
        let filled: Vec<(f64, u64)> = found.buckets.iter().copied().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1e-5, 2), (3e-5, 1), (1.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(found.count, 5);
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted());
    }
}
