//! The connected clients: their subscriptions and the bounded queue to each. Applies the faults that change delivery.
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
    limits::{AtomicCounters, count},
};

/// A text frame queued for one client. It is sent at `due` at the earliest; frames with equal times go by `order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueuedFrame {
    pub due: Instant,
    pub order: u64,
    pub text: Utf8Bytes,
}

impl Ord for QueuedFrame {
    fn cmp(&self, other: &Self) -> Ordering {
        // `order` is unique, so two frames are equal only if they are the same frame.
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

impl PartialOrd for QueuedFrame {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    pub category: Category,
    pub conn_id: String,
    pub topics: BTreeSet<String>,
    cut: CancellationToken,
    outbox: mpsc::Sender<QueuedFrame>,
    latest_due: Instant,
}

impl Client {
    /// Returns the number of characters of all topics.
    pub fn args_chars(&self) -> usize {
        self.topics.iter().map(|topic| topic.len()).sum()
    }
}

/// All connected clients.
#[derive(Debug)]
pub(crate) struct Clients {
    clients: BTreeMap<u64, Client>,
    /// Ids of the clients of each topic.
    subscribers: PerCategory<HashMap<String, BTreeSet<u64>>>,
    next_id: u64,
    order: u64,
    /// Draws the delays of reordered frames and the connection ids. Not seeded: clients connect at random times anyway.
    rng: Rng,
    counters: Arc<AtomicCounters>,
    /// Delay of the data of every second client.
    lag: Duration,
}

impl Clients {
    pub fn new(counters: Arc<AtomicCounters>, lag: Duration) -> Self {
        let subscribers = PerCategory::default();
        Self { clients: BTreeMap::new(), subscribers, next_id: 0, order: 0, rng: Rng::new(), counters, lag }
    }

    /// Adds a client whose queue holds `queue` frames. When the queue is full, `cut` is cancelled, which resets the
    /// connection. Returns the client's id and the receiving end of its queue.
    pub fn join(
        &mut self,
        category: Category,
        cut: CancellationToken,
        queue: usize,
    ) -> (u64, mpsc::Receiver<QueuedFrame>) {
        let (outbox, inbox) = mpsc::channel(queue.max(1));
        let id = self.next_id;
        self.next_id += 1;
        let conn_id = self.conn_id();
        let topics = BTreeSet::new();
        self.clients.insert(id, Client { category, conn_id, topics, cut, outbox, latest_due: Instant::now() });
        (id, inbox)
    }

    pub fn leave(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else { return };
        for topic in &client.topics {
            self.forget(client.category, topic, id);
        }
    }

    pub fn get(&self, id: u64) -> Option<&Client> {
        self.clients.get(&id)
    }

    pub fn count(&self, category: Category) -> usize {
        self.clients.values().filter(|client| client.category == category).count()
    }

    /// Returns the clients that follow trades in the categories that `wanted` accepts, each with the symbol of its
    /// first trade topic.
    pub fn trade_subscribers(&self, wanted: impl Fn(Category) -> bool) -> Vec<(u64, Category, String)> {
        let wanted = self.clients.iter().filter(|(_, client)| wanted(client.category));
        wanted
            .filter_map(|(id, client)| {
                let symbol = client.topics.iter().find_map(|topic| topic.strip_prefix("publicTrade."))?;
                Some((*id, client.category, symbol.to_owned()))
            })
            .collect()
    }

    pub fn has_subscribers(&self, category: Category, topic: &str) -> bool {
        self.subscribers.get(category).contains_key(topic)
    }

    /// Returns the topics that at least one client is subscribed to.
    pub fn topics(&self, category: Category) -> BTreeSet<String> {
        self.subscribers.get(category).keys().cloned().collect()
    }

    pub fn subscribe(&mut self, id: u64, topics: &[String]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        for topic in topics {
            client.topics.insert(topic.clone());
            self.subscribers.get_mut(client.category).entry(topic.clone()).or_default().insert(id);
        }
    }

    pub fn unsubscribe(&mut self, id: u64, topics: &[String]) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let category = client.category;
        topics.iter().for_each(|topic| {
            client.topics.remove(topic);
        });
        topics.iter().for_each(|topic| self.forget(category, topic, id));
    }

    /// Sends nothing of a topic any more to the clients of the categories that `wanted` accepts, until they subscribe again.
    pub fn kill(&mut self, topic: &str, wanted: impl Fn(Category) -> bool) {
        for category in Category::ALL.into_iter().filter(|category| wanted(*category)) {
            self.subscribers.get_mut(category).remove(topic);
        }
    }

    fn forget(&mut self, category: Category, topic: &str, id: u64) {
        let subscribers = self.subscribers.get_mut(category);
        if let Some(ids) = subscribers.get_mut(topic) {
            ids.remove(&id);
            if ids.is_empty() {
                subscribers.remove(topic);
            }
        }
    }

    /// Resets the connections of the categories that `wanted` accepts.
    pub fn cut(&self, wanted: impl Fn(Category) -> bool) {
        self.clients.values().filter(|client| wanted(client.category)).for_each(|client| client.cut.cancel());
    }

    /// Resets the connection that joined first of each category that `wanted` accepts.
    pub fn cut_oldest(&self, wanted: impl Fn(Category) -> bool) {
        for category in Category::ALL.into_iter().filter(|category| wanted(*category)) {
            let is_open = |client: &&Client| client.category == category && !client.cut.is_cancelled();
            if let Some(oldest) = self.clients.values().find(is_open) {
                oldest.cut.cancel();
            }
        }
    }

    /// Enqueues a data frame for every subscriber of `topic` and applies the active faults.
    pub fn publish(&mut self, category: Category, topic: &str, text: String, faults: &Faults) {
        let Some(ids) = self.subscribers.get(category).get(topic) else { return };
        let ids: Vec<u64> = ids.iter().copied().collect();
        let text = Utf8Bytes::from(text);
        for id in ids {
            self.send_data(id, &text, faults);
        }
    }

    /// Enqueues a data frame for one client and applies the active faults.
    pub fn send_data(&mut self, id: u64, text: &Utf8Bytes, faults: &Faults) {
        let Some(category) = self.clients.get(&id).map(|client| client.category) else { return };
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

    /// Enqueues an ack, refusal or pong. It may overtake delayed data, but later data never overtakes it.
    pub fn answer(&mut self, id: u64, text: String, faults: &Faults) {
        self.enqueue(id, text.into(), Instant::now(), faults);
    }

    /// Enqueues an answer behind everything that is queued already.
    pub fn answer_last(&mut self, id: u64, text: String, faults: &Faults) {
        let latest = self.clients.get(&id).map(|client| client.latest_due);
        let due = latest.map_or_else(Instant::now, |latest| latest.max(Instant::now()));
        self.enqueue(id, text.into(), due, faults);
    }

    fn enqueue(&mut self, id: u64, text: Utf8Bytes, due: Instant, faults: &Faults) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.cut.is_cancelled() {
            return;
        }
        let due = faults.slow_by(client.category).map_or(due, |by| due.max(client.latest_due + by));
        client.latest_due = client.latest_due.max(due);
        self.order += 1;
        if client.outbox.try_send(QueuedFrame { due, order: self.order, text }).is_err() {
            tracing::debug!(conn_id = %client.conn_id, "queue full, connection cut");
            count(&self.counters.cut_slow);
            client.cut.cancel();
        }
    }

    /// Returns a connection id in Bybit's form since 2025: twenty characters, a dash and five more.
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
        let mut clients = Clients::new(Arc::default(), Duration::ZERO);
        let (id, mut inbox) = clients.join(Category::Linear, CancellationToken::new(), 64);
        let mut faults = Faults::default();
        let start = Instant::now();
        fault.into_iter().for_each(|fault| faults.add(fault.into(), start));
        (0..20).for_each(|_| clients.send_data(id, &"x".into(), &faults));
        clients.answer_last(id, "last".to_owned(), &faults);
        std::iter::from_fn(|| inbox.try_recv().ok()).map(|out| out.due.duration_since(start)).collect()
    }

    #[tokio::test]
    async fn frames_keep_their_order_unless_reordered() {
        assert!(due_times(None).is_sorted());
        let reordered = due_times(Some(Fault::Reorder(Duration::from_secs(3_600))));
        assert!(!reordered.is_sorted());
        assert_eq!(reordered.iter().max(), reordered.last(), "the last answer overtakes no frame");
    }

    #[tokio::test]
    async fn slow_frames_are_due_one_after_the_other() {
        let spacing = Duration::from_millis(20);
        let due = due_times(Some(Fault::Slow(spacing)));
        assert!(due.windows(2).all(|two| two[1] - two[0] >= spacing), "{due:?}");
    }
}
