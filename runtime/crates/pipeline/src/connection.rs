//! One connection as the pipeline sees it: its exchange clock, what it covers, and until when everything sent on it has
//! been read. Turns the local times of its events into exchange time. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use klines_domain::clock::{ClockOffset, ExchangeClock, Observation};
use klines_domain::feed::{FeedEvent, FeedMessage, Link};
use klines_domain::symbol::SymbolId;
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis, SECOND};

/// For so long after an acknowledgement a faster frame shows that it was sent later than was thought.
const CORRECTED: Millis = 60 * SECOND;
/// Acknowledgements that are corrected; of more only the newest.
const MOST_BEGINNINGS: usize = 256;

/// How far ahead of the exchange's time a row's own time can be: as far as the decoder lets a trade's be.
const AHEAD: Millis = 10 * SECOND;

/// What messages mean in exchange time.
type Events = Vec<FeedEvent<ExchangeMillis>>;

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    clock: ExchangeClock,
    /// Local time since when topics are acknowledged; `None` while it is down.
    up_since: Option<LocalMillis>,
    /// Everything that the exchange had sent until then, in its time, has been read.
    read_until: Option<ExchangeMillis>,
    covered: BTreeSet<SymbolId>,
    /// Symbols whose coverage began, at a local time, before the exchange's time was known.
    waiting: BTreeMap<SymbolId, LocalMillis>,
    /// Trades missed before that, with the local time of receipt; of more than [`MOST_BEGINNINGS`] only the newest.
    missed: VecDeque<(LocalMillis, FeedEvent<LocalMillis>)>,
    beginnings: VecDeque<Beginning>,
    /// Local time of the last frame whose stamp was believed.
    stamped: LocalMillis,
}

/// Where coverage of some symbols began.
#[derive(Debug)]
struct Beginning {
    symbols: Vec<SymbolId>,
    local: LocalMillis,
    /// The latest exchange time that it can have been, as far as was known.
    at: ExchangeMillis,
}

impl Connection {
    /// Builds one whose clock is expected where those of others stand, if any does.
    pub(super) fn expecting(offset: Option<ClockOffset>) -> Self {
        let clock = offset.map_or_else(ExchangeClock::default, ExchangeClock::expecting);
        Self { clock, ..Self::default() }
    }

    /// Takes in a message. Appends what it means in exchange time, and returns how many of its rows are not to be
    /// used: all, where its stamp is not believed. `shown` is the category's time: coverage never begins again before.
    pub(super) fn take(&mut self, message: FeedMessage, shown: Option<ExchangeMillis>, out: &mut Events) -> u64 {
        let FeedMessage { received, stamped, link, rejected, events, .. } = message;
        match link {
            // Before the first nothing is covered that could wait unread; behind a later one trades may.
            Some(Link::Up) if self.up_since.is_none() => {
                self.up_since = Some(received);
                self.read_until = self.clock.latest(received);
            }
            Some(Link::Up) => {}
            Some(Link::Down) => (self.up_since, self.read_until) = (None, None),
            Some(Link::Drained) => self.read_until = self.read_until.max(self.clock.latest(received)),
            None => {}
        }
        let observation = stamped.map(|stamped| self.observe(received, stamped, shown, out));
        if observation == Some(Observation::Rejected) {
            return rejected + self.refuse(received, events, out);
        }
        for event in events {
            self.apply(event, received, out);
        }
        rejected
    }

    /// The exchange's time at local time `local`, as this connection shows it; `None` when it does not count: it is
    /// down, or nothing has been stamped yet.
    pub(super) fn now(&mut self, local: LocalMillis) -> Option<ExchangeMillis> {
        self.up_since.and_then(|_| self.clock.now(local))
    }

    /// Until when everything sent has been read; `None` when it does not count.
    pub(super) fn read_until(&self) -> Option<ExchangeMillis> {
        self.up_since.and(self.clock.offset()).and(self.read_until)
    }

    /// The local time from which on everything sent until `at` can have arrived; `None` when it does not count, or
    /// when everything until then has been read.
    pub(super) fn local_of(&self, at: ExchangeMillis) -> Option<LocalMillis> {
        let offset = self.clock.offset().filter(|_| self.up_since.is_some())?;
        (at != ExchangeMillis::MAX && self.read_until.is_none_or(|read| read < at)).then(|| offset.to_local(at))
    }

    fn observe(
        &mut self,
        received: LocalMillis,
        stamp: ExchangeMillis,
        shown: Option<ExchangeMillis>,
        out: &mut Events,
    ) -> Observation {
        let (before, seen) = (self.clock.offset(), self.clock.seen_until(self.stamped));
        let observation = self.clock.observe(received, stamp);
        if observation == Observation::Rejected {
            return observation;
        }
        self.stamped = received;
        match (observation, seen) {
            (Observation::Jumped, Some(last_seen)) => self.leap(received, last_seen, shown, out),
            _ => self.correct(received, before, out),
        }
        self.begin(out);
        if let Some(since) = self.up_since {
            self.read_until = self.read_until.max(Some(stamp)).max(self.clock.latest(since));
        }
        observation
    }

    /// The exchange's clock leapt: what it did between is not known.
    fn leap(
        &mut self,
        received: LocalMillis,
        last_seen: ExchangeMillis,
        shown: Option<ExchangeMillis>,
        out: &mut Events,
    ) {
        self.beginnings.clear();
        self.read_until = None;
        self.up_since = self.up_since.map(|_| received);
        let symbols: Vec<SymbolId> = self.covered.iter().copied().collect();
        let until = self.clock.latest(received).max(shown.map(|shown| shown + 1));
        if until.is_some() && !symbols.is_empty() {
            out.push(FeedEvent::Hole { symbols, last_seen, until });
        }
    }

    /// A frame that was faster than all before shows that acknowledgements were sent later than was thought.
    fn correct(&mut self, received: LocalMillis, before: Option<ClockOffset>, out: &mut Events) {
        while self.beginnings.front().is_some_and(|beginning| beginning.local < received - CORRECTED) {
            self.beginnings.pop_front();
        }
        if before.is_none_or(|before| self.clock.offset().is_none_or(|offset| offset <= before)) {
            return;
        }
        for Beginning { symbols, local, at } in &mut self.beginnings {
            let Some(later) = self.clock.latest(*local).filter(|later| *later > *at) else { continue };
            out.push(FeedEvent::Delayed { symbols: symbols.clone(), from: *at, at: later });
            *at = later;
        }
    }

    /// Applies what waited for the exchange's time.
    fn begin(&mut self, out: &mut Events) {
        let mut by_time: BTreeMap<LocalMillis, Vec<SymbolId>> = BTreeMap::new();
        for (symbol, local) in std::mem::take(&mut self.waiting) {
            by_time.entry(local).or_default().push(symbol);
        }
        by_time.into_iter().for_each(|(local, symbols)| self.cover(symbols, local, out));
        for (received, event) in std::mem::take(&mut self.missed) {
            self.apply(event, received, out);
        }
    }

    /// Turns an event's local times into exchange time: a hole begins before what the slowest frame of the last minute
    /// would have shown, and ends when the fastest would have been stamped.
    fn apply(&mut self, event: FeedEvent<LocalMillis>, received: LocalMillis, out: &mut Events) {
        match event {
            FeedEvent::Missed { symbol, from, to } => match self.clock.latest(received) {
                // What looks like a time and lies ahead is none: of the frame its receipt is marked.
                Some(now) if from > now + AHEAD => {}
                Some(now) => out.push(FeedEvent::Missed { symbol, from, to: to.min(now + AHEAD) }),
                None => {
                    if self.missed.len() == MOST_BEGINNINGS {
                        self.missed.pop_front();
                    }
                    self.missed.push_back((received, event));
                }
            },
            FeedEvent::Trade(trade) => out.push(FeedEvent::Trade(trade)),
            FeedEvent::Listed { symbol } => out.push(FeedEvent::Listed { symbol }),
            FeedEvent::Covered { symbols, from } => self.cover(symbols, from, out),
            FeedEvent::Hole { symbols, last_seen, until } => self.interrupt(symbols, last_seen, until, out),
            FeedEvent::Ended { symbol, at } => {
                out.extend(self.clock.latest(at).map(|at| FeedEvent::Ended { symbol, at }));
            }
            // Made here, of exchange times.
            FeedEvent::Delayed { .. } => {}
        }
    }

    fn cover(&mut self, symbols: Vec<SymbolId>, from: LocalMillis, out: &mut Events) {
        if let Some(from) = self.begin_at(&symbols, from) {
            out.push(FeedEvent::Covered { symbols, from });
        }
    }

    /// Coverage begins at a local time. Returns which moment of the exchange that is; until that is known it waits.
    fn begin_at(&mut self, symbols: &[SymbolId], local: LocalMillis) -> Option<ExchangeMillis> {
        self.covered.extend(symbols);
        let Some(at) = self.clock.latest(local) else {
            self.waiting.extend(symbols.iter().map(|symbol| (*symbol, local)));
            return None;
        };
        if self.beginnings.len() == MOST_BEGINNINGS {
            self.beginnings.pop_front();
        }
        self.beginnings.push_back(Beginning { symbols: symbols.to_vec(), local, at });
        Some(at)
    }

    fn interrupt(
        &mut self,
        symbols: Vec<SymbolId>,
        last_seen: LocalMillis,
        until: Option<LocalMillis>,
        out: &mut Events,
    ) {
        for symbol in &symbols {
            self.covered.remove(symbol);
            self.waiting.remove(symbol);
        }
        if self.covered.is_empty() {
            self.beginnings.clear();
        }
        for beginning in &mut self.beginnings {
            beginning.symbols.retain(|symbol| !symbols.contains(symbol));
        }
        // Those that are void must not push out others.
        self.beginnings.retain(|beginning| !beginning.symbols.is_empty());
        let until = until.and_then(|until| self.begin_at(&symbols, until));
        if let Some(last_seen) = self.clock.seen_until(last_seen) {
            out.push(FeedEvent::Hole { symbols, last_seen, until });
        }
    }

    /// A frame whose stamp is not believed: its trades are not counted, and what it may have held is not known.
    fn refuse(&mut self, received: LocalMillis, events: Vec<FeedEvent<LocalMillis>>, out: &mut Events) -> u64 {
        let (mut refused, mut touched) = (0, BTreeSet::new());
        for event in events {
            match event {
                FeedEvent::Trade(trade) => {
                    refused += 1;
                    touched.insert(trade.symbol);
                }
                FeedEvent::Missed { symbol, .. } => {
                    touched.insert(symbol);
                }
                other => self.apply(other, received, out),
            }
        }
        let symbols: Vec<SymbolId> = touched.intersection(&self.covered).copied().collect();
        if !symbols.is_empty() {
            self.interrupt(symbols, received - 1, Some(received + 1), out);
        }
        refused
    }
}
