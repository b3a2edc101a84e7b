//! One category on its way through: the connections that carry it, with an exchange clock each, and its aggregator.
//! Pure: time is an argument.

use std::time::Duration;

use klines_domain::aggregator::{Aggregator, Settings, Tally};
use klines_domain::clock::ClockOffset;
use klines_domain::feed::{FeedEvent, FeedMessage};
use klines_domain::kline::Batch;
use klines_domain::symbol::{Category, SymbolTable};
use klines_domain::time::{ExchangeMillis, LocalMillis};

use super::LONGEST_PAUSE;
use super::connection::Connection;

/// One category. It goes by the slowest of its connections, so that none is ahead of the trades that another carries;
/// a connection that is lost stops counting at once.
pub struct CategoryPipeline {
    category: Category,
    connections: Vec<Connection>,
    aggregator: Aggregator,
    /// The exchange's time minus local time when it was last known: what time goes by while every connection is down.
    offset: Option<ClockOffset>,
    /// The latest exchange time that was shown: it never steps back.
    shown: Option<ExchangeMillis>,
    events: Vec<FeedEvent<ExchangeMillis>>,
}

impl CategoryPipeline {
    /// Starts a category with its symbols.
    #[must_use]
    pub fn new(settings: Settings, symbols: &SymbolTable) -> Self {
        let category = settings.category;
        let mut aggregator = Aggregator::new(settings);
        for (_, symbol) in symbols.iter() {
            aggregator.add_symbol(symbol);
        }
        Self { category, connections: Vec::new(), aggregator, offset: None, shown: None, events: Vec::new() }
    }

    /// Whose klines it makes.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// What became of the trades so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.aggregator.tally()
    }

    /// Takes in a message, then ticks at its time of receipt.
    pub fn take(&mut self, message: FeedMessage, out: &mut Vec<Batch>) {
        let received = message.received;
        let Some(number) = message.connection else {
            message.events.into_iter().for_each(|event| self.learn(event));
            return self.tick(received, out);
        };
        while self.connections.len() <= number {
            self.connections.push(Connection::expecting(self.offset));
        }
        if let Some(connection) = self.connections.get_mut(number) {
            let rejected = connection.take(message, self.shown, &mut self.events);
            self.aggregator.reject(rejected);
        }
        for event in self.events.drain(..) {
            self.aggregator.apply(&event);
        }
        self.tick(received, out);
    }

    /// Takes in what no connection brought. Without an exchange time nothing has begun that could end.
    fn learn(&mut self, event: FeedEvent<LocalMillis>) {
        let event = match (event, self.offset) {
            (FeedEvent::Listed { symbol }, _) => FeedEvent::Listed { symbol },
            (FeedEvent::Ended { symbol, at }, Some(offset)) => FeedEvent::Ended { symbol, at: offset.to_exchange(at) },
            // Trades and coverage are a connection's.
            _ => return,
        };
        self.aggregator.apply(&event);
    }

    /// Lets local time pass.
    pub fn tick(&mut self, local: LocalMillis, out: &mut Vec<Batch>) {
        if let Some(now) = self.now(local) {
            // Where no connection is up nothing is read, and nothing waits.
            let read_until = self.connections.iter().filter_map(Connection::read_until).min();
            self.aggregator.advance(now, read_until.map_or(now, |read| read.min(now)), out);
        }
    }

    /// How long until something is due, if the exchange's clock runs on as it does. What closes is due when a connection
    /// says that it has read everything, unless none is up.
    #[must_use]
    pub fn pause(&mut self, local: LocalMillis) -> Duration {
        let Some(now) = self.now(local) else { return LONGEST_PAUSE };
        if self.aggregator.is_behind() {
            return Duration::ZERO;
        }
        let is_down = self.connections.iter().all(|connection| connection.read_until().is_none());
        let due = if is_down { self.aggregator.due_at() } else { self.aggregator.shows_at() };
        let pause = due.get().saturating_sub(now.get()).max(0);
        Duration::from_millis(u64::try_from(pause).unwrap_or(u64::MAX)).min(LONGEST_PAUSE)
    }

    /// The local time at which the next boundary could close as far as connection `number` is concerned, which has to
    /// say then that it has read everything; [`LocalMillis::MAX`] when nothing is to be said.
    #[must_use]
    pub fn boundary(&self, number: usize) -> LocalMillis {
        let at = self.aggregator.closes_at();
        self.connections.get(number).and_then(|connection| connection.local_of(at)).unwrap_or(LocalMillis::MAX)
    }

    /// Takes a step of the end of a run: gives out what is due, then what is open. Returns whether there is more.
    pub fn finish(&mut self, out: &mut Vec<Batch>) -> bool {
        self.aggregator.finish(out)
    }

    fn now(&mut self, local: LocalMillis) -> Option<ExchangeMillis> {
        let slowest = self.connections.iter_mut().filter_map(|connection| connection.now(local)).min();
        self.offset = slowest.map(|now| ClockOffset::between(local, now)).or(self.offset);
        let now = self.offset?.to_exchange(local);
        self.shown = self.shown.max(Some(now));
        self.shown
    }
}
