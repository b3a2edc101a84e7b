//! What an interruption leaves behind after it has been forgotten, and what takes a doubt back.

use super::*;

/// Makes the aggregator forget the interruptions that were over before the horizon: a second acknowledgement.
fn forget(bench: &mut Bench, at: Millis) {
    bench.tick(at).watch(at);
}

#[test]
fn a_window_bears_the_mark_of_a_miss_that_lies_after_the_return_of_the_feed() {
    let mut bench = Bench::new(&["10m"], |settings| settings.open = Open::FirstTrade);
    // While the feed is down a row that is dated into the next window cannot be read; it is up again before that.
    bench.watch(0).gap(598_000).tick(599_000).miss(600_500, 600_500).watch(599_900);
    forget(&mut bench, 700_000);
    bench.trade(701_000, 5).tick(1_200_079);
    assert_eq!(bench.told(), ["10m@600000 5/5/5/5 1 gapped r0 #1"]);
}

#[test]
fn an_end_outlasts_an_interruption_and_is_made_good_by_a_trade_after_it() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 1_500 });
    bench.tick(4_200).gap(4_100).watch(6_000).tick(7_079);
    assert_eq!(bench.told(), ["1s@0 5/5/5/5 1 gapped r0 #1"]);
    bench.trade(7_100, 7).tick(7_400);
    let flat = |start: Millis, number: u32| format!("1s@{start} 5/5/5/5 0 complete r0 #{number}");
    assert_eq!(bench.told(), [flat(1_000, 2), flat(2_000, 3), flat(3_000, 4)]);
}
