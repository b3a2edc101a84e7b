//! Layer 2: feed messages and ticks in, batches of klines out. Local time becomes exchange time here, and nowhere else.
//!
//! Never waits for a consumer: the hub's queues take a batch or drop their own oldest. `playback` drives the same
//! aggregator on recorded time.

pub mod playback;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::LocalClock;
use crate::consumer::hub::Hub;
use crate::domain::aggregator::{Aggregator, Settings, Tally};
use crate::domain::clock::ExchangeClock;
use crate::domain::feed::{FeedEvent, FeedMessage};
use crate::domain::kline::Batch;
use crate::domain::symbol::{Category, SymbolTable};
use crate::domain::time::Millis;

/// The longest pause between two ticks: the exchange's clock may run ahead of what was expected.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// One category on its way through: its exchange clock and its aggregator. Pure.
pub struct Lane {
    category: Category,
    clock: ExchangeClock,
    aggregator: Aggregator,
    /// Changes of coverage that came before the exchange's time was known.
    waiting: Vec<FeedEvent>,
}

impl Lane {
    /// Starts a category with its symbols.
    #[must_use]
    pub fn new(settings: Settings, symbols: &SymbolTable) -> Self {
        let category = settings.category;
        let mut aggregator = Aggregator::new(settings);
        for (_, symbol) in symbols.iter() {
            aggregator.add_symbol(symbol.clone());
        }
        Self { category, clock: ExchangeClock::default(), aggregator, waiting: Vec::new() }
    }

    /// Takes in a message, then ticks at its time of receipt.
    pub fn take(&mut self, message: FeedMessage, out: &mut Vec<Batch>) {
        if let Some(stamped) = message.stamped {
            self.clock.observe(message.received, stamped);
            for event in std::mem::take(&mut self.waiting) {
                self.apply(event);
            }
        }
        self.aggregator.reject(message.rejected);
        for event in message.events {
            self.apply(event);
        }
        self.tick(message.received, out);
    }

    /// Lets local time pass.
    pub fn tick(&mut self, local: Millis, out: &mut Vec<Batch>) {
        if let Some(now) = self.clock.now(local) {
            self.aggregator.tick(now, out);
        }
    }

    /// How long until something is due, if the exchange's clock runs on as it does.
    #[must_use]
    pub fn pause(&mut self, local: Millis) -> Duration {
        let Some(now) = self.clock.now(local) else { return LONGEST_PAUSE };
        let pause = self.aggregator.due_at().saturating_sub(now).max(0);
        Duration::from_millis(u64::try_from(pause).unwrap_or(u64::MAX)).min(LONGEST_PAUSE)
    }

    /// Gives out what is open.
    pub fn finish(&mut self, out: &mut Vec<Batch>) {
        self.aggregator.finish(out);
    }

    /// Turns local times into exchange times: an interruption begins before what the slowest frame of the last minute
    /// would have told, and ends when the fastest would have been stamped.
    fn apply(&mut self, event: FeedEvent) {
        let event = match event {
            FeedEvent::Missed { .. } if self.clock.latest(0).is_none() => return self.waiting.push(event),
            FeedEvent::Trade(_) | FeedEvent::Missed { .. } => event,
            FeedEvent::Resumed { symbols, at } => match self.clock.latest(at) {
                Some(at) => FeedEvent::Resumed { symbols, at },
                None => return self.waiting.push(FeedEvent::Resumed { symbols, at }),
            },
            FeedEvent::Gap { symbols, last_seen } => match self.clock.told_until(last_seen) {
                Some(last_seen) => FeedEvent::Gap { symbols, last_seen },
                None => return self.waiting.push(FeedEvent::Gap { symbols, last_seen }),
            },
            FeedEvent::Ended { symbol, at } => match self.clock.latest(at) {
                Some(at) => FeedEvent::Ended { symbol, at },
                None => return self.waiting.push(FeedEvent::Ended { symbol, at }),
            },
        };
        self.aggregator.apply(&event);
    }
}

/// What became of the trades of each category; readable while the pipeline runs.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<Vec<(Category, Tally)>>>);

impl Tallies {
    /// The categories' tallies, at most one tick old.
    #[must_use]
    pub fn read(&self) -> Vec<(Category, Tally)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All categories, driven by messages and the local clock.
pub struct Pipeline {
    lanes: Vec<Lane>,
    clock: LocalClock,
    hub: Arc<Hub>,
    tallies: Tallies,
    out: Vec<Batch>,
}

impl Pipeline {
    /// Joins categories to the consumers' hub.
    #[must_use]
    pub fn new(lanes: Vec<Lane>, clock: LocalClock, hub: Arc<Hub>, tallies: Tallies) -> Self {
        Self { lanes, clock, hub, tallies, out: Vec::new() }
    }

    /// Runs until every sender of the inbox is gone, then gives out what is open.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<FeedMessage>) {
        loop {
            let pause = self.pause();
            tokio::select! { biased;
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = tokio::time::sleep(pause) => {}
            }
            self.tick();
        }
        self.finish();
    }

    fn take(&mut self, message: FeedMessage) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.category == message.category) {
            lane.take(message, &mut self.out);
            self.publish();
        }
    }

    fn tick(&mut self) {
        let local = self.clock.now();
        for lane in &mut self.lanes {
            lane.tick(local, &mut self.out);
        }
        self.publish();
        self.record();
    }

    fn finish(&mut self) {
        for lane in &mut self.lanes {
            lane.finish(&mut self.out);
        }
        self.publish();
        self.record();
    }

    fn publish(&mut self) {
        for batch in self.out.drain(..) {
            self.hub.publish(&batch);
        }
    }

    fn record(&self) {
        let mut tallies = self.tallies.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.clear();
        tallies.extend(self.lanes.iter().map(|lane| (lane.category, lane.aggregator.tally())));
    }

    fn pause(&mut self) -> Duration {
        let local = self.clock.now();
        self.lanes.iter_mut().map(|lane| lane.pause(local)).min().unwrap_or(LONGEST_PAUSE)
    }
}
