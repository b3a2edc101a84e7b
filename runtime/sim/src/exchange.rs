//! The state of the simulated exchange: market, symbols, clients and faults behind one lock, so that everything whose
//! order matters has one order. Sockets and HTTP are in other modules. No lock is held across an await.

mod faults;
mod requests;

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
    category::{Category, PerCategory},
    clients::{Clients, QueuedFrame},
    clock::{self, Clock},
    config::SimConfig,
    fault::Faults,
    instrument::Instrument,
    interval::Interval,
    journal::{Event, Journal},
    klines::Push,
    limits::{Admission, AtomicCounters, Limits, RateLimit, RequestLimits, count},
    market::{Market, MarketEvent},
    past::Past,
    script::Step,
    symbol_state::{SymbolState, SymbolTiming},
    trade::{Fill, Side},
    wire,
};

/// How far the tape is processed behind the clock, so that no frame is sent before its own timestamp.
const LAG_MS: i64 = 3;
/// Klines are pushed once a second of market time; each symbol has its own offset within the second.
const PUSH_EVERY_MS: i64 = 1_000;

/// Requests for archives in any second, above which the host refuses them.
const ARCHIVES_PER_S: usize = 40;

/// The simulated exchange, shared by all tasks.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub clock: Clock,
    pub limits: Limits,
    pub counters: Arc<AtomicCounters>,
    pub journal: Journal,
    timing: SymbolTiming,
    state: Mutex<ExchangeState>,
    stalls: PerCategory<watch::Sender<bool>>,
    down: watch::Sender<bool>,
}

#[derive(Debug)]
struct ExchangeState {
    market: Market,
    symbols: PerCategory<BTreeMap<String, SymbolState>>,
    /// Time of the next kline push of each symbol, earliest first.
    push_schedule: BinaryHeap<Reverse<(i64, Category, String)>>,
    /// Last recorded frame of each kline topic; a new subscriber receives it at once.
    last_klines: PerCategory<HashMap<String, String>>,
    clients: Clients,
    faults: Faults,
    script: VecDeque<Step>,
    connections: RateLimit,
    requests: RequestLimits,
    archive_requests: RateLimit,
    /// Draws the calls that a REST fault concerns.
    fault_draws: fastrand::Rng,
    /// Market time up to which the tape has been processed, in ms.
    cursor: i64,
    /// Reused buffer of market events.
    scratch: Vec<MarketEvent>,
}

/// An admitted client; dropping it removes the client from the exchange.
#[derive(Debug)]
pub(crate) struct ClientHandle {
    pub exchange: Arc<Exchange>,
    pub id: u64,
    pub category: Category,
    pub inbox: mpsc::Receiver<QueuedFrame>,
    pub cut: CancellationToken,
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        self.exchange.state().clients.leave(self.id);
        self.record_event(Event::Closed { cut: self.cut.is_cancelled() });
        self.exchange.counters.open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl ClientHandle {
    /// Adds an event of this client to the journal.
    pub fn record_event(&self, event: Event) {
        self.exchange.journal.add(self.exchange.clock.now(), self.id, self.category, event);
    }
}

impl Exchange {
    /// Builds the exchange and processes the market's history.
    pub fn open(config: SimConfig) -> Self {
        let SimConfig { mut market, limits, script, speed, journal, ahead_ms, history, settle, lag, .. } = config;
        let (origin, start) = market.begin(clock::wall_ms().saturating_add(ahead_ms));
        let priced = market.computes_klines();
        let mut symbols = PerCategory::<BTreeMap<String, SymbolState>>::default();
        let mut push_schedule = BinaryHeap::new();
        let settle = i64::try_from(settle.as_millis()).unwrap_or(i64::MAX);
        let timing = SymbolTiming { start, settle, keep: limits.tape };
        let mut phases = fastrand::Rng::with_seed(1);
        for instrument in market.instruments() {
            let (category, symbol) = (instrument.category, instrument.symbol.clone());
            if priced {
                // The recording's first push after a boundary came 123 to 1,005 ms late.
                let first = start - start.rem_euclid(PUSH_EVERY_MS) + PUSH_EVERY_MS + phases.i64(100..1_000);
                push_schedule.push(Reverse((first, category, symbol.clone())));
            }
            let past = past_of(instrument, market.seed(), start, history).filter(|_| priced);
            symbols.get_mut(category).insert(symbol, SymbolState::new(instrument.clone(), timing, priced, past));
        }
        let counters = Arc::new(AtomicCounters::default());
        let fault_draws = fastrand::Rng::with_seed(market.seed());
        let state = ExchangeState {
            market,
            symbols,
            push_schedule,
            last_klines: PerCategory::default(),
            clients: Clients::new(Arc::clone(&counters), lag),
            faults: Faults::default(),
            script: script.steps.into(),
            connections: RateLimit::new(limits.connections_per_5_min, Duration::from_secs(300)),
            requests: RequestLimits::new(&limits),
            archive_requests: RateLimit::new(ARCHIVES_PER_S, Duration::from_secs(1)),
            fault_draws,
            cursor: start,
            scratch: Vec::new(),
        };
        let exchange = Self {
            clock: Clock::start(origin, speed),
            limits,
            counters,
            journal: Journal::new(journal),
            timing,
            state: Mutex::new(state),
            stalls: PerCategory::default(),
            down: watch::Sender::new(false),
        };
        exchange.tick();
        exchange
    }

    fn state(&self) -> MutexGuard<'_, ExchangeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processes the market and the fault script up to now.
    pub fn tick(&self) {
        let state = &mut *self.state();
        self.run_script(state);
        self.advance(state, self.clock.now() - LAG_MS);
    }

    /// Moves the clock ahead by `ms`, without a trade in between.
    pub fn leap(&self, ms: i64) {
        let state = &mut *self.state();
        self.advance(state, self.clock.now() - LAG_MS);
        self.clock.leap(ms);
        state.market.postpone(ms);
        let later = |Reverse((at, category, symbol))| Reverse((at + ms, category, symbol));
        state.push_schedule = std::mem::take(&mut state.push_schedule).into_iter().map(later).collect();
        state.cursor += ms;
    }

    fn advance(&self, state: &mut ExchangeState, now: i64) {
        loop {
            let push_at = state.push_schedule.peek().map_or(i64::MAX, |Reverse((at, ..))| *at);
            let until = push_at.min(now);
            let mut events = std::mem::take(&mut state.scratch);
            state.market.next_events(until, &mut events);
            for event in events.drain(..) {
                self.apply_event(state, event);
            }
            state.scratch = events;
            state.cursor = state.cursor.max(until);
            if push_at > now {
                break;
            }
            if let Some(Reverse((at, category, symbol))) = state.push_schedule.pop() {
                state.push_klines(category, &symbol, at);
                state.push_schedule.push(Reverse((at + PUSH_EVERY_MS, category, symbol)));
            }
        }
    }

    fn apply_event(&self, state: &mut ExchangeState, event: MarketEvent) {
        match event {
            MarketEvent::Trades { category, symbol, ts, fills } => {
                self.trade(state, category, &symbol, ts, &fills);
            }
            MarketEvent::Frame { category, topic, text, fills } => {
                for (symbol, fill) in fills {
                    self.record(state, category, &symbol, &[fill]);
                }
                let listed = |symbol_state: &SymbolState| symbol_state.listed;
                let symbol = crate::topics::symbol_of(&topic);
                if !state.symbols.get(category).get(symbol).is_none_or(listed) {
                    return;
                }
                if topic.starts_with("kline.") {
                    state.last_klines.get_mut(category).insert(topic.clone(), text.clone());
                }
                state.clients.publish(category, &topic, text, &state.faults);
            }
        }
    }

    fn trade(&self, state: &mut ExchangeState, category: Category, symbol: &str, ts: i64, fills: &[Fill]) {
        if !self.record(state, category, symbol, fills) {
            return;
        }
        let topic = format!("publicTrade.{symbol}");
        if state.clients.has_subscribers(category, &topic) {
            for text in wire::trade_frames(category, symbol, ts, fills) {
                state.clients.publish(category, &topic, text, &state.faults);
            }
        }
    }

    /// Adds fills to the tape. Returns `false` if the symbol is not listed; the fills are then discarded.
    fn record(&self, state: &mut ExchangeState, category: Category, symbol: &str, fills: &[Fill]) -> bool {
        let Some(symbol_state) = state.symbols.get_mut(category).get_mut(symbol).filter(|it| it.listed) else {
            return false;
        };
        symbol_state.record(fills);
        fills.iter().for_each(|_| count(&self.counters.trades));
        true
    }

    /// Executes one trade now, at this price. Returns the fill, or `None` if the symbol is not seeded and listed, or if
    /// `price` or `size` is not a positive decimal.
    pub fn execute(&self, category: Category, symbol: &str, side: Side, price: &str, size: &str) -> Option<Fill> {
        let state = &mut *self.state();
        state.symbols.get(category).get(symbol).filter(|it| it.listed)?;
        // Later than everything that was pushed, earlier than everything that is still to come.
        let at = state.cursor + 1;
        let fill = state.market.execute(category, symbol, at, side, price, size)?;
        self.trade(state, category, symbol, at, std::slice::from_ref(&fill));
        Some(fill)
    }

    /// Lists an instrument now, with its own price, tick, step and activity if the market does not know it yet. Returns
    /// `false` on a recording.
    pub fn list(&self, instrument: Instrument) -> bool {
        let state = &mut *self.state();
        self.add(state, instrument)
    }

    fn add(&self, state: &mut ExchangeState, instrument: Instrument) -> bool {
        let (category, symbol, now) = (instrument.category, instrument.symbol.clone(), state.cursor);
        if let Some(symbol_state) = state.symbols.get_mut(category).get_mut(&symbol) {
            symbol_state.list(now);
            return state.market.computes_klines();
        }
        let instrument = instrument.unlisted();
        if !state.market.add(instrument.clone(), now) {
            return false;
        }
        // Every symbol has its own offset within the second.
        let offset = i64::try_from(state.push_schedule.len() * 37 % 900).unwrap_or_default();
        let first = now - now.rem_euclid(PUSH_EVERY_MS) + PUSH_EVERY_MS + 100 + offset;
        state.push_schedule.push(Reverse((first, category, symbol.clone())));
        let timing = SymbolTiming { start: now, ..self.timing };
        let mut symbol_state = SymbolState::new(instrument, timing, false, None);
        symbol_state.list(now);
        state.symbols.get_mut(category).insert(symbol, symbol_state);
        true
    }

    /// Admits a client. Returns `None` if a limit is reached, or after it reset a connection to streams that are cut.
    pub fn admit(self: &Arc<Self>, category: Category, cut: CancellationToken) -> Option<ClientHandle> {
        let state = &mut *self.state();
        if state.faults.cut_on(category) {
            cut.cancel();
            return None;
        }
        let room = state.clients.count(category) < self.limits.connections;
        if !room || !state.connections.admit(Instant::now()) {
            count(&self.counters.refused);
            return None;
        }
        count(&self.counters.connections);
        count(&self.counters.open);
        let (id, inbox) = state.clients.join(category, cut.clone(), self.limits.queue);
        let client = ClientHandle { exchange: Arc::clone(self), id, category, inbox, cut };
        client.record_event(Event::Opened);
        Some(client)
    }

    /// Counts a REST request and returns whether it is within the limits.
    pub fn admit_request(&self) -> Admission {
        count(&self.counters.rest_requests);
        self.state().requests.admit(Instant::now())
    }

    /// Counts a request for an archive and returns whether it is within the limit.
    pub fn admit_archive(&self) -> bool {
        count(&self.counters.archive_requests);
        self.state().archive_requests.admit(Instant::now())
    }

    /// Calls `look` with a listed symbol and the time up to which its trades are known. Returns `None` if the symbol is
    /// not listed.
    pub fn with_symbol<T>(
        &self,
        category: Category,
        symbol: &str,
        look: impl FnOnce(&SymbolState, i64) -> T,
    ) -> Option<T> {
        let state = &mut *self.state();
        let now = state.cursor;
        let symbol_state = state.symbols.get_mut(category).get_mut(symbol).filter(|it| it.listed)?;
        symbol_state.settle(now);
        Some(look(symbol_state, now))
    }

    /// Calls `look` with all symbols of a category, unlisted ones included.
    pub fn with_symbols<T>(&self, category: Category, look: impl FnOnce(&BTreeMap<String, SymbolState>) -> T) -> T {
        look(self.state().symbols.get(category))
    }

    /// Returns the topics that at least one client is subscribed to.
    pub fn topics(&self, category: Category) -> BTreeSet<String> {
        self.state().clients.topics(category)
    }

    pub fn stalled(&self, category: Category) -> watch::Receiver<bool> {
        self.stalls.get(category).subscribe()
    }

    pub fn down(&self) -> watch::Receiver<bool> {
        self.down.subscribe()
    }
}

/// Returns the klines of an instrument from before its tape, which begins at `start`.
fn past_of(instrument: &Instrument, seed: u64, start: i64, history: Duration) -> Option<Past> {
    let depth = i64::try_from(history.as_millis()).unwrap_or(i64::MAX);
    if depth == 0 || !instrument.listed {
        return None;
    }
    let first = Interval::Month.start_of(Interval::Week.start_of(start.saturating_sub(depth).max(0)));
    Past::new(seed, instrument, instrument.listed_at.unwrap_or(first).max(first), start)
}

impl ExchangeState {
    fn push_klines(&mut self, category: Category, symbol: &str, at: i64) {
        let Some(symbol_state) = self.symbols.get_mut(category).get_mut(symbol).filter(|it| it.listed) else { return };
        for push in symbol_state.klines.push(at) {
            let topic = format!("kline.{}.{symbol}", push.interval.code());
            if !self.clients.has_subscribers(category, &topic) {
                continue;
            }
            for text in wire::kline_frames(category, symbol, &symbol_state.complete(push)) {
                self.clients.publish(category, &topic, text, &self.faults);
            }
        }
    }

    /// Returns the open window as it was last pushed.
    fn last_push(&self, category: Category, interval: Interval, symbol: &str) -> Option<Push> {
        let symbol_state = self.symbols.get(category).get(symbol)?;
        symbol_state.klines.last_push(interval).map(|push| symbol_state.complete(Push { closed: None, ..push }))
    }
}
