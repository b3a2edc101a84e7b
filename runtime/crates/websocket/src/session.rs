//! The session of one connection: its credentials, its subscriptions, and the dialect that answers its messages.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashSet;
use klines_domain::symbol::Category;

use super::client::{Client, Incoming};
use super::close::CloseCode;
use super::dialect::Dialect;
use super::keys::Keys;
use super::outbox::{FrameKind, LongAnswer, TopicId};
use super::server::Server;
use super::throttle::{RateLimit, RateLimiter};
use super::{bybit, frame, stream, streamer};

/// The number of seconds whose commands a client may send at once.
const BURST: u32 = 10;

/// The path that a client is connected to, which selects the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/`
    Streamer(Category),
    /// `/v5/public/{category}`
    Bybit(Category),
    /// `/v1/stream`
    Stream,
}

/// The session of a connected client.
pub struct Session {
    /// The server.
    pub server: Arc<Server>,
    /// The client.
    pub client: Arc<Client>,
    endpoint: Endpoint,
    followed: HashSet<TopicId, foldhash::fast::RandomState>,
    rate_limiter: RateLimiter,
}

impl Endpoint {
    /// Returns the message that the server sends before it shuts down, if the dialect has one.
    #[must_use]
    pub const fn shutdown_message(self) -> Option<&'static str> {
        match self {
            Self::Streamer(_) => Some(streamer::SHUTDOWN),
            Self::Bybit(_) => None,
            Self::Stream => Some(stream::SHUTDOWN),
        }
    }

    /// Returns whether clients have to log in even with `websocket.auth = false`.
    #[must_use]
    pub const fn requires_login(self) -> bool {
        matches!(self, Self::Streamer(_))
    }
}

impl Session {
    /// Starts the session of a client; `is_admitted` if it has logged in with the handshake, or does not have to.
    #[must_use]
    pub fn new(server: Arc<Server>, client: Arc<Client>, endpoint: Endpoint, is_admitted: bool) -> Self {
        // Clients that reconnect subscribe to all their topics at once.
        let commands = server.settings.commands;
        let rate_limiter = RateLimiter::new(RateLimit::per_second(commands, commands.saturating_mul(BURST)));
        let session = Self { server, client, endpoint, followed: HashSet::default(), rate_limiter };
        if is_admitted {
            session.client.admit();
        }
        match endpoint {
            Endpoint::Streamer(category) if is_admitted => streamer::welcome(&session, category),
            Endpoint::Stream if is_admitted => stream::welcome(&session),
            _ => {}
        }
        session
    }

    /// Returns whether the client has logged in, or does not have to.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.client.is_admitted()
    }

    /// Handles a message from the client.
    pub fn handle(&mut self, message: &Incoming) {
        if !self.rate_limiter.take(Instant::now()) {
            return self.refuse(CloseCode::TooManyCommands);
        }
        match (message, self.endpoint) {
            (Incoming::Text(text), Endpoint::Streamer(category)) => streamer::handle(self, category, text),
            (Incoming::Text(text), Endpoint::Bybit(category)) => bybit::handle(self, category, text),
            (Incoming::Text(text), Endpoint::Stream) => stream::handle(self, text),
            (Incoming::Control, _) => {}
            (Incoming::Binary, _) if !self.is_admitted() => self.refuse(CloseCode::AuthenticationFailed),
            (Incoming::Binary, _) => self.refuse(CloseCode::Unreadable),
        }
    }

    /// Returns whether the answer to `message` is delayed: that to a subscription in Bybit's dialect.
    #[must_use]
    pub fn is_delayed(&self, message: &Incoming) -> bool {
        matches!((self.endpoint, message), (Endpoint::Bybit(_), Incoming::Text(text)) if text.contains("\"subscribe\""))
    }

    /// Closes a client that did not log in within the time limit.
    pub fn time_out(&mut self) {
        if let Endpoint::Streamer(_) = self.endpoint {
            streamer::time_out(self);
        }
        self.refuse(CloseCode::AuthenticationTimeout);
    }

    /// Removes all subscriptions of the client.
    pub fn unfollow_all(&mut self) {
        let mut subscriptions = self.server.subscriptions.lock();
        match self.endpoint {
            Endpoint::Streamer(_) => subscriptions.unfollow_batches(self.client.id),
            Endpoint::Bybit(_) => {
                self.followed.drain().for_each(|id| subscriptions.unfollow(id, Dialect::Bybit, self.client.id))
            }
            Endpoint::Stream => {
                self.followed.drain().for_each(|id| subscriptions.unfollow(id, Dialect::Stream, self.client.id))
            }
        }
        drop(subscriptions);
        self.server.feeds.unfollow(self.client.id);
    }

    /// Enqueues a text message without writing it.
    pub fn enqueue(&self, text: &str) {
        self.enqueue_frame(FrameKind::Required, frame::text(text));
    }

    /// Enqueues a frame without writing it.
    pub fn enqueue_frame(&self, kind: FrameKind, frame: Bytes) {
        self.client.push(kind, frame, self.server.now());
    }

    /// Enqueues an answer that is encoded as the client reads it.
    pub fn enqueue_answer(&self, answer: Box<dyn LongAnswer>) {
        self.client.answer(answer, self.server.now());
    }

    /// Sends a text message.
    pub fn reply(&self, text: &str) {
        self.enqueue(text);
        self.client.flush();
    }

    /// Closes the connection with `code`.
    pub fn refuse(&self, code: CloseCode) {
        self.client.close(code, self.server.now());
    }

    /// Returns the number of subscribed topics.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.followed.len()
    }

    /// Returns whether the client is subscribed to a topic.
    #[must_use]
    pub fn follows(&self, id: TopicId) -> bool {
        self.followed.contains(&id)
    }

    /// Adds a topic to the client's subscriptions. Returns whether it is new.
    pub fn follow(&mut self, id: TopicId) -> bool {
        let is_new = self.followed.insert(id);
        self.client.set_topics(self.followed.len());
        is_new
    }

    /// Removes a topic from the client's subscriptions. Returns whether the client was subscribed to it.
    pub fn unfollow(&mut self, id: TopicId) -> bool {
        let was_followed = self.followed.remove(&id);
        self.client.set_topics(self.followed.len());
        was_followed
    }

    /// Returns the opaque `conn_id` of the connection for Bybit's clients.
    #[must_use]
    pub fn connection_id(&self) -> String {
        format!("{:016x}-{:04x}", self.server.instance_id, self.client.id.0)
    }

    /// Admits the client if `key` belongs to `user`. Returns whether it does.
    pub fn check_pair(&mut self, user: &str, key: &str) -> bool {
        self.admit(|keys| keys.check_pair(user, key).map(drop))
    }

    /// Admits the client if its signature is valid; `expires` is in ms since 1970 UTC. Returns whether it is.
    pub fn check_signature(&mut self, user: &str, expires: u64, signature: &str) -> bool {
        let now = self.server.wall_clock().unsigned_abs();
        self.admit(|keys| keys.check_signature(user, expires, signature, now).ok().map(drop))
    }

    fn admit(&self, check: impl FnOnce(&Keys) -> Option<()>) -> bool {
        let is_right = self.server.admits(self.client.address, check);
        if is_right {
            self.client.admit();
        }
        is_right
    }
}
