//! Which partition a symbol belongs to. All intervals of a symbol are in one partition, so that one call writes a boundary.
//!
//! The mapping is part of the protocol: nodes of all versions must agree, and a change would move every series.

use std::fmt;

use klines_domain::symbol::{Category, Symbol};
use thiserror::Error;

use crate::hash::hash;

/// The number of partitions unless it is configured.
pub const DEFAULT_PARTITIONS: u16 = 64;
/// The maximum number of partitions: each has about 40 keys in Redis, and a lease that is renewed every second.
pub const MAX_PARTITIONS: u16 = 1_024;

/// The number of a partition, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u16);

impl Partition {
    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// How many partitions a cluster has. It cannot change while the cluster has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions(u16);

/// The number of partitions is not valid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0} partitions: use 1 to {MAX_PARTITIONS}")]
pub struct PartitionsError(pub u16);

impl Partitions {
    /// Validates a number of partitions.
    ///
    /// # Errors
    /// [`PartitionsError`] unless it is 1 to [`MAX_PARTITIONS`].
    pub const fn new(count: u16) -> Result<Self, PartitionsError> {
        if count == 0 || count > MAX_PARTITIONS { Err(PartitionsError(count)) } else { Ok(Self(count)) }
    }

    /// Returns the number of partitions.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.0
    }

    /// Returns the partition with a number; `None` if there is none.
    #[must_use]
    pub const fn get(self, number: u16) -> Option<Partition> {
        if number < self.0 { Some(Partition(number)) } else { None }
    }

    /// Returns the partition of a symbol: `hash(category, symbol) × count / 2^64`.
    #[must_use]
    pub fn of(self, category: Category, symbol: &Symbol) -> Partition {
        let hash = hash(&[category.as_str(), symbol.as_str()]);
        let scaled = (u128::from(hash) * u128::from(self.0)) >> 64;
        // It is less than the number of partitions.
        Partition(u16::try_from(scaled).unwrap_or_default())
    }

    /// Returns all partitions in order.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self(DEFAULT_PARTITIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u16, category: Category, symbol: &str) -> u16 {
        Partitions::new(count).unwrap().of(category, &Symbol::new(symbol).unwrap()).number()
    }

    /// These values must never change: nodes of different versions would write one symbol into two partitions.
    #[test]
    fn partitions_are_the_same_in_every_version() {
        let symbols = ["BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "BTC-26DEC26", "BTCUSD"];
        let of_all = |count, category| symbols.map(|symbol| of(count, category, symbol));
        assert_eq!(of_all(64, Category::Linear), [23, 14, 54, 21, 44]);
        assert_eq!(of_all(64, Category::Spot), [18, 51, 13, 41, 54]);
        assert_eq!(of_all(64, Category::Inverse), [3, 57, 3, 9, 43]);
        assert_eq!(of_all(1_024, Category::Linear), [379, 227, 870, 350, 706]);
        assert_eq!(hash(&["linear", "BTCUSDT"]), 0x5ed3_8099_9447_e087);
    }

    #[test]
    fn symbols_are_spread_evenly() {
        let mut counts = [0u32; 64];
        for number in 0..6_400 {
            counts[usize::from(of(64, Category::Linear, &format!("COIN{number}USDT")))] += 1;
        }
        assert!(counts.iter().all(|count| (60..=145).contains(count)), "{counts:?}");
    }

    #[test]
    fn other_numbers_of_partitions_are_refused() {
        assert_eq!(Partitions::new(0), Err(PartitionsError(0)));
        assert_eq!(Partitions::new(1_025).unwrap_err().to_string(), "1025 partitions: use 1 to 1024");
        assert_eq!(Partitions::new(1).unwrap().iter().count(), 1);
        assert_eq!(Partitions::default().get(64), None);
    }
}
