//! A simulated exchange, feeds connected to it, and everything that arrived; conditions and comparisons for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bybit_sim::{Activity, Instrument, Market, Sim};
use klines_bybit::config::BybitConfig;
use klines_bybit::connect::Dialer;
use klines_bybit::decode::trade_id;
use klines_bybit::driver::FeedContext;
use klines_bybit::feed::{Feed, FeedSettings};
use klines_bybit::session::{Counters, Timing};
use klines_domain::feed::{FeedEvent, FeedMessage};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::trade::{Trade, TradeId};
use klines_system::clock::LocalClock;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The demo market's symbols.
pub const LINEAR: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];
/// Far longer than anything takes: it only ends tests that would hang.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until a condition is true.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns instruments with several trades a second.
pub fn lively(category: bybit_sim::Category, names: &[&str]) -> Vec<Instrument> {
    let build = |name: &&str| Instrument::new(category, name, "100", "0.1", "0.001").unwrap();
    names.iter().map(build).map(|instrument| instrument.with_activity(Activity::LIVELY)).collect()
}

/// Returns a seeded market of such instruments.
pub fn market(category: bybit_sim::Category, names: &[&str]) -> Market {
    Market::seeded(11, lively(category, names))
}

#[derive(Debug, Default)]
struct Known {
    table: Arc<SymbolTable>,
    covered: BTreeSet<SymbolId>,
    gaps: usize,
    tapes: BTreeMap<SymbolId, Vec<Trade>>,
}

/// Everything that arrived, by category.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<Category, Known>);

impl Seen {
    fn note(&mut self, message: FeedMessage) {
        let known = self.0.get_mut(&message.category).expect("a category that was asked for");
        for event in message.events {
            match event {
                FeedEvent::Trade(trade) => {
                    assert!(message.stamped.is_some_and(|stamped| trade.time <= stamped));
                    known.tapes.entry(trade.symbol).or_default().push(trade);
                }
                FeedEvent::Covered { symbols, from } => {
                    assert!(from <= message.received);
                    symbols.iter().for_each(|symbol| assert!(known.covered.insert(*symbol), "covered twice"));
                }
                FeedEvent::Hole { symbols, last_seen, until } => {
                    assert!(last_seen <= message.received);
                    known.gaps += symbols.len();
                    symbols.iter().for_each(|symbol| assert!(known.covered.remove(symbol), "a hole without coverage"));
                    if let Some(until) = until {
                        // After a frame that could not be read it is the next millisecond.
                        assert!(until <= message.received + 1);
                        known.covered.extend(symbols);
                    }
                }
                FeedEvent::Missed { .. } => {}
                FeedEvent::Delayed { .. } => panic!("a session knows no exchange time"),
                FeedEvent::Ended { .. } | FeedEvent::Listed { .. } => panic!("nothing ended"),
            }
        }
    }

    /// Returns the number of symbols that are covered now.
    pub fn covered(&self, category: Category) -> usize {
        self.0[&category].covered.len()
    }

    /// Returns whether a symbol is covered now.
    pub fn is_covered(&self, category: Category, name: &str) -> bool {
        let known = &self.0[&category];
        known.covered.contains(&known.table.get(name).unwrap())
    }

    /// Returns how often symbols lost their coverage.
    pub fn gaps(&self, category: Category) -> usize {
        self.0[&category].gaps
    }

    /// Returns a symbol's trades in the order in which they arrived.
    pub fn tape(&self, category: Category, name: &str) -> &[Trade] {
        let known = &self.0[&category];
        known.tapes.get(&known.table.get(name).unwrap()).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of a symbol's trades.
    pub fn trades(&self, category: Category, name: &str) -> usize {
        self.tape(category, name).len()
    }

    /// Returns the number of trades of all symbols.
    pub fn all_trades(&self) -> u64 {
        self.0.values().flat_map(|known| known.tapes.values()).map(|tape| tape.len() as u64).sum()
    }
}

/// An exchange and the feeds that listen to it.
pub struct World {
    sim: Sim,
    feeds: Vec<Feed>,
    rx: mpsc::Receiver<FeedMessage>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    seen: Seen,
}

impl World {
    pub async fn start(sim: Sim, wanted: &[(Category, &[&str])], timing: Timing) -> Self {
        // As small as possible, so that waiting for room is the normal case.
        let (tx, rx) = mpsc::channel(1);
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        let context = FeedContext {
            dialer: Dialer::new(|_| None).unwrap(),
            clock: LocalClock::start(),
            pacer: Arc::default(),
            out: tx,
            cancel: cancel.clone(),
        };
        let config = BybitConfig { ws_url: Some(sim.ws_url().parse().unwrap()), ..BybitConfig::default() };
        let mut seen = Seen::default();
        let feeds = wanted.iter().map(|(category, names)| {
            let mut table = SymbolTable::default();
            names.iter().for_each(|name| {
                table.intern(&Symbol::new(name).unwrap());
            });
            let table = Arc::new(table);
            seen.0.insert(*category, Known { table: table.clone(), ..Known::default() });
            let url = config.stream_url(*category).unwrap();
            let settings = FeedSettings { url, feeds: NonZeroUsize::MIN, timing };
            let (mut feed, ids) = (Feed::new(*category), table.iter().map(|(id, _)| id).collect::<Vec<_>>());
            feed.add(&context, &settings, &table, &ids).spawn(&tracker);
            feed
        });
        let feeds = feeds.collect();
        Self { sim, feeds, rx, cancel, tracker, seen }
    }

    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Returns the number of failed attempts to connect.
    pub fn failed(&self) -> u64 {
        self.feeds.iter().flat_map(Feed::connections).map(|status| status.failed).sum()
    }

    /// Receives until a condition is true.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(&self.seen) {
            match timeout_at(deadline, self.rx.recv()).await {
                Ok(Some(message)) => self.seen.note(message),
                Ok(None) => panic!("the feeds ended before: {what}"),
                Err(_) => panic!(
                    "never: {what}; seen {:?}",
                    self.seen.0.values().map(|known| (&known.covered, known.gaps)).collect::<Vec<_>>()
                ),
            }
        }
    }

    /// Receives until a condition on the counters is true.
    pub async fn until_counted(&mut self, what: &str, condition: impl Fn(Counters) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self.counters()) {
            let message = timeout_at(deadline, self.rx.recv()).await;
            self.seen.note(message.unwrap_or_else(|_| panic!("never: {what}")).unwrap());
        }
    }

    /// Asserts that the received trades of a symbol are a contiguous part of the exchange's tape: none lost, repeated
    /// or out of order.
    pub fn assert_contiguous(&self, category: Category, name: &str) {
        let truth = self.sim.trades(bybit_sim::Category::parse(category.as_str()).unwrap(), name);
        let truth: Vec<TradeId> = truth.iter().map(|trade| trade_id(&trade.id)).collect();
        let got: Vec<TradeId> = self.seen.tape(category, name).iter().map(|trade| trade.id.clone()).collect();
        let first = truth.iter().position(|id| Some(id) == got.first()).expect("the first trade is the exchange's");
        assert_eq!(truth[first..first + got.len()], got, "{category} {name}");
    }

    /// Asserts that no trade arrived twice.
    pub fn assert_no_duplicates(&self) {
        for tape in self.seen.0.values().flat_map(|known| known.tapes.values()) {
            let ids: std::collections::HashSet<&TradeId> = tape.iter().map(|trade| &trade.id).collect();
            assert_eq!(ids.len(), tape.len());
        }
    }

    /// Ends everything. Returns the counters of the feeds.
    pub async fn stop(self) -> Counters {
        self.stop_and_drain().await.0
    }

    /// Ends everything. Returns the counters of the feeds and the number of trades that were still in flight.
    pub async fn stop_and_drain(mut self) -> (Counters, u64) {
        let before = self.seen.all_trades();
        self.cancel.cancel();
        self.tracker.close();
        while let Some(message) = self.rx.recv().await {
            self.seen.note(message);
        }
        self.tracker.wait().await;
        let counters = self.counters();
        self.sim.stop().await;
        (counters, self.seen.all_trades() - before)
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.feeds.iter().for_each(|feed| sum += feed.counters());
        sum
    }
}
