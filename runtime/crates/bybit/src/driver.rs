//! The task that runs one session: connects, passes frames and ticks to the session, executes its actions, and
//! reconnects after every loss. The session decides about subscriptions and liveness. At each boundary the driver asks
//! the operating system once whether the socket is empty, and reports that behind the frames that it passed on.

mod drain_check;
mod orders;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use klines_domain::feed::FeedMessage;
use klines_domain::sanitize::{MAX_SHOWN_BYTES, sanitize};
use klines_domain::symbol::Category;
use klines_domain::time::{LocalMillis, Millis};
use klines_system::backoff::Backoff;
use klines_system::clock::LocalClock;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use self::drain_check::DrainCheck;
pub use self::orders::Orders;
use super::connect::{self, ByteStream, Dialer, Unread};
use super::handshake::{self, OpenError, Socket};
use super::pacer::{HEALTHY, LogThrottle, Pacer};
use super::session::{Action, Counters, Notice, Session};

const TICK: Millis = 250;
/// Commands are small: if one does not fit into the socket's buffer for this long, the exchange does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What all connections of a run share.
#[derive(Clone, Debug)]
pub struct FeedContext {
    /// Opens connections.
    pub dialer: Dialer,
    /// Gives the local time of receipt.
    pub clock: LocalClock,
    /// Keeps new connections under the exchange's limit.
    pub pacer: Arc<Mutex<Pacer>>,
    /// Queue of the events. When it is full, the driver waits, the socket's buffers fill up, and the exchange has to
    /// wait too: nothing is dropped here. Read the receiver until it is closed, or drop it: dropping it ends the
    /// driver; keeping it without reading blocks the driver.
    pub out: mpsc::Sender<FeedMessage>,
    /// Ends every driver without emitting a hole: later trades do not belong to this run.
    pub cancel: CancellationToken,
}

/// The status of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the socket is open.
    pub is_open: bool,
    /// Local time at which its symbols joined a feed that was running already; `None` if they were there at its start.
    pub joined: Option<LocalMillis>,
    /// Number of acknowledged topics.
    pub covered: usize,
    /// Whether the busiest symbol sends no trades: a gateway may still send pongs although its data has stopped.
    pub is_silent: bool,
    /// Number of refused topics.
    pub refused: usize,
    /// Number of wanted topics.
    pub wanted: usize,
    /// Number of failed connection attempts since the start.
    pub failed: u64,
    /// Local time of the last frame, pongs included, accurate to some 250 ms; `None` before the first.
    pub last_frame: Option<LocalMillis>,
    /// Local time of the last frame of trades; as above.
    pub last_trade_frame: Option<LocalMillis>,
    /// Counters since the start.
    pub counters: Counters,
}

/// Why serving a connection ended.
#[derive(Debug)]
enum End {
    /// The driver was cancelled, the receiver of the events is gone, or no symbol is watched any more.
    Finished,
    /// The connection was lost for this cause and has to be opened again.
    Lost(String),
}

/// The actor that owns one session and its successive connections.
#[derive(Debug)]
pub struct Driver {
    context: FeedContext,
    session: Session,
    url: Url,
    category: Category,
    /// Index of the connection within its category.
    number: usize,
    status: Arc<Mutex<Status>>,
    /// Local time at which the next boundary could be closed.
    boundary: watch::Receiver<LocalMillis>,
    orders: Orders,
    drain_check: DrainCheck,
    actions: Vec<Action>,
    last_tick: LocalMillis,
    failed: u64,
    /// Local time at which the first connection may be opened; `None` when that time has been used.
    opens_at: Option<LocalMillis>,
}

impl Driver {
    /// Creates the driver, and reserves the first connection, so that drivers connect in the order in which they are
    /// created. It updates `status` several times a second and when it ends. `boundary` has the local time at which the
    /// next boundary could be closed; the driver then reports whether everything has been read. The driver ends when, by its
    /// orders, no symbol is left to watch.
    #[must_use]
    pub fn new(
        context: FeedContext,
        session: Session,
        url: Url,
        status: Arc<Mutex<Status>>,
        boundary: watch::Receiver<LocalMillis>,
        orders: Orders,
    ) -> Self {
        let opens_at = Some(reserve(&context));
        let driver = Self {
            category: session.category(),
            number: session.number(),
            context,
            session,
            url,
            status,
            boundary,
            orders,
            drain_check: DrainCheck::new(),
            actions: Vec::new(),
            last_tick: LocalMillis::default(),
            failed: 0,
            opens_at,
        };
        driver.publish(false);
        driver
    }

    /// Runs until cancelled, until the receiver of the events is gone, or until no symbol is watched any more.
    pub async fn run(mut self) {
        let cancel = self.context.cancel.clone();
        // Dropping these futures is safe: only `serve` has state to clean up, and it watches the token itself.
        let mut backoff = Backoff::default();
        let mut log_throttle = LogThrottle::default();
        while !self.session.is_over() {
            let opened = tokio::select! { biased;
                () = cancel.cancelled() => break,
                opened = self.open() => opened,
            };
            let wait = match opened {
                Ok(socket) => {
                    log_throttle.clear();
                    let since = self.context.clock.now();
                    let End::Lost(cause) = self.serve(socket).await else { break };
                    if self.context.clock.now() - since >= HEALTHY {
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
                    if let Some(times) = log_throttle.record_failure(error.kind()) {
                        self.warn_unreachable(&error.to_string(), times, wait);
                    }
                    wait
                }
            };
            tokio::select! { biased;
                () = cancel.cancelled() => break,
                () = sleep(wait) => {}
            }
            self.obey();
        }
        self.publish(false);
    }

    /// Passes the orders to the session.
    fn obey(&mut self) {
        let (left, renewals) = (self.orders.left(), self.orders.renewals());
        self.session.on_left(self.now(), &left, &mut self.actions);
        self.session.on_renew(self.now(), &renewals, &mut self.actions);
    }

    async fn open(&mut self) -> Result<Socket, OpenError> {
        let opens_at = self.opens_at.take().unwrap_or_else(|| reserve(&self.context));
        sleep(Duration::from_millis((opens_at - self.now()).max(0).unsigned_abs())).await;
        handshake::open(&self.context.dialer, &self.url).await
    }

    async fn serve(&mut self, mut socket: Socket) -> End {
        info!(category = %self.category, connection = self.number, url = connect::redacted(&self.url), "connected");
        self.last_tick = self.now();
        self.session.on_open(self.last_tick, &mut self.actions);
        // Symbols may have left while the connection was opened.
        self.obey();
        let (cancel, mut boundary) = (self.context.cancel.clone(), self.boundary.clone());
        let mut orders = self.orders.clone();
        let mut last_turn = self.last_tick;
        let mut timer_at = LocalMillis::MAX;
        let timer = sleep(Duration::ZERO);
        tokio::pin!(timer);
        let end = loop {
            if let Some(end) = self.execute(&mut socket).await {
                break end;
            }
            if self.session.is_over() {
                break End::Finished;
            }
            let wake_at = self.drain_check.next().min(self.last_tick + TICK);
            if wake_at != timer_at {
                timer_at = wake_at;
                timer.set(sleep(Duration::from_millis((wake_at - self.now()).max(0).unsigned_abs())));
            }
            // Frames before ticks: after a stall, waiting frames prove that the peer is alive before the tick checks
            // it.
            let frame = tokio::select! { biased;
                () = cancel.cancelled() => break End::Finished,
                frame = socket.next() => Some(frame),
                () = &mut timer => None,
                due = next_boundary(&mut boundary) => {
                    self.drain_check.schedule(due);
                    None
                }
                () = orders.changed() => {
                    self.obey();
                    None
                }
            };
            let now = self.now();
            if self.drain_check.on_turn(wake_at.max(last_turn), now) {
                self.session.on_stall(last_turn);
            }
            last_turn = now;
            match frame {
                None => self.check_drained(&socket, now),
                Some(Some(Ok(frame))) => {
                    if let Some(end) = self.take(frame, now) {
                        break end;
                    }
                }
                Some(Some(Err(error))) => break End::Lost(error.to_string()),
                Some(None) => break End::Lost("closed by the exchange".to_owned()),
            }
            self.tick(now);
        };
        self.close(socket, end).await
    }

    /// Ends serving a connection, and reports what it has lost.
    async fn close(&mut self, mut socket: Socket, end: End) -> End {
        if matches!(end, End::Lost(_)) {
            self.session.on_close(self.now(), &mut self.actions);
            // Sending may fail on the dead socket; the hole is emitted regardless.
            if matches!(self.execute(&mut socket).await, Some(End::Finished)) {
                return End::Finished;
            }
        }
        let _ = timeout(CLOSE_TIMEOUT, socket.close(None)).await;
        self.publish(false);
        end
    }

    /// Passes a frame to the session. Returns how serving ends, if it does.
    fn take(&mut self, frame: Message, now: LocalMillis) -> Option<End> {
        match frame {
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            Message::Text(text) => self.session.on_frame(now, text.as_str(), &mut self.actions),
            Message::Binary(bytes) => {
                self.session.on_frame(now, &String::from_utf8_lossy(&bytes), &mut self.actions);
            }
            Message::Close(frame) => return Some(End::Lost(close_reason(frame))),
        }
        None
    }

    /// Ticks the session when it is due. It is called after every frame too, because the timer is never polled during a
    /// flood of frames, and pings and timeouts have to continue.
    fn tick(&mut self, now: LocalMillis) {
        if now - self.last_tick >= TICK {
            self.last_tick = now;
            self.session.on_tick(now, &mut self.actions);
            self.publish(true);
        }
    }

    /// Reports that everything has been read, if a boundary is due and the operating system confirms it. The socket has
    /// just returned pending, so that no complete frame is buffered in TLS or in the WebSocket layer.
    fn check_drained(&mut self, socket: &Socket, now: LocalMillis) {
        let is_due = now >= self.drain_check.next();
        if !(is_due || self.session.is_stalled()) {
            return;
        }
        let unread = socket.get_ref().unread();
        if unread != Unread::Bytes {
            self.session.on_idle();
        }
        if is_due && self.drain_check.on_answer(now, unread) {
            self.session.on_drained(now, &mut self.actions);
        }
    }

    /// Executes the session's actions. Events are sent even if the socket fails in between.
    async fn execute(&mut self, socket: &mut Socket) -> Option<End> {
        let mut end = None;
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Emit(message) => {
                    if self.context.out.send(message).await.is_err() {
                        return Some(End::Finished);
                    }
                }
                Action::Send(text) if end.is_none() => {
                    end = match timeout(SEND_TIMEOUT, socket.send(Message::text(text))).await {
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
        let (category, connection, url) = (self.category, self.number, connect::redacted(&self.url));
        let retry_ms = wait.as_millis();
        warn!(%category, connection, url, cause, times, retry_ms, "cannot reach the exchange, trying again");
    }

    fn warn_lost(&self, cause: &str, wait: Duration) {
        let (category, connection, retry_ms) = (self.category, self.number, wait.as_millis());
        warn!(%category, connection, cause, retry_ms, "connection lost, reconnecting");
    }

    fn log(&self, notice: &Notice) {
        let (category, connection) = (self.category, self.number);
        match notice {
            Notice::Subscribed { covered, refused } => info!(%category, connection, covered, refused, "subscribed"),
            Notice::Refused { symbol, message: answer } => {
                warn!(%category, connection, %symbol, answer, "symbol refused by the exchange")
            }
            Notice::Recovered { symbol } => info!(%category, connection, %symbol, "symbol accepted after all"),
            Notice::Renewed { topics } => {
                warn!(%category, connection, topics, "symbols have traded and their topics brought nothing, subscribing again");
            }
            Notice::Unwatched { topic, message: answer } => {
                warn!(%category, connection, topic, answer, "no check for a silent feed, because its topic is not available");
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
        let last_frame = since(counters.frames, status.counters.frames, status.last_frame);
        let last_trade_frame = since(counters.trade_frames, status.counters.trade_frames, status.last_trade_frame);
        *status = Status {
            is_open,
            joined: status.joined,
            is_silent: self.session.is_silent(now),
            covered,
            refused,
            wanted,
            failed: self.failed,
            last_frame,
            last_trade_frame,
            counters,
        };
    }

    fn now(&self) -> LocalMillis {
        self.context.clock.now()
    }
}

/// Reserves a new connection and returns the local time at which it may be opened.
fn reserve(context: &FeedContext) -> LocalMillis {
    let now = context.clock.now();
    now + context.pacer.lock().unwrap_or_else(PoisonError::into_inner).reserve(now)
}

/// Waits for the next boundary and returns its local time; waits for ever if the sender is gone.
async fn next_boundary(boundary: &mut watch::Receiver<LocalMillis>) -> LocalMillis {
    if boundary.changed().await.is_err() {
        return std::future::pending().await;
    }
    *boundary.borrow_and_update()
}

fn close_reason(frame: Option<tungstenite::protocol::CloseFrame>) -> String {
    frame.map_or_else(
        || "closed by the exchange".to_owned(),
        |frame| {
            format!("closed by the exchange: {} {}", u16::from(frame.code), sanitize(&frame.reason, MAX_SHOWN_BYTES))
        },
    )
}
