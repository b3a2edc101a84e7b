//! The websocket consumer: an authenticated server of klines in three dialects on one port.
//!
//! Klines come in on the consumer's own thread, which makes their frames and writes them to every follower's socket;
//! an executor of its own reads what clients say. Only what does not fit into a socket waits, bounded for each client.
//! `docs/websocket.md` describes what clients see.

pub mod admission;
pub mod board;
pub mod bybit;
pub mod client;
pub mod close;
pub mod feeds;
pub mod figures;
pub mod frame;
pub mod keys;
pub mod memory;
pub mod outbox;
pub mod page;
pub mod predecessor;
pub mod push;
pub mod recent;
pub mod seat;
pub mod series;
pub mod server;
pub mod settings;
pub mod stream;
pub mod throttle;
pub mod tls;
pub mod transport;
pub mod upgrade;
pub mod values;

mod listener;
mod routes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use klines_delivery::catalog::Catalog;
use klines_delivery::consumer::DeliverInline;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Profile, Subscription};
use klines_domain::secret::Secret;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::figures::Figures;
use self::keys::Keys;
use self::listener::Front;
use self::server::Server;
use self::settings::Settings;
use self::tls::Certificates;

/// How often certificate files are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);
/// Open files that everything but clients needs.
const SPARE_FILES: u64 = 100;
/// Frames that ingest's thread may write itself: about what it costs it to wake another.
const AT_ONCE: usize = 4;
/// How long clients may take to hang up at the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Makes servers.
pub struct WebSocketBlueprint {
    settings: Settings,
    logins: Vec<(String, Secret)>,
    catalog: Arc<Catalog>,
    bound: Bound,
    figures: Arc<Figures>,
}

/// Where the server listens; empty until it does.
pub type Bound = Arc<Mutex<Vec<SocketAddr>>>;

impl WebSocketBlueprint {
    /// Builds a blueprint; every pair of user and key in `logins` is valid.
    #[must_use]
    pub fn new(settings: Settings, logins: Vec<(String, Secret)>, catalog: Arc<Catalog>) -> Self {
        Self { settings, logins, catalog, bound: Bound::default(), figures: Arc::default() }
    }

    /// What it counts of its clients, over all lives of the server.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// Where its servers will listen.
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
        let life = getrandom::u64().map_err(|error| Failure::Retry(format!("no random number: {error}")))?;
        let server = Server::new(self.settings.clone(), keys, self.catalog.clone(), life, self.figures.clone());
        let server = Arc::new(server);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("websocket")
            .enable_all()
            .build()
            .map_err(|error| Failure::Retry(format!("no threads for the server: {error}")))?;
        let (cancel, cut) = (CancellationToken::new(), CancellationToken::new());
        let (bound, tasks) = (self.bound.clone(), TaskTracker::new());
        Ok(Box::new(Running { server, runtime: Some(runtime), cancel, cut, tasks, bound }))
    }

    fn profile(&self) -> Profile {
        Profile { takes_values: true, meter: Some(self.figures.clone()), ..Profile::default() }
    }
}

/// A server and what it runs on.
struct Running {
    server: Arc<Server>,
    /// Taken at the end.
    runtime: Option<Runtime>,
    cancel: CancellationToken,
    /// Cancelled when connections are cut that are not clients.
    cut: CancellationToken,
    /// All that runs on it.
    tasks: TaskTracker,
    bound: Bound,
}

impl Running {
    /// Runs a task until the server is stopped.
    fn track<T>(&self, runtime: &Runtime, task: impl Future<Output = T> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn_on(async move { drop(cancel.run_until_cancelled(task).await) }, runtime.handle());
    }
}

impl Consumer for Running {
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
                self.track(runtime, certificates.watch(LOOK_AT_FILES));
                Some(TlsAcceptor::from(config))
            }
        };
        let listeners = runtime.block_on(listener::bind(host, *port)).map_err(|error| {
            Failure::Fatal(format!(
                "{error}; another program may be listening there: set WEBSOCKET_PORT to a free port"
            ))
        })?;
        let (connections, files) = (self.server.settings.connections, getrlimit(Resource::Nofile).current);
        if files.is_some_and(|files| files < connections as u64 + SPARE_FILES) {
            warn!(
                connections,
                ?files,
                "the limit of open files is reached before that of connections: raise `ulimit -n`"
            );
        }
        let front = Front {
            server: self.server.clone(),
            router: routes::router(self.server.clone()),
            tls: acceptor,
            tasks: self.tasks.clone(),
            cut: self.cut.clone(),
        };
        if let Some(url) = &self.server.settings.advertised {
            info!(url, "clients are told this address");
        }
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                info!(%address, encrypted = front.tls.is_some(), "serving klines");
                self.bound.lock().unwrap_or_else(PoisonError::into_inner).push(address);
            }
            self.track(runtime, listener::accept(listener, front.clone()));
        }
        self.track(runtime, look_after(self.server.clone()));
        let server = self.server.clone();
        self.track(runtime, async move { server.tell_feeds().await });
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
        // No new clients; those that are there are told, and may hang up in their own time.
        self.cancel.cancel();
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let clients = self.server.connected();
        self.server.dismiss();
        self.tasks.close();
        if let Some(runtime) = self.runtime.take() {
            let all_gone = async {
                while self.server.connected() > 0 {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let are_gone = runtime.block_on(async { tokio::time::timeout(GOODBYE, all_gone).await }).is_ok();
            // Requests that are not clients have had the same time.
            self.cut.cancel();
            if !are_gone || runtime.block_on(async { tokio::time::timeout(GOODBYE, self.tasks.wait()).await }).is_err()
            {
                warn!(clients = self.server.connected(), "clients did not hang up and are cut");
            }
            runtime.shutdown_background();
        }
        info!(clients, "server stopped");
    }
}

/// Nothing waits for a socket, here as elsewhere: what does not fit is left to the client's own task.
impl DeliverInline for Server {
    fn deliver(&self, delivery: &Delivery) -> bool {
        self.publish_at_once(delivery, AT_ONCE)
    }
}

/// Keeps the clients alive, or ends them, once a second.
async fn look_after(server: Arc<Server>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    // After a pause of this process, one look: seconds in which nobody could be heard count for nothing.
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for second in 0.. {
        seconds.tick().await;
        server.look_after(second);
    }
}
