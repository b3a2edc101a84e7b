//! The websocket consumer: an authenticated server of klines in three dialects on one port.
//!
//! The consumer's thread receives klines, encodes their frames and writes them to the socket of every subscriber. The
//! server's Tokio runtime reads the messages of clients. Only frames that do not fit into a socket are queued, in an
//! outbox that is bounded for each client. `docs/websocket.md` describes the protocol that clients see.

pub mod admission;
pub mod bybit;
pub mod client;
pub mod close;
pub mod dialect;
pub mod feeds;
pub mod frame;
pub mod history;
pub mod keys;
pub mod kline_page;
pub mod klines;
pub mod memory;
pub mod metrics;
pub mod nearest;
pub mod outbox;
pub mod page;
pub mod push;
pub mod recent;
pub mod server;
pub mod session;
pub mod settings;
pub mod stream;
pub mod streamer;
pub mod subscriptions;
pub mod throttle;
pub mod tls;
pub mod transport;
pub mod upgrade;
pub mod values;

#[cfg(test)]
mod fixture;
mod listener;
mod routes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use klines_delivery::catalog::Catalog;
use klines_delivery::consumer::DeliverInline;
use klines_delivery::earlier::EarlierSlot;
use klines_delivery::epochs::Epochs;
use klines_delivery::history::History;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Profile, Subscription};
use klines_domain::secret::Secret;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::keys::Keys;
use self::listener::ListenerContext;
use self::metrics::Metrics;
use self::server::Server;
use self::settings::Settings;
use self::tls::Certificates;

/// How often certificate files are checked for changes.
const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Open files that the program needs in addition to its clients.
const RESERVED_FILES: u64 = 100;
/// Frames that an inline delivery may write on the publishing thread: about the cost of waking another thread.
const INLINE_FRAMES: usize = 4;
/// How long clients may take to close their connections when the server stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the server checks whether all clients have disconnected while it stops.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Creates WebSocket servers.
pub struct WebSocketBlueprint {
    settings: Settings,
    logins: Vec<(String, Secret)>,
    catalog: Arc<Catalog>,
    bound: Bound,
    metrics: Arc<Metrics>,
    history: Option<Arc<dyn History>>,
    earlier: EarlierSlot,
    epochs: Option<Arc<dyn Epochs>>,
}

/// The addresses that the server listens on; empty until it listens.
pub type Bound = Arc<Mutex<Vec<SocketAddr>>>;

impl WebSocketBlueprint {
    /// Creates a blueprint; every pair of user and key in `logins` is valid.
    #[must_use]
    pub fn new(settings: Settings, logins: Vec<(String, Secret)>, catalog: Arc<Catalog>) -> Self {
        let (bound, metrics, earlier) = (Bound::default(), Arc::default(), EarlierSlot::default());
        Self { settings, logins, catalog, bound, metrics, history: None, earlier, epochs: None }
    }

    /// Sets the stored klines that REST requests reach; with `None`, the default, they reach only those in memory.
    #[must_use]
    pub fn with_history(mut self, history: Option<Arc<dyn History>>) -> Self {
        self.history = history;
        self
    }

    /// Sets where the first server finds what is known of earlier runs when it is created.
    #[must_use]
    pub fn with_earlier(mut self, earlier: EarlierSlot) -> Self {
        self.earlier = earlier;
        self
    }

    /// Sets the epochs of klines that its servers share with other processes, so that clients of one can go on at another;
    /// with `None`, the default, the epochs are each server's own.
    #[must_use]
    pub fn with_epochs(mut self, epochs: Option<Arc<dyn Epochs>>) -> Self {
        self.epochs = epochs;
        self
    }

    /// Returns the metrics of clients, which all restarts of the server share.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Returns the addresses that its servers listen on, filled in once they do.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.bound.clone()
    }
}

impl Blueprint for WebSocketBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        let Some((certificate, key)) = &self.settings.certificate else { return Vec::new() };
        let loaded = Certificates::load(certificate, key);
        let problem = |error: tls::TlsError| Problem {
            path: "certificate".to_owned(),
            message: error.to_string(),
            expected: "PEM files, such as `klines tls self-signed` makes".to_owned(),
        };
        loaded.err().map(problem).into_iter().collect()
    }

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let keys = Keys::new(self.logins.clone());
        let instance_id = getrandom::u64().map_err(|error| Failure::Retry(format!("no random number: {error}")))?;
        let server = Server::new(self.settings.clone(), keys, self.catalog.clone(), instance_id, self.metrics.clone());
        let server = server.with_history(self.history.clone()).sharing(self.epochs.clone());
        let server = server.resuming(self.earlier.take());
        let server = Arc::new(server);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("websocket")
            .enable_all()
            .build()
            .map_err(|error| Failure::Retry(format!("no threads for the server: {error}")))?;
        let (cancel, cut) = (CancellationToken::new(), CancellationToken::new());
        let (bound, tasks) = (self.bound.clone(), TaskTracker::new());
        Ok(Box::new(WebSocketConsumer { server, runtime: Some(runtime), cancel, cut, tasks, bound }))
    }

    fn profile(&self) -> Profile {
        Profile { takes_values: true, meter: Some(self.metrics.clone()), ..Profile::default() }
    }
}

/// The consumer: a server with its runtime and tasks.
struct WebSocketConsumer {
    server: Arc<Server>,
    /// `None` once the server has stopped.
    runtime: Option<Runtime>,
    cancel: CancellationToken,
    /// Cancelled to close connections that have not become WebSocket clients.
    cut: CancellationToken,
    /// All tasks on the runtime.
    tasks: TaskTracker,
    bound: Bound,
}

impl WebSocketConsumer {
    /// Spawns a task that runs until the server stops.
    fn track<T>(&self, runtime: &Runtime, task: impl Future<Output = T> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn_on(async move { drop(cancel.run_until_cancelled(task).await) }, runtime.handle());
    }
}

impl Consumer for WebSocketConsumer {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        Ok(Subscription::default())
    }

    fn start(&mut self) -> Result<(), Failure> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let Settings { host, port, certificate, .. } = &self.server.settings;
        let fatal = |error: tls::TlsError| Failure::Fatal(error.to_string());
        let acceptor = match certificate {
            None => None,
            Some((certificate, key)) => {
                let certificates = Certificates::load(certificate, key).map_err(fatal)?;
                let config = certificates.server_config().map_err(fatal)?;
                self.track(runtime, certificates.watch(CERTIFICATE_CHECK_INTERVAL));
                Some(TlsAcceptor::from(config))
            }
        };
        let listeners = runtime.block_on(listener::bind(host, *port)).map_err(|error| {
            Failure::Fatal(format!(
                "{error}; another program may be listening there: set WEBSOCKET_PORT to a free port"
            ))
        })?;
        let (connections, files) = (self.server.settings.connections, getrlimit(Resource::Nofile).current);
        if files.is_some_and(|files| files < connections as u64 + RESERVED_FILES) {
            warn!(
                connections,
                ?files,
                "the limit of open files is too low for the limit of connections: raise `ulimit -n`"
            );
        }
        let context = ListenerContext {
            server: self.server.clone(),
            router: routes::router(self.server.clone()),
            tls: acceptor,
            tasks: self.tasks.clone(),
            cut: self.cut.clone(),
        };
        if let Some(url) = &self.server.settings.advertised {
            info!(url, "advertised address");
        }
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                info!(%address, encrypted = context.tls.is_some(), "serving klines");
                self.bound.lock().unwrap_or_else(PoisonError::into_inner).push(address);
            }
            self.track(runtime, listener::accept(listener, context.clone()));
        }
        self.track(runtime, check_clients(self.server.clone()));
        let server = self.server.clone();
        self.track(runtime, async move { server.publish_feeds().await });
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        self.server.publish(delivery);
        Ok(Next::Deliver)
    }

    fn inline(&self) -> Option<Arc<dyn DeliverInline>> {
        Some(self.server.clone())
    }

    fn stop(&mut self) {
        // Accept no new clients; send the shutdown message to the connected ones and let them close.
        self.cancel.cancel();
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let clients = self.server.connected();
        self.server.shut_down();
        self.tasks.close();
        if let Some(runtime) = self.runtime.take() {
            let all_gone = async {
                while self.server.connected() > 0 {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            };
            let are_gone = runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, all_gone).await }).is_ok();
            // Connections that are not clients have had the same time to end.
            self.cut.cancel();
            if !are_gone
                || runtime.block_on(async { tokio::time::timeout(CLOSE_TIMEOUT, self.tasks.wait()).await }).is_err()
            {
                warn!(
                    clients = self.server.connected(),
                    "clients did not disconnect in time, closing their connections"
                );
            }
            runtime.shutdown_background();
        }
        info!(clients, "server stopped");
    }
}

/// Never waits for a socket: the client's own task writes what does not fit.
impl DeliverInline for Server {
    fn deliver(&self, delivery: &Delivery) -> bool {
        self.publish_inline(delivery, INLINE_FRAMES)
    }
}

/// Checks once a second that clients are alive, and closes those that are not.
async fn check_clients(server: Arc<Server>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    // After a pause of this process, check once: clients could not be heard in the seconds that were missed.
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for second in 0.. {
        seconds.tick().await;
        server.check_clients(second);
    }
}
