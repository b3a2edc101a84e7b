//! The HTTP server: binds its port before the run starts, and serves a few short requests at a time, each within a
//! deadline.
//!
//! A connection serves one request. `/metrics` is rendered on a thread that may block, because the executor's only
//! thread is the one that makes klines.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use klines_config::metrics::Metrics;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, info};

use super::exposition;
use super::health::{self, Health};
use crate::app::observed::Observed;

/// Largest number of open connections; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// Time from accepting a connection to the last byte of the response.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time from accepting a connection to the end of the request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// The pause after a failed `accept`, most often because no file descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const INDEX: &str = "/metrics  metrics for Prometheus\n/healthz  whether the exchange sends data\n\
                     /readyz   whether every feed is live and every consumer accepts klines\n";

/// The error of [`bind`]: the port cannot be bound.
#[derive(Debug, Error)]
#[error("cannot serve metrics on {address}: {error}; set [metrics] listen (METRICS_LISTEN) to a free address, or off")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    error: io::Error,
}

/// A bound port.
#[derive(Debug)]
pub struct Server {
    listener: std::net::TcpListener,
    stale_after: Duration,
}

/// The state that requests read.
#[derive(Clone)]
struct ServerState {
    observed: Arc<Observed>,
    stale_after: Duration,
}

/// Binds the configured port; returns `None` when none is configured.
///
/// # Errors
/// [`BindError`], most often because another program listens there.
pub fn bind(config: &Metrics) -> Result<Option<Server>, BindError> {
    let Some(address) = config.listen else { return Ok(None) };
    let failed = |error| BindError { address, error };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Some(Server { listener, stale_after: config.stale_after }))
}

impl Server {
    /// Serves requests until the future is dropped.
    ///
    /// # Errors
    /// When the executor cannot register the port.
    pub async fn serve(self, observed: Arc<Observed>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        info!(address = %listener.local_addr()?, "serving metrics");
        let router = router(ServerState { observed, stale_after: self.stale_after });
        let (permits, mut requests) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
        loop {
            while requests.try_join_next().is_some() {}
            let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                Ok((socket, from)) => {
                    let served = timeout(DEADLINE, serve_connection(socket, router.clone()));
                    requests.spawn(async move {
                        if !matches!(served.await, Ok(Ok(()))) {
                            debug!(%from, "request for metrics was not finished");
                        }
                        drop(permit);
                    });
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

async fn serve_connection(socket: TcpStream, router: Router) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move { router.call(request.map(Body::new)).await }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

fn router(state: ServerState) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|state| health_response(state, health::alive)))
        .route("/readyz", get(|state| health_response(state, health::ready)))
        .with_state(state)
}

async fn metrics(State(state): State<ServerState>) -> Result<Response, StatusCode> {
    let page = tokio::task::spawn_blocking(move || exposition::page(&state.observed)).await;
    match page {
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, OPEN_METRICS), (CACHE_CONTROL, "no-store")], text).into_response()),
        _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn health_response(
    State(state): State<ServerState>,
    check: fn(&Observed, Duration) -> Health,
) -> Result<Response, Infallible> {
    let Health { is_available, body } = check(&state.observed, state.stale_after);
    let status = if is_available { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((status, headers, format!("{body}\n")).into_response())
}
