//! A run as it can be looked at while it goes on: its feeds, what became of the trades, its consumers. What metrics,
//! health and the admin socket read. Changes nothing, and nothing waits for whoever looks.

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
use klines_pipeline::Tallies;
use klines_system::clock::LocalClock;

/// Everything that can be looked at.
#[derive(Debug)]
pub struct Observed {
    /// The consumers, in the order of their configuration.
    pub consumers: Vec<Seen>,
    /// Where batches are handed out.
    pub hub: Arc<Hub>,
    /// What became of the trades.
    pub tallies: Tallies,
    /// Local time of this run.
    pub clock: LocalClock,
    /// When it began.
    pub since: LocalMillis,
    /// The way to the exchange's REST interface, which everybody shares who asks it.
    pub gate: Gate,
    /// The feeds of the categories whose symbols are known.
    pub feeds: Feeds,
    /// What is watched, and how the feeds stand as everybody is told.
    pub catalog: Arc<Catalog>,
    /// Where the run keeps things.
    pub data_dir: DataDir,
    categories: Vec<Category>,
    is_ending: AtomicBool,
}

/// Feeds, one a category, as they come to be; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Feeds(Arc<Mutex<Vec<Feed>>>);

impl Feeds {
    /// Adds one.
    pub fn add(&self, feed: Feed) {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.push(feed);
        feeds.sort_by_key(Feed::category);
    }

    /// Those that there are, by category.
    #[must_use]
    pub fn read(&self) -> Vec<Feed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A consumer and what it is.
#[derive(Debug)]
pub struct Seen {
    /// What can be looked at.
    pub view: View,
    /// `native` or `wasm`.
    pub kind: &'static str,
}

/// How lately a category was heard of. Before its first frame the time counts from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The category.
    pub category: Category,
    /// Milliseconds since the last frame, pongs included, of the connection that has waited longest.
    pub frame_age: Millis,
    /// Milliseconds since the last frame of trades on any connection.
    pub trade_age: Millis,
    /// Connections that its symbols need; 0 before the symbols are known, or when there are none.
    pub connections: usize,
    /// Connections that are open.
    pub open: usize,
    /// Open connections whose topics are all answered, some of them with yes, and whose busiest symbol is heard.
    pub sound: usize,
    /// Nothing is to be heard: the category has no symbol to watch.
    pub is_idle: bool,
}

impl Observed {
    /// Puts together what there is before the first connection.
    #[must_use]
    pub fn new(
        config: &Config,
        views: Vec<View>,
        hub: Arc<Hub>,
        clock: LocalClock,
        catalog: Arc<Catalog>,
        data_dir: DataDir,
    ) -> Self {
        let kind = |name: &str| match config.consumers.iter().find(|consumer| consumer.name == name) {
            Some(consumer) if matches!(consumer.component, Component::Native(_)) => "native",
            _ => "wasm",
        };
        for category in &config.exchange.categories {
            catalog.report(*category, FeedState::Down, clock.now().get());
        }
        Self {
            consumers: views.into_iter().map(|view| Seen { kind: kind(&view.name), view }).collect(),
            hub,
            tallies: Tallies::default(),
            clock,
            since: clock.now(),
            gate: Gate::new(clock),
            feeds: Feeds::default(),
            catalog,
            data_dir,
            categories: config.exchange.categories.clone(),
            is_ending: AtomicBool::new(false),
        }
    }

    /// Says that the run is coming to its end.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Whether the run is coming to its end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// How lately each category was heard of.
    #[must_use]
    pub fn freshness(&self) -> Vec<Freshness> {
        let now = self.clock.now();
        let feeds = self.feeds.read();
        let age = |at: Option<LocalMillis>| (now - at.unwrap_or(self.since)).max(0);
        let of = |category: &Category| {
            let feed = feeds.iter().find(|feed| feed.category() == *category);
            let connections = feed.map(Feed::connections).unwrap_or_default();
            Freshness {
                category: *category,
                frame_age: connections.iter().map(|status| age(status.heard)).max().unwrap_or_else(|| age(None)),
                trade_age: connections.iter().map(|status| age(status.traded)).min().unwrap_or_else(|| age(None)),
                connections: connections.len(),
                open: connections.iter().filter(|status| status.is_open).count(),
                sound: connections.iter().filter(|status| is_sound(status)).count(),
                is_idle: feed.is_some() && connections.is_empty(),
            }
        };
        self.categories.iter().map(of).collect()
    }
}

fn is_sound(status: &Status) -> bool {
    let is_answered = status.covered > 0 && status.covered + status.refused >= status.wanted;
    status.is_open && is_answered && !status.is_silent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_sound_when_all_is_answered_and_the_busiest_symbol_is_heard() {
        let sound = Status { is_open: true, wanted: 3, covered: 2, refused: 1, ..Status::default() };
        assert!(is_sound(&sound));
        assert!(!is_sound(&Status { is_open: false, ..sound }));
        assert!(!is_sound(&Status { covered: 1, ..sound }), "one is not answered yet");
        assert!(!is_sound(&Status { covered: 0, refused: 3, ..sound }), "nothing is to be heard");
        assert!(!is_sound(&Status { is_silent: true, ..sound }));
    }
}
