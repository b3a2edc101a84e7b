//! Counts of dropped closed klines, by the reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a closed kline was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// The consumer's queue was full.
    QueueFull,
    /// The spill on disk was full.
    SpillFull,
    /// What was read from the spill is not what was written.
    SpillDamaged,
    /// The consumer had failed or was quarantined.
    Failed,
    /// The consumer had finished, because the reader of its standard output had gone.
    OutputClosed,
    /// The consumer crashed on it, and the dead-letter file could not be written.
    DeadLetter,
    /// The run ended before it was delivered.
    Shutdown,
}

impl LossReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::QueueFull,
        Self::SpillFull,
        Self::SpillDamaged,
        Self::Failed,
        Self::OutputClosed,
        Self::DeadLetter,
        Self::Shutdown,
    ];

    /// Returns the name that metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::SpillFull => "spill_full",
            Self::SpillDamaged => "spill_damaged",
            Self::Failed => "failed",
            Self::OutputClosed => "output_closed",
            Self::DeadLetter => "dead_letter",
            Self::Shutdown => "shutdown",
        }
    }

    /// Returns the text for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::QueueFull => "queue full",
            Self::SpillFull => "spill full",
            Self::SpillDamaged => "spill damaged",
            Self::Failed => "consumer failed",
            Self::OutputClosed => "output closed",
            Self::DeadLetter => "dead-letter file not writable",
            Self::Shutdown => "at the end",
        }
    }
}

/// Numbers of dropped closed klines at one moment, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; LossReason::ALL.len()]);

impl Losses {
    /// Returns the count of one reason.
    #[must_use]
    pub fn of(&self, reason: LossReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns each reason with its count.
    pub fn by_reason(&self) -> impl Iterator<Item = (LossReason, u64)> {
        LossReason::ALL.into_iter().zip(self.0)
    }

    /// Adds klines that were dropped for `reason`.
    pub fn add(&mut self, reason: LossReason, klines: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += klines;
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.by_reason().for_each(|(reason, klines)| self.add(reason, klines));
    }
}

/// Counters of [`Losses`] that any thread can increment.
#[derive(Debug, Default)]
pub struct LossCounters([AtomicU64; LossReason::ALL.len()]);

impl LossCounters {
    /// Counts klines that were dropped for `reason`.
    pub fn add(&self, reason: LossReason, klines: u64) {
        if let Some(count) = self.0.get(reason as usize) {
            count.fetch_add(klines, Ordering::Relaxed);
        }
    }

    /// Returns the current counts.
    #[must_use]
    pub fn read(&self) -> Losses {
        Losses(std::array::from_fn(|at| self.0.get(at).map_or(0, |count| count.load(Ordering::Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_count_and_name() {
        let counters = LossCounters::default();
        for (klines, reason) in (1..).zip(LossReason::ALL) {
            counters.add(reason, klines);
        }
        let mut found = counters.read();
        found.merge(&counters.read());
        let counts: Vec<u64> = found.by_reason().map(|(_, klines)| klines).collect();
        assert_eq!((counts, found.of(LossReason::Shutdown), found.total()), (vec![2, 4, 6, 8, 10, 12, 14], 14, 56));
        let mut names = LossReason::ALL.map(LossReason::as_str);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
