//! One connection's conversation: who it is, what it follows, and which dialect answers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashSet;
use klines_domain::symbol::Category;

use super::client::{Client, Heard};
use super::close::CloseCode;
use super::keys::Keys;
use super::outbox::{Kind, LongAnswer, TopicId};
use super::series::Dialect;
use super::server::Server;
use super::throttle::{Allowance, Pace};
use super::{bybit, frame, predecessor, stream};

/// Seconds' worth of commands that may come at once.
const BURST: u32 = 10;

/// The dialect of a path, with what the path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// `/`
    Predecessor(Category),
    /// `/v5/public/{category}`
    Bybit(Category),
    /// `/v1/stream`
    Stream,
}

/// A conversation.
pub struct Seat {
    /// Whom the client talks to.
    pub server: Arc<Server>,
    /// The connection.
    pub client: Arc<Client>,
    talk: Talk,
    followed: HashSet<TopicId, foldhash::fast::RandomState>,
    pace: Pace,
}

impl Talk {
    /// What the server says before it goes.
    #[must_use]
    pub const fn farewell(self) -> Option<&'static str> {
        match self {
            Self::Predecessor(_) => Some(predecessor::SHUTDOWN),
            Self::Bybit(_) => None,
            Self::Stream => Some(stream::SHUTDOWN),
        }
    }

    /// Whether credentials are asked for even where the operator asks for none.
    #[must_use]
    pub const fn always_asks(self) -> bool {
        matches!(self, Self::Predecessor(_))
    }
}

impl Seat {
    /// Seats a client that may have logged in with the handshake already.
    #[must_use]
    pub fn new(server: Arc<Server>, client: Arc<Client>, talk: Talk, is_admitted: bool) -> Self {
        // Clients that come back ask for all their topics at once.
        let commands = server.settings.commands;
        let pace = Pace::new(Allowance::per_second(commands, commands.saturating_mul(BURST)));
        let seat = Self { server, client, talk, followed: HashSet::default(), pace };
        if is_admitted {
            seat.client.admit();
        }
        match talk {
            Talk::Predecessor(category) if is_admitted => predecessor::welcome(&seat, category),
            Talk::Stream if is_admitted => stream::welcome(&seat),
            _ => {}
        }
        seat
    }

    /// Whether the client has shown its credentials, or needs none.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.client.is_admitted()
    }

    /// Takes what the client said.
    pub fn hear(&mut self, heard: &Heard) {
        if !self.pace.take(Instant::now()) {
            return self.refuse(CloseCode::TooManyCommands);
        }
        match (heard, self.talk) {
            (Heard::Text(text), Talk::Predecessor(category)) => predecessor::hear(self, category, text),
            (Heard::Text(text), Talk::Bybit(category)) => bybit::hear(self, category, text),
            (Heard::Text(text), Talk::Stream) => stream::hear(self, text),
            (Heard::Control, _) => {}
            (Heard::Binary, _) if !self.is_admitted() => self.refuse(CloseCode::AuthenticationFailed),
            (Heard::Binary, _) => self.refuse(CloseCode::Unreadable),
        }
    }

    /// Whether an answer had better wait a moment: a subscription in Bybit's dialect.
    #[must_use]
    pub fn is_early(&self, heard: &Heard) -> bool {
        matches!((self.talk, heard), (Talk::Bybit(_), Heard::Text(text)) if text.contains("\"subscribe\""))
    }

    /// Ends the wait for credentials.
    pub fn late(&mut self) {
        if let Talk::Predecessor(_) = self.talk {
            predecessor::late(self);
        }
        self.refuse(CloseCode::AuthenticationTimeout);
    }

    /// Takes the client off everything that it follows.
    pub fn leave_all(&mut self) {
        let mut board = self.server.board.lock();
        match self.talk {
            Talk::Predecessor(_) => board.leave_batches(self.client.id),
            Talk::Bybit(_) => self.followed.drain().for_each(|id| board.leave(id, Dialect::Bybit, self.client.id)),
            Talk::Stream => self.followed.drain().for_each(|id| board.leave(id, Dialect::Stream, self.client.id)),
        }
        drop(board);
        self.server.feeds.leave(self.client.id);
    }

    /// Adds an answer to what is due.
    pub fn due(&self, text: &str) {
        self.due_frame(Kind::Firm, frame::text(text));
    }

    /// Adds a frame to what is due.
    pub fn due_frame(&self, kind: Kind, frame: Bytes) {
        self.client.push(kind, frame, self.server.now());
    }

    /// Adds an answer that is made as the client reads it.
    pub fn due_answer(&self, answer: Box<dyn LongAnswer>) {
        self.client.answer(answer, self.server.now());
    }

    /// Sends an answer.
    pub fn say(&self, text: &str) {
        self.due(text);
        self.client.flush();
    }

    /// Ends the connection.
    pub fn refuse(&self, code: CloseCode) {
        self.client.close(code, self.server.now());
    }

    /// Number of followed series.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.followed.len()
    }

    /// Whether the client follows a series.
    #[must_use]
    pub fn follows(&self, id: TopicId) -> bool {
        self.followed.contains(&id)
    }

    /// Notes a followed series. Returns whether it is new.
    pub fn follow(&mut self, id: TopicId) -> bool {
        let is_new = self.followed.insert(id);
        self.client.expect(self.followed.len());
        is_new
    }

    /// Forgets a followed series. Returns whether there was one.
    pub fn leave(&mut self, id: TopicId) -> bool {
        let was_followed = self.followed.remove(&id);
        self.client.expect(self.followed.len());
        was_followed
    }

    /// Opaque text that names the connection to Bybit's clients.
    #[must_use]
    pub fn connection_id(&self) -> String {
        format!("{:016x}-{:04x}", self.server.life, self.client.id.0)
    }

    /// Admits the client if user and key are right.
    pub fn check_pair(&mut self, user: &str, key: &str) -> bool {
        self.admit(|keys| keys.check_pair(user, key).map(drop))
    }

    /// Admits the client if its signature is right; `expires` is in ms since 1970 UTC.
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
