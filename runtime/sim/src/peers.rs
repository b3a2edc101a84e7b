//! The connected clients: who listens to what, and the bounded queue to each. Applies the faults that touch delivery.
//! Knows neither sockets nor trades.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use axum::extract::ws::Utf8Bytes;
use fastrand::Rng;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    category::{Category, PerCategory},
    fault::Faults,
    limits::{Tally, count},
};

/// A text frame on its way to one client, not to be sent before `due`; equal times go by `order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Out {
    pub due: Instant,
    pub order: u64,
    pub text: Utf8Bytes,
}

impl Ord for Out {
    fn cmp(&self, other: &Self) -> Ordering {
        // `order` is unique: equal only if it is the same frame.
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

impl PartialOrd for Out {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One client.
#[derive(Debug)]
pub(crate) struct Peer {
    pub category: Category,
    pub conn_id: String,
    pub topics: BTreeSet<String>,
    cut: CancellationToken,
    outbox: mpsc::Sender<Out>,
    latest_due: Instant,
}

impl Peer {
    /// Characters of all topics.
    pub fn args_chars(&self) -> usize {
        self.topics.iter().map(|topic| topic.len()).sum()
    }
}

/// All clients.
#[derive(Debug)]
pub(crate) struct Peers {
    peers: BTreeMap<u64, Peer>,
    listeners: PerCategory<HashMap<String, BTreeSet<u64>>>,
    next_id: u64,
    order: u64,
    /// Delays of reordered frames and connection ids; no promise of repeatability, since arrival is none either.
    rng: Rng,
    tally: Arc<Tally>,
    /// How long data of every second client is on its way.
    lag: Duration,
}

impl Peers {
    pub fn new(tally: Arc<Tally>, lag: Duration) -> Self {
        let listeners = PerCategory::default();
        Self { peers: BTreeMap::new(), listeners, next_id: 0, order: 0, rng: Rng::new(), tally, lag }
    }

    /// Adds a client whose queue holds `queue` frames; a full queue cuts it through `cut`.
    pub fn join(&mut self, category: Category, cut: CancellationToken, queue: usize) -> (u64, mpsc::Receiver<Out>) {
        let (outbox, inbox) = mpsc::channel(queue.max(1));
        let id = self.next_id;
        self.next_id += 1;
        let conn_id = self.conn_id();
        let topics = BTreeSet::new();
        self.peers.insert(id, Peer { category, conn_id, topics, cut, outbox, latest_due: Instant::now() });
        (id, inbox)
    }

    pub fn leave(&mut self, id: u64) {
        let Some(peer) = self.peers.remove(&id) else { return };
        for topic in &peer.topics {
            self.forget(peer.category, topic, id);
        }
    }

    pub fn get(&self, id: u64) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub fn count(&self, category: Category) -> usize {
        self.peers.values().filter(|peer| peer.category == category).count()
    }

    /// Every client of the categories that `wanted` accepts, with the symbol of its first trade topic.
    pub fn trade_listeners(&self, wanted: impl Fn(Category) -> bool) -> Vec<(u64, Category, String)> {
        let wanted = self.peers.iter().filter(|(_, peer)| wanted(peer.category));
        wanted
            .filter_map(|(id, peer)| {
                let symbol = peer.topics.iter().find_map(|topic| topic.strip_prefix("publicTrade."))?;
                Some((*id, peer.category, symbol.to_owned()))
            })
            .collect()
    }

    pub fn listened(&self, category: Category, topic: &str) -> bool {
        self.listeners.get(category).contains_key(topic)
    }

    /// Topics somebody listens to.
    pub fn topics(&self, category: Category) -> BTreeSet<String> {
        self.listeners.get(category).keys().cloned().collect()
    }

    pub fn subscribe(&mut self, id: u64, topics: &[String]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for topic in topics {
            peer.topics.insert(topic.clone());
            self.listeners.get_mut(peer.category).entry(topic.clone()).or_default().insert(id);
        }
    }

    pub fn unsubscribe(&mut self, id: u64, topics: &[String]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let category = peer.category;
        topics.iter().for_each(|topic| {
            peer.topics.remove(topic);
        });
        topics.iter().for_each(|topic| self.forget(category, topic, id));
    }

    fn forget(&mut self, category: Category, topic: &str, id: u64) {
        let listeners = self.listeners.get_mut(category);
        if let Some(ids) = listeners.get_mut(topic) {
            ids.remove(&id);
            if ids.is_empty() {
                listeners.remove(topic);
            }
        }
    }

    /// Resets the connections of the categories that `wanted` accepts.
    pub fn cut(&self, wanted: impl Fn(Category) -> bool) {
        self.peers.values().filter(|peer| wanted(peer.category)).for_each(|peer| peer.cut.cancel());
    }

    /// Sends a data frame to every listener of `topic`, with the faults of the moment.
    pub fn publish(&mut self, category: Category, topic: &str, text: String, faults: &Faults) {
        let Some(ids) = self.listeners.get(category).get(topic) else { return };
        let ids: Vec<u64> = ids.iter().copied().collect();
        let text = Utf8Bytes::from(text);
        for id in ids {
            self.send_data(id, &text, faults);
        }
    }

    /// Sends a data frame to one client, with the faults of the moment.
    pub fn send_data(&mut self, id: u64, text: &Utf8Bytes, faults: &Faults) {
        let Some(category) = self.peers.get(&id).map(|peer| peer.category) else { return };
        if faults.muted(category) {
            return;
        }
        let lag = if id % 2 == 1 { self.lag } else { Duration::ZERO };
        for _ in 0..if faults.duplicates(category) { 2 } else { 1 } {
            let now = Instant::now() + lag;
            let late = match (faults.slow_by(category), faults.reorder_within(category)) {
                (None, Some(within)) => self.rng.u64(0..=u64::try_from(within.as_micros()).unwrap_or(u64::MAX)),
                _ => 0,
            };
            self.enqueue(id, text.clone(), now + Duration::from_micros(late), faults);
        }
    }

    /// Sends an ack, refusal or pong. It may overtake delayed data, but data that follows never overtakes it.
    pub fn answer(&mut self, id: u64, text: String, faults: &Faults) {
        self.enqueue(id, text.into(), Instant::now(), faults);
    }

    /// Sends an answer after everything that is on its way already.
    pub fn answer_last(&mut self, id: u64, text: String, faults: &Faults) {
        let latest = self.peers.get(&id).map(|peer| peer.latest_due);
        let due = latest.map_or_else(Instant::now, |latest| latest.max(Instant::now()));
        self.enqueue(id, text.into(), due, faults);
    }

    fn enqueue(&mut self, id: u64, text: Utf8Bytes, due: Instant, faults: &Faults) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.cut.is_cancelled() {
            return;
        }
        let due = faults.slow_by(peer.category).map_or(due, |by| due.max(peer.latest_due + by));
        peer.latest_due = peer.latest_due.max(due);
        self.order += 1;
        if peer.outbox.try_send(Out { due, order: self.order, text }).is_err() {
            tracing::debug!(conn_id = %peer.conn_id, "queue full, connection cut");
            count(&self.tally.cut_slow);
            peer.cut.cancel();
        }
    }

    /// Twenty characters, a dash and five, as Bybit's look since 2025.
    fn conn_id(&mut self) -> String {
        const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
        let mut text = String::from("d");
        for n in 1..26 {
            let letter = if n == 20 { b'-' } else { self.rng.choice(ALPHABET).copied().unwrap_or(b'0') };
            text.push(char::from(letter));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn due_times(fault: Option<Fault>) -> Vec<Duration> {
        let mut peers = Peers::new(Arc::default(), Duration::ZERO);
        let (id, mut inbox) = peers.join(Category::Linear, CancellationToken::new(), 64);
        let mut faults = Faults::default();
        let start = Instant::now();
        fault.into_iter().for_each(|fault| faults.add(fault.into(), start));
        (0..20).for_each(|_| peers.send_data(id, &"x".into(), &faults));
        peers.answer_last(id, "last".to_owned(), &faults);
        std::iter::from_fn(|| inbox.try_recv().ok()).map(|out| out.due.duration_since(start)).collect()
    }

    #[tokio::test]
    async fn frames_keep_their_order_unless_reordered() {
        assert!(due_times(None).is_sorted());
        let reordered = due_times(Some(Fault::Reorder(Duration::from_secs(3_600))));
        assert!(!reordered.is_sorted());
        assert_eq!(reordered.iter().max(), reordered.last(), "the last answer overtakes nothing");
    }

    #[tokio::test]
    async fn slow_frames_are_due_one_after_the_other() {
        let spacing = Duration::from_millis(20);
        let due = due_times(Some(Fault::Slow(spacing)));
        assert!(due.windows(2).all(|two| two[1] - two[0] >= spacing), "{due:?}");
    }
}
