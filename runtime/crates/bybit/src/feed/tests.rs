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

/// Spawns the feed of this many symbols with the longest names: 279 of them fit into a set beside the canary topic.
fn spawned(symbols: usize, feeds: usize) -> Feed {
    let mut table = SymbolTable::default();
    for number in 0..symbols {
        table.intern(&Symbol::new(&format!("{:X<56}{number:04}", "S")).unwrap());
    }
    let (url, feeds) = (Url::parse("ws://localhost").unwrap(), NonZeroUsize::new(feeds).unwrap());
    let (table, tracker) = (Arc::new(table), TaskTracker::new());
    Feed::spawn(&context(), &tracker, Category::Linear, &url, &table, feeds, Timing::default())
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

#[test]
fn the_limit_of_the_exchange_reduces_the_feeds_to_one_at_most() {
    for (sets, wanted, expected) in
        [(0, 2, 2), (1, 4, 4), (250, 4, 4), (251, 4, 3), (500, 2, 2), (501, 2, 1), (1_000, 4, 1), (2_000, 4, 1)]
    {
        let feeds = feeds_within_limit(sets, NonZeroUsize::new(wanted).unwrap());
        assert_eq!(feeds, expected, "{sets} sets");
        assert!(sets * feeds <= MAX_CONNECTIONS.max(sets));
    }
}
