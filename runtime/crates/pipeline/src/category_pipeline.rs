//! The pipeline of one category: its connections, with an exchange clock each, and its aggregator. Pure: time is an
//! argument.

use std::collections::BTreeMap;
use std::time::Duration;

use klines_domain::aggregator::{Aggregator, Earlier, Settings, Tally};
use klines_domain::clock::ClockOffset;
use klines_domain::feed::{FeedEvent, FeedMessage};
use klines_domain::interval::Interval;
use klines_domain::kline::Batch;
use klines_domain::repair::{Answer, Request};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis};

use super::MAX_PAUSE;
use super::connection::Connection;
use super::progress::Progress;
use super::repair::{RepairSettings, RepairStatus, Repairer};
use super::union::Union;

/// The pipeline of one category. Of connections that carry the same symbols the best one determines the time and when
/// windows close; of connections with different symbols, the slowest one. A lost connection no longer counts.
pub struct CategoryPipeline {
    category: Category,
    connections: Vec<Connection>,
    progress: Progress,
    aggregator: Aggregator,
    /// The last known clock offset: it determines the time while every connection is down.
    offset: Option<ClockOffset>,
    /// The latest exchange time that was used; time never goes back.
    shown: Option<ExchangeMillis>,
    /// What the connections together cover.
    union: Union,
    /// The events of one connection, and what they mean beside the others.
    events: Vec<FeedEvent<ExchangeMillis>>,
    joined: Vec<FeedEvent<ExchangeMillis>>,
    /// `None` if gaps are not repaired.
    repairer: Option<Repairer>,
    requests: Vec<Request>,
    /// Symbols whose topics have to be subscribed to again.
    renewals: Vec<SymbolId>,
    /// Symbols that are no longer watched and have not ended yet.
    leaving: Vec<Leaving>,
    /// Other intervals that wait for the windows that are over; `None` if there are none.
    awaiting: Option<Awaiting>,
    grace: Millis,
    /// What an earlier run has left of the symbols that have not been watched yet.
    earlier: BTreeMap<Symbol, Earlier>,
    /// What others have published of symbols that join.
    published: Published,
}

/// Intervals that replace the present ones.
#[derive(Debug)]
struct Awaiting {
    intervals: Vec<Interval>,
    /// The windows that were over then close before.
    since: ExchangeMillis,
}

/// The first moment after the last window of symbols of which others have published a kline.
pub type Published = BTreeMap<Symbol, ExchangeMillis>;

/// A symbol that is no longer watched.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    symbol: SymbolId,
    /// The last moment that is covered; `None` while a connection covers it.
    ended: Option<ExchangeMillis>,
}

impl CategoryPipeline {
    /// Builds the pipeline of a category with its symbols.
    #[must_use]
    pub fn new(settings: Settings, symbols: &SymbolTable) -> Self {
        let (category, grace) = (settings.category, settings.grace);
        let mut aggregator = Aggregator::new(settings);
        for (_, symbol) in symbols.iter() {
            aggregator.add_symbol(symbol);
        }
        Self {
            category,
            connections: Vec::new(),
            progress: Progress::default(),
            aggregator,
            offset: None,
            shown: None,
            union: Union::default(),
            events: Vec::new(),
            joined: Vec::new(),
            repairer: None,
            requests: Vec::new(),
            renewals: Vec::new(),
            leaving: Vec::new(),
            awaiting: None,
            grace,
            earlier: BTreeMap::new(),
            published: Published::new(),
        }
    }

    /// Builds the pipeline of a category that repairs gaps: it has [requests](Self::take_requests) to answer.
    #[must_use]
    pub fn repairing(settings: Settings, symbols: &SymbolTable, repair: RepairSettings) -> Self {
        let settings = Settings { is_repaired: true, ..settings };
        Self { repairer: Some(Repairer::new(repair)), ..Self::new(settings, symbols) }
    }

    /// Continues an earlier run, which has left this of its symbols. To be called before the first message.
    #[must_use]
    pub fn resuming(mut self, symbols: &SymbolTable, earlier: BTreeMap<Symbol, Earlier>) -> Self {
        self.earlier = earlier;
        symbols.iter().for_each(|(id, symbol)| self.resume(id, symbol));
        self
    }

    /// Sets what others have published of symbols that join next: they go on behind it.
    pub fn expect(&mut self, published: Published) {
        self.published = published;
    }

    fn resume(&mut self, id: SymbolId, symbol: &Symbol) {
        if let Some(earlier) = self.earlier.remove(symbol) {
            self.aggregator.resume(id, &earlier);
        }
        if let (Some(until), Some(repairer)) = (self.published.remove(symbol), &self.repairer) {
            self.aggregator.take_over(id, until, repairer.horizon());
        }
    }

    /// Takes the requests to the exchange that are due. Each one has to be [answered](Self::answer).
    pub fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// Takes the symbols whose topics are dead. On each connection they have to be subscribed to again; until that is
    /// acknowledged they are not covered.
    pub fn take_renewals(&mut self) -> Vec<SymbolId> {
        std::mem::take(&mut self.renewals)
    }

    /// Takes the answer to a request, then ticks at `local`.
    pub fn answer(&mut self, answer: Answer, local: LocalMillis, out: &mut Vec<Batch>) {
        if let (Some(now), Some(repairer)) = (self.now(local), &mut self.repairer) {
            repairer.answer(answer, now, &mut self.aggregator);
        }
        self.tick(local, out);
    }

    /// Ends the coverage of a symbol after `last_seen` on all connections.
    fn uncover(&mut self, symbol: SymbolId, last_seen: ExchangeMillis) {
        let (mut events, mut joined) = (Vec::new(), Vec::new());
        for (number, connection) in self.connections.iter_mut().enumerate() {
            connection.uncover(symbol, last_seen, &mut events);
            events.drain(..).for_each(|event| self.union.take(number, event, &mut joined));
        }
        joined.iter().for_each(|event| self.aggregator.apply(event));
        self.progress.update(&mut self.connections);
        self.renewals.push(symbol);
    }

    /// Adds symbols, with the next numbers, and ends others: those emit what they still have when no connection covers them
    /// any more and the windows that are over by then have closed.
    pub fn change(&mut self, joined: &[Symbol], left: &[SymbolId], out: &mut Vec<Batch>) {
        if !joined.is_empty() {
            // One of them may be the same symbol under its last number, whose sequences it continues.
            std::mem::take(&mut self.leaving).into_iter().for_each(|leaving| self.end(leaving.symbol, out));
        }
        for symbol in joined {
            let id = self.aggregator.add_symbol(symbol);
            self.resume(id, symbol);
        }
        self.leaving.extend(left.iter().map(|symbol| Leaving { symbol: *symbol, ended: None }));
    }

    /// Makes klines of these intervals, in any order, and of no others. The windows that are over close before; then an interval
    /// that is removed emits its open windows, unconfirmed, and one that is added begins.
    pub fn set_intervals(&mut self, intervals: Vec<Interval>, out: &mut Vec<Batch>) {
        match self.shown {
            Some(since) => self.awaiting = Some(Awaiting { intervals, since }),
            // There is no window before the exchange time is known.
            None => self.aggregator.set_intervals(&intervals, out),
        }
    }

    /// Replaces the intervals if the windows that were over have closed.
    fn replace_intervals(&mut self, now: ExchangeMillis, read_until: ExchangeMillis, out: &mut Vec<Batch>) {
        let Some(Awaiting { intervals, since }) = &self.awaiting else { return };
        let closes_at = *since + self.grace;
        self.aggregator.advance(now, read_until.min(closes_at), out);
        if read_until >= closes_at && !self.aggregator.is_behind() {
            self.aggregator.set_intervals(intervals, out);
            self.awaiting = None;
        }
    }

    /// Ends the symbols that are no longer watched, as soon as nothing more is to come of them: the windows that were over at
    /// the end of their coverage close before, and later ones do not.
    fn end_left(&mut self, now: ExchangeMillis, read_until: ExchangeMillis, out: &mut Vec<Batch>) {
        for Leaving { symbol, ended } in &mut self.leaving {
            let until = || self.aggregator.covered_until(*symbol).unwrap_or(now);
            *ended = ended.or_else(|| (!self.aggregator.is_covered(*symbol)).then(until));
        }
        self.leaving.sort_by_key(|leaving| leaving.ended.unwrap_or(ExchangeMillis::MAX));
        while let Some(Leaving { symbol, ended: Some(ended) }) = self.leaving.first().copied() {
            let closes_at = ended + self.grace;
            self.aggregator.advance(now, read_until.min(closes_at), out);
            if read_until < closes_at || self.aggregator.is_behind() {
                return;
            }
            self.leaving.remove(0);
            self.end(symbol, out);
        }
    }

    fn end(&mut self, symbol: SymbolId, out: &mut Vec<Batch>) {
        self.aggregator.leave(symbol, out);
        self.union.forget(symbol);
        if let Some(repairer) = &mut self.repairer {
            repairer.forget(symbol);
        }
    }

    /// Returns the state of the repairs.
    #[must_use]
    pub fn repair_status(&self) -> RepairStatus {
        self.repairer.as_ref().map(Repairer::status).unwrap_or_default()
    }

    /// Returns the category.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// Returns how many trades have been received, counted and left out so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.aggregator.tally()
    }

    /// Processes a message, then ticks at its time of receipt.
    pub fn take(&mut self, message: FeedMessage, out: &mut Vec<Batch>) {
        let received = message.received;
        let Some(number) = message.connection else {
            message.events.into_iter().for_each(|event| self.apply_external(event));
            return self.tick(received, out);
        };
        while self.connections.len() <= number {
            self.connections.push(Connection::expecting(self.offset, self.grace));
        }
        if let Some(connection) = self.connections.get_mut(number) {
            let rejected = connection.take(message, self.shown, &mut self.events);
            self.aggregator.reject(rejected);
        }
        self.progress.update(&mut self.connections);
        let (mut events, mut joined) = (std::mem::take(&mut self.events), std::mem::take(&mut self.joined));
        events.drain(..).for_each(|event| self.union.take(number, event, &mut joined));
        for event in joined.drain(..) {
            if let (FeedEvent::Trade(trade), Some(repairer)) = (&event, &mut self.repairer) {
                repairer.saw(trade);
            }
            self.aggregator.apply(&event);
        }
        (self.events, self.joined) = (events, joined);
        self.tick(received, out);
    }

    /// Applies an event that belongs to no connection. Before the exchange time is known there is no coverage that
    /// could end.
    fn apply_external(&mut self, event: FeedEvent<LocalMillis>) {
        let event = match (event, self.offset) {
            (FeedEvent::Listed { symbol }, _) => FeedEvent::Listed { symbol },
            (FeedEvent::Ended { symbol, at }, Some(offset)) => FeedEvent::Ended { symbol, at: offset.to_exchange(at) },
            // Only connections report trades and coverage.
            _ => return,
        };
        self.aggregator.apply(&event);
    }

    /// Advances to local time `local` and appends the batches that are due.
    pub fn tick(&mut self, local: LocalMillis, out: &mut Vec<Batch>) {
        if let Some(now) = self.now(local) {
            // If no connection is up, nothing more will be read.
            let read_until = self.progress.read_until(&self.connections, self.grace);
            let read_until = read_until.map_or(now, |read| read.min(now));
            if !self.leaving.is_empty() {
                self.end_left(now, read_until, out);
            }
            self.replace_intervals(now, read_until, out);
            self.aggregator.advance(now, read_until, out);
            if let Some(repairer) = &mut self.repairer {
                let stamp = self.connections.iter().filter_map(Connection::stamp).max();
                repairer.note_stamp(stamp.unwrap_or(now));
                repairer.advance(now, &mut self.aggregator, &mut self.requests);
                for (symbol, last_seen) in repairer.take_dead() {
                    self.uncover(symbol, last_seen);
                }
            }
        }
    }

    /// Returns how long to wait until something is due, if the exchange's clock continues as it does. A window closes
    /// when the connections report that they have read everything, or by the clock if no connection is up.
    #[must_use]
    pub fn pause(&mut self, local: LocalMillis) -> Duration {
        let Some(now) = self.now(local) else { return MAX_PAUSE };
        if self.aggregator.is_behind() {
            return Duration::ZERO;
        }
        let is_down = self.connections.iter().all(|connection| connection.read_until().is_none());
        let due = if is_down { self.aggregator.due_at() } else { self.aggregator.shows_at() };
        let due = self.repairer.as_ref().map_or(due, |repairer| due.min(repairer.due_at()));
        let pause = due.get().saturating_sub(now.get()).max(0);
        Duration::from_millis(u64::try_from(pause).unwrap_or(u64::MAX)).min(MAX_PAUSE)
    }

    /// Returns the local time at which the next boundary could close as far as connection `number` is concerned. The
    /// connection must report then that it has read everything; [`LocalMillis::MAX`] if no report is needed.
    #[must_use]
    pub fn boundary(&self, number: usize) -> LocalMillis {
        let at = self.aggregator.closes_at();
        let at = self.awaiting.as_ref().map_or(at, |awaiting| at.min(awaiting.since + self.grace));
        self.connections.get(number).and_then(|connection| connection.local_of(at)).unwrap_or(LocalMillis::MAX)
    }

    /// Performs one step of the end of a run: emits what is due, then the open windows. Returns whether there is more.
    pub fn finish(&mut self, out: &mut Vec<Batch>) -> bool {
        self.aggregator.finish(out)
    }

    fn now(&mut self, local: LocalMillis) -> Option<ExchangeMillis> {
        let now = self.progress.now(&mut self.connections, local);
        self.offset = now.map(|now| ClockOffset::between(local, now)).or(self.offset);
        let now = self.offset?.to_exchange(local);
        self.shown = self.shown.max(Some(now));
        self.shown
    }
}
