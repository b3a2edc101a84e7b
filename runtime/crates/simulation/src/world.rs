//! One run: the event queue, and all parts on it. The queue goes by true time; the exchange's clock and the local one
//! differ from it as the plan says.

mod faults;
mod lists;
mod restart;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use klines_bybit::session::CloseReason;
use klines_domain::feed::FeedMessage;
use klines_domain::kline::Batch;
use klines_domain::repair::{Answer, Request};
use klines_domain::time::{HOUR, LocalMillis, MINUTE, Millis, SECOND};

use self::restart::Process;
use super::Outcome;
use super::check::Checker;
use super::client::{Client, ClientAction};
use super::disk::{Disk, Published};
use super::exchange::Peer;
use super::market::{self, Tape};
use super::oracle::windows::Windows;
use super::plan::{DeadTopic, Fault, Plan, RestKind, Restart};
use super::rest::Rest;

/// Trades are published at most this long after their match.
const PUBLISHING: Millis = 3;
/// The least and the greatest time until a lost connection is opened again.
const RECONNECT: Range<Millis> = 200..1_500;
/// The least and the greatest time that a request to a market endpoint takes, and its answer.
const REQUEST: Range<Millis> = 20..400;
/// How often the list of instruments is requested. The program does so every five minutes, or every minute.
const LISTS: Duration = Duration::from_secs(10);
/// When a symbol that was refused is requested again. The program waits for ten minutes.
const RETRY: Millis = 20 * SECOND;
/// How long ago a topic that is subscribed to again has died at most, if its symbol is traded often.
const NOTICED: Millis = 60 * SECOND;
/// What happens.
#[derive(Debug)]
enum Event {
    /// Orders of a symbol match.
    Match(usize),
    /// Trades of a symbol are published.
    Publish(usize, Range<usize>),
    /// Something reaches the exchange on a connection of this generation.
    Request(usize, u32, String),
    /// Something reaches the client.
    Frame(usize, u32, String),
    /// The client notices that its connection was closed.
    Closed(usize, u32),
    /// The client opens a connection.
    Open(usize),
    /// A fault begins.
    Fault(Fault),
    /// Noise is sent.
    Noise(usize),
    /// The topic of a symbol dies on all connections.
    Dead(usize),
    /// A list of instruments reaches the client.
    List,
    /// A request reaches a market endpoint.
    Ask(Request),
    /// Its answer reaches the client.
    Answer(Box<Answer>),
    /// The process ends.
    End(Restart),
    /// The next process begins.
    Begin,
}

/// A run.
pub struct World<'a> {
    plan: &'a Plan,
    now: Millis,
    /// When which event happens, in the order of being planned, by its place.
    queue: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    events: Vec<Option<Event>>,
    /// Places of events that have happened.
    free: Vec<usize>,
    count: u64,
    rng: Rng,
    tapes: Vec<Tape>,
    numbers: u64,
    rest: Rest,
    peers: Vec<Peer>,
    process: Process,
    /// When the next process begins, if there is none.
    down_until: Millis,
    /// What was emitted, and when, as long as a process may have to continue it; then its disk.
    published: Vec<Published>,
    disk: Option<Disk>,
    /// Since when and until when the process does nothing.
    paused: Option<(Millis, Millis)>,
    checker: Checker,
    trace: Option<String>,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, is_traced: bool) -> Self {
        let mut rng = Rng::with_seed(plan.seed ^ 0x5eed);
        let mut tapes: Vec<Tape> =
            plan.gaps.iter().enumerate().map(|(number, gap)| Tape::new(number, *gap, &mut rng)).collect();
        let mut numbers = 0;
        let since = Windows::Months.start_of(plan.start).min(Windows::Weeks.start_of(plan.start));
        let is_old =
            |(symbol, _): &(usize, &mut Tape)| plan.is_repaired && plan.trading_period(*symbol).is_traded(plan.start);
        for (_, tape) in tapes.iter_mut().enumerate().filter(is_old) {
            tape.begin(since - 2 * HOUR, plan.start, &mut numbers, &mut rng);
        }
        let process = Process::new(plan, &tapes, BTreeMap::new());
        Self {
            plan,
            now: plan.start,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            count: 0,
            rng,
            peers: plan.connections.iter().map(|_| Peer::default()).collect(),
            checker: Checker::new(plan),
            tapes,
            numbers,
            rest: Rest::default(),
            process,
            down_until: Millis::MIN,
            published: Vec::new(),
            disk: None,
            paused: None,
            trace: is_traced.then(String::new),
        }
    }

    /// Runs until the end of the plan.
    pub fn run(&mut self) {
        for symbol in 0..self.tapes.len() {
            let period = self.plan.trading_period(symbol);
            let gap = self.plan.gaps.get(symbol).copied().unwrap_or(1);
            // The first trade of a symbol that is traded often is at the beginning.
            let wait = if gap < MINUTE { 1 } else { 1 + self.rng.i64(0..gap) };
            self.at((self.plan.start + wait).max(period.listed), Event::Match(symbol));
        }
        self.later(0, Event::List);
        for connection in 0..self.process.clients.len() {
            self.later(0, Event::Open(connection));
        }
        for fault in &self.plan.faults {
            self.later(fault.from - self.plan.start, Event::Fault(*fault));
        }
        if let Some(DeadTopic { symbol, at }) = self.plan.dead {
            self.at(at, Event::Dead(symbol));
        }
        for restart in &self.plan.restarts {
            self.at(restart.at, Event::End(*restart));
        }
        while self.now < self.plan.end {
            let event = self.queue.peek().map_or(Millis::MAX, |Reverse((at, ..))| *at);
            let due = self.due().max(self.now + 1);
            self.now = event.min(due).min(self.plan.end);
            self.resume();
            if event <= due
                && let Some((number, event)) = self.next()
            {
                self.handle(number, event);
            }
            self.turn();
        }
    }

    /// Checks the klines and returns what was found.
    pub fn finish(mut self) -> Outcome {
        let mut open = Vec::new();
        while self.plan.is_repaired && self.process.pipeline.finish(&mut open) {}
        for kline in open.iter().flat_map(|batch| &batch.klines) {
            if let Some(trace) = &mut self.trace {
                let _ = writeln!(trace, "    end {kline:?}");
            }
            self.checker.at_end(kline);
        }
        let ordered: Vec<_> = self.tapes.iter().map(|tape| (tape.name.as_str(), tape.in_order())).collect();
        let tapes: Vec<_> = ordered.iter().map(|(name, trades)| (*name, trades.as_ref())).collect();
        self.checker.finish(self.plan, &tapes, self.process.pipeline.tally(), self.trace)
    }

    fn later(&mut self, wait: Millis, event: Event) {
        self.at(self.now + wait, event);
    }

    fn at(&mut self, at: Millis, event: Event) {
        self.count += 1;
        self.plan_at(at, self.count, event);
    }

    /// Plans an event. Of two at the same time, the one with the lesser `number` happens first.
    fn plan_at(&mut self, at: Millis, number: u64, event: Event) {
        let place = self.free.pop().unwrap_or(self.events.len());
        self.queue.push(Reverse((at, number, place)));
        match self.events.get_mut(place) {
            Some(free) => *free = Some(event),
            None => self.events.push(Some(event)),
        }
    }

    /// Returns the next event and its number; `None` if it was lost.
    fn next(&mut self) -> Option<(u64, Event)> {
        let Reverse((_, number, place)) = self.queue.pop()?;
        self.free.push(place);
        Some(number).zip(self.events.get_mut(place)?.take())
    }

    /// Returns whether there is no process.
    const fn is_down(&self) -> bool {
        self.now < self.down_until
    }

    /// Returns the local time.
    fn local(&self) -> LocalMillis {
        LocalMillis::new(self.now + self.plan.ahead)
    }

    /// Returns when the client has something to do by its clocks, in the exchange's time.
    fn due(&mut self) -> Millis {
        if let Some((_, until)) = self.paused {
            return until;
        }
        if self.is_down() {
            return self.down_until;
        }
        let local = self.local();
        let pause = Millis::try_from(self.process.pipeline.pause(local).as_millis()).unwrap_or(Millis::MAX);
        let boundary = |(number, client): (usize, &Client)| client.due(self.process.pipeline.boundary(number));
        let due = self.process.clients.iter().enumerate().map(boundary).min().unwrap_or(LocalMillis::MAX);
        self.now.saturating_add(pause.min(due.get().saturating_sub(local.get())))
    }

    fn handle(&mut self, number: u64, event: Event) {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{:>7} {event:?}", self.now - self.plan.start);
        }
        match event {
            Event::Match(symbol) => self.trade(symbol),
            Event::Publish(symbol, trades) => self.publish(symbol, trades),
            Event::Request(connection, generation, text) => self.answer(connection, generation, &text),
            Event::Open(connection) => self.open(connection),
            Event::Fault(fault) => self.fail(fault),
            Event::Dead(symbol) => {
                if let Some(tape) = self.tapes.get(symbol) {
                    self.peers.iter_mut().for_each(|peer| peer.kill(&tape.name));
                }
            }
            Event::List => self.list(),
            Event::Ask(request) => self.ask(request),
            Event::Answer(answer) => match self.paused {
                Some((_, until)) => self.at(until, Event::Answer(answer)),
                None => {
                    let mut out = Vec::new();
                    self.process.pipeline.answer(*answer, self.local(), &mut out);
                    self.emitted(&out);
                }
            },
            Event::End(restart) => self.end_process(restart),
            Event::Begin => self.begin_process(),
            Event::Noise(connection) => self.noise(connection),
            Event::Frame(..) | Event::Closed(..) if self.paused.is_some() => {
                // It waits in the socket, in order, also if the pause becomes longer meanwhile.
                let until = self.paused.map_or(self.now, |(_, until)| until);
                self.plan_at(until, number, event);
            }
            Event::Frame(connection, generation, text) => {
                let (local, is_current) = (self.local(), self.is_current(connection, generation));
                if let Some(client) =
                    self.process.clients.get_mut(connection).filter(|client| is_current && client.is_open)
                {
                    client.receive(local, &text);
                    self.observe(connection, &text);
                }
            }
            Event::Closed(connection, generation) => {
                if self.is_current(connection, generation) {
                    self.close(connection);
                }
            }
        }
    }

    /// Tells the checker what the client has read.
    fn observe(&mut self, connection: usize, text: &str) {
        let now = self.now;
        if let Some(stamped) = market::stamp(text) {
            self.checker.read(connection, self.plan.true_time(stamped, now), now);
            if !text.ends_with("]}") {
                self.checker.doubtful(connection, now);
            }
        }
        if self.plan.rest_faults.iter().any(|fault| fault.kind == RestKind::Lie)
            && let Some((symbol, tape)) =
                self.tapes.iter().enumerate().find(|(_, tape)| text.starts_with(&tape.topic()) && text.ends_with("]}"))
        {
            self.rest.note(symbol, tape.read(text));
        }
        if text.starts_with(r#"{"success":true"#)
            && text.contains(r#""op":"subscribe""#)
            && self.peers.get(connection).is_some_and(Peer::delivers)
        {
            self.checker.acknowledged(connection, now);
        }
    }

    fn is_current(&self, connection: usize, generation: u32) -> bool {
        self.peers.get(connection).is_some_and(|peer| peer.generation == generation)
    }

    /// Ends a pause of the process that is over, before what waited in its sockets is read.
    fn resume(&mut self) {
        let Some((since, _)) = self.paused.take_if(|(_, until)| *until <= self.now) else { return };
        let since = LocalMillis::new(since + self.plan.ahead);
        let local = self.local();
        self.process.clients.iter_mut().filter(|client| client.is_open).for_each(|client| client.resume(since, local));
    }

    /// Lets the client do what is due, unless its process is paused.
    fn turn(&mut self) {
        if self.paused.is_some() || self.is_down() {
            return;
        }
        let local = self.local();
        // What arrived at this moment is read first.
        let is_read = self.queue.peek().is_none_or(|Reverse((at, ..))| *at > self.now);
        for number in 0..self.process.clients.len() {
            let boundary = self.process.pipeline.boundary(number);
            if let Some(client) = self.process.clients.get_mut(number).filter(|_| is_read) {
                client.turn(local, boundary);
            }
            self.execute(number);
        }
        let mut out = Vec::new();
        self.process.pipeline.tick(local, &mut out);
        self.emitted(&out);
        let dead = self.process.pipeline.take_renewals();
        if !dead.is_empty() {
            for (number, client) in self.process.clients.iter_mut().enumerate() {
                client.renew(local, &dead);
                let carries = |symbols: &Vec<usize>| dead.iter().any(|symbol| symbols.contains(&symbol.index()));
                if self.plan.connections.get(number).is_some_and(carries) {
                    self.checker.given_up(number, self.now - NOTICED);
                }
            }
        }
        for request in self.process.pipeline.take_requests() {
            let transit = self.rng.i64(REQUEST);
            self.later(transit, Event::Ask(request));
        }
    }

    /// Answers a request to a market endpoint.
    fn ask(&mut self, request: Request) {
        let Some(tape) = self.tapes.get(request.symbol().index()) else { return };
        let answer = self.rest.answer(self.plan, tape, request, self.now, &mut self.rng);
        let transit = self.rng.i64(REQUEST);
        self.later(transit, Event::Answer(Box::new(answer)));
    }

    /// Does what a session asks for.
    fn execute(&mut self, connection: usize) {
        let actions = self.process.clients.get_mut(connection).map(Client::take_actions).unwrap_or_default();
        for action in actions {
            match action {
                ClientAction::Take(message) => self.take(*message),
                ClientAction::Send(text) => {
                    let generation = self.peers.get(connection).map_or(0, |peer| peer.generation);
                    let transit = 20 + self.rng.i64(0..40);
                    self.later(transit, Event::Request(connection, generation, text));
                }
                ClientAction::Close(reason) => {
                    let (CloseReason::Dead { silent }
                    | CloseReason::Silent { silent }
                    | CloseReason::Unanswered { waited: silent }) = reason;
                    self.checker.given_up(connection, self.now - silent);
                    self.close(connection);
                }
            }
        }
    }

    fn take(&mut self, message: FeedMessage) {
        let mut out = Vec::new();
        self.process.pipeline.take(message, &mut out);
        self.emitted(&out);
    }

    fn emitted(&mut self, batches: &[Batch]) {
        for batch in batches {
            for kline in &batch.klines {
                if let Some(trace) = &mut self.trace {
                    let _ = writeln!(trace, "{:>7} {kline:?}", self.now - self.plan.start);
                }
                self.checker.kline(kline);
            }
            if self.plan.restarts.last().is_some_and(|restart| self.now <= restart.at) {
                self.published.push(Published { at: self.now, klines: batch.klines.clone() });
            }
        }
    }

    fn trade(&mut self, symbol: usize) {
        if !self.plan.trading_period(symbol).is_traded(self.now) {
            return;
        }
        let (now, rng) = (self.now, &mut self.rng);
        let Some(tape) = self.tapes.get_mut(symbol) else { return };
        let trades = tape.trade((self.plan.exchange(now), now), &mut self.numbers, rng);
        let (gap, delay) = (tape.next_gap(rng), rng.i64(0..=PUBLISHING));
        self.later(delay, Event::Publish(symbol, trades));
        self.later(gap, Event::Match(symbol));
    }

    fn publish(&mut self, symbol: usize, trades: Range<usize>) {
        let Some(tape) = self.tapes.get(symbol) else { return };
        let (text, name) = (tape.frame(trades, self.plan.exchange(self.now)), tape.name.clone());
        for connection in 0..self.peers.len() {
            let now = self.now;
            let Some(peer) = self.peers.get_mut(connection) else { continue };
            if !peer.sends(&name) {
                continue;
            }
            let mut text = text.clone();
            if std::mem::take(&mut peer.is_damaging) {
                text.truncate(text.len() * 2 / 3);
            }
            if now < peer.reorder_until && peer.held.is_none() {
                peer.held = Some(text);
                continue;
            }
            let (again, held) = ((now < peer.duplicate_until).then(|| text.clone()), peer.held.take());
            let copies = [Some(text), held, again];
            copies.into_iter().flatten().for_each(|text| self.send(connection, text));
        }
    }

    /// Sends a frame to the client.
    fn send(&mut self, connection: usize, text: String) {
        let Some(peer) = self.peers.get_mut(connection).filter(|peer| peer.is_open) else { return };
        let generation = peer.generation;
        if let Some(at) = peer.network.arrival(self.now, &mut self.rng) {
            self.at(at, Event::Frame(connection, generation, text));
        }
    }

    fn answer(&mut self, connection: usize, generation: u32, request: &str) {
        let now = self.now;
        let is_unknown = |(symbol, tape): (usize, &Tape)| {
            (!self.plan.trading_period(symbol).is_traded(now)).then(|| tape.subject.clone())
        };
        let unknown: Vec<String> = self.tapes.iter().enumerate().filter_map(is_unknown).collect();
        let Some(peer) = self.peers.get_mut(connection).filter(|peer| peer.is_open && peer.generation == generation)
        else {
            return;
        };
        if let Some(answer) = peer.answer(now, request, &unknown) {
            self.send(connection, answer);
        }
    }

    fn open(&mut self, connection: usize) {
        let (now, local) = (self.now, self.local());
        let Some((peer, client)) = self.peers.get_mut(connection).zip(self.process.clients.get_mut(connection)) else {
            return;
        };
        if now < peer.network.down_until || self.paused.is_some() || now < self.down_until {
            let wait = self.rng.i64(RECONNECT);
            return self.later(wait, Event::Open(connection));
        }
        peer.open();
        client.open(local);
        self.execute(connection);
    }

    /// Closes the client's side of a connection, and plans the next.
    fn close(&mut self, connection: usize) {
        let local = self.local();
        if let Some(client) = self.process.clients.get_mut(connection).filter(|client| client.is_open) {
            client.close(local);
            let wait = self.rng.i64(RECONNECT);
            self.later(wait, Event::Open(connection));
        }
        if let Some(peer) = self.peers.get_mut(connection) {
            peer.is_open = false;
        }
        self.checker.closed(connection);
        self.execute(connection);
    }
}
