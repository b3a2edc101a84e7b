//! Uncertainty that outlasts the removal of an interruption, and events that resolve it.

use super::*;

/// Makes the aggregator remove the interruptions that ended before the horizon, by a second acknowledgement.
fn forget(bench: &mut Bench, at: Millis) {
    bench.tick(at).watch(at);
}

#[test]
fn a_window_without_trades_keeps_the_mark_of_a_removed_interruption() {
    let change = |settings: &mut Settings| (settings.open, settings.fill) = (Open::FirstTrade, Fill::Never);
    // Coverage begins in another window, which is created to record that.
    let gapped = ["1m@0 4/4/4/4 1 gapped r0 #1"];
    let mut bench = Bench::new(&["1m"], change);
    bench.watch(-100_000).tick(1_500).gap(1_500).watch(2_500);
    forget(&mut bench, 62_600);
    assert_eq!(bench.trade(59_000, 4).tick(62_700).emitted(), gapped, "after an interruption");
    let mut bench = Bench::new(&["1m"], change);
    bench.watch(-100_000).tick(1_600).miss(1_500, 1_500);
    forget(&mut bench, 62_600);
    assert_eq!(bench.trade(59_000, 4).tick(62_700).emitted(), gapped, "after a trade that was missed");
    let mut bench = Bench::new(&["1m"], change);
    bench.watch(-100_000).tick(61_000).miss(1_500, 1_500);
    forget(&mut bench, 62_600);
    assert_eq!(
        bench.trade(59_000, 4).tick(62_700).emitted(),
        gapped,
        "after a miss that was reported after the window"
    );
}

#[test]
fn a_window_is_marked_by_a_miss_later_than_the_return_of_the_feed() {
    let mut bench = Bench::new(&["10m"], |settings| settings.open = Open::FirstTrade);
    // While the feed is down, a row with a time in the next window cannot be read; the feed is up again before that
    // time.
    bench.watch(0).gap(598_000).tick(599_000).miss(600_500, 600_500).watch(599_900);
    forget(&mut bench, 700_000);
    bench.trade(701_000, 5).tick(1_200_079);
    assert_eq!(bench.emitted(), ["10m@600000 5/5/5/5 1 gapped r0 #1"]);
}

#[test]
fn a_gapped_window_stays_gapped_when_its_interruption_is_removed() {
    let mut bench = Bench::new(&["1h"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(500, 5).tick(500).gap(1_500).watch(2_500);
    forget(&mut bench, 100_000);
    // The feed turns out to have been up all the time: every window is judged again.
    bench.gap(100_500).watch(100_500).tick(3_600_079);
    assert_eq!(bench.emitted(), ["1h@0 5/5/5/5 1 gapped r0 #1"]);
}

#[test]
fn an_uncertain_open_stays_uncertain_when_its_interruption_is_removed() {
    let mut bench = Bench::new(&["5m"], |_| ());
    bench.watch(0).trade(500, 5).tick(290_000).gap(290_000).watch(310_000).trade(315_000, 8);
    forget(&mut bench, 400_000);
    bench.gap(400_500).watch(400_500).tick(600_079);
    assert_eq!(bench.emitted(), ["5m@0 5/5/5/5 1 gapped r0 #1", "5m@300000 8/8/8/8 1 gapped r0 #2"]);
}

#[test]
fn a_window_that_lacks_a_trade_becomes_no_flat_kline() {
    let mut bench = Bench::new(&["5m"], |_| ());
    bench.watch(0).trade(500, 5).tick(301_600).miss(301_500, 301_500);
    forget(&mut bench, 400_000);
    bench.tick(600_079);
    assert_eq!(bench.emitted(), ["5m@0 5/5/5/5 1 gapped r0 #1"]);
}

#[test]
fn a_withdrawn_interruption_leaves_klines_complete() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(3_079);
    assert_eq!(bench.emitted().len(), 3);
    bench.gap(1_500).tick(3_079);
    assert_eq!(bench.emitted(), ["1s@1000 5/5/5/5 0 gapped r1 #4", "1s@2000 5/5/5/5 0 gapped r1 #5"]);
    bench.watch(1_501).tick(3_329);
    assert_eq!(bench.emitted(), ["1s@1000 5/5/5/5 0 complete r2 #6", "1s@2000 5/5/5/5 0 complete r2 #7"]);
}

#[test]
fn many_old_holes_do_not_displace_covered_spans() {
    let mut bench = Bench::new(&["1s"], |settings| (settings.open, settings.fill) = (Open::FirstTrade, Fill::Never));
    bench.watch(0);
    // Creates more spans than are kept, each longer than the one that is checked at the end.
    for at in (0..800_000).step_by(10_000) {
        bench.tick(at + 10).miss(at, at);
    }
    bench.tick(804_000).miss(800_100, 800_100).miss(803_200, 803_200).trade(801_500, 5).tick(804_000);
    assert_eq!(bench.emitted(), ["1s@801000 5/5/5/5 1 complete r0 #1"]);
}

#[test]
fn an_ended_instrument_is_not_filled_in_an_existing_window() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(3_000).gap(2_999).watch(3_000);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 2_500 });
    bench.tick(5_000);
    let whole = ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@1000 5/5/5/5 0 complete r0 #2"];
    assert_eq!(bench.emitted(), whole);
    bench.trade(2_100, 6).tick(5_000);
    assert_eq!(bench.emitted(), ["1s@2000 5/6/5/6 1 complete r0 #3"]);
}

#[test]
fn an_end_outlasts_an_interruption_and_is_cancelled_by_a_later_trade() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 1_500 });
    bench.tick(4_200).gap(4_100).watch(6_000).tick(7_079);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 gapped r0 #1"]);
    bench.trade(7_100, 7).tick(7_400);
    let flat = |start: Millis, number: u32| format!("1s@{start} 5/5/5/5 0 complete r0 #{number}");
    assert_eq!(bench.emitted(), [flat(1_000, 2), flat(2_000, 3), flat(3_000, 4)]);
}

#[test]
fn a_cancelled_end_backfills_windows_before_later_uncertain_ones() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 2_500 });
    bench.tick(8_600).miss(8_500, 8_500).tick(100_079);
    assert_eq!(bench.emitted().len(), 2);
    bench.aggregator.apply(&FeedEvent::Listed { symbol: SymbolId(0) });
    bench.tick(100_400);
    let flats: Vec<_> = (2..8).map(|second| format!("1s@{second}000 5/5/5/5 0 complete r0 #{}", second + 1)).collect();
    assert_eq!(bench.emitted(), flats, "windows after the miss have no certain price");
}

#[test]
fn a_revision_that_waits_for_its_round_keeps_its_window() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    for at in (1_079..=100_079).step_by(1_000) {
        bench.tick(at);
    }
    bench.tick(100_900).emitted();
    assert_eq!(bench.trade(90_500, 5).tick(100_900).emitted().len(), 1, "the next round is due at 101,150");
    bench.trade(40_950, 5).tick(101_079);
    assert_eq!(bench.emitted().len(), 1, "a window closes, and the one of 40,000 ends before the horizon");
    bench.tick(101_150);
    assert_eq!(bench.emitted(), ["1s@40000 5/5/5/5 1 complete r1 #103"]);
}

#[test]
fn open_windows_are_kept_however_far_behind_closing_is() {
    let mut bench = Bench::new(&["100ms", "1D"], |_| ());
    bench.watch(0).trade(50, 5).trade(200_050, 6);
    bench.aggregator.tick(T0 + 300_000, &mut bench.out);
    assert!(bench.aggregator.is_behind());
    bench.emitted();
    bench.trade(299_950, 7).tick(300_079);
    assert_eq!(bench.emitted(), ["100ms@200000 5/6/5/6 1 complete r0 #2", "100ms@299900 6/7/6/7 1 complete r0 #3"]);
}

#[test]
fn days_of_sleep_are_one_step() {
    let mut bench = Bench::new(&["100ms", "1h"], |_| ());
    bench.watch(0).trade(50, 5).gap(120).tick(150);
    // Two days are 1,728,000 boundaries.
    bench.aggregator.tick(T0 + 2 * crate::time::DAY, &mut bench.out);
    bench.emitted();
    bench.aggregator.tick(T0 + 2 * crate::time::DAY, &mut bench.out);
    assert!(!bench.aggregator.is_behind());
}

#[test]
fn an_open_window_is_updated_when_its_open_changes() {
    let mut bench = Bench::new(&["1s"], |settings| settings.update_interval = Some(0));
    bench.watch(0).trade(500, 5).trade(1_040, 7).tick(1_050);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 gapped open #1", "1s@1000 5/7/5/7 1 complete open #1"]);
    bench.trade(900, 6).tick(1_050);
    assert_eq!(bench.emitted(), ["1s@0 5/6/5/6 2 gapped open #1", "1s@1000 6/7/6/7 1 complete open #1"]);
    let changed = bench.trade(1_060, 8).tick(1_060).emitted();
    assert_eq!(changed, ["1s@1000 6/8/6/8 2 complete open #1"], "the one before has not changed");
    finish(&mut bench.aggregator, &mut bench.out);
    let flushed = ["1s@0 5/6/5/6 2 gapped open #1", "1s@1000 6/8/6/8 2 complete open #1"];
    assert_eq!(bench.emitted(), flushed, "the end also emits windows without a change");
}

#[test]
fn where_the_first_trade_opens_a_late_close_changes_no_other_window_with_trades() {
    let mut bench = Bench::new(&["1s"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(500, 5).trade(1_500, 8).tick(2_079);
    assert_eq!(bench.emitted().len(), 2);
    bench.trade(900, 6).tick(2_079);
    assert_eq!(bench.emitted(), ["1s@0 5/6/5/6 2 complete r1 #3"]);
}
