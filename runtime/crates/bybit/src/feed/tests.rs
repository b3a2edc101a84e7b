//! Tests how many connections a feed opens, in which order, and to which set each belongs.

use klines_domain::symbol::Symbol;
use klines_system::clock::LocalClock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::connect::Dialer;
use crate::pacer::Pacer;

/// Returns a context whose drivers end before they connect.
fn context() -> FeedContext {
    let cancel = CancellationToken::new();
    cancel.cancel();
    FeedContext {
        dialer: Dialer::new(|_| None).unwrap(),
        clock: LocalClock::start(),
        pacer: Arc::new(Mutex::new(Pacer::default())),
        out: mpsc::channel(1).0,
        cancel,
    }
}

/// The feed of a category, and the symbols that it has had.
struct Growing {
    feed: Feed,
    table: SymbolTable,
}

impl Growing {
    fn new() -> Self {
        Self { feed: Feed::new(Category::Linear), table: SymbolTable::default() }
    }

    /// Adds this many symbols with the longest names: 279 of them fit into a set beside the canary topic.
    fn add(&mut self, symbols: usize, feeds: usize) -> Vec<SymbolId> {
        let known = self.table.len();
        let names = (known..known + symbols).map(|number| Symbol::new(&format!("{:X<56}{number:04}", "S")).unwrap());
        let ids: Vec<SymbolId> = names.map(|name| self.table.intern(&name)).collect();
        let settings = FeedSettings {
            url: Url::parse("ws://localhost").unwrap(),
            feeds: NonZeroUsize::new(feeds).unwrap(),
            timing: Timing::default(),
        };
        let drivers = self.feed.add(&context(), &settings, &Arc::new(self.table.clone()), &ids);
        drivers.spawn(&TaskTracker::new());
        ids
    }
}

fn spawned(symbols: usize, feeds: usize) -> Feed {
    let mut growing = Growing::new();
    growing.add(symbols, feeds);
    growing.feed
}

fn wanted(connections: &[Status]) -> Vec<usize> {
    connections.iter().map(|status| status.wanted).collect()
}

#[tokio::test]
async fn each_set_has_one_connection_for_each_feed_and_all_sets_come_before_a_second_feed() {
    let feed = spawned(300, 3);
    assert_eq!(wanted(&feed.connections()), [279, 21, 279, 21, 279, 21], "in the order of opening");
    assert_eq!(feed.sets().iter().map(|set| wanted(set)).collect::<Vec<_>>(), [[279; 3], [21; 3]]);
    assert_eq!(feed.boundaries().len(), 6, "one for each number of a connection");
}

#[tokio::test]
async fn a_category_without_symbols_opens_no_connection() {
    let feed = spawned(0, 2);
    assert!(feed.connections().is_empty() && feed.sets().is_empty());
}

#[tokio::test]
async fn symbols_that_join_get_sets_and_connections_of_their_own() {
    let mut growing = Growing::new();
    growing.add(300, 2);
    growing.add(1, 2);
    assert_eq!(wanted(&growing.feed.connections()), [279, 21, 279, 21, 1, 1], "their numbers follow");
    assert_eq!(growing.feed.sets().iter().map(|set| wanted(set)).collect::<Vec<_>>(), [[279; 2], [21; 2], [1; 2]]);
    assert_eq!(growing.feed.boundaries().len(), 6);
}

#[test]
fn the_limit_of_the_exchange_reduces_the_feeds_to_one_at_most() {
    for (sets, wanted, expected) in
        [(0, 2, 2), (1, 4, 4), (250, 4, 4), (251, 4, 3), (500, 2, 2), (501, 2, 1), (1_000, 4, 1), (2_000, 4, 1)]
    {
        let feeds = feeds_within_limit(sets, 0, NonZeroUsize::new(wanted).unwrap());
        assert_eq!(feeds, expected, "{sets} sets");
        assert!(sets * feeds <= MAX_CONNECTIONS.max(sets));
    }
    let [four, one] = [997, 1_000].map(|open| feeds_within_limit(1, open, NonZeroUsize::new(4).unwrap()));
    assert_eq!((four, one), (3, 1), "connections that are open count");
}
