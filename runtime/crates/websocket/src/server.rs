//! The state that all connections share: settings, credentials, subscriptions, and the connected clients.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;
use klines_delivery::Delivery;
use klines_delivery::catalog::Catalog;
use klines_delivery::earlier::EarlierRuns;
use klines_delivery::epochs::Epochs;
use klines_delivery::history::{History, composed};
use klines_domain::interval::Interval;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use klines_system::clock::LocalClock;
use tracing::{debug, warn};

use super::admission::Admission;
use super::client::{Client, ClientId};
use super::close::CloseCode;
use super::feeds::Feeds;
use super::frame;
use super::history::HistoryReader;
use super::keys::Keys;
use super::memory::MAX_KLINES;
use super::metrics::Metrics;
use super::outbox::FrameKind;
use super::settings::Settings;
use super::subscriptions::Subscriptions;
use super::throttle::{Attempt, Attempts, Network};

/// The interval of pings to a client, s.
const PING_EVERY: u64 = 20;

/// The server without its sockets.
pub struct Server {
    /// The configuration.
    pub settings: Settings,
    /// All topics with their subscribers.
    pub subscriptions: Subscriptions,
    /// The random number of this instance of the server, which is part of every epoch that no other server shares.
    pub instance_id: u64,
    /// Limits connections.
    pub admission: Admission,
    /// The counters of clients.
    pub metrics: Arc<Metrics>,
    /// Sends the state of the feeds to clients.
    pub feeds: Feeds,
    /// Reads stored klines; `None` if there are only those in memory.
    pub history: Option<HistoryReader>,
    keys: Keys,
    attempts: Mutex<Attempts>,
    catalog: Arc<Catalog>,
    clients: Mutex<HashMap<ClientId, Arc<Client>>>,
    next_client: AtomicU64,
    is_shutting_down: AtomicBool,
    started: Instant,
    clock: LocalClock,
}

impl Server {
    /// Creates a server without clients. `instance_id` must differ from that of every earlier server.
    #[must_use]
    pub fn new(settings: Settings, keys: Keys, catalog: Arc<Catalog>, instance_id: u64, metrics: Arc<Metrics>) -> Self {
        let first = settings.categories.first().copied().unwrap_or(Category::Linear);
        Self {
            subscriptions: Subscriptions::new((settings.memory, settings.values), instance_id, first, settings.extras),
            admission: Admission::new(settings.connections, settings.connections_per_address),
            metrics,
            feeds: Feeds::new(&catalog.feeds().borrow()),
            history: None,
            settings,
            instance_id,
            keys,
            attempts: Mutex::new(Attempts::new()),
            catalog,
            clients: Mutex::default(),
            next_client: AtomicU64::new(1),
            is_shutting_down: AtomicBool::new(false),
            started: Instant::now(),
            clock: LocalClock::start(),
        }
    }

    /// Sets the epochs of klines that this server shares with others; call it before [`Server::resuming`].
    #[must_use]
    pub fn sharing(mut self, epochs: Option<Arc<dyn Epochs>>) -> Self {
        self.subscriptions.share(epochs);
        self
    }

    /// Continues earlier runs, so that clients can resume what they have of them.
    #[must_use]
    pub fn resuming(mut self, earlier: Option<EarlierRuns>) -> Self {
        let settings = &self.settings;
        let wants = |key: &SeriesKey| {
            (settings.symbols.is_empty() || settings.symbols.contains(&key.symbol))
                && (settings.intervals.is_empty() || settings.intervals.contains(&key.interval))
        };
        if let Some(earlier) = earlier {
            self.subscriptions.resume(earlier, (MAX_KLINES, wants));
        }
        self
    }

    /// Sets the stored klines that REST requests reach in addition to those in memory.
    #[must_use]
    pub fn with_history(mut self, history: Option<Arc<dyn History>>) -> Self {
        self.history = history.map(HistoryReader::new);
        self
    }

    /// Returns the time since the server was created, ms.
    #[must_use]
    pub fn now(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns the wall-clock time, ms since 1970 UTC.
    #[must_use]
    pub fn wall_clock(&self) -> Millis {
        self.clock.now().get()
    }

    /// Pushes the klines and values of a delivery to their subscribers.
    pub fn publish(&self, delivery: &Delivery) {
        for client in self.subscriptions.publish(delivery, self.now()) {
            client.flush();
        }
    }

    /// Does the same if that neither waits nor pushes more than `frames` frames. Returns whether it has.
    pub fn publish_inline(&self, delivery: &Delivery, frames: usize) -> bool {
        let Some(clients) = self.subscriptions.publish_inline(delivery, self.now(), frames) else { return false };
        clients.iter().for_each(|client| client.flush());
        true
    }

    /// Returns whether the server has, or will have, the series of `key`.
    #[must_use]
    pub fn has_series(&self, key: &SeriesKey) -> bool {
        let settings = &self.settings;
        self.makes(key.interval)
            && (settings.symbols.is_empty() || settings.symbols.contains(&key.symbol))
            && self.catalog.knows(key.category, &key.symbol)
    }

    /// Returns whether requests can ask for the series of `key`: one that the server has, or one that is composed of stored
    /// klines.
    #[must_use]
    pub fn reads_series(&self, key: &SeriesKey) -> bool {
        let part = self.part_of(key.interval).map(|interval| SeriesKey { interval, ..key.clone() });
        self.has_series(&part.unwrap_or_else(|| key.clone()))
    }

    /// Returns whether requests can ask for klines of an interval.
    #[must_use]
    pub fn reads(&self, interval: Interval) -> bool {
        self.makes(interval) || self.part_of(interval).is_some()
    }

    /// Returns the interval of which the klines of another one are composed.
    fn part_of(&self, interval: Interval) -> Option<Interval> {
        self.history.as_ref().and_then(|_| composed::part_of(interval, &self.intervals()))
    }

    /// Returns whether the server has klines of an interval.
    #[must_use]
    pub fn makes(&self, interval: Interval) -> bool {
        let allowed = &self.settings.intervals;
        self.catalog.makes(interval) && (allowed.is_empty() || allowed.contains(&interval))
    }

    /// Returns the intervals that clients can subscribe to.
    #[must_use]
    pub fn intervals(&self) -> Vec<Interval> {
        let mut made = self.catalog.intervals();
        made.retain(|interval| self.makes(*interval));
        made
    }

    /// Returns the symbols that clients can subscribe to, by category.
    #[must_use]
    pub fn watched(&self) -> Vec<(Category, Vec<Symbol>)> {
        let mut watched = self.catalog.symbols();
        if !self.settings.symbols.is_empty() {
            watched.iter_mut().for_each(|(_, names)| names.retain(|name| self.settings.symbols.contains(name)));
        }
        watched
    }

    /// Returns the exchange's description of each symbol of a category, as a JSON object.
    #[must_use]
    pub fn descriptions(&self, category: Category) -> Vec<(Symbol, Arc<str>)> {
        let mut rows = self.catalog.rows(category);
        if !self.settings.symbols.is_empty() {
            rows.retain(|(name, _)| self.settings.symbols.contains(name));
        }
        rows
    }

    /// Returns whether `check` accepts the credentials. Counts failures; a network with too many of them is refused
    /// without a check.
    pub fn admits<T>(&self, address: IpAddr, check: impl FnOnce(&Keys) -> Option<T>) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let network = Network::of(address);
        match attempts.attempt(network, Instant::now(), || check(&self.keys)) {
            Attempt::Passed(_) => true,
            Attempt::Failed => {
                self.metrics.count_failed_login();
                warn!(%network, "log-in with wrong credentials");
                false
            }
            Attempt::Refused => {
                debug!(%network, "log-in refused after too many failures");
                false
            }
        }
    }

    /// Returns the number of the next client.
    pub fn next_client_id(&self) -> ClientId {
        ClientId(self.next_client.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a connected client; closes it at once if the server is shutting down.
    pub fn add_client(&self, client: &Arc<Client>) {
        self.metrics.count_connection();
        self.clients().insert(client.id, client.clone());
        if self.is_shutting_down.load(Ordering::Acquire) {
            client.close(CloseCode::Shutdown, self.now());
        }
    }

    /// Removes a disconnected client, with its counts and a line in the log.
    pub fn remove_client(&self, client: &Client) {
        self.clients().remove(&client.id);
        let (id, address, code, lost) = (client.id.0, client.address, client.closed_with(), client.lost());
        self.metrics.count_disconnect(code, lost);
        match code {
            Some(code @ (CloseCode::Slow | CloseCode::TooManyCommands)) => {
                warn!(client = id, %address, reason = code.reason(), lost, "client cut");
            }
            code => debug!(client = id, %address, reason = code.map(CloseCode::reason), lost, "client left"),
        }
    }

    /// Returns the number of connected clients.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.clients().len()
    }

    /// Pings clients, and closes those that do not answer or do not read. Must be called once a second; `second` counts
    /// the calls.
    pub fn check_clients(&self, second: u64) {
        let now = self.now();
        for client in self.all_clients() {
            if client.check_liveness(now) && client.id.0 % PING_EVERY == second % PING_EVERY {
                client.push(FrameKind::Required, frame::PING, now);
                client.flush();
            }
        }
    }

    /// Sends the state of the feeds to clients at every change, until the sender of the state is dropped.
    pub async fn publish_feeds(&self) {
        let mut feeds = self.catalog.feeds();
        // Include a change that happened after the server was created.
        feeds.mark_changed();
        while feeds.changed().await.is_ok() {
            let current = feeds.borrow_and_update().clone();
            self.feeds.publish(&current, self.now());
        }
    }

    /// Sends the shutdown message to all clients and closes their connections.
    pub fn shut_down(&self) {
        self.is_shutting_down.store(true, Ordering::Release);
        let now = self.now();
        for client in self.all_clients() {
            if let Some(message) = client.shutdown_message.filter(|_| client.is_admitted()) {
                client.push(FrameKind::Required, frame::text(message), now);
            }
            client.close(CloseCode::Shutdown, now);
        }
    }

    fn all_clients(&self) -> Vec<Arc<Client>> {
        self.clients().values().cloned().collect()
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientId, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
