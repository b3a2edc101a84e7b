//! What the driver of a group and its consumer share: which partitions the consumer may consume now, with their states, and
//! which entry each batch of the hub is.
//!
//! A lease has a number in this process. What belongs to an older one is not consumed, and changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_delivery::shared_state::{Change, Entry, Value};
use klines_domain::time::LocalMillis;
use klines_system::clock::LocalClock;
use tokio::sync::mpsc::Sender;

use crate::partition::Partition;
use crate::stream_id::StreamId;

/// A lease: the partition in which it is, and its number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holding {
    pub(super) partition: Partition,
    pub(super) number: u64,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) partition: Partition,
    pub(super) id: StreamId,
}

/// An entry that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) holding: Holding,
    pub(super) at: At,
    /// How many batches of the hub have been accepted when this entry has been.
    pub(super) batches: u64,
    /// Whether it is a batch of the hub. If not, no kline of it is wanted here.
    pub(super) is_batch: bool,
}

/// What the consumer asks the driver for.
#[derive(Debug)]
pub(super) enum Order {
    /// Write changes of a state.
    Commit {
        holding: Holding,
        /// The last entry that was processed; `None` if the position does not move.
        at: Option<At>,
        changes: Vec<Change>,
        answer: SyncSender<Result<(), String>>,
    },
    End,
}

/// A lease that the consumer may use.
#[derive(Debug)]
struct Held {
    number: u64,
    /// Until when, on the clock of the book.
    until: Duration,
    state: BTreeMap<Arc<str>, Value>,
    /// The entry that is being processed.
    current: Option<At>,
}

#[derive(Debug, Default)]
struct Content {
    held: BTreeMap<Partition, Held>,
    reads: VecDeque<Read>,
    /// The number of the newest instances; older ones change no state.
    generation: u64,
}

#[derive(Debug)]
pub(super) struct Book {
    content: Mutex<Content>,
    orders: Sender<Order>,
    clock: LocalClock,
    began: LocalMillis,
}

impl Book {
    pub(super) fn new(orders: Sender<Order>) -> Self {
        let clock = LocalClock::start();
        Self { content: Mutex::default(), orders, clock, began: clock.now() }
    }

    /// Returns the time since the book was created, which is the clock of the group.
    pub(super) fn now(&self) -> Duration {
        Duration::from_millis((self.clock.now() - self.began).unsigned_abs())
    }

    /// Returns the time by the wall clock, in milliseconds.
    pub(super) fn wall(&self) -> u64 {
        u64::try_from(self.clock.now().get()).unwrap_or_default()
    }

    /// Locks the content. A poisoned lock is safe: every change under it is complete.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What the driver does.

    pub(super) fn begin(&self, holding: Holding, until: Duration, state: BTreeMap<Arc<str>, Value>) {
        let held = Held { number: holding.number, until, state, current: None };
        self.lock().held.insert(holding.partition, held);
    }

    pub(super) fn renew(&self, partition: Partition, until: Duration) {
        if let Some(held) = self.lock().held.get_mut(&partition) {
            held.until = until;
        }
    }

    pub(super) fn end_of(&self, partition: Partition) {
        self.lock().held.remove(&partition);
    }

    pub(super) fn read(&self, read: Read) {
        self.lock().reads.push_back(read);
    }

    /// Removes and returns the entries that have been accepted with this number of batches.
    pub(super) fn accepted(&self, batches: u64) -> Vec<Read> {
        let mut content = self.lock();
        let count = content.reads.iter().take_while(|read| read.batches <= batches).count();
        content.reads.drain(..count).collect()
    }

    /// Returns whether entries of a lease have not been accepted.
    pub(super) fn has_reads(&self, partition: Partition) -> bool {
        self.lock().reads.iter().any(|read| read.holding.partition == partition)
    }

    // What the consumer does.

    /// Asks the driver to end.
    pub(super) fn end(&self) {
        // It has ended already if it takes no orders, or was never started.
        let _ = self.orders.try_send(Order::End);
    }

    /// Begins with new instances. Returns their number.
    pub(super) fn begin_generation(&self) -> u64 {
        let mut content = self.lock();
        content.generation += 1;
        content.generation
    }

    /// Returns the leases of this node, those too that have not been renewed in time.
    pub(super) fn holdings(&self) -> Vec<Holding> {
        let content = self.lock();
        let of = |(partition, held): (&Partition, &Held)| Holding { partition: *partition, number: held.number };
        content.held.iter().map(of).collect()
    }

    /// Returns whether a lease may be used now.
    pub(super) fn is_valid(&self, holding: Holding) -> bool {
        let (now, content) = (self.now(), self.lock());
        content.held.get(&holding.partition).is_some_and(|held| held.number == holding.number && now < held.until)
    }

    /// Returns the entry that a batch of the hub is.
    pub(super) fn entry(&self, batches: u64) -> Option<Read> {
        let content = self.lock();
        let at = content.reads.partition_point(|read| read.batches < batches);
        content.reads.range(at..).take_while(|read| read.batches == batches).find(|read| read.is_batch).copied()
    }

    /// Notes which entry is being processed under a lease.
    pub(super) fn set_current(&self, holding: Holding, at: Option<At>) {
        if let Some(held) = self.lock().held.get_mut(&holding.partition).filter(|held| held.number == holding.number) {
            held.current = at;
        }
    }

    /// Returns the state of a lease.
    pub(super) fn state(&self, holding: Holding) -> Option<Vec<Entry>> {
        let content = self.lock();
        let held = content.held.get(&holding.partition).filter(|held| held.number == holding.number)?;
        Some(held.state.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Lets the driver write changes, and waits for the answer. Changes of older instances are ignored.
    pub(super) fn commit(&self, holding: Holding, generation: u64, changes: Vec<Change>) -> Result<(), String> {
        let at = {
            let content = self.lock();
            if content.generation != generation {
                return Ok(());
            }
            let held = content.held.get(&holding.partition).filter(|held| held.number == holding.number);
            held.ok_or_else(|| lost(holding.partition))?.current
        };
        let (answer, answered) = sync_channel(1);
        let order = Order::Commit { holding, at, changes: changes.clone(), answer };
        self.orders.try_send(order).map_err(|_| lost(holding.partition))?;
        answered.recv().map_err(|_| lost(holding.partition))??;
        if let Some(held) = self.lock().held.get_mut(&holding.partition).filter(|held| held.number == holding.number) {
            for (key, value) in changes {
                match value {
                    Some(value) => held.state.insert(key, value),
                    None => held.state.remove(&key),
                };
            }
        }
        Ok(())
    }
}

/// Says that a lease is over.
pub(super) fn lost(partition: Partition) -> String {
    format!("the lease of partition {partition} is over")
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::partition::Partitions;

    fn partition(number: u16) -> Partition {
        Partitions::default().get(number).unwrap()
    }

    fn read(number: u16, batches: u64, is_batch: bool) -> Read {
        let holding = Holding { partition: partition(number), number: 1 };
        let id = StreamId { millis: batches, number: 0 };
        Read { holding, at: At { partition: partition(number), id }, batches, is_batch }
    }

    #[test]
    fn a_batch_is_the_entry_that_was_published_with_it() {
        let (orders, _inbox) = channel(1);
        let book = Book::new(orders);
        let reads = [read(1, 1, true), read(2, 1, false), read(2, 2, true), read(1, 2, false)];
        reads.iter().for_each(|one| book.read(*one));
        assert_eq!([1, 2, 3].map(|batches| book.entry(batches)), [Some(reads[0]), Some(reads[2]), None]);
        assert_eq!(book.accepted(0), []);
        assert_eq!(book.accepted(1), reads[..2]);
        assert!(book.has_reads(partition(1)) && book.has_reads(partition(2)));
        assert_eq!(book.accepted(9), reads[2..]);
        assert!(!book.has_reads(partition(1)));
    }

    #[test]
    fn only_a_lease_that_lasts_can_be_used_and_only_its_newest_instances_change_the_state() {
        let (orders, mut inbox) = channel(1);
        let book = Book::new(orders);
        let holding = Holding { partition: partition(1), number: 1 };
        book.begin(holding, Duration::ZERO, BTreeMap::new());
        assert_eq!((book.holdings(), book.is_valid(holding)), (vec![holding], false));
        book.renew(partition(1), book.now() + Duration::from_secs(60));
        assert!(book.is_valid(holding));
        let [old, new] = [book.begin_generation(), book.begin_generation()];
        assert_eq!(book.commit(holding, old, vec![("a".into(), None)]), Ok(()));
        assert!(inbox.try_recv().is_err(), "an older instance has asked for nothing");
        let other = Holding { number: 2, ..holding };
        assert_eq!(book.commit(other, new, Vec::new()), Err("the lease of partition 1 is over".to_owned()));
        let driver = std::thread::spawn(move || match inbox.blocking_recv() {
            Some(Order::Commit { at, answer, .. }) => {
                answer.send(Ok(())).unwrap();
                at
            }
            order => panic!("{order:?}"),
        });
        let at = At { partition: partition(1), id: StreamId { millis: 5, number: 0 } };
        book.set_current(holding, Some(at));
        book.commit(holding, new, vec![("a".into(), Some(b"1".as_slice().into()))]).unwrap();
        assert_eq!(driver.join().unwrap(), Some(at));
        assert_eq!(book.state(holding), Some(vec![("a".into(), b"1".as_slice().into())]));
    }
}
