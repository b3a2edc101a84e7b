//! The task under one session: dials, moves frames and ticks in and actions out, and comes back after every loss.
//! Decides nothing about subscriptions or liveness; that is the session's. At each boundary it asks the system once
//! whether the socket has been read to its end, and says so behind the frames that it handed on.

mod evidence;

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use klines_domain::feed::FeedMessage;
use klines_domain::sanitize::{EXCERPT, sanitize};
use klines_domain::symbol::Category;
use klines_domain::time::{LocalMillis, Millis};
use klines_system::backoff::Backoff;
use klines_system::clock::LocalClock;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::http::header::USER_AGENT;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use self::evidence::Evidence;
use super::config::AGENT;
use super::connect::{self, BoxedStream, ByteStream, DialError, DialErrorKind, Dialer, Unread, Whole};
use super::pacer::{HEALTHY, Pacer, Repeats};
use super::session::{Action, Counters, Notice, Session};

const TICK: Millis = 250;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Commands are small: one that does not fit the socket's buffer for so long has no reader.
const SEND: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(1);
/// What is free of it is filled with zeros before every read: larger costs each frame more than it saves a burst.
const READ_BUFFER: usize = 16 * 1024;
/// 1,024 trades, the most in one frame, are some 200 KiB.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// What all connections share.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// Opens connections.
    pub dialer: Dialer,
    /// Stamps what arrives.
    pub clock: LocalClock,
    /// Keeps new connections under the exchange's limit.
    pub pacer: Arc<Mutex<Pacer>>,
    /// Where events go. When it is full the driver waits, the socket's buffers fill, and the exchange waits in turn:
    /// nothing is dropped here. Drain it until it closes, or drop it: a receiver that is gone ends the driver, one
    /// that is kept but not read holds it.
    pub out: mpsc::Sender<FeedMessage>,
    /// Ends every driver, without a hole: what comes after is no concern of this run.
    pub cancel: CancellationToken,
}

/// How one connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The socket is open.
    pub is_open: bool,
    /// Topics acknowledged.
    pub covered: usize,
    /// Pongs may come from a gateway whose data have stopped: the busiest symbol is not heard.
    pub is_silent: bool,
    /// Topics refused.
    pub refused: usize,
    /// Topics wanted.
    pub wanted: usize,
    /// Attempts since the start that brought no connection.
    pub failed: u64,
    /// Local time of the last frame, pongs included, to within some 250 ms; nothing before the first.
    pub heard: Option<LocalMillis>,
    /// The same of the last frame of trades.
    pub traded: Option<LocalMillis>,
    /// Everything seen since the start.
    pub counters: Counters,
}

/// Why a connection did not come about.
#[derive(Debug, Error)]
enum OpenError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("websocket handshake failed: {0}")]
    Handshake(#[from] Box<tungstenite::Error>),
    #[error("no websocket handshake within {limit} s", limit = HANDSHAKE.as_secs())]
    Timeout,
}

#[derive(Debug, PartialEq, Eq)]
enum OpenErrorKind {
    Dial(DialErrorKind),
    Status(StatusCode),
    Handshake(Discriminant<tungstenite::Error>),
    Timeout,
}

impl OpenError {
    /// What distinguishes it from others: of a handshake the HTTP status or the kind of error, of a dial its own kind.
    fn kind(&self) -> OpenErrorKind {
        match self {
            Self::Dial(error) => OpenErrorKind::Dial(error.kind()),
            Self::Handshake(error) => match &**error {
                tungstenite::Error::Http(answer) => OpenErrorKind::Status(answer.status()),
                other => OpenErrorKind::Handshake(discriminant(other)),
            },
            Self::Timeout => OpenErrorKind::Timeout,
        }
    }
}

/// Why serving a connection ended.
#[derive(Debug)]
enum End {
    /// Cancelled, or nobody listens any more.
    Finished,
    /// To be opened again; with the cause.
    Lost(String),
}

type Socket = WebSocketStream<Whole<BoxedStream>>;

/// The actor that owns one session and its connections.
#[derive(Debug)]
pub struct Driver {
    uplink: Uplink,
    session: Session,
    url: Url,
    category: Category,
    /// Which of the category's connections it is.
    number: usize,
    status: Arc<Mutex<Status>>,
    /// Local time at which the next boundary could close.
    boundary: watch::Receiver<LocalMillis>,
    evidence: Evidence,
    actions: Vec<Action>,
    ticked: LocalMillis,
    failed: u64,
}

impl Driver {
    /// Builds the driver; `status` is kept up to date, several times a second and when the driver ends. `boundary` has
    /// the local time at which the next boundary could close: then the driver says whether everything has been read.
    #[must_use]
    pub fn new(
        uplink: Uplink,
        session: Session,
        url: Url,
        status: Arc<Mutex<Status>>,
        boundary: watch::Receiver<LocalMillis>,
    ) -> Self {
        let driver = Self {
            category: session.category(),
            number: session.number(),
            uplink,
            session,
            url,
            status,
            boundary,
            evidence: Evidence::new(),
            actions: Vec::new(),
            ticked: LocalMillis::default(),
            failed: 0,
        };
        driver.publish(false);
        driver
    }

    /// Runs until cancelled, or until nobody listens.
    pub async fn run(mut self) {
        let cancel = self.uplink.cancel.clone();
        // Dropping what is in flight is safe: only `serve` has state to finish, and it watches the token itself.
        let mut backoff = Backoff::default();
        let mut failures = Repeats::default();
        loop {
            let opened = tokio::select! { biased;
                () = cancel.cancelled() => break,
                opened = self.open() => opened,
            };
            let wait = match opened {
                Ok(socket) => {
                    failures.clear();
                    let since = self.uplink.clock.now();
                    let End::Lost(cause) = self.serve(socket).await else { break };
                    if self.uplink.clock.now() - since >= HEALTHY {
                        backoff.reset();
                    }
                    let wait = backoff.wait();
                    self.warn_lost(&cause, wait);
                    wait
                }
                Err(error) => {
                    let wait = backoff.wait();
                    self.failed += 1;
                    self.publish(false);
                    if let Some(times) = failures.note(error.kind()) {
                        self.warn_unreachable(&error.to_string(), times, wait);
                    }
                    wait
                }
            };
            tokio::select! { biased;
                () = cancel.cancelled() => break,
                () = sleep(wait) => {}
            }
        }
        self.publish(false);
    }

    async fn open(&self) -> Result<Socket, OpenError> {
        let wait = self.uplink.pacer.lock().unwrap_or_else(PoisonError::into_inner).reserve(self.uplink.clock.now());
        sleep(Duration::from_millis(wait.unsigned_abs())).await;
        let stream = Whole::messages(self.uplink.dialer.dial(&self.url).await?);
        let mut request = self.url.as_str().into_client_request().map_err(Box::new)?;
        request.headers_mut().insert(USER_AGENT, tungstenite::http::HeaderValue::from_static(AGENT));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let handshake = client_async_with_config(request, stream, Some(config));
        let (socket, _) = timeout(HANDSHAKE, handshake).await.map_err(|_| OpenError::Timeout)?.map_err(Box::new)?;
        Ok(socket)
    }

    async fn serve(&mut self, mut socket: Socket) -> End {
        info!(category = %self.category, connection = self.number, url = connect::shown(&self.url), "connected");
        self.ticked = self.now();
        self.session.on_open(self.ticked, &mut self.actions);
        let (cancel, mut boundary) = (self.uplink.cancel.clone(), self.boundary.clone());
        let mut turned = self.ticked;
        let mut armed = LocalMillis::MAX;
        let timer = sleep(Duration::ZERO);
        tokio::pin!(timer);
        let end = loop {
            if let Some(end) = self.perform(&mut socket).await {
                break end;
            }
            let wake_at = self.evidence.next().min(self.ticked + TICK);
            if wake_at != armed {
                armed = wake_at;
                timer.set(sleep(Duration::from_millis((wake_at - self.now()).max(0).unsigned_abs())));
            }
            // Frames before ticks: after a stall the frames that wait prove the peer alive before it is judged.
            let frame = tokio::select! { biased;
                () = cancel.cancelled() => break End::Finished,
                frame = socket.next() => Some(frame),
                () = &mut timer => None,
                due = moved(&mut boundary) => {
                    self.evidence.expect(due);
                    None
                }
            };
            let now = self.now();
            if self.evidence.turn(wake_at.max(turned), now) {
                self.session.on_stall(turned);
            }
            turned = now;
            match frame {
                None => self.ask(&socket, now),
                Some(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Some(Some(Ok(Message::Text(text)))) => self.session.on_frame(now, text.as_str(), &mut self.actions),
                Some(Some(Ok(Message::Binary(bytes)))) => {
                    self.session.on_frame(now, &String::from_utf8_lossy(&bytes), &mut self.actions);
                }
                Some(Some(Ok(Message::Close(frame)))) => break End::Lost(farewell(frame)),
                Some(Some(Err(error))) => break End::Lost(error.to_string()),
                Some(None) => break End::Lost("closed by the exchange".to_owned()),
            }
            self.tick(now);
        };
        if matches!(end, End::Lost(_)) {
            self.session.on_close(self.now(), &mut self.actions);
            // Sending fails on a dead socket, which is what it is; the hole is emitted regardless.
            if matches!(self.perform(&mut socket).await, Some(End::Finished)) {
                return End::Finished;
            }
        }
        let _ = timeout(FAREWELL, socket.close(None)).await;
        self.publish(false);
        end
    }

    /// Lets time pass for the session. Under a flood of frames the timer is never polled; pings and watchdogs go on all
    /// the same.
    fn tick(&mut self, now: LocalMillis) {
        if now - self.ticked >= TICK {
            self.ticked = now;
            self.session.on_tick(now, &mut self.actions);
            self.publish(true);
        }
    }

    /// Says that everything has been read, where a boundary asks for it and the system agrees. The socket has just had
    /// nothing for the executor, so that no whole frame is left in TLS or in the WebSocket layer.
    fn ask(&mut self, socket: &Socket, now: LocalMillis) {
        let is_due = now >= self.evidence.next();
        if !(is_due || self.session.is_stalled()) {
            return;
        }
        let unread = socket.get_ref().unread();
        if unread != Unread::Bytes {
            self.session.on_idle();
        }
        if is_due && self.evidence.answer(now, unread) {
            self.session.on_drained(now, &mut self.actions);
        }
    }

    /// Carries the session's actions out. Events are handed on even when the socket fails in between.
    async fn perform(&mut self, socket: &mut Socket) -> Option<End> {
        let mut end = None;
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Emit(message) => {
                    if self.uplink.out.send(message).await.is_err() {
                        return Some(End::Finished);
                    }
                }
                Action::Send(text) if end.is_none() => {
                    end = match timeout(SEND, socket.send(Message::text(text))).await {
                        Ok(Ok(())) => None,
                        Ok(Err(error)) => Some(End::Lost(error.to_string())),
                        Err(_) => Some(End::Lost("the exchange does not read".to_owned())),
                    };
                }
                Action::Send(_) => {}
                Action::Close(reason) => end = Some(End::Lost(reason.to_string())),
                Action::Notice(notice) => self.log(&notice),
            }
        }
        self.actions = actions;
        end
    }

    fn warn_unreachable(&self, cause: &str, times: u32, wait: Duration) {
        let (category, connection, url) = (self.category, self.number, connect::shown(&self.url));
        let retry_ms = wait.as_millis();
        warn!(%category, connection, url, cause, times, retry_ms, "cannot reach the exchange, trying again");
    }

    fn warn_lost(&self, cause: &str, wait: Duration) {
        let (category, connection, retry_ms) = (self.category, self.number, wait.as_millis());
        warn!(%category, connection, cause, retry_ms, "connection lost, coming back");
    }

    fn log(&self, notice: &Notice) {
        let (category, connection) = (self.category, self.number);
        match notice {
            Notice::Subscribed { covered, refused } => info!(%category, connection, covered, refused, "subscribed"),
            Notice::Refused { symbol, message: answer } => {
                warn!(%category, connection, %symbol, answer, "symbol refused by the exchange")
            }
            Notice::Recovered { symbol } => info!(%category, connection, %symbol, "symbol accepted after all"),
            Notice::Unwatched { topic, message: answer } => {
                warn!(%category, connection, topic, answer, "no check for a silent feed: its topic is not to be had");
            }
            Notice::Unreadable { kind, head } => {
                warn!(%category, connection, kind, head, "frame not understood, further ones of its kind are only counted");
            }
        }
    }

    fn publish(&self, is_open: bool) {
        let (covered, refused, wanted) = self.session.totals();
        let (now, counters) = (self.now(), self.session.counters());
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |count: u64, before: u64, at: Option<LocalMillis>| if count > before { Some(now) } else { at };
        let heard = since(counters.frames, status.counters.frames, status.heard);
        let traded = since(counters.trade_frames, status.counters.trade_frames, status.traded);
        *status = Status {
            is_open,
            is_silent: self.session.is_silent(now),
            covered,
            refused,
            wanted,
            failed: self.failed,
            heard,
            traded,
            counters,
        };
    }

    fn now(&self) -> LocalMillis {
        self.uplink.clock.now()
    }
}

/// Waits for another boundary; for ever where nobody closes any.
async fn moved(boundary: &mut watch::Receiver<LocalMillis>) -> LocalMillis {
    if boundary.changed().await.is_err() {
        return std::future::pending().await;
    }
    *boundary.borrow_and_update()
}

fn farewell(frame: Option<tungstenite::protocol::CloseFrame>) -> String {
    frame.map_or_else(
        || "closed by the exchange".to_owned(),
        |frame| format!("closed by the exchange: {} {}", u16::from(frame.code), sanitize(&frame.reason, EXCERPT)),
    )
}
