//! Late trades: closed klines are revised, and the correction propagates to later windows.

use super::*;

#[test]
fn a_late_trade_revises_its_window_and_those_that_opened_at_its_close() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).trade(4_500, 8).tick(6_079);
    assert_eq!(bench.emitted().len(), 6);
    bench.trade(1_200, 6).tick(6_079);
    assert_eq!(
        bench.emitted(),
        [
            "1s@1000 5/6/5/6 1 complete r1 #7",
            "1s@2000 6/6/6/6 0 complete r1 #8",
            "1s@3000 6/6/6/6 0 complete r1 #9",
            "1s@4000 6/8/6/8 1 complete r1 #10",
        ],
        "5000 opens at 8 as before"
    );
}

#[test]
fn a_late_trade_before_the_close_revises_its_window_alone() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).trade(1_500, 8).tick(3_079);
    bench.emitted();
    assert_eq!(bench.trade(200, 9).tick(3_079).emitted(), ["1s@0 9/9/5/5 2 gapped r1 #4"]);
}

#[test]
fn longer_open_windows_include_a_late_trade_without_revision() {
    let mut bench = Bench::new(&["1s", "1m"], |_| ());
    bench.watch(0).trade(500, 5).tick(3_079);
    bench.emitted();
    bench.trade(600, 7).tick(3_079);
    let emitted = bench.emitted();
    assert_eq!(
        emitted,
        ["1s@0 5/7/5/7 2 gapped r1 #4", "1s@1000 7/7/7/7 0 complete r1 #5", "1s@2000 7/7/7/7 0 complete r1 #6"]
    );
    bench.tick(60_079);
    assert_eq!(bench.emitted().last().unwrap(), "1m@0 5/7/5/7 2 gapped r0 #1");
}

#[test]
fn late_is_the_same_for_every_interval() {
    let mut bench = Bench::new(&["1s", "1D"], |settings| settings.lateness = 2_000);
    bench.watch(0).trade(500, 5).tick(10_000).trade(7_999, 6).trade(8_000, 7).tick(10_000);
    assert_eq!(bench.aggregator.tally().late, 1);
    bench.out.clear();
    bench.tick(86_400_079);
    assert_eq!(bench.emitted().last().unwrap(), "1D@0 5/7/5/7 2 gapped r0 #1", "it lacks the late trade");
}

#[test]
fn windows_that_lack_a_late_trade_are_gapped() {
    let mut bench = Bench::new(&["1s", "1m", "5m"], |settings| settings.fill = Fill::Never);
    bench.watch(0).trade(500, 5).trade(25_000, 6).trade(70_000, 7).tick(90_000);
    assert_eq!(bench.emitted().last().unwrap(), "1s@70000 6/7/6/7 1 complete r0 #3");
    bench.trade(20_000, 9).tick(90_000);
    assert_eq!(bench.emitted(), ["1m@0 5/6/5/6 2 gapped r1 #2"], "that second has been removed");
    bench.tick(300_080);
    assert_eq!(bench.emitted(), ["1m@60000 6/7/6/7 1 complete r0 #3", "5m@0 5/7/5/7 3 gapped r0 #1"]);
    assert_eq!((bench.aggregator.tally().late, bench.aggregator.tally().counted), (1, 3));
}

#[test]
fn the_repeat_of_a_counted_trade_marks_nothing_however_late_it_is() {
    let mut bench = Bench::new(&["1m"], |settings| settings.block_trades = false);
    bench.watch(0);
    let texts = [TradeId::Number(1), TradeId::Uuid { high: 1, low: 2 }, TradeId::Text("a".into())];
    let trades = texts.map(|id| sample(T0 + 500, 5, 1, id));
    let block = Trade { block: true, ..sample(T0 + 500, 5, 1, TradeId::Number(9)) };
    for trade in trades.iter().chain([&block]) {
        bench.aggregator.apply(&FeedEvent::Trade(trade.clone()));
    }
    bench.tick(65_000);
    assert_eq!(bench.emitted().len(), 1);
    for trade in trades.iter().chain([&block]) {
        bench.aggregator.apply(&FeedEvent::Trade(trade.clone()));
    }
    assert!(bench.tick(65_000).emitted().is_empty());
    let tally = bench.aggregator.tally();
    assert_eq!((tally.counted, tally.duplicate, tally.late, tally.excluded), (3, 3, 0, 2));
    let unknown = Trade { id: TradeId::None, ..trades[0].clone() };
    bench.aggregator.apply(&FeedEvent::Trade(unknown));
    assert_eq!(
        bench.tick(65_000).emitted(),
        ["1m@0 5/5/5/5 3 gapped r1 #2"],
        "a trade without an id may not have been counted"
    );
}

#[test]
fn a_row_that_cannot_be_read_marks_the_window_of_its_own_time() {
    let mut bench = Bench::new(&["1s", "5s"], |settings| settings.fill = Fill::Never);
    bench.watch(0).trade(500, 5).trade(1_500, 6).trade(2_500, 7).trade(3_100, 8).tick(3_079);
    assert_eq!(bench.emitted().len(), 3);
    bench.miss(1_990, 2_010).tick(3_079);
    assert_eq!(bench.emitted(), ["1s@1000 5/6/5/6 1 gapped r1 #4", "1s@2000 7/7/7/7 1 gapped r1 #5"]);
    bench.trade(4_100, 8).tick(5_079);
    assert_eq!(
        bench.emitted(),
        ["1s@3000 7/8/7/8 1 complete r0 #6", "1s@4000 8/8/8/8 1 complete r0 #7", "5s@0 5/8/5/8 5 gapped r0 #1"]
    );
}

#[test]
fn a_trade_that_does_not_fit_marks_its_window() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).trade(1_500, 5).tick(1_500);
    let great = Quantity { mantissa: 999_999_999_999_999_999, scale: 0 };
    let trade = Trade { size: great, ..sample(T0 + 1_600, i64::MAX, 1, TradeId::Number(9)) };
    bench.aggregator.apply(&FeedEvent::Trade(trade));
    bench.trade(2_500, 6).tick(3_079);
    assert_eq!(
        bench.emitted(),
        ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@1000 5/5/5/5 1 gapped r0 #2", "1s@2000 6/6/6/6 1 gapped r0 #3"],
        "the opens of the first and the last are not certain"
    );
    assert_eq!(bench.aggregator.tally().rejected, 1);
}

#[test]
fn revisions_wait_for_their_round_even_if_a_window_closes_meanwhile() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(1_900);
    assert_eq!(bench.trade(600, 6).tick(1_900).emitted().last().unwrap(), "1s@0 5/6/5/6 2 gapped r1 #2");
    bench.trade(700, 7).tick(2_079);
    assert_eq!(bench.emitted(), ["1s@1000 7/7/7/7 0 complete r0 #3"], "179 ms after the round before");
    assert_eq!(bench.tick(2_149).emitted().len(), 0);
    assert_eq!(bench.tick(2_150).emitted(), ["1s@0 5/7/5/7 3 gapped r2 #4"]);
}

#[test]
fn a_late_trade_in_a_window_without_a_kline_confirms_it_for_the_first_time() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(3_500, 5).tick(5_079);
    assert_eq!(bench.emitted().len(), 2);
    bench.trade(1_500, 4).tick(5_079);
    assert_eq!(
        bench.emitted(),
        ["1s@1000 4/4/4/4 1 gapped r0 #3", "1s@2000 4/4/4/4 0 complete r0 #4", "1s@3000 4/5/4/5 1 complete r1 #5"]
    );
}

#[test]
fn sequence_numbers_have_no_gaps_and_open_klines_carry_the_next() {
    let mut bench = Bench::new(&["1s"], |settings| settings.update_interval = Some(0));
    bench.watch(0);
    for step in 0..40 {
        let at = step * 377;
        bench.trade(at, 5 + step % 3).tick(at + 80).trade(at - 900, 4).tick(at + 80);
    }
    bench.tick(20_000);
    let klines: Vec<_> = std::mem::take(&mut bench.out).into_iter().flat_map(|batch| batch.klines).collect();
    let mut last = 0;
    for kline in klines {
        assert_eq!(kline.sequence, last + 1);
        last += u64::from(kline.confirm);
    }
    assert!(last > 20);
}
