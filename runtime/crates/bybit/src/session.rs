//! The logic of one connection to a public stream, without I/O: what to send, what the frames mean, when to close it.
//!
//! Inputs are [`Session::on_open`], [`Session::on_frame`], [`Session::on_close`] and [`Session::on_tick`], each with
//! the time; outputs are [`Action`]s. It has no socket, clock, randomness or log, so that tests can simulate sequences
//! of connections from a seed. A session outlives its connections: it remembers the wanted and the refused topics.

mod canary;
mod liveness;
mod report;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use klines_domain::feed::{FeedEvent, FeedMessage, Link};
use klines_domain::mutants::Mutant;
use klines_domain::sanitize::{MAX_SHOWN_BYTES, sanitize};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{LocalMillis, MINUTE, Millis, SECOND};

use self::canary::Canary;
use self::liveness::Liveness;
pub use self::report::{CloseReason, Counters, Notice};
use self::subscriptions::{Change, Subscriptions};
use crate::answer::{self, Answer};
use crate::decode::{self, Frame};

/// The session's timeouts and intervals, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between pings. Default 20 s, as Bybit recommends.
    pub ping: Millis,
    /// Time without any frame or pong after which the connection is given up. Default 30 s.
    pub dead: Millis,
    /// Longest wait for the answer to a subscription. Default 10 s.
    pub answer: Millis,
    /// Silence of the busiest topic after which the feed counts as dead. Doubles after each reconnect that brought no
    /// data. Default 45 s, so that the affected klines can still be revised.
    pub silence: Millis,
    /// Time after which a refused symbol is requested again. Default 10 min.
    pub refused_retry: Millis,
    /// The same if the refusal names no topic and may have another cause. Default 1 min.
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

/// What the driver has to do; actions are executed in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a text frame.
    Send(String),
    /// Emit a message to the pipeline.
    Emit(FeedMessage),
    /// Drop the connection; the hole has already been emitted.
    Close(CloseReason),
    /// Log a change of state.
    Notice(Notice),
}

/// The logic of one connection; see the module documentation.
#[derive(Debug)]
pub struct Session {
    category: Category,
    /// Index of the connection within its category.
    number: usize,
    table: Arc<SymbolTable>,
    timing: Timing,
    subscriptions: Subscriptions,
    liveness: Liveness,
    canary: Canary,
    /// Arrival time of the last frame of trades.
    last_trades: LocalMillis,
    /// When that frame was read.
    last_read: LocalMillis,
    counters: Counters,
    is_open: bool,
    /// Whether all subscriptions of this connection were answered and that was reported.
    is_settled: bool,
    /// Start of a stall of the process: frames that are read now may have arrived at that time.
    stalled_since: Option<LocalMillis>,
    pings: u64,
    /// Kinds of unreadable frames that were reported.
    reported: Vec<&'static str>,
    frames: Vec<String>,
}

impl Session {
    /// Creates the session for `symbols`: those symbols of a category that are on its connection `number`.
    #[must_use]
    pub fn new(
        category: Category,
        number: usize,
        table: Arc<SymbolTable>,
        symbols: &[SymbolId],
        timing: Timing,
    ) -> Self {
        let symbols = symbols.iter().filter_map(|id| Some((*id, table.name(*id)?.clone())));
        let symbols: Vec<(SymbolId, Symbol)> = symbols.collect();
        Self {
            canary: Canary::new(category, &symbols, timing),
            subscriptions: Subscriptions::new(category, symbols, timing),
            liveness: Liveness::new(timing),
            last_trades: LocalMillis::default(),
            last_read: LocalMillis::default(),
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

    /// Returns the category.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns the index of the connection within its category, from 0.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// Returns the counters since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns whether the busiest symbol sends no trades: a gateway may still send pongs although its data has
    /// stopped.
    #[must_use]
    pub fn is_silent(&self, now: LocalMillis) -> bool {
        self.canary.is_suspect(now)
    }

    /// Returns the numbers of covered, refused and wanted topics.
    #[must_use]
    pub fn totals(&self) -> (usize, usize, usize) {
        self.subscriptions.totals()
    }

    /// Handles an opened connection: subscribes to the topics.
    pub fn on_open(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        self.mark_lost(now, self.last_seen(), out);
        self.is_open = true;
        self.is_settled = false;
        self.stalled_since = None;
        self.counters.opened += 1;
        self.liveness.open(now);
        self.subscriptions.open(now, &mut self.frames);
        self.canary.disown(|symbol| self.subscriptions.has_left(symbol));
        self.canary.open(now, &mut self.frames);
        self.send(out);
    }

    /// Handles a text frame.
    pub fn on_frame(&mut self, now: LocalMillis, text: &str, out: &mut Vec<Action>) {
        self.counters.frames += 1;
        if !self.is_open {
            self.counters.ignored += 1;
            return;
        }
        // A tick would have noticed this earlier, so the process was stopped or the machine slept, and the clock
        // jumped.
        if let Some(silent) = self.liveness.dead(now) {
            self.counters.ignored += 1;
            self.give_up(now, self.last_seen(), CloseReason::Dead { silent }, out);
            return;
        }
        self.liveness.frame(now, self.arrival_time(now));
        if let Some(stamped) = self.canary.stamp(text) {
            self.counters.canary_frames += 1;
            if stamped.is_some() {
                self.canary.on_data(self.arrival_time(now));
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
                (self.last_trades, self.last_read) = (self.arrival_time(now), now);
                self.counters.received += received;
                self.counters.rejected += rejected;
                if received > 0 && self.is_canary_frame(events.first(), text) {
                    self.canary.on_data(self.arrival_time(now));
                }
                if undated > 0 {
                    // The hole comes before the events of the frame.
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
                    let events = std::iter::once(hole).chain(self.missed_rows(text)).collect();
                    out.push(Action::Emit(FeedMessage { events, ..self.message(now) }));
                }
            }
        }
    }

    /// Returns whether a frame of trades, whose first event is `first`, belongs to the canary. Only if the canary is
    /// one of the connection's own topics.
    fn is_canary_frame(&self, first: Option<&FeedEvent<LocalMillis>>, text: &str) -> bool {
        let symbol = match first {
            Some(FeedEvent::Trade(trade)) => Some(trade.symbol),
            // No row of the frame could be read.
            _ => decode::symbol_of(text).and_then(|name| self.table.get(name.as_str())),
        };
        symbol.is_some_and(|symbol| self.canary.carries(symbol))
    }

    /// Returns the earliest time at which a frame that is read at `now` may have arrived.
    fn arrival_time(&self, now: LocalMillis) -> LocalMillis {
        self.stalled_since.map_or(now, |since| since.min(now))
    }

    /// Returns a hole for the symbol of a frame that could not be read completely: its trades may be missing, so that
    /// the symbol's klines must not count as complete. Returns `None` if the symbol is unknown or not covered.
    fn hole(&self, now: LocalMillis, text: &str) -> Option<FeedEvent<LocalMillis>> {
        let symbol = decode::symbol_of(text).and_then(|name| self.table.get(name.as_str()))?;
        let (last_seen, until) = (self.arrival_time(now) - 1, Some(now + 1));
        let hole = FeedEvent::Hole { symbols: vec![symbol], last_seen, until };
        (self.subscriptions.covers(symbol) && !Mutant::DamageIgnored.is_made()).then_some(hole)
    }

    /// Returns the spans in which the rows of such a frame may have happened, if that was at other times.
    fn missed_rows(&self, text: &str) -> impl Iterator<Item = FeedEvent<LocalMillis>> {
        let symbol = decode::symbol_of(text).and_then(|name| self.table.get(name.as_str()));
        let spans =
            symbol.into_iter().flat_map(|symbol| decode::times_of(text).into_iter().map(move |at| (symbol, at)));
        spans.map(|(symbol, (from, to))| FeedEvent::Missed { symbol, from, to })
    }

    /// Stops watching symbols, for good: ends their subscriptions, and reports the end of their coverage when Bybit has
    /// answered.
    pub fn on_left(&mut self, now: LocalMillis, symbols: &[SymbolId], out: &mut Vec<Action>) {
        self.subscriptions.leave(symbols, now, &mut self.frames);
        self.send(out);
        self.end_if_over(now, out);
    }

    /// Subscribes again to the topics of symbols that have traded without a trade on this connection. They are not covered
    /// until that is acknowledged.
    pub fn on_renew(&mut self, now: LocalMillis, symbols: &[SymbolId], out: &mut Vec<Action>) {
        let last_seen = self.last_seen();
        let symbols = self.subscriptions.renew(symbols, now, &mut self.frames);
        if !symbols.is_empty() {
            out.push(Action::Notice(Notice::Renewed { topics: symbols.len() }));
            let events = vec![FeedEvent::Hole { symbols, last_seen, until: None }];
            out.push(Action::Emit(FeedMessage { events, ..self.message(now) }));
        }
        self.send(out);
    }

    /// Returns whether no symbol is watched any more, so that no connection is needed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.subscriptions.are_over()
    }

    fn end_if_over(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        if self.is_over() && std::mem::take(&mut self.is_open) {
            self.emit(now, Link::Down, Vec::new(), out);
        }
    }

    /// Handles a closed connection, whatever the cause. Has no effect if the connection was given up before.
    ///
    /// Trades that were read after a stall prove by their stamp that everything before them has been read: the coverage does
    /// not end at the beginning of the stall.
    pub fn on_close(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        self.mark_lost(now, self.last_seen().max(self.last_read), out);
    }

    /// Returns the last time at which data is known to have arrived. Pongs do not prove that: a gateway can stop passing
    /// trades on before it closes the connection. If nothing watches for silence, the last frame has to do.
    fn last_seen(&self) -> LocalMillis {
        let alive = self.liveness.last_seen();
        if Mutant::PongBelieved.is_made() {
            return alive;
        }
        self.canary.watched_data().map_or(alive, |data| alive.min(data.max(self.last_trades)))
    }

    /// Handles a stall: nothing was read since `since`, although frames may have arrived. Until the socket is empty,
    /// the following frames may have arrived at that time, so they prove that the peer was alive then, but not later.
    pub fn on_stall(&mut self, since: LocalMillis) {
        self.stalled_since.get_or_insert(since);
    }

    /// Returns whether frames that arrived during a stall may still be unread.
    #[must_use]
    pub const fn is_stalled(&self) -> bool {
        self.stalled_since.is_some()
    }

    /// Ends a stall: every complete frame that had arrived has been read, so later frames arrive when they are read.
    pub const fn on_idle(&mut self) {
        self.stalled_since = None;
    }

    /// Reports that everything that had arrived by `now` was passed to [`Session::on_frame`].
    pub fn on_drained(&self, now: LocalMillis, out: &mut Vec<Action>) {
        if self.is_open && self.liveness.dead(now).is_none() {
            out.push(Action::Emit(FeedMessage { link: Some(Link::Drained), ..self.message(now) }));
        }
    }

    /// Checks the timeouts and sends due pings. To be called several times a second while the connection is open.
    pub fn on_tick(&mut self, now: LocalMillis, out: &mut Vec<Action>) {
        if !self.is_open {
            return;
        }
        if let Some(silent) = self.liveness.dead(now) {
            self.give_up(now, self.last_seen(), CloseReason::Dead { silent }, out);
            return;
        }
        // During a stall, the missing answer or data may still be unread in the socket.
        let is_read = !self.is_stalled();
        let waited = self.subscriptions.waiting_since().map_or(0, |sent| now - sent);
        if is_read && waited > self.timing.answer {
            self.give_up(now, self.last_seen(), CloseReason::Unanswered { waited }, out);
            return;
        }
        if let Some(silent) = self.canary.silent(now).filter(|_| is_read) {
            // Pongs only prove that the gateway is alive; trades since the last data may be missing.
            self.give_up(now, self.canary.last_data(), CloseReason::Silent { silent }, out);
            self.canary.on_given_up();
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
            Ok(Answer::Accepted { id }) if self.canary.is_requested_in(id) => {
                self.canary.accepted(self.arrival_time(now));
                Some(Change::default())
            }
            Ok(Answer::Refused { id, refusal }) if self.canary.is_requested_in(id) => {
                let message = sanitize(&refusal.message, MAX_SHOWN_BYTES);
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
            out.push(Action::Notice(Notice::Refused { symbol, message: sanitize(&message, MAX_SHOWN_BYTES) }));
        }
        out.extend(change.recovered.into_iter().map(|symbol| Action::Notice(Notice::Recovered { symbol })));
        if !change.covered.is_empty() {
            self.canary.covered(&change.covered, self.arrival_time(now));
            let from = if Mutant::CoveredTooSoon.is_made() { now - SECOND } else { now };
            self.emit(now, Link::Up, vec![FeedEvent::Covered { symbols: change.covered, from }], out);
        }
        let hole = |(last_seen, symbols)| FeedEvent::Hole { symbols, last_seen, until: None };
        let ended: Vec<_> = change.ended.into_iter().map(hole).collect();
        if !ended.is_empty() {
            out.push(Action::Emit(FeedMessage { events: ended, ..self.message(now) }));
            self.end_if_over(now, out);
            if self.is_open && self.canary.disown(|symbol| self.subscriptions.has_left(symbol)) {
                self.canary.open(now, &mut self.frames);
                self.send(out);
            }
        }
        if !self.is_settled && self.subscriptions.waiting_since().is_none() {
            self.is_settled = true;
            let (covered, refused, _) = self.subscriptions.totals();
            out.push(Action::Notice(Notice::Subscribed { covered, refused }));
        }
    }

    fn give_up(&mut self, now: LocalMillis, last_seen: LocalMillis, reason: CloseReason, out: &mut Vec<Action>) {
        self.mark_lost(now, last_seen, out);
        out.push(Action::Close(reason));
    }

    fn mark_lost(&mut self, now: LocalMillis, last_seen: LocalMillis, out: &mut Vec<Action>) {
        self.is_open = false;
        let last_seen = if Mutant::LossDiscovered.is_made() { now } else { last_seen };
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

    /// Returns an empty message of this connection.
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
            out.push(Action::Notice(Notice::Unreadable { kind, head: sanitize(text, MAX_SHOWN_BYTES) }));
        }
    }
}
