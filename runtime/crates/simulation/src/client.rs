//! What the driver of a session does, without its socket: passes frames and ticks on, executes the actions, reports at a
//! boundary that everything has been read, and opens the connection again.

use klines_bybit::session::{Action, CloseReason, Session};
use klines_domain::feed::FeedMessage;
use klines_domain::symbol::SymbolId;
use klines_domain::time::{LocalMillis, Millis};

/// How often a session ticks.
const TICK: Millis = 250;
/// For this long after a pause of the process, an empty socket proves nothing.
const STALL_WAIT: Millis = 1_000;

/// The client's side of one connection.
#[derive(Debug)]
pub struct Client {
    pub session: Session,
    pub is_open: bool,
    ticked: LocalMillis,
    not_before: LocalMillis,
    actions: Vec<Action>,
}

/// What a session asked for.
#[derive(Debug)]
pub enum ClientAction {
    Send(String),
    Take(Box<FeedMessage>),
    Close(CloseReason),
}

impl Client {
    pub const fn new(session: Session) -> Self {
        let never = LocalMillis::MIN;
        Self { session, is_open: false, ticked: never, not_before: never, actions: Vec::new() }
    }

    pub fn open(&mut self, now: LocalMillis) {
        (self.is_open, self.ticked) = (true, now);
        self.session.on_open(now, &mut self.actions);
    }

    pub fn close(&mut self, now: LocalMillis) {
        self.is_open = false;
        self.session.on_close(now, &mut self.actions);
    }

    pub fn receive(&mut self, now: LocalMillis, text: &str) {
        self.session.on_frame(now, text, &mut self.actions);
    }

    /// Subscribes again to the topics of symbols, which are dead.
    pub fn renew(&mut self, now: LocalMillis, symbols: &[SymbolId]) {
        self.session.on_renew(now, symbols, &mut self.actions);
    }

    /// Goes on after a pause of the process that began at `since`.
    pub fn resume(&mut self, since: LocalMillis, now: LocalMillis) {
        self.session.on_stall(since);
        self.not_before = now + STALL_WAIT;
    }

    /// Does what is due when everything that has arrived has been read. `boundary` is when the next window could close.
    pub fn turn(&mut self, now: LocalMillis, boundary: LocalMillis) {
        if !self.is_open {
            return;
        }
        self.session.on_idle();
        if now >= boundary.max(self.not_before) {
            self.session.on_drained(now, &mut self.actions);
        }
        if now - self.ticked >= TICK {
            self.ticked = now;
            self.session.on_tick(now, &mut self.actions);
        }
    }

    /// Returns when something is due; `boundary` is when the next window could close.
    pub fn due(&self, boundary: LocalMillis) -> LocalMillis {
        if self.is_open { boundary.max(self.not_before).min(self.ticked + TICK) } else { LocalMillis::MAX }
    }

    /// Takes what the session asks for, in order.
    pub fn take_actions(&mut self) -> Vec<ClientAction> {
        let asked = |action| match action {
            Action::Send(text) => Some(ClientAction::Send(text)),
            Action::Emit(message) => Some(ClientAction::Take(Box::new(message))),
            Action::Close(reason) => Some(ClientAction::Close(reason)),
            Action::Notice(_) => None,
        };
        self.actions.drain(..).filter_map(asked).collect()
    }
}
