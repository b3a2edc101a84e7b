//! The epochs of a cluster as a reader has seen them: which one a sequence of a series belongs to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use klines_domain::series::SeriesId;

use crate::partition::{Partition, Partitions};

/// How many epochs of a series are remembered.
const MOST: usize = 8;

/// The epochs of a cluster, shared by the reader, which writes them, and the WebSocket server.
#[derive(Debug)]
pub struct SharedEpochs {
    partitions: Partitions,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest epoch of each partition.
    newest: BTreeMap<Partition, u64>,
    /// For each series the first sequence that was read in each epoch, oldest first.
    series: HashMap<SeriesId, Vec<(u64, u64)>>,
}

impl SharedEpochs {
    /// Creates epochs of which nothing is known.
    #[must_use]
    pub fn new(partitions: Partitions) -> Self {
        Self { partitions, known: RwLock::default() }
    }

    /// Notes that a partition is in an epoch.
    pub fn begin(&self, partition: Partition, epoch: u64) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).newest.get(&partition).copied();
        if known != Some(epoch) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).newest.insert(partition, epoch);
        }
    }

    /// Notes the epoch of a kline that was read.
    pub fn note(&self, series: SeriesId, sequence: u64, epoch: u64) {
        let is_known = |known: &Known| known.series.get(&series).and_then(|of| of.last()).map(|(_, epoch)| *epoch);
        if is_known(&self.known.read().unwrap_or_else(PoisonError::into_inner)) == Some(epoch) {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let of = known.series.entry(series).or_default();
        // Numbers that were given again belong to the newer epoch.
        of.retain(|(first, _)| *first < sequence);
        of.push((sequence, epoch));
        if of.len() > MOST {
            of.remove(0);
        }
    }

    /// Returns the epoch of a sequence of a series; of one that was not read, that of the partition. 0 is asked for a series of
    /// which nothing was published.
    #[must_use]
    pub fn of(&self, series: SeriesId, sequence: u64) -> u64 {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of = known.series.get(&series).map(Vec::as_slice).unwrap_or_default();
        let found = of.iter().rev().find(|(first, _)| *first <= sequence).or(of.first());
        let newest = || {
            let partition = self.partitions.of(series.category, &series.symbol);
            known.newest.get(&partition).copied().unwrap_or_default()
        };
        found.map_or_else(newest, |(_, epoch)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;

    use super::*;

    #[test]
    fn a_sequence_has_the_epoch_in_which_it_was_read() {
        let series = fixture::kline("BTCUSDT", "1m", 0, true).series;
        let partitions = Partitions::default();
        let epochs = SharedEpochs::new(partitions);
        assert_eq!(epochs.of(series, 5), 0);
        epochs.begin(partitions.of(series.category, &series.symbol), 100);
        assert_eq!(epochs.of(series, 5), 100, "nothing of the series was read");
        epochs.note(series, 6, 100);
        epochs.note(series, 9, 200);
        assert_eq!([1, 6, 8, 9, 50].map(|sequence| epochs.of(series, sequence)), [100, 100, 100, 200, 200]);
        // Seven and eight were lost, and their numbers were given again.
        epochs.note(series, 7, 300);
        assert_eq!([6, 7, 9].map(|sequence| epochs.of(series, sequence)), [100, 300, 300]);
    }
}
