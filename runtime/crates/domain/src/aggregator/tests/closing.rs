//! Windows close when their trades have been read, not when their time has passed.

use super::*;

#[test]
fn a_window_whose_trades_may_still_wait_unread_stays_open() {
    let mut bench = Bench::new(&["1s"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(100, 5);
    bench.aggregator.advance(T0 + 1_500, T0 + 900, &mut bench.out);
    assert!(bench.emitted().is_empty(), "half a second late, but only 900 ms are known to have been read");
    assert_eq!(bench.aggregator.closes_at(), T0 + 999 + 80);
    bench.trade(950, 7);
    bench.aggregator.advance(T0 + 1_500, T0 + 1_079, &mut bench.out);
    assert_eq!(bench.emitted(), ["1s@0 5/7/5/7 2 complete r0 #1"]);
}

#[test]
fn updates_and_lateness_do_not_wait_for_each_other() {
    let mut bench = Bench::new(&["1s"], |settings| {
        settings.update_interval = Some(0);
        settings.open = Open::FirstTrade;
    });
    bench.watch(0).trade(100, 5);
    bench.aggregator.advance(T0 + 400, T0 + 300, &mut bench.out);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 complete open #1"], "an update goes by the clock");
    bench.aggregator.advance(T0 + 3_600_000, T0 + 300, &mut bench.out);
    bench.trade(200, 6);
    assert_eq!(bench.aggregator.tally().late, 0, "a trade is late by what has been read");
}
