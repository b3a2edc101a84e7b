//! Klines that wait until they are written, for each partition. A node whose klines nobody needs at the moment keeps those
//! of the last minute: if the node that writes instead of it ends, they have to be written after all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::partition::Partition;
use crate::version::{Identity, MAX_KLINES, Version};

/// The maximum number of klines that wait, of all partitions together: about 300 MB.
pub const MAX_WAITING: usize = 1 << 20;
/// The maximum number of hashes that one call names; the functions take a few more.
const MAX_BUCKETS: usize = 60;

/// One kline that waits.
#[derive(Clone, Debug)]
struct Waiting {
    since: Duration,
    kline: (Identity, Version),
}

/// The klines that wait.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    partitions: BTreeMap<Partition, VecDeque<Waiting>>,
    len: usize,
}

impl Outbox {
    /// Returns the number of klines that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no kline waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether there is room for more klines.
    #[must_use]
    pub const fn has_room(&self, more: usize) -> bool {
        self.len.saturating_add(more) <= MAX_WAITING
    }

    /// Appends a kline.
    pub fn push(&mut self, partition: Partition, kline: (Identity, Version), now: Duration) {
        self.partitions.entry(partition).or_default().push_back(Waiting { since: now, kline });
        self.len += 1;
    }

    /// Returns the partitions of which klines wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    /// Returns the first klines of a partition, as many as one call takes.
    #[must_use]
    pub fn first(&self, partition: Partition) -> Vec<(Identity, Version)> {
        let mut buckets = BTreeSet::new();
        let waiting = self.partitions.get(&partition).into_iter().flatten().take(MAX_KLINES);
        let fits = |waiting: &&Waiting| {
            buckets.insert(waiting.kline.0.bucket);
            buckets.len() <= MAX_BUCKETS
        };
        waiting.take_while(fits).map(|waiting| waiting.kline.clone()).collect()
    }

    /// Removes the first klines of a partition, because they are written.
    pub fn remove_first(&mut self, partition: Partition, count: usize) {
        self.change(partition, |waiting| drop(waiting.drain(..count.min(waiting.len()))));
    }

    /// Removes the klines of a partition that have waited since before a moment.
    pub fn forget(&mut self, partition: Partition, before: Duration) {
        self.change(partition, |waiting| {
            let old = waiting.partition_point(|waiting| waiting.since < before);
            waiting.drain(..old);
        });
    }

    /// Removes all klines of a partition.
    pub fn remove(&mut self, partition: Partition) {
        self.change(partition, VecDeque::clear);
    }

    fn change(&mut self, partition: Partition, change: impl FnOnce(&mut VecDeque<Waiting>)) {
        let Some(waiting) = self.partitions.get_mut(&partition) else { return };
        let before = waiting.len();
        change(waiting);
        self.len -= before - waiting.len();
        if waiting.is_empty() {
            self.partitions.remove(&partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::kline::Quality;

    use super::*;
    use crate::partition::Partitions;
    use crate::version::{Bucket, Class, Digest};

    fn kline(start: u64) -> (Identity, Version) {
        let bucket = Bucket::of(Class::Long, start);
        let identity = Identity { series: "linear BTCUSDT 1m".to_owned(), start, bucket };
        let version = Version { digest: Digest([0; 16]), quality: Quality::Complete, trades: 0, body: "b".to_owned() };
        (identity, version)
    }

    fn partition(number: u16) -> Partition {
        Partitions::default().get(number).unwrap()
    }

    #[test]
    fn klines_leave_in_order_and_are_counted() {
        let mut outbox = Outbox::default();
        for second in 0..700 {
            outbox.push(partition(1), kline(second), Duration::from_secs(second));
        }
        outbox.push(partition(2), kline(0), Duration::ZERO);
        assert_eq!((outbox.first(partition(1)).len(), outbox.len()), (MAX_KLINES, 701));
        outbox.remove_first(partition(1), MAX_KLINES);
        assert_eq!(outbox.first(partition(1)).first(), Some(&kline(512)));
        outbox.forget(partition(1), Duration::from_secs(690));
        assert_eq!((outbox.len(), outbox.waiting()), (11, vec![partition(1), partition(2)]));
        outbox.remove(partition(1));
        outbox.remove_first(partition(2), 5);
        assert!(outbox.is_empty() && outbox.waiting().is_empty());
    }

    #[test]
    fn a_call_names_no_more_hashes_than_the_functions_take() {
        let mut outbox = Outbox::default();
        (0..100).for_each(|hour| outbox.push(partition(1), kline(hour * Class::Long.length()), Duration::ZERO));
        assert_eq!(outbox.first(partition(1)).len(), MAX_BUCKETS);
    }
}
