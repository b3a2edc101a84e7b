//! Late starts and interruptions, and their effect on quality, opens and flat klines.

use super::*;

#[test]
fn a_hole_is_the_same_whether_its_end_is_known_at_once_or_later() {
    let klines = |interrupt: fn(&mut Bench)| {
        let mut bench = Bench::new(&["1s", "5s"], |settings| settings.open = Open::FirstTrade);
        bench.watch(0).trade(100, 5).trade(1_300, 6).tick(2_200);
        interrupt(&mut bench);
        bench.trade(3_900, 7).tick(5_200).trade(6_100, 8).tick(11_000);
        bench.emitted()
    };
    let known = klines(|bench| {
        bench.hole(1_200, Some(3_400));
    });
    assert_eq!(
        known,
        klines(|bench| {
            bench.gap(1_200).watch(3_400);
        })
    );
    assert!(known.iter().any(|line| line.contains("gapped r1")), "{known:?}");
}

#[test]
fn the_window_that_watching_began_in_is_partial() {
    let mut bench = Bench::new(&["1s", "1m"], |_| ());
    bench.watch(500).trade(700, 5).tick(60_080);
    let emitted = bench.emitted();
    assert_eq!(emitted[0], "1s@0 5/5/5/5 1 partial r0 #1");
    assert_eq!(emitted[1], "1s@1000 5/5/5/5 0 complete r0 #2");
    assert_eq!(emitted.last().unwrap(), "1m@0 5/5/5/5 1 partial r0 #1");
}

#[test]
fn trades_from_before_watching_make_no_kline_of_a_window_that_was_over() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(5_500).trade(3_200, 4).trade(5_200, 5).tick(7_000);
    assert_eq!(
        bench.emitted(),
        ["1s@5000 5/5/5/5 1 partial r0 #1"],
        "no flat after it: the price at 5500 is not proven"
    );
}

#[test]
fn an_interruption_marks_every_window_it_touches_and_fills_none() {
    let mut bench = Bench::new(&["1s", "10s"], |_| ());
    bench.watch(0).trade(500, 5).tick(2_500).gap(2_300).tick(7_000).watch(6_700).trade(8_200, 9).tick(10_100);
    assert_eq!(
        bench.emitted(),
        [
            "1s@0 5/5/5/5 1 gapped r0 #1",
            "1s@1000 5/5/5/5 0 complete r0 #2",
            // The windows 2000 to 6999 are touched and have no trade: they have no kline. 7000 has no proven price.
            "1s@8000 9/9/9/9 1 gapped r0 #3",
            "1s@9000 9/9/9/9 0 complete r0 #4",
            "10s@0 5/9/5/9 2 gapped r0 #1",
        ]
    );
}

#[test]
fn a_flat_kline_emitted_before_the_interruption_was_noticed_is_revised() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(4_079);
    assert_eq!(bench.emitted().len(), 4);
    bench.gap(1_500).tick(4_079);
    assert_eq!(
        bench.emitted(),
        ["1s@1000 5/5/5/5 0 gapped r1 #5", "1s@2000 5/5/5/5 0 gapped r1 #6", "1s@3000 5/5/5/5 0 gapped r1 #7"]
    );
}

#[test]
fn what_was_confirmed_during_a_silence_is_revised_however_short_the_lateness_is() {
    let mut bench = Bench::new(&["1s"], |settings| settings.lateness = 1_000);
    bench.watch(0).trade(500, 5);
    for at in (1_079..=60_079).step_by(1_000) {
        bench.tick(at);
    }
    assert_eq!(bench.emitted().len(), 60);
    // The liveness check has received nothing for a little more than 45 s.
    bench.gap(15_000).tick(60_079);
    let revised: Vec<_> =
        (15..60).map(|second| format!("1s@{second}000 5/5/5/5 0 gapped r1 #{}", second + 46)).collect();
    assert_eq!(bench.emitted(), revised);
    bench.trade(59_078, 6).tick(60_079);
    assert_eq!(bench.aggregator.tally().late, 1, "a trade is no longer in time");
}

#[test]
fn after_a_longer_silence_only_kept_windows_are_revised() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    for at in (1_079..=100_079).step_by(1_000) {
        bench.tick(at);
    }
    assert_eq!(bench.emitted().len(), 100);
    bench.gap(5_000).tick(100_079);
    let emitted = bench.emitted();
    // The lateness is one minute: windows that ended by 40_079 were removed when the last window closed.
    assert_eq!(emitted.first().unwrap(), "1s@40000 5/5/5/5 0 gapped r1 #101");
    assert_eq!(emitted.len(), 60);
}

#[test]
fn windows_are_removed_although_one_lies_far_ahead() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).miss(500_000, 500_000);
    for at in (1_079..=200_079).step_by(1_000) {
        bench.tick(at);
    }
    assert_eq!(bench.emitted().len(), 200);
    bench.gap(5_000).tick(200_079);
    let emitted = bench.emitted();
    assert_eq!(emitted.first().unwrap(), "1s@140000 5/5/5/5 0 gapped r1 #201", "a minute of windows is kept");
    assert_eq!(emitted.len(), 60);
}

#[test]
fn after_an_unproven_gap_the_first_trade_opens() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).gap(800).watch(3_000).trade(3_100, 8).trade(3_200, 9).trade(4_100, 7).tick(5_079);
    assert_eq!(
        bench.emitted(),
        ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@3000 8/9/8/9 2 gapped r0 #2", "1s@4000 9/9/7/7 1 complete r0 #3"]
    );
}

#[test]
fn a_kline_is_not_complete_before_its_open_is_proven() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).gap(800).watch(3_000).trade(5_100, 8).tick(6_079);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@5000 8/8/8/8 1 gapped r0 #2"]);
    bench.trade(4_200, 7).tick(6_079);
    assert_eq!(bench.emitted(), ["1s@4000 7/7/7/7 1 gapped r0 #3", "1s@5000 7/8/7/8 1 complete r1 #4"]);
    let mut bench = Bench::new(&["1s"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(500, 5).gap(800).watch(3_000).trade(5_100, 8).tick(6_079);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@5000 8/8/8/8 1 complete r0 #2"], "it is certain");
}

#[test]
fn a_flat_kline_with_an_uncertain_price_is_not_complete() {
    for open in [Open::PreviousClose, Open::FirstTrade] {
        let mut bench = Bench::new(&["1s"], |settings| settings.open = open);
        bench.watch(0).trade(500, 5).tick(4_079);
        bench.emitted();
        bench.miss(1_500, 1_500).trade(4_100, 6).tick(5_079);
        let opens = if open == Open::PreviousClose { "gapped" } else { "complete" };
        assert_eq!(
            bench.emitted(),
            [
                "1s@1000 5/5/5/5 0 gapped r1 #5".to_owned(),
                "1s@2000 5/5/5/5 0 gapped r1 #6".to_owned(),
                "1s@3000 5/5/5/5 0 gapped r1 #7".to_owned(),
                format!("1s@4000 6/6/6/6 1 {opens} r0 #8"),
            ]
        );
    }
}

#[test]
fn an_old_interruption_still_marks_a_long_window() {
    let mut bench = Bench::new(&["1s", "1h"], |_| ());
    bench.watch(0).trade(500, 5).gap(1_500).watch(2_500);
    for at in (0..3_600_080).step_by(10_000) {
        bench.tick(at);
    }
    bench.out.clear();
    let emitted = bench.tick(3_600_080).emitted();
    assert_eq!(emitted.last().unwrap(), "1h@0 5/5/5/5 1 gapped r0 #1");
}

#[test]
fn an_hour_of_sleep_closes_only_windows_with_data() {
    let mut bench = Bench::new(&["100ms", "1h"], |settings| settings.fill = Fill::All);
    bench.watch(0).trade(50, 5).tick(150).gap(120).tick(7_200_000).watch(7_200_000).trade(7_200_010, 6).tick(7_200_179);
    let emitted = bench.emitted();
    assert_eq!(
        emitted,
        ["100ms@0 5/5/5/5 1 gapped r0 #1", "1h@0 5/5/5/5 1 gapped r0 #1", "100ms@7200000 6/6/6/6 1 gapped r0 #2"]
    );
}

#[test]
fn an_ended_instrument_is_not_filled() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + 2_500 });
    bench.tick(10_000);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@1000 5/5/5/5 0 complete r0 #2"]);
}

fn ended(bench: &mut Bench, at: Millis) {
    bench.aggregator.apply(&FeedEvent::Ended { symbol: SymbolId(0), at: T0 + at });
}

#[test]
fn a_trade_cancels_an_end_and_emits_the_withheld_flat_klines() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    ended(&mut bench, 2_500);
    bench.tick(5_079).emitted();
    bench.trade(5_100, 7).tick(5_200);
    let flat = |start: Millis, number: u32| format!("1s@{start} 5/5/5/5 0 complete r0 #{number}");
    assert_eq!(bench.emitted(), [flat(2_000, 3), flat(3_000, 4), flat(4_000, 5)]);
    bench.tick(7_079);
    assert_eq!(bench.emitted(), ["1s@5000 5/7/5/7 1 complete r0 #6", "1s@6000 7/7/7/7 0 complete r0 #7"]);
}

#[test]
fn a_later_list_cancels_an_end() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    ended(&mut bench, 1_500);
    assert_eq!(bench.tick(3_079).emitted().len(), 1, "the window of the trade");
    bench.aggregator.apply(&FeedEvent::Listed { symbol: SymbolId(0) });
    bench.tick(3_079);
    assert_eq!(bench.emitted(), ["1s@1000 5/5/5/5 0 complete r0 #2", "1s@2000 5/5/5/5 0 complete r0 #3"]);
    bench.aggregator.apply(&FeedEvent::Listed { symbol: SymbolId(0) });
    assert_eq!(bench.tick(4_079).emitted(), ["1s@3000 5/5/5/5 0 complete r0 #4"], "no kline is emitted twice");
}

#[test]
fn an_instrument_that_several_lists_omit_gets_all_of_its_flat_klines_when_it_is_listed_again() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    ended(&mut bench, 1_500);
    bench.tick(3_079).emitted();
    ended(&mut bench, 3_500);
    bench.tick(4_079);
    bench.aggregator.apply(&FeedEvent::Listed { symbol: SymbolId(0) });
    assert_eq!(bench.tick(4_079).emitted().len(), 3, "the windows at 1, 2 and 3 s");
}

#[test]
fn lists_without_an_instrument_that_trades_do_not_end_it() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).trade(2_700, 5);
    ended(&mut bench, 2_500);
    bench.tick(4_079);
    assert_eq!(bench.emitted().last().unwrap(), "1s@3000 5/5/5/5 0 complete r0 #4");
}

#[test]
fn a_trade_from_before_the_end_does_not_cancel_it() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5);
    ended(&mut bench, 2_500);
    bench.tick(4_079).emitted();
    bench.trade(2_100, 6).tick(5_000);
    assert_eq!(bench.emitted(), ["1s@2000 5/6/5/6 1 complete r0 #3"]);
}

#[test]
fn an_end_cancelled_after_hours_backfills_ten_minutes() {
    let mut bench = Bench::new(&["1m"], |_| ());
    bench.watch(0).trade(500, 5);
    ended(&mut bench, 60_000);
    bench.tick(7_200_080).emitted();
    bench.trade(7_200_100, 7).tick(7_200_200);
    let emitted = bench.emitted();
    assert_eq!(emitted.len(), 10, "7200 s less ten minutes: {emitted:?}");
    assert_eq!(emitted[0], "1m@6600000 5/5/5/5 0 complete r0 #2");
}

#[test]
fn the_first_known_price_of_a_quiet_symbol_can_come_from_a_recovered_trade() {
    let mut bench = Bench::new(&["1s"], |settings| settings.is_repaired = true);
    bench.watch(1_500);
    let before = sample(T0 - 500, 5, 1, TradeId::Number(1));
    let before = Trade { price: Quantity { mantissa: 525, scale: 2 }, ..before };
    let (from, to) = bench.aggregator.gaps(SymbolId(0))[0];
    bench.aggregator.recover(SymbolId(0), from, to, &[before]);
    bench.tick(3_079);
    let emitted = bench.emitted();
    assert_eq!(emitted.len(), 2, "the windows at 1 and 2 s are flat: {emitted:?}");
}

#[test]
fn a_trade_that_a_slower_feed_delivers_after_the_clock_was_put_forward_counts_once() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(1_500).emitted();
    // A connection has read that it is ten minutes later, and the one that sets the watermark has not.
    let trade = sample(T0 + 600_500, 7, 1, TradeId::Number(9));
    bench.aggregator.trade(&trade);
    bench.tick(3_000).tick(600_600);
    bench.aggregator.trade(&trade);
    bench.tick(601_079);
    assert_eq!(bench.aggregator.tally().duplicate, 1);
    assert_eq!(bench.emitted().last().unwrap(), "1s@600000 5/7/5/7 1 complete r0 #601");
}
