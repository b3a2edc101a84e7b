//! The sockets: listens, admits, speaks TLS and HTTP, and hands upgraded connections to their conversation.
//!
//! Every connection has one deadline for all that comes before its first right credentials. Running out of
//! descriptors pauses accepting and nothing else.

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

use super::admission::Place;
use super::client::{Client, ClientLimits, Connection};
use super::seat::{Seat, Talk};
use super::server::Server;
use super::transport::Stream;
use super::upgrade::{Agreed, Peer, Slot};

/// What may pass between accepting a connection and its credentials.
const DEADLINE: Duration = Duration::from_secs(5);
/// The same on `/`, as the predecessor had it.
const LONG_DEADLINE: Duration = Duration::from_secs(10);
/// The longest that HTTP is spoken on one connection.
const HTTP: Duration = Duration::from_secs(20);
/// How long Bybit's clients get to take note of what they have asked for: pybit does so only after it has sent it, and
/// an answer that is there before kills it.
const BREATH: Duration = Duration::from_millis(10);
/// The pause when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// Request heads are at most this long, and have at most so many headers.
const HEAD_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;
/// The kernel's buffer for what waits for a client: the rest waits, counted, in its queue.
const SEND_BUFFER: u32 = 64 << 10;
const BACKLOG: u32 = 1_024;
/// Connections that have not shown credentials yet, in all.
const UNADMITTED: usize = 512;
/// Connections over the limit that are told so at one time; more are cut without a word.
const REFUSALS: usize = 64;

/// Opens a listener on every address that the host means.
///
/// # Errors
/// With the address that cannot be listened on.
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
            // A machine without IPv6 has names for it all the same.
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
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every connection of a server needs.
#[derive(Clone)]
pub struct Front {
    /// The server.
    pub server: Arc<Server>,
    /// What answers requests.
    pub router: Router,
    /// What decrypts, where connections are encrypted.
    pub tls: Option<TlsAcceptor>,
    /// Every task of a connection.
    pub tasks: TaskTracker,
    /// Cuts connections that are not clients. Clients are dismissed by the server.
    pub cut: CancellationToken,
}

/// Accepts connections until it is dropped.
pub async fn accept(listener: TcpListener, front: Front) -> Infallible {
    let Front { server, tls, tasks, cut, .. } = &front;
    let (refusals, unadmitted) = (Arc::new(Semaphore::new(REFUSALS)), Arc::new(Semaphore::new(UNADMITTED)));
    let mut is_short = false;
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often: no descriptor left. Those that are connected go on.
                if !is_short {
                    warn!(%error, "connections cannot be accepted for the moment");
                }
                is_short = true;
                sleep(PAUSE).await;
                continue;
            }
        };
        is_short = false;
        match (server.admission.enter(from.ip()), unadmitted.clone().try_acquire_owned()) {
            (Ok(place), Ok(permit)) => {
                let _ = socket.set_nodelay(true);
                tasks.spawn(serve(front.clone(), socket, from.ip(), (place, permit)));
            }
            (refused, _) => {
                let reason = refused.err();
                server.figures.refuse();
                debug!(address = %from.ip(), ?reason, "connection refused");
                if let (None, Ok(permit)) = (tls, refusals.clone().try_acquire_owned()) {
                    let cut = cut.clone();
                    tasks.spawn(async move {
                        cut.run_until_cancelled(turn_away(socket)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// Tells a connection over the limit that it is.
async fn turn_away(mut socket: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 10\r\ncontent-length: 0\r\n\r\n";
    let told = async {
        socket.write_all(ANSWER).await?;
        socket.shutdown().await?;
        // Closing with something unread would take the answer back.
        let mut scrap = [0; 1_024];
        while tokio::io::AsyncReadExt::read(&mut socket, &mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(Duration::from_secs(1), told).await;
}

/// One connection from its first byte to its last.
fn serve(
    front: Front,
    socket: TcpStream,
    address: IpAddr,
    (place, permit): (Place, OwnedSemaphorePermit),
) -> impl Future<Output = ()> + Send {
    let accepted = Instant::now();
    async move {
        let Front { server, router, tls, cut, .. } = front;
        let _place = place;
        // Boxed, so that a connection that has become a WebSocket does not carry it along.
        let handshake = Box::pin(shake_hands(router, tls, socket, address, accepted));
        let agreed = cut.run_until_cancelled(handshake).await.flatten();
        let Some((stream, early, Agreed { talk, is_admitted })) = agreed else { return };
        let (socket, cipher) = stream.into_parts();
        let connection = Connection { socket, cipher, early, address, farewell: talk.farewell() };
        let limits = ClientLimits { message: server.settings.message, queue: server.settings.queue };
        let client = Arc::new(Client::new(server.number(), connection, limits));
        server.join(&client);
        debug!(client = client.id.0, %address, ?talk, "client connected");
        converse(&server, &client, talk, is_admitted, accepted, permit).await;
        server.part(&client);
    }
}

/// TLS and HTTP, until the request that asks for a WebSocket.
async fn shake_hands(
    router: Router,
    tls: Option<TlsAcceptor>,
    socket: TcpStream,
    address: IpAddr,
    accepted: Instant,
) -> Option<(Stream, Vec<u8>, Agreed)> {
    let is_encrypted = tls.is_some();
    let stream = match tls {
        None => Stream::Plain(socket),
        Some(acceptor) => match timeout_at(accepted + DEADLINE, acceptor.accept(socket)).await {
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
        .header_read_timeout(DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .without_shutdown();
    let parts = timeout_at(accepted + HTTP, connection).await.ok()?.ok()?;
    let agreed = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut stream = parts.io.into_inner();
    match agreed {
        Some(agreed) => Some((stream, parts.read_buf.to_vec(), agreed)),
        None => {
            let _ = timeout(PAUSE, stream.shutdown()).await;
            None
        }
    }
}

/// The conversation: first, against the clock, until the client is admitted; then as long as it likes.
async fn converse(
    server: &Arc<Server>,
    client: &Arc<Client>,
    talk: Talk,
    is_admitted: bool,
    accepted: Instant,
    permit: OwnedSemaphorePermit,
) {
    let mut seat = Seat::new(server.clone(), client.clone(), talk, is_admitted);
    if !is_admitted {
        let deadline = accepted + if talk.always_asks() { LONG_DEADLINE } else { DEADLINE };
        let mut is_gone = true;
        let admission = Box::pin(client.run(
            || server.now(),
            |heard| {
                seat.hear(&heard);
                is_gone = !seat.is_admitted();
                if seat.is_admitted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        ));
        match timeout_at(deadline, admission).await {
            Ok(()) if is_gone => return,
            Ok(()) => {}
            Err(_) => seat.late(),
        }
    }
    drop(permit);
    loop {
        let mut early = None;
        let conversation = client.run(
            || server.now(),
            |heard| {
                if seat.is_early(&heard) {
                    early = Some(heard);
                    return ControlFlow::Break(());
                }
                seat.hear(&heard);
                ControlFlow::Continue(())
            },
        );
        conversation.await;
        let Some(heard) = early else { break };
        sleep(BREATH).await;
        seat.hear(&heard);
    }
    seat.leave_all();
}
