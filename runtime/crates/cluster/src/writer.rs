//! The consumer through which an ingest node hands its closed klines to the cluster. It only puts them into the outbox;
//! `node` writes them to Redis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Subscription};
use tokio::sync::Notify;
use tracing::warn;

use crate::encoding;
use crate::outbox::Outbox;
use crate::partition::Partitions;

/// The name of the consumer.
pub const NAME: &str = "cluster";

/// The outbox, shared by the consumer and the node.
#[derive(Debug)]
pub struct Pending {
    outbox: Mutex<Outbox>,
    changed: Notify,
    partitions: Partitions,
    began: Instant,
}

impl Pending {
    /// Creates an empty outbox of a cluster.
    #[must_use]
    pub fn new(partitions: Partitions) -> Arc<Self> {
        Arc::new(Self { outbox: Mutex::default(), changed: Notify::new(), partitions, began: Instant::now() })
    }

    /// Returns the time since this outbox was created, which is the clock of the node.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Locks the outbox. The holder must not wait.
    pub fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until klines are put into it.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Puts the klines of a delivery into it, all or none. Returns whether there was room.
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
        Ok(Subscription { closed_only: true, ..Subscription::default() })
    }

    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
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
