//! One WebSocket client after the handshake: what is due to it, what it says, and when it has to go.
//!
//! Anybody may hand it frames; its own task reads, and writes what a full socket left over. What messages mean is the
//! dialects' business.

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
use super::outbox::{Full, Kind, LongAnswer, Outbox};
use super::transport::Cipher;

/// The eager part of a connection's memory: commands are short, and longer ones make it grow.
const READ_BUFFER: usize = 512;
/// The first byte of a pong.
const PONG: u8 = 0x8a;
/// How long a client may take to answer a close frame, ms.
const CLOSE_PATIENCE: i64 = 2_000;
/// Looks, one a second, that may find its socket as full as the one before, and no sign of life from it.
const STUCK: u32 = 10;
const SILENT: u32 = 30;
/// Bytes taken from one client before others get their turn.
const BYTES_A_TURN: usize = 16 << 10;

/// Number of a client, in the order of their coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A connected client.
pub struct Client {
    /// Its number, as in the logs.
    pub id: ClientId,
    /// Where it connects from.
    pub address: IpAddr,
    /// What it is told before the server goes.
    pub farewell: Option<&'static str>,
    socket: TcpStream,
    inner: Mutex<Inner>,
    /// Wakes its task to write, or to end.
    wake: Notify,
    /// Frames were added since the last flush.
    dirty: AtomicBool,
    is_admitted: AtomicBool,
}

struct Inner {
    cipher: Cipher,
    protocol: WebSocketContext,
    outbox: Outbox,
    /// Closed klines that were due to it and will not come.
    lost: u64,
    /// Bytes that its socket has taken.
    sent: u64,
    /// Something came from it since the last look.
    heard: bool,
    watch: Watch,
    /// Set once; nothing is added after it.
    closing: Option<Closing>,
    /// What it says is no longer understood: read to its end and thrown away, so that the close frame arrives.
    deaf: bool,
    /// Nothing more comes from it; what is due may be written until this local time, ms.
    gone_until: Option<i64>,
    /// The connection is of no more use.
    over: bool,
}

/// What the last look found. Looks are counted rather than time, so that a pause of this process is held against nobody.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    sent: u64,
    /// Looks in a row at which something waited and the socket had taken nothing since the one before.
    stuck: u32,
    /// Looks in a row at which nothing had come from it.
    silent: u32,
}

/// A close frame is on its way.
#[derive(Clone, Copy, Debug)]
struct Closing {
    code: CloseCode,
    /// Local time from which the connection is cut, ms.
    until: i64,
}

/// A connection after the handshake.
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// What lies over it.
    pub cipher: Cipher,
    /// Bytes that came with the handshake.
    pub early: Vec<u8>,
    /// Where it comes from.
    pub address: IpAddr,
    /// What the client is told before the server goes.
    pub farewell: Option<&'static str>,
}

/// What one client may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a message from it, and of a frame.
    pub message: usize,
    /// Bytes that may wait for it.
    pub queue: usize,
}

/// A message from a client.
#[derive(Debug)]
pub enum Heard {
    /// A text.
    Text(Utf8Bytes),
    /// A binary message, which no dialect has.
    Binary,
    /// A ping, a pong or a close: answered already, but it counts.
    Control,
}

/// What reading a message from the socket came to.
enum ReadStep {
    Heard(Heard),
    /// Nothing more until the socket has something.
    Blocked,
    /// Others have their turn first.
    Spent,
}

impl Client {
    /// Takes over a connection; `early` is what came with the handshake.
    #[must_use]
    pub fn new(id: ClientId, connection: Connection, limits: ClientLimits) -> Self {
        let Connection { socket, cipher, early, address, farewell } = connection;
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
            farewell,
            socket,
            inner: Mutex::new(Inner {
                cipher,
                protocol,
                outbox,
                lost: 0,
                sent: 0,
                heard: true,
                watch: Watch::default(),
                closing: None,
                deaf: false,
                gone_until: None,
                over: false,
            }),
            wake: Notify::new(),
            dirty: AtomicBool::new(false),
            is_admitted: AtomicBool::new(false),
        }
    }

    /// Whether nobody is busy with it and nothing waits for its socket: a frame more is a matter of microseconds.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self.inner.try_lock() {
            Ok(inner) => inner.outbox.is_empty(),
            Err(_) => false,
        }
    }

    /// Adds a frame to what is due; nothing is written yet. Returns whether the caller is the one to flush.
    pub fn push(&self, kind: Kind, frame: Bytes, now: i64) -> bool {
        self.add(kind.closed(), |outbox| outbox.push(kind, frame), now)
    }

    /// Adds an answer whose frames are made as its socket takes them; else as [`Client::push`].
    pub fn answer(&self, answer: Box<dyn LongAnswer>, now: i64) -> bool {
        self.add(0, |outbox| outbox.answer(answer), now)
    }

    /// Notes how many topics it follows, which make room for what they bring at a boundary.
    pub fn expect(&self, topics: usize) {
        self.lock().outbox.expect(topics);
    }

    /// Closed klines that were due to it while it followed their topics and that its socket has not taken.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let inner = self.lock();
        inner.lost + inner.outbox.closed()
    }

    fn add(&self, closed: u64, add: impl FnOnce(&mut Outbox) -> Result<(), Full>, now: i64) -> bool {
        let mut inner = self.lock();
        if inner.closing.is_some() || inner.over {
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

    /// Writes what is due, as far as the socket takes it; its task does the rest.
    pub fn flush(&self) {
        self.dirty.store(false, Ordering::Release);
        let mut inner = self.lock();
        if !inner.write(&self.socket) || inner.over {
            self.wake.notify_one();
        }
    }

    /// Sends one frame at once.
    pub fn send(&self, frame: Bytes, now: i64) {
        self.push(Kind::Firm, frame, now);
        self.flush();
    }

    /// Ends the connection: what waits is dropped if `code` says that the client is slow, else written first, then
    /// the close frame.
    pub fn close(&self, code: CloseCode, now: i64) {
        let mut inner = self.lock();
        inner.close(code, now);
        inner.write(&self.socket);
        self.wake.notify_one();
    }

    /// Ends the connection if its socket took nothing for too long or nothing came from it, and cuts it if a close was
    /// answered by silence. To be called once a second. Returns whether it has a future.
    pub fn look_after(&self, now: i64) -> bool {
        let mut inner = self.lock();
        let is_late = |until: i64| now >= until;
        if inner.closing.is_some_and(|closing| is_late(closing.until)) || inner.gone_until.is_some_and(is_late) {
            inner.over = true;
        } else if let Some(code) = inner.overdue() {
            inner.close(code, now);
        }
        let has_future = inner.closing.is_none() && !inner.over;
        if !has_future {
            self.wake.notify_one();
        }
        has_future
    }

    /// Bytes that an answer to it may have.
    #[must_use]
    pub fn room_for_answer(&self) -> usize {
        self.lock().outbox.room_for_answer()
    }

    /// Notes that it has logged in, or need not.
    pub fn admit(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    /// Whether it has logged in, or need not.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }

    /// The code that the server closes it with.
    #[must_use]
    pub fn closed_with(&self) -> Option<CloseCode> {
        self.lock().closing.map(|closing| closing.code)
    }

    /// Runs until the connection is over or `take`, which is handed each message, has had enough. May be called again,
    /// and be dropped at any time: nothing is lost.
    pub async fn run(&self, now: impl Fn() -> i64, mut take: impl FnMut(Heard) -> ControlFlow<()>) {
        // What came with the handshake waits in the buffer, not in the socket.
        let mut readable = true;
        loop {
            let mut budget = BYTES_A_TURN;
            while readable {
                match self.read(now(), &mut budget) {
                    ReadStep::Heard(heard) => {
                        if take(heard).is_break() {
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
                if inner.over {
                    return;
                }
                match (is_written, inner.gone_until) {
                    // Nothing is read from it any more: what it still sends must not wake anyone.
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

    /// Takes the next message, if one has come; answers pings and closes on the way.
    fn read(&self, now: i64, budget: &mut usize) -> ReadStep {
        let mut inner = self.lock();
        loop {
            if inner.gone_until.is_some() {
                return ReadStep::Blocked;
            }
            if inner.deaf {
                return inner.discard(&self.socket, budget, now);
            }
            let Inner { cipher, protocol, outbox, closing, heard, .. } = &mut *inner;
            let mut wire =
                Wire { cipher, socket: &self.socket, outbox, budget, is_closing: closing.is_some(), is_full: false };
            let before = *wire.budget;
            let result = protocol.read(&mut wire);
            let (is_full, left) = (wire.is_full, *wire.budget);
            *heard |= left < before;
            match result {
                Ok(_) if inner.closing.is_some() => {}
                Ok(Message::Text(text)) => return ReadStep::Heard(Heard::Text(text)),
                Ok(Message::Binary(_)) => return ReadStep::Heard(Heard::Binary),
                // Answered by the protocol itself: the answer is due with the next look.
                Ok(_) => return ReadStep::Heard(Heard::Control),
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return if left == 0 { ReadStep::Spent } else { ReadStep::Blocked };
                }
                Err(_) if is_full => {
                    inner.close(CloseCode::Slow, now);
                    inner.deaf = true;
                }
                Err(WsError::Utf8(_)) => inner.refuse(CloseCode::InvalidText, now),
                Err(WsError::Capacity(CapacityError::MessageTooLong { .. })) => inner.refuse(CloseCode::TooBig, now),
                Err(WsError::Protocol(error)) if error != ProtocolError::ResetWithoutClosingHandshake => {
                    inner.refuse(CloseCode::Protocol, now);
                }
                Err(_) => inner.gone_until = Some(now + CLOSE_PATIENCE),
            }
        }
    }

    /// Nothing panics under the lock but an allocation failure.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes what is due. Returns whether nothing is left.
    fn write(&mut self, socket: &TcpStream) -> bool {
        let Self { cipher, outbox, sent, .. } = self;
        let drained = outbox.drain(|slices| cipher.write(socket, slices, sent));
        let is_written = drained.and_then(|drained| Ok(cipher.flush(socket, sent)? && drained));
        match is_written {
            Ok(is_written) => {
                if is_written && self.gone_until.is_some() {
                    self.cipher.close(socket);
                    self.over = true;
                }
                is_written
            }
            Err(_) => {
                self.over = true;
                true
            }
        }
    }

    /// Compares with the last look. Returns why the connection has to end, if it has to.
    fn overdue(&mut self) -> Option<CloseCode> {
        let is_stuck = self.sent == self.watch.sent && !(self.outbox.is_empty() && self.cipher.is_empty());
        let is_silent = !std::mem::take(&mut self.heard);
        let count = |counts: bool, before: u32| if counts { before.saturating_add(1) } else { 0 };
        self.watch = Watch {
            sent: self.sent,
            stuck: count(is_stuck, self.watch.stuck),
            silent: count(is_silent, self.watch.silent),
        };
        if self.closing.is_some() || self.gone_until.is_some() {
            None
        } else if self.watch.stuck >= STUCK {
            Some(CloseCode::Slow)
        } else {
            (self.watch.silent >= SILENT).then_some(CloseCode::NoPong)
        }
    }

    /// Puts the close frame behind what is due; a slow client's queue goes.
    fn close(&mut self, code: CloseCode, now: i64) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Closing { code, until: now + CLOSE_PATIENCE });
        if code == CloseCode::Slow || self.outbox.push(Kind::Firm, code.frame()).is_err() {
            self.lost += self.outbox.end_with(code.frame());
        }
    }

    /// Closes a connection whose bytes make no sense any more.
    fn refuse(&mut self, code: CloseCode, now: i64) {
        self.close(code, now);
        self.deaf = true;
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
                    self.gone_until = Some(now + CLOSE_PATIENCE);
                    return ReadStep::Blocked;
                }
            }
        }
    }
}

/// The connection as the protocol sees it: reads from the socket, and what it writes waits its turn with the rest.
struct Wire<'a> {
    cipher: &'a mut Cipher,
    socket: &'a TcpStream,
    outbox: &'a mut Outbox,
    budget: &'a mut usize,
    is_closing: bool,
    /// Something had no room.
    is_full: bool,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.cipher.read(self.socket, into, self.budget)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // After the close frame nothing is sent.
        let kind = if bytes.first() == Some(&PONG) { Kind::Pong } else { Kind::Firm };
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
