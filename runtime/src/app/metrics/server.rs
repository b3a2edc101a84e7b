//! The port: binds it before anything starts, answers a few short requests at a time, and never waits for a reader.
//!
//! One request a connection and one deadline for all of it. Pages are made on a thread that may block, because the
//! executor's only thread is the one that klines are made on.

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

/// Connections at one time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// From the first byte of a request to the last byte of its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// From accepting a connection to the end of the request's head.
const HEAD: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;
/// The pause when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const INDEX: &str = "/metrics  figures for Prometheus\n/healthz  whether the exchange is heard\n\
                     /readyz   whether every consumer takes klines, too\n";

/// The port cannot be served.
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

/// What answers are made of.
#[derive(Clone)]
struct Shown {
    observed: Arc<Observed>,
    stale_after: Duration,
}

/// Takes the configured port; nothing when none is configured.
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
    /// Answers until it is dropped.
    ///
    /// # Errors
    /// When the executor does not take the port.
    pub async fn serve(self, observed: Arc<Observed>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        info!(address = %listener.local_addr()?, "serving metrics");
        let router = router(Shown { observed, stale_after: self.stale_after });
        let (places, mut answers) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
        loop {
            while answers.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                Ok((socket, from)) => {
                    let answered = timeout(DEADLINE, answer(socket, router.clone()));
                    answers.spawn(async move {
                        if !matches!(answered.await, Ok(Ok(()))) {
                            debug!(%from, "request for metrics was not finished");
                        }
                        drop(place);
                    });
                }
                // Most often: no descriptor left.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

async fn answer(socket: TcpStream, router: Router) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move { router.call(request.map(Body::new)).await }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service)
        .await
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|shown| judged(shown, health::alive)))
        .route("/readyz", get(|shown| judged(shown, health::ready)))
        .with_state(shown)
}

async fn metrics(State(shown): State<Shown>) -> Result<Response, StatusCode> {
    let page = tokio::task::spawn_blocking(move || exposition::page(&shown.observed)).await;
    match page {
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, OPEN_METRICS), (CACHE_CONTROL, "no-store")], text).into_response()),
        _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn judged(State(shown): State<Shown>, judge: fn(&Observed, Duration) -> Health) -> Result<Response, Infallible> {
    let Health { is_available, body } = judge(&shown.observed, shown.stale_after);
    let status = if is_available { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((status, headers, format!("{body}\n")).into_response())
}
