//! The exchange floor: market, books, clients and faults behind one lock. Everything that must happen in one order
//! happens here; sockets and HTTP are thin and live elsewhere. No lock is held across an await.

mod requests;
mod trouble;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    book::Book,
    category::{Category, PerCategory},
    clock::{self, Clock},
    config::SimConfig,
    fault::Faults,
    journal::{Event, Journal},
    klines::Push,
    limits::{Limits, Rate, Tally, count},
    market::{Market, MarketEvent},
    peers::{Out, Peers},
    script::Step,
    trade::{Fill, Side},
    wire,
};

/// The tape is run this far behind the clock, so that no frame is sent before its own stamp.
const LAG_MS: i64 = 3;
/// Klines are pushed once a second of market time, at a phase of each symbol's own.
const PUSH_EVERY_MS: i64 = 1_000;

/// The floor, shared by all tasks.
#[derive(Debug)]
pub(crate) struct Floor {
    pub clock: Clock,
    pub limits: Limits,
    pub tally: Arc<Tally>,
    pub journal: Journal,
    state: Mutex<State>,
    stalls: PerCategory<watch::Sender<bool>>,
    down: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    market: Market,
    books: PerCategory<BTreeMap<String, Book>>,
    /// When which symbol's klines are pushed next.
    agenda: BinaryHeap<Reverse<(i64, Category, String)>>,
    /// Last recorded frame of each kline topic: what a new subscriber gets at once.
    last_klines: PerCategory<HashMap<String, String>>,
    peers: Peers,
    faults: Faults,
    script: VecDeque<Step>,
    connections: Rate,
    requests: Rate,
    /// The tape has been run up to here, ms.
    cursor: i64,
    scratch: Vec<MarketEvent>,
}

/// A client's place on the floor; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Seat {
    pub floor: Arc<Floor>,
    pub id: u64,
    pub category: Category,
    pub inbox: mpsc::Receiver<Out>,
    pub cut: CancellationToken,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.floor.state().peers.leave(self.id);
        self.note(Event::Closed { cut: self.cut.is_cancelled() });
        self.floor.tally.open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Seat {
    /// Writes down what happened to this client.
    pub fn note(&self, event: Event) {
        self.floor.journal.add(self.floor.clock.now(), self.id, self.category, event);
    }
}

impl Floor {
    /// Opens the floor and runs the market's history.
    pub fn open(config: SimConfig) -> Self {
        let SimConfig { mut market, limits, script, speed, journal, ahead_ms, lag, .. } = config;
        let (origin, start) = market.begin(clock::wall_ms().saturating_add(ahead_ms));
        let priced = market.computes_klines();
        let mut books = PerCategory::<BTreeMap<String, Book>>::default();
        let mut agenda = BinaryHeap::new();
        let mut phases = fastrand::Rng::with_seed(1);
        for instrument in market.instruments() {
            let (category, symbol) = (instrument.category, instrument.symbol.clone());
            if priced {
                // The recording's first push after a boundary came 123 to 1,005 ms late.
                let first = start - start.rem_euclid(PUSH_EVERY_MS) + PUSH_EVERY_MS + phases.i64(100..1_000);
                agenda.push(Reverse((first, category, symbol.clone())));
            }
            books.get_mut(category).insert(symbol, Book::new(instrument.clone(), start, priced));
        }
        let tally = Arc::new(Tally::default());
        let state = State {
            market,
            books,
            agenda,
            last_klines: PerCategory::default(),
            peers: Peers::new(Arc::clone(&tally), lag),
            faults: Faults::default(),
            script: script.steps.into(),
            connections: Rate::new(limits.connections_per_5_min, Duration::from_secs(300)),
            requests: Rate::new(limits.requests_per_5_s, Duration::from_secs(5)),
            cursor: start,
            scratch: Vec::new(),
        };
        let floor = Self {
            clock: Clock::start(origin, speed),
            limits,
            tally,
            journal: Journal::new(journal),
            state: Mutex::new(state),
            stalls: PerCategory::default(),
            down: watch::Sender::new(false),
        };
        floor.tick();
        floor
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs market and script up to the present.
    pub fn tick(&self) {
        let state = &mut *self.state();
        self.run_script(state);
        self.advance(state, self.clock.now() - LAG_MS);
    }

    /// Lets the clock jump ahead, without a trade in between.
    pub fn leap(&self, ms: i64) {
        let state = &mut *self.state();
        self.advance(state, self.clock.now() - LAG_MS);
        self.clock.leap(ms);
        state.market.put_off(ms);
        let later = |Reverse((at, category, symbol))| Reverse((at + ms, category, symbol));
        state.agenda = std::mem::take(&mut state.agenda).into_iter().map(later).collect();
        state.cursor += ms;
    }

    fn advance(&self, state: &mut State, now: i64) {
        loop {
            let push_at = state.agenda.peek().map_or(i64::MAX, |Reverse((at, ..))| *at);
            let until = push_at.min(now);
            let mut events = std::mem::take(&mut state.scratch);
            state.market.next_events(until, &mut events);
            for event in events.drain(..) {
                self.happen(state, event);
            }
            state.scratch = events;
            state.cursor = state.cursor.max(until);
            if push_at > now {
                break;
            }
            if let Some(Reverse((at, category, symbol))) = state.agenda.pop() {
                state.push_klines(category, &symbol, at);
                state.agenda.push(Reverse((at + PUSH_EVERY_MS, category, symbol)));
            }
        }
    }

    fn happen(&self, state: &mut State, event: MarketEvent) {
        match event {
            MarketEvent::Trades { category, symbol, ts, fills } => {
                self.trade(state, category, &symbol, ts, &fills);
            }
            MarketEvent::Frame { category, topic, text, fills } => {
                for (symbol, fill) in fills {
                    self.record(state, category, &symbol, &[fill]);
                }
                let listed = |book: &Book| book.listed;
                let symbol = crate::topics::symbol_of(&topic);
                if !state.books.get(category).get(symbol).is_none_or(listed) {
                    return;
                }
                if topic.starts_with("kline.") {
                    state.last_klines.get_mut(category).insert(topic.clone(), text.clone());
                }
                state.peers.publish(category, &topic, text, &state.faults);
            }
        }
    }

    fn trade(&self, state: &mut State, category: Category, symbol: &str, ts: i64, fills: &[Fill]) {
        if !self.record(state, category, symbol, fills) {
            return;
        }
        let topic = format!("publicTrade.{symbol}");
        if state.peers.listened(category, &topic) {
            for text in wire::trade_frames(category, symbol, ts, fills) {
                state.peers.publish(category, &topic, text, &state.faults);
            }
        }
    }

    /// Puts fills on the tape; `false` if the symbol is not listed and they never happened.
    fn record(&self, state: &mut State, category: Category, symbol: &str, fills: &[Fill]) -> bool {
        let Some(book) = state.books.get_mut(category).get_mut(symbol).filter(|book| book.listed) else {
            return false;
        };
        book.record(fills, self.limits.tape);
        fills.iter().for_each(|_| count(&self.tally.trades));
        true
    }

    /// Trades once, now, at this price. Returns the fill, or `None` if the symbol is not seeded and listed or a text
    /// is no positive decimal.
    pub fn print(&self, category: Category, symbol: &str, side: Side, price: &str, size: &str) -> Option<Fill> {
        let state = &mut *self.state();
        state.books.get(category).get(symbol).filter(|book| book.listed)?;
        // After all that has been pushed, before all that has not happened yet.
        let at = state.cursor + 1;
        let fill = state.market.print(category, symbol, at, side, price, size)?;
        self.trade(state, category, symbol, at, std::slice::from_ref(&fill));
        Some(fill)
    }

    /// Admits a client, unless a limit is reached.
    pub fn admit(self: &Arc<Self>, category: Category, cut: CancellationToken) -> Option<Seat> {
        let state = &mut *self.state();
        let room = state.peers.count(category) < self.limits.connections;
        if !room || !state.connections.admit(Instant::now()) {
            count(&self.tally.refused);
            return None;
        }
        count(&self.tally.connections);
        count(&self.tally.open);
        let (id, inbox) = state.peers.join(category, cut.clone(), self.limits.queue);
        let seat = Seat { floor: Arc::clone(self), id, category, inbox, cut };
        seat.note(Event::Opened);
        Some(seat)
    }

    /// Counts a REST request; `false` if it is one too many.
    pub fn admit_request(&self) -> bool {
        count(&self.tally.rest_requests);
        self.state().requests.admit(Instant::now())
    }

    /// Looks at a listed symbol, its klines closed up to now.
    pub fn with_book<T>(&self, category: Category, symbol: &str, look: impl FnOnce(&Book) -> T) -> Option<T> {
        let state = &mut *self.state();
        let now = state.cursor;
        let book = state.books.get_mut(category).get_mut(symbol).filter(|book| book.listed)?;
        book.klines.roll(now);
        Some(look(book))
    }

    /// Looks at every book of a category, unlisted ones included, by symbol.
    pub fn with_books<T>(&self, category: Category, look: impl FnOnce(&BTreeMap<String, Book>) -> T) -> T {
        look(self.state().books.get(category))
    }

    /// Topics somebody listens to.
    pub fn topics(&self, category: Category) -> BTreeSet<String> {
        self.state().peers.topics(category)
    }

    pub fn stalled(&self, category: Category) -> watch::Receiver<bool> {
        self.stalls.get(category).subscribe()
    }

    pub fn down(&self) -> watch::Receiver<bool> {
        self.down.subscribe()
    }
}

impl State {
    fn push_klines(&mut self, category: Category, symbol: &str, at: i64) {
        let Some(book) = self.books.get_mut(category).get_mut(symbol).filter(|book| book.listed) else { return };
        for push in book.klines.push(at) {
            let topic = format!("kline.{}.{symbol}", push.interval.code());
            if !self.peers.listened(category, &topic) {
                continue;
            }
            for text in wire::kline_frames(category, symbol, &push) {
                self.peers.publish(category, &topic, text, &self.faults);
            }
        }
    }

    /// The open window as it was last pushed.
    fn last_push(&self, category: Category, interval: crate::interval::Interval, symbol: &str) -> Option<Push> {
        let book = self.books.get(category).get(symbol)?;
        book.klines.last_push(interval).map(|push| Push { closed: None, ..push })
    }
}
