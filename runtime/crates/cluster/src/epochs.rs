//! The epochs of a cluster as a reader has seen them: which one a sequence of a series belongs to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use klines_delivery::epochs::Epochs;
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
    /// The epoch of each partition when the reader began, from its last run.
    initial: BTreeMap<Partition, u64>,
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

    /// Notes in which epoch a partition was when it was last read.
    pub fn resume(&self, partition: Partition, epoch: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.initial.insert(partition, epoch);
        known.newest.insert(partition, epoch);
    }

    /// Notes that a partition is in an epoch.
    pub fn begin(&self, partition: Partition, epoch: u64) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).newest.get(&partition).copied();
        if known != Some(epoch) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).newest.insert(partition, epoch);
        }
    }

    /// Notes the epoch of a kline that was read, before it is handed on.
    pub fn note(&self, series: SeriesId, sequence: u64, epoch: u64) {
        let last = |known: &Known| known.series.get(&series).and_then(|of| of.last()).map(|(_, epoch)| *epoch);
        if last(&self.known.read().unwrap_or_else(PoisonError::into_inner)) == Some(epoch) {
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
}

impl Epochs for SharedEpochs {
    fn of(&self, series: SeriesId, sequence: u64) -> Option<u64> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of = known.series.get(&series).map(Vec::as_slice).unwrap_or_default();
        let found = if sequence == 0 { of.last() } else { of.iter().rev().find(|(first, _)| *first <= sequence) };
        if let Some((_, epoch)) = found {
            return Some(*epoch);
        }
        let partition = self.partitions.of(series.category, &series.symbol);
        // Of what was read in an earlier run, the epoch is that of its end.
        let newest = || known.newest.get(&partition).filter(|_| of.is_empty());
        known.initial.get(&partition).or_else(newest).copied()
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
        let partition = partitions.of(series.category, &series.symbol);
        let epochs = SharedEpochs::new(partitions);
        assert_eq!(epochs.of(series, 0), None);
        epochs.begin(partition, 100);
        assert_eq!(epochs.of(series, 0), Some(100), "nothing of the series was read");
        epochs.note(series, 6, 100);
        epochs.note(series, 9, 200);
        let of = |epochs: &SharedEpochs, sequences: [u64; 4]| sequences.map(|sequence| epochs.of(series, sequence));
        assert_eq!(of(&epochs, [1, 6, 8, 9]), [None, Some(100), Some(100), Some(200)]);
        // Seven and eight were lost, and their numbers were given again.
        epochs.note(series, 7, 300);
        assert_eq!(of(&epochs, [1, 6, 7, 9]), [None, Some(100), Some(300), Some(300)]);
        let resumed = SharedEpochs::new(partitions);
        resumed.resume(partition, 100);
        resumed.begin(partition, 200);
        assert_eq!(resumed.of(series, 5), Some(100), "it was read in the earlier run");
        resumed.note(series, 6, 200);
        assert_eq!((resumed.of(series, 5), resumed.of(series, 6)), (Some(100), Some(200)));
    }
}
