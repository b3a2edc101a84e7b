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
