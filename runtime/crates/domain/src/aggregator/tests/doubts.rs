//! What an interruption leaves behind after it has been forgotten, and what takes a doubt back.

use super::*;

/// Makes the aggregator forget the interruptions that were over before the horizon: a second acknowledgement.
fn forget(bench: &mut Bench, at: Millis) {
    bench.tick(at).watch(at);
}

#[test]
fn a_window_without_trades_bears_the_mark_of_an_interruption_that_was_forgotten() {
    let change = |settings: &mut Settings| (settings.open, settings.fill) = (Open::FirstTrade, Fill::Never);
    // Watching begins in another window, which is made for that.
    let gapped = ["1m@0 4/4/4/4 1 gapped r0 #1"];
    let mut bench = Bench::new(&["1m"], change);
    bench.watch(-100_000).tick(1_500).gap(1_500).watch(2_500);
    forget(&mut bench, 62_600);
    assert_eq!(bench.trade(59_000, 4).tick(62_700).told(), gapped, "after an interruption");
    let mut bench = Bench::new(&["1m"], change);
    bench.watch(-100_000).tick(1_600).miss(1_500, 1_500);
    forget(&mut bench, 62_600);
    assert_eq!(bench.trade(59_000, 4).tick(62_700).told(), gapped, "after a trade that was missed");
    let mut bench = Bench::new(&["1m"], change);
    bench.watch(-100_000).tick(61_000).miss(1_500, 1_500);
    forget(&mut bench, 62_600);
    assert_eq!(bench.trade(59_000, 4).tick(62_700).told(), gapped, "which was noticed when the window was over");
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
fn what_was_gapped_stays_so_when_an_interruption_was_forgotten() {
    let mut bench = Bench::new(&["1h"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(500, 5).tick(500).gap(1_500).watch(2_500);
    forget(&mut bench, 100_000);
    // It turns out at once that the feed was up all the time: all is judged again.
    bench.gap(100_500).watch(100_500).tick(3_600_079);
    assert_eq!(bench.told(), ["1h@0 5/5/5/5 1 gapped r0 #1"]);
}

#[test]
fn an_open_that_is_not_certain_stays_so_when_an_interruption_was_forgotten() {
    let mut bench = Bench::new(&["5m"], |_| ());
    bench.watch(0).trade(500, 5).tick(290_000).gap(290_000).watch(310_000).trade(315_000, 8);
    forget(&mut bench, 400_000);
    bench.gap(400_500).watch(400_500).tick(600_079);
    assert_eq!(bench.told(), ["5m@0 5/5/5/5 1 gapped r0 #1", "5m@300000 8/8/8/8 1 gapped r0 #2"]);
}

#[test]
fn a_flat_kline_is_not_made_of_a_window_that_a_trade_is_missing_from() {
    let mut bench = Bench::new(&["5m"], |_| ());
    bench.watch(0).trade(500, 5).tick(301_600).miss(301_500, 301_500);
    forget(&mut bench, 400_000);
    bench.tick(600_079);
    assert_eq!(bench.told(), ["5m@0 5/5/5/5 1 gapped r0 #1"]);
}

#[test]
fn an_interruption_that_was_none_leaves_no_doubt() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(3_079);
    assert_eq!(bench.told().len(), 3);
    bench.gap(1_500).tick(3_079);
    assert_eq!(bench.told(), ["1s@1000 5/5/5/5 0 gapped r1 #4", "1s@2000 5/5/5/5 0 gapped r1 #5"]);
    bench.watch(1_501).tick(3_329);
    assert_eq!(bench.told(), ["1s@1000 5/5/5/5 0 complete r2 #6", "1s@2000 5/5/5/5 0 complete r2 #7"]);
}

#[test]
fn many_holes_that_are_long_over_make_no_room_for_themselves() {
    let mut bench = Bench::new(&["1s"], |settings| (settings.open, settings.fill) = (Open::FirstTrade, Fill::Never));
    bench.watch(0);
    // More spans than are remembered, each longer than the one that is looked at in the end.
    for at in (0..800_000).step_by(10_000) {
        bench.tick(at + 10).miss(at, at);
    }
    bench.tick(804_000).miss(800_100, 800_100).miss(803_200, 803_200).trade(801_500, 5).tick(804_000);
    assert_eq!(bench.told(), ["1s@801000 5/5/5/5 1 complete r0 #1"]);
}

#[test]
fn an_ended_instrument_is_not_filled_where_a_window_is_there_already() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(3_000).gap(2_999).watch(3_000);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 2_500 });
    bench.tick(5_000);
    let whole = ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@1000 5/5/5/5 0 complete r0 #2"];
    assert_eq!(bench.told(), whole);
    bench.trade(2_100, 6).tick(5_000);
    assert_eq!(bench.told(), ["1s@2000 5/6/5/6 1 complete r0 #3"]);
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

#[test]
fn an_end_that_is_taken_back_makes_good_what_lies_before_windows_of_later_doubts() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 2_500 });
    bench.tick(8_600).miss(8_500, 8_500).tick(100_079);
    assert_eq!(bench.told().len(), 2);
    bench.aggregator.apply(&FeedEvent::Listed { symbol: SymbolId(0) });
    bench.tick(100_400);
    let flats: Vec<_> = (2..8).map(|second| format!("1s@{second}000 5/5/5/5 0 complete r0 #{}", second + 1)).collect();
    assert_eq!(bench.told(), flats, "what comes after the miss has no certain price");
}

#[test]
fn a_revision_that_waits_for_its_round_keeps_its_window() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    for at in (1_079..=100_079).step_by(1_000) {
        bench.tick(at);
    }
    bench.tick(100_900).told();
    assert_eq!(bench.trade(90_500, 5).tick(100_900).told().len(), 1, "the next round is due at 101,150");
    bench.trade(40_950, 5).tick(101_079);
    assert_eq!(bench.told().len(), 1, "a window closes, and the one of 40,000 ends before the horizon");
    bench.tick(101_150);
    assert_eq!(bench.told(), ["1s@40000 5/5/5/5 1 complete r1 #103"]);
}

#[test]
fn windows_that_are_not_over_are_kept_however_far_behind_closing_is() {
    let mut bench = Bench::new(&["100ms", "1D"], |_| ());
    bench.watch(0).trade(50, 5).trade(200_050, 6);
    bench.aggregator.tick(T0 + 300_000, &mut bench.out);
    assert!(bench.aggregator.is_behind());
    bench.told();
    bench.trade(299_950, 7).tick(300_079);
    assert_eq!(bench.told(), ["100ms@200000 5/6/5/6 1 complete r0 #2", "100ms@299900 6/7/6/7 1 complete r0 #3"]);
}

#[test]
fn days_asleep_are_one_step() {
    let mut bench = Bench::new(&["100ms", "1h"], |_| ());
    bench.watch(0).trade(50, 5).gap(120).tick(150);
    // Two days are 1,728,000 boundaries.
    bench.aggregator.tick(T0 + 2 * crate::time::DAY, &mut bench.out);
    bench.told();
    bench.aggregator.tick(T0 + 2 * crate::time::DAY, &mut bench.out);
    assert!(!bench.aggregator.is_behind());
}

#[test]
fn an_open_window_is_shown_again_when_its_open_changes() {
    let mut bench = Bench::new(&["1s"], |settings| settings.update_interval = Some(0));
    bench.watch(0).trade(500, 5).trade(1_040, 7).tick(1_050);
    assert_eq!(bench.told(), ["1s@0 5/5/5/5 1 gapped open #1", "1s@1000 5/7/5/7 1 complete open #1"]);
    bench.trade(900, 6).tick(1_050);
    assert_eq!(bench.told(), ["1s@0 5/6/5/6 2 gapped open #1", "1s@1000 6/7/6/7 1 complete open #1"]);
    let changed = bench.trade(1_060, 8).tick(1_060).told();
    assert_eq!(changed, ["1s@1000 6/8/6/8 2 complete open #1"], "the one before has not changed");
    finish(&mut bench.aggregator, &mut bench.out);
    let flushed = ["1s@0 5/6/5/6 2 gapped open #1", "1s@1000 6/8/6/8 2 complete open #1"];
    assert_eq!(bench.told(), flushed, "at the end also what was shown");
}

#[test]
fn where_the_first_trade_opens_a_late_close_changes_no_other_window_with_trades() {
    let mut bench = Bench::new(&["1s"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(500, 5).trade(1_500, 8).tick(2_079);
    assert_eq!(bench.told().len(), 2);
    bench.trade(900, 6).tick(2_079);
    assert_eq!(bench.told(), ["1s@0 5/6/5/6 2 complete r1 #3"]);
}
