//! One WebSocket client after the handshake: its outbox, its incoming messages, and when its connection is closed.
//!
//! Any thread may push frames. The client's own task reads, and writes the frames that did not fit into the socket.
//! Does not interpret messages; the dialects do.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::close::CloseCode;
use super::outbox::{FrameKind, Full, LongAnswer, Outbox};
use super::transport::Cipher;

/// The initial size of the read buffer, bytes: commands are short, and the buffer grows for longer ones.
const READ_BUFFER: usize = 512;
/// The first byte of a pong.
const PONG_BYTE: u8 = 0x8a;
/// How long a client may take to answer a close frame, or to take its last frames, ms.
const CLOSE_TIMEOUT_MS: i64 = 2_000;
/// Consecutive checks, one a second, in which the socket may have taken no bytes while some wait.
const MAX_STUCK_CHECKS: u32 = 10;
/// Consecutive checks, one a second, in which nothing may have been received.
const MAX_SILENT_CHECKS: u32 = 30;
/// Bytes read from one client before its task yields to others.
const BYTES_PER_TURN: usize = 16 << 10;

/// The number of a client; clients are numbered in the order in which they connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A connected client.
pub struct Client {
    /// The client's number, as in the logs.
    pub id: ClientId,
    /// The remote address.
    pub address: IpAddr,
    /// The dialect's message that the server is shutting down, if it has one.
    pub shutdown_message: Option<&'static str>,
    socket: TcpStream,
    inner: Mutex<Inner>,
    /// Wakes the client's task to write, or to end.
    wake: Notify,
    /// Frames were added since the last flush.
    dirty: AtomicBool,
    is_admitted: AtomicBool,
}

struct Inner {
    cipher: Cipher,
    protocol: WebSocketContext,
    outbox: Outbox,
    /// Closed klines that were dropped instead of sent.
    lost: u64,
    /// Bytes that the socket has taken.
    sent: u64,
    /// Whether bytes were received since the last check.
    has_received: bool,
    liveness: Liveness,
    /// Set once; no frame is added afterwards.
    closing: Option<Closing>,
    /// Input cannot be parsed any more: it is read to its end and discarded, so that the close frame arrives.
    ignores_input: bool,
    /// The client has closed its side; queued frames may be written until this local time, ms.
    write_until: Option<i64>,
    /// The connection is finished or broken.
    is_over: bool,
}

/// The result of the last liveness check. Counts checks rather than time, so that a pause of this process does not
/// close connections.
#[derive(Clone, Copy, Debug, Default)]
struct Liveness {
    sent: u64,
    /// Consecutive checks in which bytes waited and the socket had taken none since the previous check.
    stuck: u32,
    /// Consecutive checks in which nothing had been received.
    silent: u32,
}

/// A close frame that has been queued.
#[derive(Clone, Copy, Debug)]
struct Closing {
    code: CloseCode,
    /// Local time after which the connection is closed without the client's answer, ms.
    until: i64,
}

/// A connection after the handshake.
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// The encryption, if any.
    pub cipher: Cipher,
    /// Bytes that were received together with the handshake.
    pub early: Vec<u8>,
    /// The remote address.
    pub address: IpAddr,
    /// The dialect's message that the server is shutting down, if it has one.
    pub shutdown_message: Option<&'static str>,
}

/// The limits of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// The maximum size of a received message, and of a frame, bytes.
    pub message: usize,
    /// The maximum size of the outbox, bytes.
    pub queue: usize,
}

/// A message from a client.
#[derive(Debug)]
pub enum Incoming {
    /// A text.
    Text(Utf8Bytes),
    /// A binary message, which no dialect accepts.
    Binary,
    /// A ping, a pong or a close: already answered, but counted by the rate limit.
    Control,
}

/// The result of an attempt to read a message from the socket.
enum ReadStep {
    Message(Incoming),
    /// The socket has no more bytes for now.
    Blocked,
    /// The budget of this turn is used up: other clients come first.
    Spent,
}

impl Client {
    /// Creates a client from a connection after the handshake.
    #[must_use]
    pub fn new(id: ClientId, connection: Connection, limits: ClientLimits) -> Self {
        let Connection { socket, cipher, early, address, shutdown_message } = connection;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(limits.message.saturating_add(1_024))
            .max_message_size(Some(limits.message))
            .max_frame_size(Some(limits.message));
        let protocol = WebSocketContext::from_partially_read(early, Role::Server, Some(config));
        let outbox = Outbox::new(limits.queue);
        Self {
            id,
            address,
            shutdown_message,
            socket,
            inner: Mutex::new(Inner {
                cipher,
                protocol,
                outbox,
                lost: 0,
                sent: 0,
                has_received: true,
                liveness: Liveness::default(),
                closing: None,
                ignores_input: false,
                write_until: None,
                is_over: false,
            }),
            wake: Notify::new(),
            dirty: AtomicBool::new(false),
            is_admitted: AtomicBool::new(false),
        }
    }

    /// Returns whether no other thread holds the client's lock and its outbox is empty, so that sending one more frame
    /// takes microseconds.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self.inner.try_lock() {
            Ok(inner) => inner.outbox.is_empty(),
            Err(_) => false,
        }
    }

    /// Enqueues a frame without writing it. Returns whether the caller has to flush.
    pub fn push(&self, kind: FrameKind, frame: Bytes, now: i64) -> bool {
        self.add(kind.closed(), |outbox| outbox.push(kind, frame), now)
    }

    /// Enqueues an answer whose frames are encoded as the socket takes them; otherwise the same as [`Client::push`].
    pub fn answer(&self, answer: Box<dyn LongAnswer>, now: i64) -> bool {
        self.add(0, |outbox| outbox.answer(answer), now)
    }

    /// Sets the number of subscribed topics; the outbox always has room for the pushes of two boundaries.
    pub fn set_topics(&self, topics: usize) {
        self.lock().outbox.set_topics(topics);
    }

    /// Returns the number of closed klines that were pushed to the client and that its socket has not taken.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let inner = self.lock();
        inner.lost + inner.outbox.closed()
    }

    fn add(&self, closed: u64, add: impl FnOnce(&mut Outbox) -> Result<(), Full>, now: i64) -> bool {
        let mut inner = self.lock();
        if inner.closing.is_some() || inner.is_over {
            inner.lost += closed;
            return false;
        }
        if add(&mut inner.outbox).is_err() {
            inner.lost += closed;
            inner.close(CloseCode::Slow, now);
        }
        drop(inner);
        !self.dirty.swap(true, Ordering::AcqRel)
    }

    /// Writes queued frames as far as the socket takes them; the client's task writes the rest.
    pub fn flush(&self) {
        self.dirty.store(false, Ordering::Release);
        let mut inner = self.lock();
        if !inner.write(&self.socket) || inner.is_over {
            self.wake.notify_one();
        }
    }

    /// Enqueues one frame and flushes.
    pub fn send(&self, frame: Bytes, now: i64) {
        self.push(FrameKind::Required, frame, now);
        self.flush();
    }

    /// Closes the connection with `code`. Queued frames are written before the close frame; if `code` is
    /// [`CloseCode::Slow`], they are dropped.
    pub fn close(&self, code: CloseCode, now: i64) {
        let mut inner = self.lock();
        inner.close(code, now);
        inner.write(&self.socket);
        self.wake.notify_one();
    }

    /// Closes the connection if its socket took no bytes or received none for too long, and ends it if the client does
    /// not answer a close frame in time. Must be called once a second. Returns whether the connection stays open.
    pub fn check_liveness(&self, now: i64) -> bool {
        let mut inner = self.lock();
        let is_late = |until: i64| now >= until;
        if inner.closing.is_some_and(|closing| is_late(closing.until)) || inner.write_until.is_some_and(is_late) {
            inner.is_over = true;
        } else if let Some(code) = inner.overdue() {
            inner.close(code, now);
        }
        let stays_open = inner.closing.is_none() && !inner.is_over;
        if !stays_open {
            self.wake.notify_one();
        }
        stays_open
    }

    /// Returns the maximum size of the next answer, bytes.
    #[must_use]
    pub fn room_for_answer(&self) -> usize {
        self.lock().outbox.room_for_answer()
    }

    /// Marks the client as logged in, or as not required to log in.
    pub fn admit(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Returns whether the client has logged in, or does not have to.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }

    /// Returns the code with which the server closes the connection, if it does.
    #[must_use]
    pub fn closed_with(&self) -> Option<CloseCode> {
        self.lock().closing.map(|closing| closing.code)
    }

    /// Runs until the connection ends or `take`, which gets each message, breaks. Cancel-safe, and may be called again:
    /// no message is lost.
    pub async fn run(&self, now: impl Fn() -> i64, mut take: impl FnMut(Incoming) -> ControlFlow<()>) {
        // Bytes that were received with the handshake are in the buffer, not in the socket.
        let mut readable = true;
        loop {
            let mut budget = BYTES_PER_TURN;
            while readable {
                match self.read(now(), &mut budget) {
                    ReadStep::Message(message) => {
                        if take(message).is_break() {
                            return;
                        }
                    }
                    ReadStep::Blocked => readable = false,
                    ReadStep::Spent => break,
                }
            }
            let interest = {
                let mut inner = self.lock();
                let is_written = inner.write(&self.socket);
                if inner.is_over {
                    return;
                }
                match (is_written, inner.write_until) {
                    // Nothing is read any more, so that received bytes must not wake this task.
                    (_, Some(_)) => Interest::WRITABLE,
                    (true, None) => Interest::READABLE,
                    (false, None) => Interest::READABLE | Interest::WRITABLE,
                }
            };
            if readable {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                ready = self.socket.ready(interest) => match ready {
                    Ok(ready) => readable = interest.is_readable() && (ready.is_readable() || ready.is_read_closed() || ready.is_error()),
                    Err(_) => return,
                },
                () = self.wake.notified() => {}
            }
        }
    }

    /// Reads the next message, if one has been received; answers pings and close frames in passing.
    fn read(&self, now: i64, budget: &mut usize) -> ReadStep {
        let mut inner = self.lock();
        loop {
            if inner.write_until.is_some() {
                return ReadStep::Blocked;
            }
            if inner.ignores_input {
                return inner.discard(&self.socket, budget, now);
            }
            let Inner { cipher, protocol, outbox, closing, has_received, .. } = &mut *inner;
            let mut wire =
                Wire { cipher, socket: &self.socket, outbox, budget, is_closing: closing.is_some(), is_full: false };
            let before = *wire.budget;
            let result = protocol.read(&mut wire);
            let (is_full, left) = (wire.is_full, *wire.budget);
            *has_received |= left < before;
            match result {
                Ok(_) if inner.closing.is_some() => {}
                Ok(Message::Text(text)) => return ReadStep::Message(Incoming::Text(text)),
                Ok(Message::Binary(_)) => return ReadStep::Message(Incoming::Binary),
                // `tungstenite` answers these itself: it queues the answer with the next read.
                Ok(_) => return ReadStep::Message(Incoming::Control),
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if left == 0 { ReadStep::Spent } else { ReadStep::Blocked };
                }
                Err(_) if is_full => {
                    inner.close(CloseCode::Slow, now);
                    inner.ignores_input = true;
                }
                Err(WsError::Utf8(_)) => inner.refuse(CloseCode::InvalidText, now),
                Err(WsError::Capacity(CapacityError::MessageTooLong { .. })) => inner.refuse(CloseCode::TooBig, now),
                Err(WsError::Protocol(error)) if error != ProtocolError::ResetWithoutClosingHandshake => {
                    inner.refuse(CloseCode::Protocol, now);
                }
                Err(_) => inner.write_until = Some(now + CLOSE_TIMEOUT_MS),
            }
        }
    }

    /// Locks the state. A poisoned lock is used as it is: only a failed allocation can panic while it is held.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes queued frames. Returns whether the outbox is empty, or can no longer be written.
    fn write(&mut self, socket: &TcpStream) -> bool {
        let Self { cipher, outbox, sent, .. } = self;
        let drained = outbox.drain(|slices| cipher.write(socket, slices, sent));
        let is_written = drained.and_then(|drained| Ok(cipher.flush(socket, sent)? && drained));
        match is_written {
            Ok(is_written) => {
                if is_written && self.write_until.is_some() {
                    self.cipher.close(socket);
                    self.is_over = true;
                }
                is_written
            }
            Err(_) => {
                self.is_over = true;
                true
            }
        }
    }

    /// Compares with the last check. Returns the code to close the connection with, `None` if it is alive.
    fn overdue(&mut self) -> Option<CloseCode> {
        let is_stuck = self.sent == self.liveness.sent && !(self.outbox.is_empty() && self.cipher.is_empty());
        let is_silent = !std::mem::take(&mut self.has_received);
        let count = |counts: bool, before: u32| if counts { before.saturating_add(1) } else { 0 };
        self.liveness = Liveness {
            sent: self.sent,
            stuck: count(is_stuck, self.liveness.stuck),
            silent: count(is_silent, self.liveness.silent),
        };
        if self.closing.is_some() || self.write_until.is_some() {
            None
        } else if self.liveness.stuck >= MAX_STUCK_CHECKS {
            Some(CloseCode::Slow)
        } else {
            (self.liveness.silent >= MAX_SILENT_CHECKS).then_some(CloseCode::NoPong)
        }
    }

    /// Enqueues the close frame after the queued frames; drops those of a slow client.
    fn close(&mut self, code: CloseCode, now: i64) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Closing { code, until: now + CLOSE_TIMEOUT_MS });
        if code == CloseCode::Slow || self.outbox.push(FrameKind::Required, code.frame()).is_err() {
            self.lost += self.outbox.end_with(code.frame());
        }
    }

    /// Closes a connection whose input cannot be parsed any more.
    fn refuse(&mut self, code: CloseCode, now: i64) {
        self.close(code, now);
        self.ignores_input = true;
    }

    fn discard(&mut self, socket: &TcpStream, budget: &mut usize, now: i64) -> ReadStep {
        let mut scrap = [0; 1_024];
        loop {
            match self.cipher.read(socket, &mut scrap, budget) {
                Ok(read) if read > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if *budget == 0 { ReadStep::Spent } else { ReadStep::Blocked };
                }
                _ => {
                    self.write_until = Some(now + CLOSE_TIMEOUT_MS);
                    return ReadStep::Blocked;
                }
            }
        }
    }
}

/// The connection as `tungstenite` sees it: reads come from the socket, and writes go into the outbox.
struct Wire<'a> {
    cipher: &'a mut Cipher,
    socket: &'a TcpStream,
    outbox: &'a mut Outbox,
    budget: &'a mut usize,
    is_closing: bool,
    /// Set when the outbox had no room.
    is_full: bool,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.cipher.read(self.socket, into, self.budget)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nothing is sent after the close frame.
        let kind = if bytes.first() == Some(&PONG_BYTE) { FrameKind::Pong } else { FrameKind::Required };
        if !self.is_closing && self.outbox.push(kind, Bytes::copy_from_slice(bytes)).is_err() {
            self.is_full = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("id", &self.id).field("address", &self.address).finish_non_exhaustive()
    }
}
