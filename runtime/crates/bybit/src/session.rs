//! One connection to a public stream, without the connection: what to say, what the frames mean, when to give it up.
//!
//! Inputs are [`Session::on_open`], [`Session::on_frame`], [`Session::on_close`] and [`Session::on_tick`], each with
//! the time; outputs are [`Action`]s. No socket, clock, randomness or log is here, so that whole lives of connections
//! can be played from a seed. A session outlives its connections: what is wanted and what was refused stays.

mod canary;
mod liveness;
mod report;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use klines_domain::feed::{FeedEvent, FeedMessage, Link};
use klines_domain::sanitize::{EXCERPT, sanitize};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{LocalMillis, MINUTE, Millis, SECOND};

use self::canary::Canary;
use self::liveness::Liveness;
pub use self::report::{CloseReason, Counters, Notice};
use self::subscriptions::{Change, Subscriptions};
use crate::answer::{self, Answer};
use crate::decode::{self, Frame};

/// The session's patience, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between pings. Default 20 s, as Bybit recommends.
    pub ping: Millis,
    /// Without any frame or pong before the connection is given up. Default 30 s.
    pub dead: Millis,
    /// For the answer to a subscription. Default 10 s.
    pub answer: Millis,
    /// Silence of the busiest topic that counts as a dead feed; twice as long after each reconnect that brought
    /// nothing. Default 45 s: what it touches can then still be revised.
    pub silence: Millis,
    /// Before a refused symbol is asked for again. Default 10 min.
    pub refused_retry: Millis,
    /// The same where the refusal named no topic and may have had another cause. Default 1 min.
    pub unexplained_retry: Millis,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping: 20 * SECOND,
            dead: 30 * SECOND,
            answer: 10 * SECOND,
            silence: 45 * SECOND,
            refused_retry: 10 * MINUTE,
            unexplained_retry: MINUTE,
        }
    }
}

/// What the driver has to do, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a text frame.
    Send(String),
    /// Hand a message on.
    Emit(FeedMessage),
    /// Drop the connection; the hole has been emitted.
    Close(CloseReason),
    /// Log a change of state.
    Notice(Notice),
}

/// The core of one connection. See the module.
#[derive(Debug)]
pub struct Session {
    category: Category,
    /// Which of the category's connections it is.
    number: usize,
    table: Arc<SymbolTable>,
    timing: Timing,
    subscriptions: Subscriptions,
    liveness: Liveness,
    canary: Canary,
    counters: Counters,
    is_open: bool,
    /// All subscriptions of this connection have been answered, and that was reported.
    is_settled: bool,
    /// Since then the process may have stood still: what is read may have arrived at that time.
    stalled_since: Option<LocalMillis>,
    pings: u64,
    /// Kinds of unreadable frames that have been reported.
    reported: Vec<&'static str>,
    frames: Vec<String>,
}

impl Session {
    /// Builds the session of some of a category's symbols, those that fit on its connection `number`.
    #[must_use]
    pub fn new(
        category: Category,
        number: usize,
        table: Arc<SymbolTable>,
        symbols: &[SymbolId],
        timing: Timing,
    ) -> Self {
        let named = symbols.iter().filter_map(|id| Some((*id, table.name(*id)?.clone())));
        let named: Vec<(SymbolId, Symbol)> = named.collect();
        Self {
            canary: Canary::new(category, &named, timing),
            subscriptions: Subscriptions::new(category, named, timing),
            liveness: Liveness::new(timing),
            category,
            number,
            table,
            timing,
            counters: Counters::default(),
            is_open: false,
            is_settled: false,
            stalled_since: None,
            pings: 0,
            reported: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Whose trades it carries.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Which of the category's connections it is, counted from 0.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// Everything counted since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether pongs may come from a gateway whose data have stopped: the busiest symbol is not heard.
    #[must_use]
    pub fn is_silent(&self, now: LocalMillis) -> bool {
        self.canary.is_suspect(now)
    }

    /// Returns how many topics are (covered, refused, wanted in all).
    #[must_use]
    pub fn totals(&self) -> (usize, usize, usize) {
        self.subscriptions.totals()
    }

    /// The connection is open: subscribes.
    pub fn on_open(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        self.lose(now, self.liveness.last_seen(), out);
        self.is_open = true;
        self.is_settled = false;
        self.stalled_since = None;
        self.counters.opened += 1;
        self.liveness.open(now);
        self.subscriptions.open(now, &mut self.frames);
        self.canary.open(now, &mut self.frames);
        self.send(out);
    }

    /// A text frame arrived.
    pub fn on_frame(&mut self, now: LocalMillis, text: &str, out: &mut Vec<Action>) {
        self.counters.frames += 1;
        if !self.is_open {
            self.counters.ignored += 1;
            return;
        }
        // Ticks would have noticed long ago: this process was stopped or the machine slept, and the clock leapt.
        if let Some(silent) = self.liveness.dead(now) {
            self.counters.ignored += 1;
            self.give_up(now, self.liveness.last_seen(), CloseReason::Dead { silent }, out);
            return;
        }
        self.liveness.frame(now, self.arrival(now));
        if let Some(stamped) = self.canary.stamp(text) {
            self.counters.canary_frames += 1;
            if stamped.is_some() {
                self.canary.heard(self.arrival(now));
            }
            out.push(Action::Emit(FeedMessage { stamped, ..self.message(now) }));
            return;
        }
        self.read(now, text, out);
    }

    fn read(&mut self, now: LocalMillis, text: &str, out: &mut Vec<Action>) {
        let mut events = Vec::new();
        match decode::decode(self.category, text, &self.table, &mut events) {
            Ok(Frame::Trades { stamped, received, rejected, undated }) => {
                self.counters.trade_frames += 1;
                self.counters.received += received;
                self.counters.rejected += rejected;
                if received > 0 && self.is_canarys(events.first(), text) {
                    self.canary.heard(self.arrival(now));
                }
                if undated > 0 {
                    // Before anything that the frame brings.
                    events.splice(0..0, self.hole(now, text));
                }
                let message = FeedMessage { stamped: Some(stamped), rejected, events, ..self.message(now) };
                out.push(Action::Emit(message));
            }
            Ok(Frame::Command(text)) => self.on_answer(now, text, out),
            Ok(Frame::Other { topic }) => {
                self.counters.unknown_topics += 1;
                self.report("unknown-topic", topic, out);
            }
            Err(error) => {
                self.counters.unreadable += 1;
                self.report(error.kind(), text, out);
                if let Some(hole) = self.hole(now, text) {
                    let events = std::iter::once(hole).chain(self.rows(text)).collect();
                    out.push(Action::Emit(FeedMessage { events, ..self.message(now) }));
                }
            }
        }
    }

    /// Whether a frame of trades, of which this is the first event, is of the canary, which is one of the own topics.
    fn is_canarys(&self, first: Option<&FeedEvent<LocalMillis>>, text: &str) -> bool {
        let symbol = match first {
            Some(FeedEvent::Trade(trade)) => Some(trade.symbol),
            // None of its rows can be read.
            _ => decode::symbol_of(text).and_then(|name| self.table.get(name.as_str())),
        };
        symbol.is_some_and(|symbol| self.canary.is(symbol))
    }

    /// When what is read at `now` may have arrived already.
    fn arrival(&self, now: LocalMillis) -> LocalMillis {
        self.stalled_since.map_or(now, |since| since.min(now))
    }

    /// A frame that could not be understood, or not in every row, may have held trades of a symbol that are in no
    /// kline: its klines must not pass for complete.
    fn hole(&self, now: LocalMillis, text: &str) -> Option<FeedEvent<LocalMillis>> {
        let symbol = decode::symbol_of(text).and_then(|name| self.table.get(name.as_str()))?;
        let (last_seen, until) = (self.arrival(now) - 1, Some(now + 1));
        let hole = FeedEvent::Hole { symbols: vec![symbol], last_seen, until };
        self.subscriptions.covers(symbol).then_some(hole)
    }

    /// What rows of such a frame may have held at other times.
    fn rows(&self, text: &str) -> impl Iterator<Item = FeedEvent<LocalMillis>> {
        let symbol = decode::symbol_of(text).and_then(|name| self.table.get(name.as_str()));
        let spans =
            symbol.into_iter().flat_map(|symbol| decode::times_of(text).into_iter().map(move |at| (symbol, at)));
        spans.map(|(symbol, (from, to))| FeedEvent::Missed { symbol, from, to })
    }

    /// The connection is gone, for whatever reason. Harmless when it was given up before.
    pub fn on_close(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        self.lose(now, self.liveness.last_seen(), out);
    }

    /// Nothing has been read since `since`, although frames may have come: what follows, until the socket is empty, may
    /// have arrived at that time. It shows that the peer was there then, and no later.
    pub fn on_stall(&mut self, since: LocalMillis) {
        self.stalled_since.get_or_insert(since);
    }

    /// Whether frames may wait that arrived during a stall.
    #[must_use]
    pub const fn is_stalled(&self) -> bool {
        self.stalled_since.is_some()
    }

    /// Every whole frame that had arrived has been read: what follows arrives when it is read.
    pub const fn on_idle(&mut self) {
        self.stalled_since = None;
    }

    /// Everything that had arrived by `now` has been given to [`Session::on_frame`].
    pub fn on_drained(&self, now: LocalMillis, out: &mut Vec<Action>) {
        if self.is_open && self.liveness.dead(now).is_none() {
            out.push(Action::Emit(FeedMessage { link: Some(Link::Drained), ..self.message(now) }));
        }
    }

    /// Time has passed. To be called several times a second while the connection is open.
    pub fn on_tick(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        if !self.is_open {
            return;
        }
        if let Some(silent) = self.liveness.dead(now) {
            self.give_up(now, self.liveness.last_seen(), CloseReason::Dead { silent }, out);
            return;
        }
        // What waits in the socket may be what is missed.
        let is_read = !self.is_stalled();
        let waited = self.subscriptions.waiting_since().map_or(0, |sent| now - sent);
        if is_read && waited > self.timing.answer {
            self.give_up(now, self.liveness.last_seen(), CloseReason::Unanswered { waited }, out);
            return;
        }
        if let Some(silent) = self.canary.silent(now).filter(|_| is_read) {
            // Pongs prove only the gateway: what the topics said since the last sign of data is not known.
            self.give_up(now, self.canary.last_data(), CloseReason::Silent { silent }, out);
            self.canary.gave_up();
            return;
        }
        if is_read && let Some(topic) = self.canary.unanswered(now) {
            let message = format!("not answered within {} s", self.timing.answer / SECOND);
            out.push(Action::Notice(Notice::Unwatched { topic: topic.to_owned(), message }));
        }
        if self.liveness.ping_due(now) {
            self.pings += 1;
            out.push(Action::Send(answer::ping_frame(&format!("ping-{}", self.pings))));
        }
        self.subscriptions.retry(now, &mut self.frames);
        self.send(out);
    }

    fn on_answer(&mut self, now: LocalMillis, text: &str, out: &mut Vec<Action>) {
        let parsed = Answer::parse(text);
        let change = match &parsed {
            Ok(Answer::Pong) => Some(Change::default()),
            Ok(Answer::Accepted { id }) if self.canary.asked(id) => {
                self.canary.accepted(self.arrival(now));
                Some(Change::default())
            }
            Ok(Answer::Refused { id, refusal }) if self.canary.asked(id) => {
                let message = sanitize(&refusal.message, EXCERPT);
                let refused = self.canary.refused().map(str::to_owned);
                let notice = refused.map(|topic| Notice::Unwatched { topic, message });
                out.extend(notice.map(Action::Notice));
                Some(Change::default())
            }
            Ok(Answer::Accepted { id }) => self.subscriptions.accept(id, now),
            Ok(Answer::Refused { id, refusal }) => self.subscriptions.refuse(id, refusal, now),
            Ok(Answer::Unmatched) => None,
            Err(_) => {
                self.counters.unreadable += 1;
                self.report("answer", text, out);
                return;
            }
        };
        self.counters.answers += 1;
        match change {
            Some(change) => self.apply(now, change, out),
            None => self.report("unmatched-answer", text, out),
        }
    }

    fn apply(&mut self, now: LocalMillis, change: Change, out: &mut Vec<Action>) {
        out.extend(change.frames.into_iter().map(Action::Send));
        for (symbol, message) in change.refused {
            out.push(Action::Notice(Notice::Refused { symbol, message: sanitize(&message, EXCERPT) }));
        }
        out.extend(change.recovered.into_iter().map(|symbol| Action::Notice(Notice::Recovered { symbol })));
        if !change.covered.is_empty() {
            self.canary.covered(&change.covered, self.arrival(now));
            self.emit(now, Link::Up, vec![FeedEvent::Covered { symbols: change.covered, from: now }], out);
        }
        if !self.is_settled && self.subscriptions.waiting_since().is_none() {
            self.is_settled = true;
            let (covered, refused, _) = self.subscriptions.totals();
            out.push(Action::Notice(Notice::Subscribed { covered, refused }));
        }
    }

    fn give_up(&mut self, now: LocalMillis, last_seen: LocalMillis, reason: CloseReason, out: &mut Vec<Action>) {
        self.lose(now, last_seen, out);
        out.push(Action::Close(reason));
    }

    fn lose(&mut self, now: LocalMillis, last_seen: LocalMillis, out: &mut Vec<Action>) {
        self.is_open = false;
        let lost = self.subscriptions.close(last_seen).into_iter();
        let hole = |(last_seen, symbols)| FeedEvent::Hole { symbols, last_seen, until: None };
        let events: Vec<_> = lost.map(hole).collect();
        if !events.is_empty() {
            self.counters.gaps += 1;
            self.emit(now, Link::Down, events, out);
        }
    }

    fn emit(&self, now: LocalMillis, link: Link, events: Vec<FeedEvent<LocalMillis>>, out: &mut Vec<Action>) {
        let message = FeedMessage { link: Some(link), events, ..self.message(now) };
        out.push(Action::Emit(message));
    }

    /// A message of this connection that says nothing yet.
    fn message(&self, now: LocalMillis) -> FeedMessage {
        let connection = Some(self.number);
        FeedMessage { connection, ..FeedMessage::of_category(self.category, now, Vec::new()) }
    }

    fn send(&mut self, out: &mut Vec<Action>) {
        out.extend(self.frames.drain(..).map(Action::Send));
    }

    fn report(&mut self, kind: &'static str, text: &str, out: &mut Vec<Action>) {
        if !self.reported.contains(&kind) {
            self.reported.push(kind);
            out.push(Action::Notice(Notice::Unreadable { kind, head: sanitize(text, EXCERPT) }));
        }
    }
}
