//! The observable state of a run: its feeds, the outcomes of its trades, and its consumers. Metrics, health and the
//! admin socket read it. Reading changes no state and never delays the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use klines_bybit::driver::Status;
use klines_bybit::feed::Feed;
use klines_bybit::rest::Gate;
use klines_config::Config;
use klines_config::consumers::Component;
use klines_delivery::catalog::{Catalog, FeedState};
use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_delivery::view::View;
use klines_domain::symbol::Category;
use klines_domain::time::{LocalMillis, Millis};
use klines_pipeline::repair::RepairStatus;
use klines_pipeline::{CategoryTally, Tallies};
use klines_store::recorder::Observer;
use klines_system::clock::LocalClock;
use klines_wasm::Past;

use super::cluster::sight::Sight;

/// How long symbols that join may take until they are covered, in ms. Until then the state of their feed is that of the others.
const JOINING: Millis = 30_000;

/// The observable state of a run.
#[derive(Debug)]
pub struct Observed {
    /// The consumers.
    pub consumers: ObservedConsumers,
    /// The hub that distributes batches to the consumers.
    pub hub: Arc<Hub>,
    /// Counts of trades by outcome.
    pub tallies: Tallies,
    /// The local clock of this run.
    pub clock: LocalClock,
    /// Start time of the run.
    pub since: LocalMillis,
    /// The rate limiter of the exchange's REST API, shared by all requests.
    pub gate: Gate,
    /// The feeds of the categories whose symbols are known.
    pub feeds: Feeds,
    /// The watched symbols and the published states of the feeds.
    pub catalog: Arc<Catalog>,
    /// The folder in which the run stores data.
    pub data_dir: DataDir,
    /// What stores its klines; `None` if nothing does.
    pub store: Option<Observer>,
    /// What its components may read of the past.
    pub past: Past,
    /// The node of this process in a cluster, if it is one.
    pub cluster: Sight,
    categories: Vec<Category>,
    is_ending: AtomicBool,
}

/// The feeds that have been opened so far, one per category; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Feeds(Arc<Mutex<Vec<Feed>>>);

impl Feeds {
    /// Adds the feed of a category, or replaces it after it has changed.
    pub fn put(&self, feed: Feed) {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|known| known.category() != feed.category());
        feeds.push(feed);
        feeds.sort_by_key(Feed::category);
    }

    /// Returns the feeds, sorted by category.
    #[must_use]
    pub fn read(&self) -> Vec<Feed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The consumers of a run, in the order of its configuration; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ObservedConsumers(Arc<Mutex<Vec<ObservedConsumer>>>);

impl ObservedConsumers {
    /// Returns the consumers.
    #[must_use]
    pub fn read(&self) -> Vec<ObservedConsumer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns read access to each consumer.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.read().into_iter().map(|seen| seen.view).collect()
    }

    /// Replaces the consumers by those of a configuration.
    pub fn set(&self, config: &Config, views: Vec<View>) {
        let kind = |name: &str| match config.consumers.iter().find(|consumer| consumer.name == name) {
            Some(consumer) if !matches!(consumer.component, Component::Native(_)) => "wasm",
            // What writes the klines of an ingest node is not in the configuration.
            _ => "native",
        };
        let seen = views.into_iter().map(|view| ObservedConsumer { kind: kind(&view.name), view }).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// A consumer and its kind.
#[derive(Clone, Debug)]
pub struct ObservedConsumer {
    /// Its name, counters and queue.
    pub view: View,
    /// `native` or `wasm`.
    pub kind: &'static str,
}

/// How far the first windows of a category are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeding {
    /// The category.
    pub category: Category,
    /// Symbols that are watched; 0 before they are known.
    pub symbols: usize,
    /// The state of its repairs.
    pub status: RepairStatus,
    /// Whether every symbol that the exchange does not refuse is covered, and its first windows are known or were given up.
    pub is_over: bool,
}

/// The age of the last frames of a category, and its connections. Before the first frame, ages count from the start of
/// the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The category.
    pub category: Category,
    /// Milliseconds since the last frame, pongs included, on any connection of the set of topics that has been silent
    /// longest.
    pub frame_age: Millis,
    /// Milliseconds since the last frame of trades on any connection.
    pub trade_age: Millis,
    /// The same on sound connections only: those that are open, whose topics are all acknowledged or refused, at least
    /// one of them acknowledged, and whose busiest symbol receives data. `None` if a set of topics has no such
    /// connection.
    pub sound_age: Option<Millis>,
    /// Connections to open; 0 before the symbols are known, or when there are none.
    pub connections: usize,
    /// Connections that are open.
    pub open: usize,
    /// The smallest number of sound connections that a set of topics has.
    pub redundancy: usize,
    /// The number of connections to open for each set of topics.
    pub redundancy_wanted: usize,
    /// Whether no data is expected, because the category has no symbol to watch.
    pub is_idle: bool,
}

impl Observed {
    /// Returns the state of a run before its first connection.
    #[must_use]
    pub fn new(
        config: &Config,
        views: Vec<View>,
        hub: Arc<Hub>,
        clock: LocalClock,
        catalog: Arc<Catalog>,
        data_dir: DataDir,
    ) -> Self {
        let consumers = ObservedConsumers::default();
        consumers.set(config, views);
        for category in &config.exchange.categories {
            catalog.report(*category, FeedState::Down, clock.now().get());
        }
        Self {
            consumers,
            hub,
            tallies: Tallies::default(),
            clock,
            since: clock.now(),
            gate: Gate::new(clock),
            feeds: Feeds::default(),
            catalog,
            data_dir,
            store: None,
            past: Past::unknown("this run stores no klines"),
            cluster: Sight::default(),
            categories: config.exchange.categories.clone(),
            is_ending: AtomicBool::new(false),
        }
    }

    /// Returns the same with what stores the klines, and what components may read of them.
    #[must_use]
    pub fn with_store(self, store: Option<Observer>, past: Past) -> Self {
        Self { store, past, ..self }
    }

    /// Returns the same as a part of a cluster. A process without feeds of its own has no categories.
    #[must_use]
    pub fn in_cluster(self, cluster: Sight, has_feeds: bool) -> Self {
        let categories = if has_feeds { self.categories } else { Vec::new() };
        Self { cluster, categories, ..self }
    }

    /// Marks the run as ending.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Returns whether the run is ending.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Returns the categories of the run.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Returns how far the first windows are known, for each category whose gaps are repaired.
    #[must_use]
    pub fn seeding(&self) -> Vec<Seeding> {
        let feeds = self.feeds.read();
        let of = |tally: CategoryTally| {
            let (category, status) = (tally.category, tally.repair?);
            let symbols = self.catalog.count(category);
            let sets = feeds.iter().filter(|feed| feed.category() == category).flat_map(Feed::sets);
            let refused: usize = sets.filter_map(|set| set.iter().map(|status| status.refused).max()).sum();
            let is_over = status.covered > 0 && status.covered + refused >= symbols && status.seeded == status.covered;
            Some(Seeding { category, symbols, status, is_over })
        };
        self.tallies.read().into_iter().filter_map(of).collect()
    }

    /// Returns the freshness of each category.
    #[must_use]
    pub fn freshness(&self) -> Vec<Freshness> {
        let now = self.clock.now();
        let feeds = self.feeds.read();
        let age = |at: Option<LocalMillis>| (now - at.unwrap_or(self.since)).max(0);
        let of = |category: &Category| {
            let sets = feeds.iter().find(|feed| feed.category() == *category).map(Feed::sets);
            let settled = |sets: Vec<Vec<Status>>| -> Vec<Vec<Status>> {
                sets.into_iter().filter(|set| !is_joining(set, now)).collect()
            };
            let sets = sets.map(settled);
            freshness(*category, sets.as_deref(), age)
        };
        self.categories.iter().map(of).collect()
    }
}

/// Returns the freshness of a category by the connections of each set of its topics; `None` before these are known.
/// `age` returns how long ago a frame was received.
fn freshness(
    category: Category,
    sets: Option<&[Vec<Status>]>,
    age: impl Fn(Option<LocalMillis>) -> Millis,
) -> Freshness {
    let (is_idle, sets) = (sets.is_some_and(<[_]>::is_empty), sets.unwrap_or_default());
    let connections = || sets.iter().flatten();
    let youngest = |set: &Vec<Status>| set.iter().map(|status| age(status.last_frame.or(status.joined))).min();
    let sound = |set: &Vec<Status>| set.iter().filter(|status| is_sound(status)).count();
    let sound_age =
        |set: &Vec<Status>| set.iter().filter(|status| is_sound(status)).map(|status| age(status.last_frame)).min();
    let sound_ages: Option<Vec<Millis>> = sets.iter().map(sound_age).collect();
    Freshness {
        category,
        frame_age: sets.iter().filter_map(youngest).max().unwrap_or_else(|| age(None)),
        trade_age: connections().map(|status| age(status.last_trade_frame)).min().unwrap_or_else(|| age(None)),
        sound_age: sound_ages.and_then(|ages| ages.into_iter().max()),
        connections: connections().count(),
        open: connections().filter(|status| status.is_open).count(),
        redundancy: sets.iter().map(sound).min().unwrap_or(0),
        redundancy_wanted: sets.first().map_or(0, Vec::len),
        is_idle,
    }
}

/// Returns whether the symbols of a set joined a moment ago and are not covered yet.
fn is_joining(set: &[Status], now: LocalMillis) -> bool {
    set.iter().all(|status| status.covered == 0 && status.joined.is_some_and(|at| now - at < JOINING))
}

fn is_sound(status: &Status) -> bool {
    let is_answered = status.covered > 0 && status.covered + status.refused >= status.wanted;
    status.is_open && is_answered && !status.is_silent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_sound_when_all_topics_are_answered_and_the_busiest_symbol_has_data() {
        let sound = Status { is_open: true, wanted: 3, covered: 2, refused: 1, ..Status::default() };
        assert!(is_sound(&sound));
        assert!(!is_sound(&Status { is_open: false, ..sound }));
        assert!(!is_sound(&Status { covered: 1, ..sound }), "one is not answered yet");
        assert!(!is_sound(&Status { covered: 0, refused: 3, ..sound }), "no topic is acknowledged");
        assert!(!is_sound(&Status { is_silent: true, ..sound }));
    }

    /// Returns a sound connection whose last frame was received at `at`.
    fn sound(at: i64) -> Status {
        Status { is_open: true, wanted: 3, covered: 3, last_frame: Some(LocalMillis::new(at)), ..Status::default() }
    }

    fn of(sets: &[Vec<Status>]) -> Freshness {
        freshness(Category::Linear, Some(sets), |at| 1_000 - at.map_or(0, LocalMillis::get))
    }

    #[test]
    fn a_set_of_topics_is_as_fresh_as_its_best_connection_and_a_category_as_its_worst_set() {
        let lost = |at| Status { is_open: false, covered: 0, ..sound(at) };
        let both = of(&[vec![sound(990), sound(970)], vec![sound(960), sound(980)]]);
        assert_eq!((both.frame_age, both.sound_age), (20, Some(20)));
        assert_eq!((both.connections, both.open, both.redundancy, both.redundancy_wanted), (4, 4, 2, 2));
        let one = of(&[vec![sound(990), lost(970)], vec![sound(960), sound(980)]]);
        assert_eq!((one.frame_age, one.sound_age), (20, Some(20)), "each set has a sound connection");
        assert_eq!((one.connections, one.open, one.redundancy, one.redundancy_wanted), (4, 3, 1, 2));
        let none = of(&[vec![lost(990), lost(970)], vec![sound(960), sound(980)]]);
        assert_eq!((none.frame_age, none.sound_age, none.open, none.redundancy), (20, None, 2, 0));
        let stalled = of(&[vec![lost(990), sound(100)]]);
        assert_eq!((stalled.frame_age, stalled.sound_age), (10, Some(900)), "the lost one does not count");
    }

    #[test]
    fn symbols_that_join_have_half_a_minute_and_then_count() {
        let at = LocalMillis::new(5_000);
        let joining = Status { joined: Some(at), wanted: 1, ..Status::default() };
        assert!(is_joining(&[joining, joining], at + 29_999));
        assert!(!is_joining(&[joining, joining], at + 30_000));
        assert!(!is_joining(&[joining, Status { covered: 1, ..joining }], at + 1));
        assert!(!is_joining(&[Status { joined: None, ..joining }], at), "the first ones count from the start");
        let late = Status { joined: Some(LocalMillis::new(900)), ..Status::default() };
        assert_eq!(of(&[vec![sound(990)], vec![late]]).frame_age, 100, "since it joined");
    }

    #[test]
    fn a_category_without_symbols_is_idle_and_one_whose_symbols_are_not_known_is_not() {
        assert!(of(&[]).is_idle);
        let unknown = freshness(Category::Linear, None, |_| 1_000);
        assert_eq!((unknown.is_idle, unknown.frame_age, unknown.sound_age, unknown.open), (false, 1_000, None, 0));
    }
}
