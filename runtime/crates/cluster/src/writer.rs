//! The consumer through which an ingest node hands its klines to the cluster. It only puts closed ones into the outbox, and
//! keeps the newest update of each open window; `node` sends both to Redis.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Subscription};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;
use klines_domain::time::LocalMillis;
use klines_system::clock::LocalClock;
use tokio::sync::Notify;
use tracing::warn;

use crate::encoding;
use crate::outbox::Outbox;
use crate::partition::{Partition, Partitions};

/// The name of the consumer.
pub const NAME: &str = "cluster";

/// The newest update of each series.
type Updates = HashMap<SeriesId, Arc<Kline>>;

/// The outbox, shared by the consumer and the node.
#[derive(Debug)]
pub struct Pending {
    outbox: Mutex<Outbox>,
    /// The newest updates that were not sent; there are at most as many as series.
    updates: Mutex<Updates>,
    changed: Notify,
    partitions: Partitions,
    clock: LocalClock,
    began: LocalMillis,
}

impl Pending {
    /// Creates an empty outbox of a cluster.
    #[must_use]
    pub fn new(partitions: Partitions) -> Arc<Self> {
        let clock = LocalClock::start();
        Arc::new(Self {
            outbox: Mutex::default(),
            updates: Mutex::default(),
            changed: Notify::new(),
            partitions,
            clock,
            began: clock.now(),
        })
    }

    /// Returns the time since this outbox was created, which is the clock of the node.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis((self.clock.now() - self.began).unsigned_abs())
    }

    /// Locks the outbox. The holder must not wait.
    pub fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the updates that were not sent, by partition.
    pub fn updates(&self) -> BTreeMap<Partition, Vec<Arc<Kline>>> {
        let updates = std::mem::take(&mut *self.updates.lock().unwrap_or_else(PoisonError::into_inner));
        let mut by_partition = BTreeMap::<Partition, Vec<Arc<Kline>>>::new();
        for update in updates.into_values() {
            let partition = self.partitions.of(update.series.category, &update.series.symbol);
            by_partition.entry(partition).or_default().push(update);
        }
        by_partition
    }

    /// Waits until klines are put into it.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Keeps the newest update of each series. A closed kline is newer than the update of its window.
    fn keep_updates(&self, delivery: &Delivery) {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        for kline in delivery.klines.iter() {
            if !kline.confirm {
                updates.insert(kline.series, kline.clone());
            } else if updates.get(&kline.series).is_some_and(|update| update.start <= kline.start) {
                updates.remove(&kline.series);
            }
        }
    }

    /// Puts the closed klines of a delivery into it, all or none. Returns whether there was room.
    fn take(&self, delivery: &Delivery) -> bool {
        let mut outbox = self.lock();
        if !outbox.has_room(delivery.klines.len()) {
            return false;
        }
        let now = self.now();
        for kline in delivery.klines.iter().filter(|kline| kline.confirm) {
            // Windows before 1970 have no identity, and no exchange.
            let Some(identity) = encoding::identity(kline) else { continue };
            let partition = self.partitions.of(kline.series.category, &kline.series.symbol);
            let version = encoding::version(&identity, kline);
            outbox.push(partition, (identity, version), now);
        }
        drop(outbox);
        self.changed.notify_one();
        true
    }
}

/// Creates the consumer.
#[derive(Clone, Debug)]
pub struct WriterBlueprint(pub Arc<Pending>);

impl Blueprint for WriterBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        Vec::new()
    }

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        Ok(Box::new(Writer(self.0.clone())))
    }
}

struct Writer(Arc<Pending>);

impl Consumer for Writer {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        Ok(Subscription::default())
    }

    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        self.0.keep_updates(delivery);
        if !self.0.take(delivery) {
            return Err(Failure::Retry("Redis takes no klines, and no more of them can wait".to_owned()));
        }
        if delivery.lost > 0 {
            warn!(lost = delivery.lost, "closed klines were lost before they could be written to the cluster");
        }
        Ok(Next::Deliver)
    }

    fn is_settled(&self) -> bool {
        self.0.lock().is_empty()
    }

    fn stop(&mut self) {}
}
