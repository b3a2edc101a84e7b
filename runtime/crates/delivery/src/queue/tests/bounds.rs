//! Tests of a queue's bounds: two of the largest boundaries that can pass, and never more than its bytes.

use klines_domain::symbol::Category;

use super::super::klines::{KlineBuffer, UPDATE_BYTES};
use super::*;
use crate::filter::Filter;
use crate::fixture::{in_category, point};

/// Intervals that all end at one midnight.
const INTERVALS: [&str; 6] = ["1s", "5s", "15s", "30s", "1m", "5m"];

fn symbols(count: usize) -> Vec<Symbol> {
    (0..count).map(|at| Symbol::new(&format!("S{at}USDT")).unwrap()).collect()
}

pub fn watched(symbols: Vec<Symbol>, intervals: &[&str]) -> Arc<Watched> {
    Arc::new(Watched { symbols, intervals: intervals.iter().map(|text| text.parse().unwrap()).collect() })
}

/// Returns the klines of one boundary: the `window`-th window of each series. These tests do not depend on the actual
/// times.
fn boundary(category: Category, symbols: &[Symbol], intervals: &[&str], window: i64) -> Batch {
    let one = |symbol: &Symbol, interval: &str| in_category(category, &kline(symbol.as_str(), interval, window, true));
    batch(intervals.iter().flat_map(|interval| symbols.iter().map(move |symbol| one(symbol, interval))))
}

#[test]
fn a_boundary_larger_than_the_queue_loses_no_kline() {
    let symbols = symbols(900);
    for is_watched in [true, false] {
        let queue = Queue::new(DEFAULT_CAPACITY, &everything());
        if is_watched {
            queue.watch(watched(symbols.clone(), &INTERVALS));
            assert_eq!(queue.depth().capacity, 2 * 900 * 6);
        }
        let push = |window| queue.push(0, &boundary(Category::Linear, &symbols, &INTERVALS, window));
        assert_eq!([push(0), push(1)], [0, 0], "the watched symbols are known: {is_watched}");
        assert_eq!(queue.depth().closed, 2 * 5_400);
        assert_eq!(push(2), 5_400, "the third is one too many, and the oldest is dropped");
        let delivery = delivered(&queue, Grouping::UpTo(1));
        assert_eq!((delivery.lost, delivery.klines[0].start), (5_400, 1_000));
    }
}

#[test]
fn the_boundaries_of_several_categories_at_one_moment_fit_together() {
    let symbols = symbols(1_000);
    let queue = Queue::new(1, &everything());
    queue.watch(watched(symbols.iter().chain(&symbols).cloned().collect(), &["1m", "5m"]));
    let mut lost = 0;
    for window in 0..2 {
        for category in [Category::Linear, Category::Spot] {
            lost += queue.push(0, &boundary(category, &symbols, &["1m", "5m"], window));
        }
    }
    assert_eq!((lost, queue.depth().closed, queue.depth().capacity), (0, 8_000, 8_000));
}

#[test]
fn the_floor_follows_the_filter_and_what_is_watched() {
    let allowed = Subscription { intervals: vec!["1s".parse().unwrap(), "1m".parse().unwrap()], ..everything() };
    let queue = Queue::new(10, &allowed);
    let capacity = || queue.depth().capacity;
    assert_eq!(capacity(), 10, "nothing is known to be watched");
    queue.watch(watched(symbols(100), &INTERVALS));
    assert_eq!(capacity(), 2 * 100 * 2);
    let wish = |count| Subscription { symbols: symbols(count), ..everything() };
    assert!(queue.narrow(&wish(30)));
    assert_eq!(capacity(), 2 * 30 * 2);
    queue.watch(watched(symbols(20), &INTERVALS));
    assert_eq!(capacity(), 2 * 20 * 2);
    assert!(queue.narrow(&wish(1)));
    assert_eq!(capacity(), 10, "the configured size is the minimum");
    assert!(queue.narrow(&everything()));
    queue.watch(watched(symbols(1_440), &INTERVALS));
    assert_eq!(capacity(), 2 * 1_440 * 2, "a new version wants more, and more is watched");
}

#[test]
fn a_floor_that_falls_drops_nothing_that_waits() {
    let queue = Queue::new(3, &everything());
    queue.watch(watched(symbols(5), &["1m"]));
    for window in 0..2 {
        assert_eq!(queue.push(0, &boundary(Category::Linear, &symbols(5), &["1m"], window)), 0);
    }
    queue.watch(watched(symbols(1), &["1m"]));
    assert_eq!((queue.depth().closed, queue.depth().capacity), (10, 3));
    assert_eq!(queue.push(1, &closed([2])), 1, "one is added, one is dropped");
    assert_eq!(queue.depth().closed, 10);
}

#[test]
fn bytes_are_bounded_and_updates_go_before_closed_klines() {
    let filter = Filter::default();
    let mut buffer = KlineBuffer::new(usize::MAX, 10 * KLINE_BYTES);
    let update = |symbol: &str| kline(symbol, "1m", 50, false);
    assert_eq!(buffer.push(0, &batch(["A", "B", "C"].map(update)), &filter), 0);
    assert_eq!(buffer.push(1, &closed(0..7), &filter), 0);
    let left = (10 * KLINE_BYTES - 7 * KLINE_BYTES) / UPDATE_BYTES;
    assert!(left < 3, "an update takes more than a closed kline: {left}");
    assert_eq!((buffer.closed(), buffer.updates()), (7, left));
    assert_eq!(buffer.push(2, &closed(7..10), &filter), 0);
    assert_eq!((buffer.closed(), buffer.updates()), (10, 0));
    assert_eq!(buffer.push(3, &closed(10..12), &filter), 2, "then the oldest");
    assert_eq!(buffer.push(4, &batch([update("A")]), &filter), 0);
    assert_eq!((buffer.closed(), buffer.updates()), (10, 0), "an update displaces nothing");
    let taken = buffer.take(Grouping::UpTo(64)).klines;
    assert_eq!(taken.iter().map(|kline| kline.start / 60_000).collect::<Vec<_>>(), (2..12).collect::<Vec<_>>());
    assert_eq!(buffer.push(5, &batch([update("A")]), &filter), 0);
    assert_eq!(buffer.updates(), 1, "its window was removed with it");
}

#[test]
fn an_update_that_fits_exactly_stays() {
    let mut buffer = KlineBuffer::new(1, UPDATE_BYTES);
    buffer.push(0, &batch([kline("A", "1m", 50, false)]), &Filter::default());
    assert_eq!(buffer.updates(), 1);
}

#[test]
fn a_large_batch_of_which_little_passes_raises_nothing() {
    let allowed = Subscription { symbols: symbols(1), ..everything() };
    let queue = Queue::new(1, &allowed);
    queue.push(0, &boundary(Category::Linear, &symbols(6), &["1m"], 0));
    assert_eq!((queue.depth().boundary, queue.depth().capacity), (1, 2));
}

#[test]
fn there_is_room_while_at_most_half_is_taken() {
    let queue = Queue::new(4, &everything());
    let has_room = || queue.lock().buffer.has_room();
    queue.push(0, &closed([0]));
    queue.push(1, &closed([1]));
    assert!(has_room());
    queue.push(2, &closed([2]));
    assert!(!has_room());
    queue.suspend();
    queue.reopen();
    let values: Vec<_> = (0..4_097).map(|window| Arc::new(point("x", "v", window, true, "1"))).collect();
    queue.push_values(&values[..4_096]);
    assert!(has_room(), "8,192 values may wait");
    queue.push_values(&values[4_096..]);
    assert!(!has_room());
}
