//! The subscriptions of all clients: every topic with its newest records and its followers, and the followers of
//! batches.
//!
//! One lock orders answers and pushes: a client misses no push after the answer to its subscription, and gets none
//! after the answer to its unsubscription. A frame is encoded once for each dialect, and only if the topic has
//! followers. Sockets are written after the lock is released.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use hashbrown::HashMap;
use klines_delivery::Delivery;
use klines_delivery::earlier::EarlierRuns;
use klines_delivery::emit::Point;
use klines_delivery::encode::{Extras, StreamerFilter, ValueTopic};
use klines_delivery::epochs::Epochs;
use klines_domain::kline::Kline;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::Category;
use tracing::warn;

use super::client::{Client, ClientId};
use super::dialect::Dialect;
use super::memory::Memory;
use super::outbox::{FrameKind, TopicId};
use super::push::{bybit, stream, streamer};
use super::recent::{Base, Recent};
use super::values::{Values, is_value};

/// All topics and their followers.
pub struct Subscriptions {
    state: Mutex<TopicTable>,
    /// The server's part of the epochs of klines that it does not share, and of an earlier run that has crashed.
    epoch: u64,
    crashed: Option<u64>,
    /// The server's part of the epochs of values, whose sequences begin again with each run.
    values_epoch: u64,
    /// The category whose topics have no category prefix.
    first: Category,
}

/// The topics and followers, behind the lock of [`Subscriptions`].
pub struct TopicTable {
    ids: HashMap<SeriesId, TopicId, foldhash::fast::RandomState>,
    /// By [`TopicId`].
    series: Vec<Followed>,
    /// The last sequence of each series in earlier runs.
    earlier: HashMap<SeriesKey, u64>,
    memory: Memory,
    /// The series that consumers publish, and their followers.
    pub values: Values,
    /// Which klines belong to batches; sees every kline, whether or not a client follows.
    batches: StreamerFilter,
    /// The followers of batches.
    followers: Vec<(Category, Arc<Client>)>,
}

/// A series of klines and its followers, by dialect.
struct Followed {
    series: SeriesId,
    bybit: Vec<Arc<Client>>,
    stream: Vec<Arc<Client>>,
    /// Of `stream`, those that are ahead of this server, with the last number that they have got from another one.
    ahead: HashMap<ClientId, u64>,
}

impl Followed {
    fn followers(&mut self, dialect: Dialect) -> &mut Vec<Arc<Client>> {
        match dialect {
            Dialect::Bybit => &mut self.bybit,
            Dialect::Stream => &mut self.stream,
        }
    }

    /// Returns the followers in `stream` that do not have the kline with this number yet. All have to get a snapshot
    /// (`is_next` is false).
    fn without(&mut self, sequence: u64, is_next: bool) -> impl Iterator<Item = &Arc<Client>> {
        let Self { stream, ahead, .. } = self;
        ahead.retain(|_, last| is_next && *last >= sequence);
        stream.iter().filter(|client| !ahead.contains_key(&client.id))
    }
}

impl Subscriptions {
    /// Creates an empty table that stores `klines` bytes of klines, and `values` bytes of values for each consumer.
    #[must_use]
    pub fn new((klines, values): (usize, usize), epoch: u64, first: Category, batches: Extras) -> Self {
        let state = TopicTable {
            ids: HashMap::default(),
            series: Vec::new(),
            earlier: HashMap::new(),
            memory: Memory::new(klines),
            values: Values::new(values),
            batches: StreamerFilter::new(batches),
            followers: Vec::new(),
        };
        Self { state: Mutex::new(state), epoch, crashed: None, values_epoch: epoch, first }
    }

    /// Sets the epochs of klines that this server shares with others, before there are topics.
    pub fn share(&mut self, epochs: Option<Arc<dyn Epochs>>) {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).memory.share(epochs);
    }

    /// Continues earlier runs: clients resume what they have of them. Shared epochs come instead of the epochs of the runs.
    pub fn resume(&mut self, earlier: EarlierRuns, (most, wants): (usize, impl Fn(&SeriesKey) -> bool)) {
        let EarlierRuns { epoch, crashed, sequences, mut newest } = earlier;
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.memory.is_shared() {
            (self.epoch, self.crashed) = (epoch, crashed);
        }
        state.earlier = sequences.into_iter().collect();
        let mut found: HashMap<SeriesId, VecDeque<Arc<Kline>>> = HashMap::new();
        loop {
            match newest.next() {
                Ok(klines) if klines.is_empty() => break,
                Ok(klines) => klines.into_iter().filter(|kline| wants(&kline.series)).for_each(|kline| {
                    let klines = found.entry(kline.series).or_default();
                    klines.push_back(kline);
                    if klines.len() > most {
                        klines.pop_front();
                    }
                }),
                Err(error) => {
                    warn!(%error, "clients cannot resume what they have of earlier runs: it cannot be read");
                    return;
                }
            }
        }
        for (series, klines) in found {
            let id = state.topic(series);
            state.memory.keep_earlier(id, klines);
        }
    }

    /// Returns the category whose topics have no category prefix.
    #[must_use]
    pub const fn first(&self) -> Category {
        self.first
    }

    /// Returns the epoch of a topic of klines, as clients see it.
    #[must_use]
    pub const fn epoch(&self, recent: &Recent<Kline>) -> stream::Epoch {
        let server = match recent.base() {
            Base::Shared(epoch) => epoch,
            Base::Own | Base::Unknown => self.epoch,
        };
        stream::Epoch { server, breaks: recent.breaks() }
    }

    /// Returns the epoch of a topic of values, as clients see it.
    #[must_use]
    pub const fn values_epoch(&self, recent: &Recent<Point>) -> stream::Epoch {
        stream::Epoch { server: self.values_epoch, breaks: recent.breaks() }
    }

    /// Returns the epoch in which a crashed run has sent the klines of a topic up to a sequence; `None` if epochs are shared,
    /// which outlast a crash.
    #[must_use]
    pub fn crashed_epoch(&self, recent: &Recent<Kline>, sequence: u64) -> Option<stream::Epoch> {
        let server = self.crashed.filter(|_| sequence <= recent.earlier())?;
        Some(stream::Epoch { server, breaks: 0 })
    }

    /// Locks the table. The holder must not block.
    pub fn lock(&self) -> MutexGuard<'_, TopicTable> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores klines and values, encodes their frames and pushes them to all followers. Returns the clients to flush.
    pub fn publish(&self, delivery: &Delivery, now: i64) -> Vec<Arc<Client>> {
        self.publish_locked(&mut self.lock(), delivery, now)
    }

    /// Does the same if it pushes at most `most` frames, the table and the receiving clients are not locked by other
    /// threads, and memory has room; otherwise does nothing and returns `None`.
    pub fn publish_inline(&self, delivery: &Delivery, now: i64, most: usize) -> Option<Vec<Arc<Client>>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let series = delivery.klines.iter().filter_map(|kline| state.ids.get(&kline.series));
        let followers = series.filter_map(|id| state.series.get(id.0 as usize));
        let followers = followers.flat_map(|series| series.bybit.iter().chain(&series.stream));
        let due: Vec<_> = followers.chain(state.followers.iter().map(|(_, client)| client)).take(most + 1).collect();
        let is_small = due.len() <= most && due.iter().all(|client| client.is_idle());
        drop(due);
        let is_inline = is_small && state.memory.has_room(delivery.klines.len());
        is_inline.then(|| self.publish_locked(&mut state, delivery, now))
    }

    fn publish_locked(&self, state: &mut TopicTable, delivery: &Delivery, now: i64) -> Vec<Arc<Client>> {
        let mut dirty = Vec::new();
        let mut text = String::with_capacity(512);
        for kline in delivery.klines.iter() {
            self.publish_kline(state, kline, now, &mut text, &mut dirty);
        }
        for point in &delivery.values {
            self.publish_value(&mut state.values, point, now, &mut text, &mut dirty);
        }
        state.publish_batches(delivery, now, &mut dirty);
        dirty
    }

    fn publish_kline(
        &self,
        state: &mut TopicTable,
        kline: &Arc<Kline>,
        now: i64,
        text: &mut String,
        dirty: &mut Vec<Arc<Client>>,
    ) {
        let id = state.topic(kline.series);
        let mut kline = kline.clone();
        let is_next = state.memory.keep(id, &mut kline);
        let TopicTable { series, memory, .. } = state;
        let (Some(series), Some(recent)) = (series.get_mut(id.0 as usize), memory.recent(id)) else { return };
        let kind = if kline.confirm { FrameKind::Closed(1) } else { FrameKind::Update(id) };
        if !series.bybit.is_empty() {
            let frame = bybit::push(&kline, text);
            series.bybit.iter().for_each(|client| push_to(client, kind, frame.clone(), now, dirty));
        }
        if !series.stream.is_empty() {
            let name = stream::KlineTopic::new(&kline.series, self.first);
            let frame = stream::push_or_snapshot(&name, self.epoch(recent), recent, &kline, is_next, text);
            let kind = if is_next || kline.confirm { kind } else { FrameKind::Required };
            let behind = series.without(kline.sequence, is_next);
            behind.for_each(|client| push_to(client, kind, frame.clone(), now, dirty));
        }
    }

    fn publish_value(
        &self,
        values: &mut Values,
        point: &Arc<Point>,
        now: i64,
        text: &mut String,
        dirty: &mut Vec<Arc<Client>>,
    ) {
        let mut point = point.clone();
        let Some((id, is_next)) = values.keep(&mut point) else { return };
        let Some(followed) = values.get(id).filter(|followed| !followed.followers.is_empty()) else { return };
        let name = ValueTopic { series: &followed.series, first: self.first };
        let frame = stream::push_or_snapshot(
            &name,
            self.values_epoch(&followed.recent),
            &followed.recent,
            &point,
            is_next,
            text,
        );
        let kind = if point.confirm || !is_next { FrameKind::Required } else { FrameKind::Update(id) };
        followed.followers.iter().for_each(|client| push_to(client, kind, frame.clone(), now, dirty));
    }
}

/// Pushes a frame to a client, and adds the client to those to flush, once.
fn push_to(client: &Arc<Client>, kind: FrameKind, frame: Bytes, now: i64, dirty: &mut Vec<Arc<Client>>) {
    if client.push(kind, frame, now) {
        dirty.push(client.clone());
    }
}

impl TopicTable {
    /// Pushes a delivery's closed klines to the followers of batches.
    fn publish_batches(&mut self, delivery: &Delivery, now: i64, dirty: &mut Vec<Arc<Client>>) {
        let admitted = delivery.klines.iter().map(Arc::as_ref).filter(|kline| self.batches.admits(kline));
        if self.followers.is_empty() {
            return admitted.for_each(|_| {});
        }
        let admitted: Vec<&Kline> = admitted.collect();
        for category in Category::ALL {
            let Some((number, frame)) = streamer::batch(&admitted, category) else { continue };
            for (_, client) in self.followers.iter().filter(|(follows, _)| *follows == category) {
                push_to(client, FrameKind::Closed(number), frame.clone(), now, dirty);
            }
        }
    }

    /// Returns the number of a series; adds the series if it is new.
    pub fn topic(&mut self, series: SeriesId) -> TopicId {
        if let Some(id) = self.ids.get(&series) {
            return *id;
        }
        let id = TopicId(u32::try_from(self.series.len()).unwrap_or(u32::MAX));
        self.ids.insert(series, id);
        self.series.push(Followed { series, bybit: Vec::new(), stream: Vec::new(), ahead: HashMap::new() });
        self.memory.add(series, self.earlier.get(&*series).copied().unwrap_or_default());
        id
    }

    /// Returns the number of a series; `None` if it has neither klines nor had followers.
    #[must_use]
    pub fn known(&self, key: &SeriesKey) -> Option<TopicId> {
        self.ids.get(&SeriesId::find(key)?).copied()
    }

    /// Returns the newest klines of the series of `key`, if it is known.
    #[must_use]
    pub fn find(&self, key: &SeriesKey) -> Option<&Recent<Kline>> {
        self.memory.recent(self.known(key)?)
    }

    /// Returns the newest klines of a series.
    #[must_use]
    pub fn recent(&self, id: TopicId) -> Option<&Recent<Kline>> {
        self.memory.recent(id)
    }

    /// Returns the series of a number.
    #[must_use]
    pub fn key(&self, id: TopicId) -> Option<SeriesId> {
        self.series.get(id.0 as usize).map(|followed| followed.series)
    }

    /// Adds a follower to a topic; the caller makes sure that the client does not follow it yet.
    pub fn follow(&mut self, id: TopicId, dialect: Dialect, client: &Arc<Client>) {
        if is_value(id) {
            return self.values.follow(id, client);
        }
        let Some(series) = self.series.get_mut(id.0 as usize) else { return };
        series.followers(dialect).push(client.clone());
    }

    /// Pushes no klines of a topic to a client up to the number `last`, which it has got from another server, if this server
    /// has not reached it.
    pub fn hold_back(&mut self, id: TopicId, client: ClientId, last: u64) {
        let is_ahead = self.recent(id).is_some_and(|recent| last > recent.last());
        let Some(series) = self.series.get_mut(id.0 as usize) else { return };
        series.ahead.remove(&client);
        if is_ahead {
            series.ahead.insert(client, last);
        }
    }

    /// Removes a follower from a topic.
    pub fn unfollow(&mut self, id: TopicId, dialect: Dialect, client: ClientId) {
        if is_value(id) {
            return self.values.unfollow(id, client);
        }
        let Some(series) = self.series.get_mut(id.0 as usize) else { return };
        let followers = series.followers(dialect);
        if let Some(at) = followers.iter().position(|follower| follower.id == client) {
            followers.swap_remove(at);
        }
        if followers.is_empty() {
            *followers = Vec::new();
        }
        if dialect == Dialect::Stream {
            series.ahead.remove(&client);
        }
    }

    /// Adds a follower to the batches of a category.
    pub fn follow_batches(&mut self, category: Category, client: &Arc<Client>) {
        self.followers.push((category, client.clone()));
    }

    /// Removes a follower from all batches.
    pub fn unfollow_batches(&mut self, client: ClientId) {
        self.followers.retain(|(_, follower)| follower.id != client);
    }
}
