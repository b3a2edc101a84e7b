//! Listens on sockets, limits connections, negotiates TLS and HTTP, and starts the sessions of upgraded connections.
//!
//! A connection has one deadline for everything up to valid credentials. When the process runs out of file descriptors,
//! only the acceptance of new connections pauses.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{debug, warn};

use super::admission::ConnectionGuard;
use super::client::{Client, ClientLimits, Connection};
use super::server::Server;
use super::session::{Endpoint, Session};
use super::transport::Stream;
use super::upgrade::{Peer, Slot, Upgrade};

/// The maximum time from accepting a connection to valid credentials.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same on `/`, as in Bybit Klines Streamer.
const STREAMER_LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum time that one connection serves HTTP requests.
const HTTP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the answer to a subscription in Bybit's dialect is delayed: pybit records a subscription only after it has
/// sent it, and fails if the answer arrives earlier.
const SUBSCRIBE_DELAY: Duration = Duration::from_millis(10);
/// The pause after a failed accept, such as without free file descriptors, and the time limit of a shutdown.
const PAUSE: Duration = Duration::from_millis(100);
/// The maximum size of a request's head, bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The maximum number of headers in a request.
const MAX_HEADERS: usize = 64;
/// The size of the kernel's send buffer, bytes: further frames wait in the outbox, where they are counted.
const SEND_BUFFER: u32 = 64 << 10;
/// The maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// The maximum number of connections that have not authenticated yet.
const MAX_UNAUTHENTICATED: usize = 512;
/// The maximum number of connections over the limit that are answered at a time; more are closed without an answer.
const MAX_REFUSALS: usize = 64;

/// Opens a listener on every address that `host` resolves to.
///
/// # Errors
/// The error of the system if an address cannot be bound, with `host` and `port`.
pub async fn bind(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{host}:{port}: {error}"));
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = port;
    let host = host.trim_matches(['[', ']']);
    for address in tokio::net::lookup_host((host, port)).await.map_err(named)? {
        let address = SocketAddr::new(address.ip(), port);
        match listen(address) {
            Ok(listener) => {
                // One port for all addresses, also when the system chose it.
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            // A machine without IPv6 may still resolve names to IPv6 addresses.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(named(error)),
        }
    }
    if listeners.is_empty() {
        return Err(named(io::ErrorKind::AddrNotAvailable.into()));
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit the size.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The parts of the server that every connection needs.
#[derive(Clone)]
pub struct ListenerContext {
    /// The server.
    pub server: Arc<Server>,
    /// Answers HTTP requests.
    pub router: Router,
    /// Accepts TLS; `None` if connections are not encrypted.
    pub tls: Option<TlsAcceptor>,
    /// Tracks the tasks of connections.
    pub tasks: TaskTracker,
    /// Closes connections that have not become clients; [`Server::shut_down`] closes clients.
    pub cut: CancellationToken,
}

/// Accepts connections until the future is dropped.
pub async fn accept(listener: TcpListener, context: ListenerContext) -> Infallible {
    let ListenerContext { server, tls, tasks, cut, .. } = &context;
    let (refusals, unadmitted) =
        (Arc::new(Semaphore::new(MAX_REFUSALS)), Arc::new(Semaphore::new(MAX_UNAUTHENTICATED)));
    let mut is_accept_failing = false;
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually there is no free file descriptor. Open connections are not affected.
                if !is_accept_failing {
                    warn!(%error, "cannot accept connections, retrying");
                }
                is_accept_failing = true;
                sleep(PAUSE).await;
                continue;
            }
        };
        is_accept_failing = false;
        match (server.admission.admit(from.ip()), unadmitted.clone().try_acquire_owned()) {
            (Ok(guard), Ok(permit)) => {
                let _ = socket.set_nodelay(true);
                tasks.spawn(serve(context.clone(), socket, from.ip(), (guard, permit)));
            }
            (refused, _) => {
                let reason = refused.err();
                server.metrics.count_refused();
                debug!(address = %from.ip(), ?reason, "connection refused");
                if let (None, Ok(permit)) = (tls, refusals.clone().try_acquire_owned()) {
                    let cut = cut.clone();
                    tasks.spawn(async move {
                        cut.run_until_cancelled(refuse_connection(socket)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Answers a connection over the limit with 503 and closes it.
async fn refuse_connection(mut socket: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n";
    let answered = async {
        socket.write_all(ANSWER).await?;
        socket.shutdown().await?;
        // Closing a socket with unread bytes sends a reset, which discards the answer.
        let mut scrap = [0; 1_024];
        while tokio::io::AsyncReadExt::read(&mut socket, &mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(Duration::from_secs(1), answered).await;
}

/// Serves one connection from its first byte to its last.
fn serve(
    context: ListenerContext,
    socket: TcpStream,
    address: IpAddr,
    (guard, permit): (ConnectionGuard, OwnedSemaphorePermit),
) -> impl Future<Output = ()> + Send {
    let accepted = Instant::now();
    async move {
        let ListenerContext { server, router, tls, cut, .. } = context;
        let _guard = guard;
        // Boxed, so that the task of a WebSocket connection does not keep the size of the handshake's future.
        let handshake = Box::pin(negotiate(router, tls, socket, address, accepted));
        let upgrade = cut.run_until_cancelled(handshake).await.flatten();
        let Some((stream, early, Upgrade { endpoint, is_admitted })) = upgrade else { return };
        let (socket, cipher) = stream.into_parts();
        let connection = Connection { socket, cipher, early, address, shutdown_message: endpoint.shutdown_message() };
        let limits = ClientLimits { message: server.settings.message, queue: server.settings.queue };
        let client = Arc::new(Client::new(server.next_client_id(), connection, limits));
        server.add_client(&client);
        debug!(client = client.id.0, %address, ?endpoint, "client connected");
        run_session(&server, &client, endpoint, is_admitted, accepted, permit).await;
        server.remove_client(&client);
    }
}

/// Negotiates TLS and serves HTTP until a request is upgraded; `None` if the connection ends before.
async fn negotiate(
    router: Router,
    tls: Option<TlsAcceptor>,
    socket: TcpStream,
    address: IpAddr,
    accepted: Instant,
) -> Option<(Stream, Vec<u8>, Upgrade)> {
    let is_encrypted = tls.is_some();
    let stream = match tls {
        None => Stream::Plain(socket),
        Some(acceptor) => match timeout_at(accepted + HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            Ok(Err(error)) => {
                debug!(%address, %error, "TLS handshake failed");
                return None;
            }
            Err(_) => return None,
        },
    };
    let slot = Slot::default();
    let peer = Peer { address, is_encrypted, slot: slot.clone() };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let mut router = router.clone();
        let answered = async move { router.call(request.map(Body::new)).await };
        Box::pin(answered) as BoxFuture<'static, Result<Response<Body>, Infallible>>
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .without_shutdown();
    let parts = timeout_at(accepted + HTTP_TIMEOUT, connection).await.ok()?.ok()?;
    let upgrade = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut stream = parts.io.into_inner();
    match upgrade {
        Some(upgrade) => Some((stream, parts.read_buf.to_vec(), upgrade)),
        None => {
            let _ = timeout(PAUSE, stream.shutdown()).await;
            None
        }
    }
}

/// Runs the client's session: until it is admitted with a time limit, then until the connection ends.
async fn run_session(
    server: &Arc<Server>,
    client: &Arc<Client>,
    endpoint: Endpoint,
    is_admitted: bool,
    accepted: Instant,
    permit: OwnedSemaphorePermit,
) {
    let mut session = Session::new(server.clone(), client.clone(), endpoint, is_admitted);
    if !is_admitted {
        let deadline = accepted + if endpoint.requires_login() { STREAMER_LOGIN_TIMEOUT } else { HANDSHAKE_TIMEOUT };
        let mut is_gone = true;
        let admission = Box::pin(client.run(
            || server.now(),
            |message| {
                session.handle(&message);
                is_gone = !session.is_admitted();
                if session.is_admitted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        ));
        match timeout_at(deadline, admission).await {
            Ok(()) if is_gone => return,
            Ok(()) => {}
            Err(_) => session.time_out(),
        }
    }
    drop(permit);
    loop {
        let mut delayed = None;
        let running = client.run(
            || server.now(),
            |message| {
                if session.is_delayed(&message) {
                    delayed = Some(message);
                    return ControlFlow::Break(());
                }
                session.handle(&message);
                ControlFlow::Continue(())
            },
        );
        running.await;
        let Some(message) = delayed else { break };
        sleep(SUBSCRIBE_DELAY).await;
        session.handle(&message);
    }
    session.unfollow_all();
}
