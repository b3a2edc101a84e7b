//! The loop of the thread of a group: time, entries, updates, and what the consumer asks for come in; calls go out one by one.
//!
//! `workers` decides which leases to ask for, to renew and to give back. A call that fails ends nothing by itself: a lease
//! that is not renewed is over by the clock of the book, whatever this thread is doing then.

mod leases;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::Value;
use klines_delivery::acknowledged::Acknowledged;
use klines_delivery::hub::Hub;
use klines_domain::kline::{Batch, Kline};
use klines_system::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::book::{At, Book, Order, Read};
use super::link::{Link, Reading};
use super::slot::{Asked, Slot, Waiting};
use super::{Counters, Settings};
use crate::lease::Timing;
use crate::library::LibraryError;
use crate::member::View;
use crate::node::Seen as SeenByNode;
use crate::partition::Partition;
use crate::reader::{entry, seen::Verdict};
use crate::refusal::Refusal;
use crate::roster::Announced;
use crate::stream_id::StreamId;
use crate::trouble::Trouble;
use crate::workers::{self, Input, Workers};

/// How often time is passed on to the state machine: a tenth of a beat.
const TICK: Duration = Duration::from_millis(100);
/// How long giving back all leases at the end may take.
const END: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect. They are short, because leases are.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a driver works with.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) hub: Arc<Hub>,
    pub(super) book: Arc<Book>,
    pub(super) counters: Arc<Counters>,
    pub(super) link: Link,
    pub(super) announced: Announced,
}

pub(super) struct Driver {
    settings: Settings,
    hub: Arc<Hub>,
    book: Arc<Book>,
    counters: Arc<Counters>,
    link: Link,
    announced: Announced,
    workers: Workers,
    slots: BTreeMap<Partition, Slot>,
    /// What the last request asks for, by the keys of streams.
    asked: BTreeMap<String, Asked>,
    /// What was read and is not published yet.
    waiting: VecDeque<Waiting>,
    /// The positions with which Redis has granted leases.
    granted: BTreeMap<Partition, StreamId>,
    /// The partitions whose lease this process has had: if Redis knows nothing of the group in them, it has lost it.
    known: BTreeSet<Partition>,
    /// The number of leases that were over and are not logged yet.
    abandoned: usize,
    /// The number of the last lease.
    number: u64,
    /// Whether the consumer has failed or is quarantined: others work meanwhile.
    is_resting: bool,
    pauses: Backoff,
    next_connect: Duration,
    trouble: Trouble,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { settings, hub, book, counters, link, announced } = parts;
        let workers = Workers::new(workers::Settings {
            name: settings.node.clone(),
            group: settings.group.clone(),
            single: settings.is_single,
            partitions: settings.partitions,
            timing: Timing::default(),
        });
        Self {
            settings,
            hub,
            book,
            counters,
            link,
            announced,
            workers,
            slots: BTreeMap::new(),
            asked: BTreeMap::new(),
            waiting: VecDeque::new(),
            granted: BTreeMap::new(),
            known: BTreeSet::new(),
            abandoned: 0,
            number: 0,
            is_resting: false,
            pauses: Backoff::between(PAUSES.0, PAUSES.1),
            next_connect: Duration::ZERO,
            trouble: Trouble::default(),
        }
    }

    /// Runs until the group ends.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut updates: mpsc::Receiver<Batch>) {
        let mut seen = self.announced.seen();
        // The node may be a member already.
        seen.mark_changed();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reading: Option<Reading> = None;
        loop {
            if reading.is_none() && self.wants_more() {
                self.ask();
                reading = self.link.read(self.asked.iter().map(|(key, asked)| (key, asked.read)));
            }
            let answer = async {
                match &mut reading {
                    Some(reading) => reading.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { biased;
                order = orders.recv() => match order {
                    Some(Order::Commit { holding, at, changes, answer }) => {
                        let result = self.commit(holding, at, &changes).await;
                        // The consumer waits for it.
                        let _ = answer.send(result);
                    }
                    Some(Order::End) | None => break,
                },
                _ = ticks.tick() => self.tick(&mut seen).await,
                Some(batch) = updates.recv() => self.update(&batch),
                answer = answer => {
                    reading = None;
                    match answer {
                        Ok(answer) => self.take(&answer),
                        Err(trouble) => {
                            self.link.drop_connections();
                            self.report(&trouble);
                        }
                    }
                }
            }
            self.publish();
            self.acknowledge();
        }
        let _ = timeout(END, self.end()).await;
    }

    fn wants_more(&self) -> bool {
        let reads = self.slots.values().any(|slot| slot.finishing.is_none());
        reads && self.waiting.is_empty() && self.hub.has_room()
    }

    /// Notes what the next request asks for.
    fn ask(&mut self) {
        self.asked.clear();
        for Slot { holding, streams, .. } in self.slots.values().filter(|slot| slot.finishing.is_none()) {
            let asked = streams.iter().map(|(partition, stream)| {
                (stream.key.clone(), Asked { partition: *partition, holding: *holding, read: stream.read })
            });
            self.asked.extend(asked);
        }
    }

    async fn tick(&mut self, seen: &mut watch::Receiver<SeenByNode>) {
        self.connect().await;
        let is_resting = self.acknowledged().is_some_and(|acknowledged| acknowledged.is_resting());
        if is_resting != self.is_resting {
            self.is_resting = is_resting;
            self.announced.set(!is_resting);
            seen.mark_changed();
        }
        if seen.has_changed().unwrap_or_default() {
            let view = seen.borrow_and_update().view.clone();
            // Without a share, it gives its partitions back.
            self.input(Input::Viewed(if is_resting { View::default() } else { view })).await;
        }
        self.beat().await;
        let now = self.book.now();
        if self.abandoned > 0 {
            let partitions = std::mem::take(&mut self.abandoned);
            warn!(group = %self.settings.group, partitions, "leases of partitions are over: whoever gets them goes on from what is acknowledged");
        }
        self.slots.values_mut().flat_map(|slot| slot.streams.values_mut()).for_each(|stream| stream.seen.forget(now));
        let streams: usize = self.slots.values().map(|slot| slot.streams.len()).sum();
        self.counters.partitions.store(streams as u64, Ordering::Relaxed);
    }

    /// Renews leases, and gives back those that are finished.
    async fn beat(&mut self) {
        self.input(Input::Tick).await;
        let now = self.book.now();
        let is_finished = |slot: &&Slot| {
            slot.finishing.is_some_and(|latest| now >= latest || !self.book.has_reads(slot.holding.partition))
        };
        let finished: Vec<Partition> =
            self.slots.values().filter(is_finished).map(|slot| slot.holding.partition).collect();
        for partition in finished {
            self.input(Input::Finished(partition)).await;
        }
    }

    async fn connect(&mut self) {
        let now = self.book.now();
        if self.link.is_up() || now < self.next_connect {
            return;
        }
        match self.link.connect().await {
            Ok(()) => {
                self.pauses.reset();
                self.trouble.end();
            }
            Err(error) => {
                self.next_connect = self.book.now() + self.pauses.wait();
                self.report(&error.to_string());
            }
        }
    }

    /// Passes something to the state machine, and does what it asks for.
    async fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut actions = Vec::new();
            self.workers.on(input, self.book.now(), &mut actions);
            for action in actions {
                inputs.extend(self.act(action).await);
            }
        }
        for partition in self.slots.keys() {
            if let Some(lease) = self.workers.lease(*partition) {
                self.book.renew(*partition, lease.until());
            }
        }
    }

    /// Takes what was read.
    fn take(&mut self, answer: &Value) {
        for (key, entries) in entry::streams(answer) {
            let Some(asked) = self.asked.get(&key).copied() else { continue };
            let Asked { partition, holding, read } = asked;
            let now = self.book.now();
            let slot = self.slots.get_mut(&holding.partition).filter(|slot| slot.finishing.is_none());
            let slot = slot.filter(|slot| slot.holding == holding);
            let stream = slot.and_then(|slot| slot.streams.get_mut(&partition));
            let Some(stream) = stream.filter(|stream| stream.read == read) else { continue };
            for entry in entries {
                stream.read = entry.id;
                let (klines, _) = entry.klines(|key| (self.settings.find)(key));
                let mut new = Vec::with_capacity(klines.len());
                let epoch = entry.epoch.unwrap_or_default();
                for kline in klines {
                    if let Verdict::New { missing } = stream.seen.judge(&kline, epoch, now) {
                        self.counters.missing.fetch_add(missing, Ordering::Relaxed);
                        new.push(Arc::new(kline));
                    }
                }
                self.counters.entries.fetch_add(1, Ordering::Relaxed);
                store(&self.counters.lag, self.book.wall().saturating_sub(entry.id.millis));
                self.waiting.push_back(Waiting { holding, at: At { partition, id: entry.id }, klines: new });
            }
        }
    }

    /// Returns the partition in which the lease of a partition is.
    fn lease_of(&self, partition: Partition) -> Partition {
        let first = self.settings.partitions.iter().next().filter(|_| self.settings.is_single);
        first.unwrap_or(partition)
    }

    /// Publishes what the consumer has room for.
    fn publish(&mut self) {
        while self.hub.has_room() {
            let Some(Waiting { holding, at, klines }) = self.waiting.pop_front() else { return };
            let is_batch = !klines.is_empty();
            let batches = self.hub.published() + u64::from(is_batch);
            self.book.read(Read { holding, at, batches, is_batch });
            self.hub.publish(&Batch { klines });
        }
    }

    /// Notes what the consumer has accepted.
    fn acknowledge(&mut self) {
        let Some(batches) = self.acknowledged().and_then(|acknowledged| acknowledged.batches()) else { return };
        for Read { holding, at, .. } in self.book.accepted(batches) {
            if let Some(slot) = self.slots.get_mut(&holding.partition).filter(|slot| slot.holding == holding) {
                slot.accepted(at);
                self.counters.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns what the only consumer of the hub has acknowledged.
    fn acknowledged(&self) -> Option<Arc<Acknowledged>> {
        let all = self.hub.acknowledgements().all();
        all.into_iter().next().map(|(_, acknowledged)| acknowledged)
    }

    /// Publishes updates of open windows.
    fn update(&mut self, batch: &Batch) {
        let mut klines = Vec::new();
        for kline in &batch.klines {
            let partition = self.settings.partitions.of(kline.series.category, &kline.series.symbol);
            let lease = self.lease_of(partition);
            let slot = self.slots.get(&lease).filter(|slot| slot.finishing.is_none());
            let stream = slot.and_then(|slot| slot.streams.get(&partition));
            klines.extend(stream.and_then(|stream| stream.seen.update(kline)).map(Arc::<Kline>::new));
        }
        self.hub.publish(&Batch { klines });
    }

    /// Logs why a call failed, and connects again if the connection is the reason.
    fn failed(&mut self, error: &LibraryError) {
        if error.needs_new_connection() {
            self.link.drop_connections();
        }
        // That a lease is over or another's is part of the life of a group.
        if !matches!(error.refusal(), Some(Refusal::Stale | Refusal::Held | Refusal::Resend)) {
            self.report(&error.to_string());
        }
    }

    fn report(&mut self, trouble: &str) {
        let now = self.book.now();
        if self.trouble.is_news(trouble, now) {
            warn!(redis = self.link.shown(), group = %self.settings.group, trouble, "the group cannot be served as it should");
        }
    }

    /// Gives all leases back.
    async fn end(&mut self) {
        self.acknowledge();
        self.input(Input::Stop).await;
        let left: Vec<Partition> = self.slots.keys().copied().collect();
        for partition in left {
            self.input(Input::Finished(partition)).await;
        }
        info!(group = %self.settings.group, "the group has ended on this node");
    }
}

fn store(counter: &AtomicU64, value: u64) {
    counter.store(value, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
