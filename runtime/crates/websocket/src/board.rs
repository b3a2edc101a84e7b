//! Who follows what: every series with its newest klines and its subscribers, and the batches' followers.
//!
//! One lock makes an answer and the pushes around it agree: a client that has been told "subscribed" misses nothing
//! from then on, and one that has been told "unsubscribed" gets nothing more. Frames are made once a dialect, and
//! only where somebody follows. Sockets are written after the lock is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use hashbrown::HashMap;
use klines_delivery::Delivery;
use klines_delivery::emit::Point;
use klines_delivery::encode::{Extras, ValueTopic};
use klines_domain::kline::Kline;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::Category;

use super::client::{Client, ClientId};
use super::memory::Memory;
use super::outbox::{Kind, TopicId};
use super::push::{bybit, predecessor, stream};
use super::recent::{Recent, Record};
use super::series::Dialect;
use super::values::{Values, is_value};

/// All series and followers.
pub struct Board {
    state: Mutex<State>,
    /// The life of this server's numbering.
    epoch: u64,
    /// The category whose topics carry no prefix.
    first: Category,
    batches: Extras,
}

/// The board while it is held.
pub struct State {
    ids: HashMap<SeriesId, TopicId, foldhash::fast::RandomState>,
    series: Vec<Followed>,
    memory: Memory,
    /// What consumers publish, and who follows that.
    pub values: Values,
    followers: Vec<(Category, Arc<Client>)>,
}

/// A series of klines and those who follow it.
struct Followed {
    series: SeriesId,
    bybit: Vec<Arc<Client>>,
    stream: Vec<Arc<Client>>,
}

impl Followed {
    fn followers(&mut self, dialect: Dialect) -> &mut Vec<Arc<Client>> {
        match dialect {
            Dialect::Bybit => &mut self.bybit,
            Dialect::Stream => &mut self.stream,
        }
    }
}

impl Board {
    /// Builds an empty board that remembers klines of about so many bytes, and values of each consumer.
    #[must_use]
    pub fn new((klines, values): (usize, usize), epoch: u64, first: Category, batches: Extras) -> Self {
        let state = State {
            ids: HashMap::default(),
            series: Vec::new(),
            memory: Memory::new(klines),
            values: Values::new(values),
            followers: Vec::new(),
        };
        Self { state: Mutex::new(state), epoch, first, batches }
    }

    /// The category whose topics carry no prefix.
    #[must_use]
    pub const fn first(&self) -> Category {
        self.first
    }

    /// The life of a series' numbering, as clients are told.
    #[must_use]
    pub const fn epoch<T: Record>(&self, recent: &Recent<T>) -> stream::Epoch {
        stream::Epoch { server: self.epoch, breaks: recent.breaks() }
    }

    /// Holds the board. Nothing that waits may be done meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the klines and values, makes the frames and hands them to every follower. Returns the clients to flush.
    pub fn publish(&self, delivery: &Delivery, now: i64) -> Vec<Arc<Client>> {
        self.hand_out(&mut self.lock(), delivery, now)
    }

    /// The same, if no more than `most` frames are due, and nobody is busy with the board or with a client that one is
    /// for, and nothing has to be forgotten. Nothing otherwise.
    pub fn publish_at_once(&self, delivery: &Delivery, now: i64, most: usize) -> Option<Vec<Arc<Client>>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let series = delivery.klines.iter().filter_map(|kline| state.ids.get(&kline.series));
        let followers = series.filter_map(|id| state.series.get(id.0 as usize));
        let followers = followers.flat_map(|series| series.bybit.iter().chain(&series.stream));
        let due: Vec<_> = followers.chain(state.followers.iter().map(|(_, client)| client)).take(most + 1).collect();
        let is_little = due.len() <= most && due.iter().all(|client| client.is_idle());
        drop(due);
        let at_once = is_little && state.memory.has_room(delivery.klines.len());
        at_once.then(|| self.hand_out(&mut state, delivery, now))
    }

    fn hand_out(&self, state: &mut State, delivery: &Delivery, now: i64) -> Vec<Arc<Client>> {
        let mut dirty = Vec::new();
        let mut text = String::with_capacity(512);
        for kline in delivery.klines.iter() {
            self.publish_one(state, kline, now, &mut text, &mut dirty);
        }
        for point in &delivery.values {
            self.publish_value(&mut state.values, point, now, &mut text, &mut dirty);
        }
        if !state.followers.is_empty() {
            for category in Category::ALL {
                let batch = predecessor::batch(&delivery.klines, category, self.batches);
                let Some((number, frame)) = batch else { continue };
                for (_, client) in state.followers.iter().filter(|(follows, _)| *follows == category) {
                    hand(client, Kind::Closed(number), frame.clone(), now, &mut dirty);
                }
            }
        }
        dirty
    }

    fn publish_one(
        &self,
        state: &mut State,
        kline: &Arc<Kline>,
        now: i64,
        text: &mut String,
        dirty: &mut Vec<Arc<Client>>,
    ) {
        let id = state.topic(kline.series);
        let mut kline = kline.clone();
        let is_next = state.memory.keep(id, &mut kline);
        let State { series, memory, .. } = state;
        let (Some(series), Some(recent)) = (series.get(id.0 as usize), memory.recent(id)) else { return };
        let kind = if kline.confirm { Kind::Closed(1) } else { Kind::Update(id) };
        if !series.bybit.is_empty() {
            let frame = bybit::push(&kline, text);
            series.bybit.iter().for_each(|client| hand(client, kind, frame.clone(), now, dirty));
        }
        if !series.stream.is_empty() {
            let name = stream::Name::new(&kline.series, self.first);
            let frame = stream::news(&name, self.epoch(recent), recent, &kline, is_next, text);
            let kind = if is_next || kline.confirm { kind } else { Kind::Firm };
            series.stream.iter().for_each(|client| hand(client, kind, frame.clone(), now, dirty));
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
        let frame = stream::news(&name, self.epoch(&followed.recent), &followed.recent, &point, is_next, text);
        let kind = if point.confirm || !is_next { Kind::Firm } else { Kind::Update(id) };
        followed.followers.iter().for_each(|client| hand(client, kind, frame.clone(), now, dirty));
    }
}

/// Adds a frame to what is due to a client, and the client to those to flush, once.
fn hand(client: &Arc<Client>, kind: Kind, frame: Bytes, now: i64, dirty: &mut Vec<Arc<Client>>) {
    if client.push(kind, frame, now) {
        dirty.push(client.clone());
    }
}

impl State {
    /// The number of a series, made at first sight.
    pub fn topic(&mut self, series: SeriesId) -> TopicId {
        if let Some(id) = self.ids.get(&series) {
            return *id;
        }
        let id = TopicId(u32::try_from(self.series.len()).unwrap_or(u32::MAX));
        self.ids.insert(series, id);
        self.series.push(Followed { series, bybit: Vec::new(), stream: Vec::new() });
        self.memory.add(id);
        id
    }

    /// The number of a series, if it has been seen or asked for.
    #[must_use]
    pub fn known(&self, key: &SeriesKey) -> Option<TopicId> {
        self.ids.get(&SeriesId::find(key)?).copied()
    }

    /// What is remembered of a series, if it has been seen.
    #[must_use]
    pub fn find(&self, key: &SeriesKey) -> Option<&Recent<Kline>> {
        self.memory.recent(self.known(key)?)
    }

    /// What is remembered of a series.
    #[must_use]
    pub fn recent(&self, id: TopicId) -> Option<&Recent<Kline>> {
        self.memory.recent(id)
    }

    /// What identifies a series.
    #[must_use]
    pub fn key(&self, id: TopicId) -> Option<SeriesId> {
        self.series.get(id.0 as usize).map(|followed| followed.series)
    }

    /// Lets a client follow a series; once is enough.
    pub fn follow(&mut self, id: TopicId, dialect: Dialect, client: &Arc<Client>) {
        if is_value(id) {
            return self.values.follow(id, client);
        }
        let Some(series) = self.series.get_mut(id.0 as usize) else { return };
        series.followers(dialect).push(client.clone());
    }

    /// Lets a client follow a series no longer.
    pub fn leave(&mut self, id: TopicId, dialect: Dialect, client: ClientId) {
        if is_value(id) {
            return self.values.leave(id, client);
        }
        let Some(series) = self.series.get_mut(id.0 as usize) else { return };
        let followers = series.followers(dialect);
        if let Some(at) = followers.iter().position(|follower| follower.id == client) {
            followers.swap_remove(at);
        }
        if followers.is_empty() {
            *followers = Vec::new();
        }
    }

    /// Lets a client follow a category's batches.
    pub fn follow_batches(&mut self, category: Category, client: &Arc<Client>) {
        self.followers.push((category, client.clone()));
    }

    /// Lets a client follow no batches any longer.
    pub fn leave_batches(&mut self, client: ClientId) {
        self.followers.retain(|(_, follower)| follower.id != client);
    }
}
