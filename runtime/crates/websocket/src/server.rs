//! What all connections share: settings, credentials, the board, and who is connected.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;
use klines_delivery::Delivery;
use klines_delivery::catalog::Catalog;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use klines_system::clock::LocalClock;
use tracing::{debug, warn};

use super::admission::Admission;
use super::board::Board;
use super::client::{Client, ClientId};
use super::close::CloseCode;
use super::feeds::Feeds;
use super::figures::Figures;
use super::frame;
use super::keys::Keys;
use super::outbox::Kind;
use super::settings::Settings;
use super::throttle::{Attempt, Attempts, Network};

/// How often a client is asked for a sign of life, in seconds.
const PING_EVERY: u64 = 20;

/// The server, apart from its sockets.
pub struct Server {
    /// What the operator decided.
    pub settings: Settings,
    /// All series and followers.
    pub board: Board,
    /// Names this life of the server; resumed clients show it.
    pub life: u64,
    /// How many are connected, and from where.
    pub admission: Admission,
    /// What is counted of clients.
    pub figures: Arc<Figures>,
    /// Who is told how the feeds stand.
    pub feeds: Feeds,
    keys: Keys,
    attempts: Mutex<Attempts>,
    catalog: Arc<Catalog>,
    clients: Mutex<HashMap<ClientId, Arc<Client>>>,
    next_client: AtomicU64,
    is_dismissed: AtomicBool,
    started: Instant,
    clock: LocalClock,
}

impl Server {
    /// Builds a server without clients. `life` has to differ from that of every server before.
    #[must_use]
    pub fn new(settings: Settings, keys: Keys, catalog: Arc<Catalog>, life: u64, figures: Arc<Figures>) -> Self {
        let first = settings.categories.first().copied().unwrap_or(Category::Linear);
        Self {
            board: Board::new((settings.memory, settings.values), life, first, settings.extras),
            admission: Admission::new(settings.connections, settings.connections_per_address),
            figures,
            feeds: Feeds::new(&catalog.feeds().borrow()),
            settings,
            life,
            keys,
            attempts: Mutex::new(Attempts::new()),
            catalog,
            clients: Mutex::default(),
            next_client: AtomicU64::new(1),
            is_dismissed: AtomicBool::new(false),
            started: Instant::now(),
            clock: LocalClock::start(),
        }
    }

    /// Time since the server was made, ms.
    #[must_use]
    pub fn now(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Wall-clock time, ms since 1970 UTC.
    #[must_use]
    pub fn wall_clock(&self) -> Millis {
        self.clock.now().get()
    }

    /// Hands klines to everyone who follows them.
    pub fn publish(&self, delivery: &Delivery) {
        for client in self.board.publish(delivery, self.now()) {
            client.flush();
        }
    }

    /// The same at once, if nothing has to be waited for and at most so many frames are due. Returns whether it is done.
    pub fn publish_at_once(&self, delivery: &Delivery, frames: usize) -> bool {
        let Some(clients) = self.board.publish_at_once(delivery, self.now(), frames) else { return false };
        clients.iter().for_each(|client| client.flush());
        true
    }

    /// Whether there is, or will be, such a series.
    #[must_use]
    pub fn makes(&self, key: &SeriesKey) -> bool {
        let settings = &self.settings;
        settings.intervals.contains(&key.interval)
            && (settings.symbols.is_empty() || settings.symbols.contains(&key.symbol))
            && self.catalog.knows(key.category, &key.symbol)
    }

    /// The symbols that can be followed, by category.
    #[must_use]
    pub fn watched(&self) -> Vec<(Category, Vec<Symbol>)> {
        let mut watched = self.catalog.symbols();
        if !self.settings.symbols.is_empty() {
            watched.iter_mut().for_each(|(_, names)| names.retain(|name| self.settings.symbols.contains(name)));
        }
        watched
    }

    /// What the exchange says of a category's symbols, each a JSON object.
    #[must_use]
    pub fn descriptions(&self, category: Category) -> Vec<(Symbol, Arc<str>)> {
        let mut rows = self.catalog.rows(category);
        if !self.settings.symbols.is_empty() {
            rows.retain(|(name, _)| self.settings.symbols.contains(name));
        }
        rows
    }

    /// Whether credentials are right; failures are counted, and an address with too many is refused unheard.
    pub fn admits<T>(&self, address: IpAddr, check: impl FnOnce(&Keys) -> Option<T>) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let network = Network::of(address);
        match attempts.attempt(network, Instant::now(), || check(&self.keys)) {
            Attempt::Passed(_) => true,
            Attempt::Failed => {
                self.figures.fail_login();
                warn!(%network, "log-in with wrong credentials");
                false
            }
            Attempt::Refused => {
                debug!(%network, "log-in refused after too many failures");
                false
            }
        }
    }

    /// A number for a new client.
    pub fn number(&self) -> ClientId {
        ClientId(self.next_client.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes a connected client; one that comes when the server goes is told so.
    pub fn join(&self, client: &Arc<Client>) {
        self.figures.join();
        self.clients().insert(client.id, client.clone());
        if self.is_dismissed.load(Ordering::Acquire) {
            client.close(CloseCode::Shutdown, self.now());
        }
    }

    /// Forgets a client.
    pub fn part(&self, client: &Client) {
        self.clients().remove(&client.id);
        let (id, address, code, lost) = (client.id.0, client.address, client.closed_with(), client.lost());
        self.figures.part(code, lost);
        match code {
            Some(code @ (CloseCode::Slow | CloseCode::TooManyCommands)) => {
                warn!(client = id, %address, reason = code.reason(), lost, "client cut");
            }
            code => debug!(client = id, %address, reason = code.map(CloseCode::reason), lost, "client left"),
        }
    }

    /// Number of connected clients.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.clients().len()
    }

    /// Asks for signs of life, and ends those that give none or do not read. To be called once a second; `second` counts
    /// the calls.
    pub fn look_after(&self, second: u64) {
        let now = self.now();
        for client in self.everyone() {
            if client.look_after(now) && client.id.0 % PING_EVERY == second % PING_EVERY {
                client.push(Kind::Firm, frame::PING, now);
                client.flush();
            }
        }
    }

    /// Tells clients how the feeds stand whenever that changes, for as long as anybody can say so.
    pub async fn tell_feeds(&self) {
        let mut feeds = self.catalog.feeds();
        // What changed since the server was made counts too.
        feeds.mark_changed();
        while feeds.changed().await.is_ok() {
            let told = feeds.borrow_and_update().clone();
            self.feeds.tell(&told, self.now());
        }
    }

    /// Says goodbye to everyone.
    pub fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::Release);
        let now = self.now();
        for client in self.everyone() {
            if let Some(farewell) = client.farewell.filter(|_| client.is_admitted()) {
                client.push(Kind::Firm, frame::text(farewell), now);
            }
            client.close(CloseCode::Shutdown, now);
        }
    }

    fn everyone(&self) -> Vec<Arc<Client>> {
        self.clients().values().cloned().collect()
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientId, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
