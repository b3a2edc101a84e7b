//! Intervals that are added and removed in the course of a run.

use super::*;
use crate::repair::{Candle, Grain};
use crate::time::MINUTE;

impl Bench {
    pub(super) fn intervals(&mut self, intervals: &[&str]) -> &mut Self {
        let intervals: Vec<Interval> = intervals.iter().map(|text| text.parse().unwrap()).collect();
        self.aggregator.set_intervals(&intervals, &mut self.out);
        self
    }

    /// A minute of the exchange.
    fn minute(&mut self, start: Millis, [open, high, low, close, volume, turnover]: [i64; 6]) -> &mut Self {
        let price = |mantissa| Quantity { mantissa, scale: 0 };
        let sum = |sum: i64| crate::decimal::Decimal::new(sum.into(), 0);
        let candle = Candle {
            start: T0 + start,
            open: price(open),
            high: price(high),
            low: price(low),
            close: price(close),
            volume: sum(volume),
            turnover: sum(turnover),
        };
        assert_eq!(self.aggregator.repair(SymbolId(0), Grain::Minute, T0 + start, &[candle]), []);
        self
    }
}

#[test]
fn a_window_that_shorter_ones_make_up_is_right_from_the_first_one_on() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).trade(5_100, 9).trade(6_200, 7).trade(7_300, 8).tick(7_500);
    bench.emitted();
    bench.intervals(&["1s", "5s", "1m"]).trade(8_100, 6).tick(10_079);
    let emitted = bench.emitted();
    assert_eq!(emitted[0], "1s@7000 7/8/7/8 1 complete r0 #8");
    assert_eq!(emitted[3], "5s@5000 5/9/5/6 4 complete r0 #1", "{emitted:?}");
    bench.trade(10_100, 4).tick(60_079);
    let emitted = bench.emitted();
    assert_eq!(emitted.last().unwrap(), "1m@0 5/9/4/4 6 gapped r0 #1", "its open is not known: {emitted:?}");
    assert!(emitted.contains(&"5s@10000 6/6/4/4 1 complete r0 #2".to_owned()), "{emitted:?}");
}

#[test]
fn a_window_whose_begin_is_not_known_is_partial_and_the_next_one_complete() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).trade(1_510, 9).tick(1_600).intervals(&["1s", "200ms", "1500ms"]);
    bench.emitted();
    bench.trade(1_550, 7).trade(1_590, 8).trade(1_610, 6).tick(3_079);
    let emitted = bench.emitted();
    let of = |interval: &str| -> Vec<&String> {
        emitted.iter().filter(|line| line.split('@').next() == Some(interval)).collect()
    };
    assert_eq!(of("200ms")[..2], ["200ms@1400 9/9/7/8 2 partial r0 #1", "200ms@1600 8/8/6/6 1 complete r0 #2"]);
    assert_eq!(of("1500ms")[0], "1500ms@1500 9/9/6/6 3 partial r0 #1");
    bench.trade(3_100, 4).tick(4_579);
    assert!(bench.emitted().contains(&"1500ms@3000 6/6/4/4 1 complete r0 #2".to_owned()));
}

#[test]
fn a_late_trade_does_not_take_the_place_of_a_later_one_that_was_not_in_the_window() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).trade(1_150, 9).tick(1_160).intervals(&["1s", "200ms"]);
    bench.emitted();
    // It is earlier than the last trade before the change.
    bench.trade(1_120, 2).trade(1_300, 7).tick(2_000);
    let emitted = bench.emitted();
    assert_eq!(emitted[0], "200ms@1000 9/9/2/2 1 partial r0 #1", "{emitted:?}");
    assert_eq!(emitted[1], "200ms@1200 9/9/7/7 1 complete r0 #2", "{emitted:?}");
}

#[test]
fn a_quiet_symbol_gets_flat_windows_and_a_partial_one_is_not_flat() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).tick(200_000).intervals(&["1s", "1m", "7500ms"]);
    bench.emitted();
    bench.tick(240_080);
    let emitted = bench.emitted();
    assert!(emitted.contains(&"1m@180000 5/5/5/5 0 complete r0 #1".to_owned()), "{emitted:?}");
    assert!(emitted.contains(&"7500ms@195000 5/5/5/5 0 complete r0 #1".to_owned()), "{emitted:?}");
}

#[test]
fn windows_of_which_too_little_is_kept_are_partial() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0);
    (0..200).for_each(|second| {
        bench.trade(second * 1_000 + 100, 5).tick(second * 1_000 + 200);
    });
    bench.intervals(&["1s", "1m", "5m"]).tick(240_080);
    let emitted = bench.emitted();
    assert!(emitted.contains(&"1m@180000 5/5/5/5 20 complete r0 #1".to_owned()), "{emitted:?}");
    bench.trade(301_000, 6).tick(600_080);
    let emitted = bench.emitted();
    let long: Vec<&String> = emitted.iter().filter(|line| line.starts_with("5m")).collect();
    assert!(long[0].starts_with("5m@0 5/5/5/5 ") && long[0].contains(" partial r0 #1"), "{long:?}");
    assert_eq!(long[1], "5m@300000 5/6/5/6 1 complete r0 #2");
}

#[test]
fn a_removed_interval_is_flushed_unconfirmed_and_nothing_follows() {
    let mut bench = Bench::new(&["1s", "1m"], |settings| settings.update_interval = Some(1_000));
    bench.watch(0).trade(10, 3).trade(1_010, 4).tick(1_100);
    bench.emitted();
    bench.intervals(&["1s"]);
    assert_eq!(bench.emitted(), ["1m@0 3/4/3/4 2 gapped open #1"]);
    bench.trade(1_200, 5).tick(60_080);
    let emitted = bench.emitted();
    assert!(emitted.iter().all(|line| line.starts_with("1s@")), "{emitted:?}");
    assert!(emitted.contains(&"1s@1000 3/5/3/5 2 complete r0 #2".to_owned()), "{emitted:?}");
}

#[test]
fn an_interval_that_comes_back_continues_its_sequence_and_confirms_no_window_twice() {
    let mut bench = Bench::new(&["1s", "5s"], |_| ());
    bench.watch(0).trade(100, 5).tick(6_000);
    assert!(bench.emitted().contains(&"1s@4000 5/5/5/5 0 complete r0 #5".to_owned()));
    bench.intervals(&["5s"]).intervals(&["1s", "5s"]).trade(4_500, 9).tick(6_079).tick(7_079);
    let emitted = bench.emitted();
    let short: Vec<&String> = emitted.iter().filter(|line| line.starts_with("1s")).collect();
    assert_eq!(short, ["1s@5000 9/9/9/9 0 complete r0 #6", "1s@6000 9/9/9/9 0 complete r0 #7"], "{emitted:?}");
    assert!(emitted.contains(&"5s@0 5/9/5/9 2 gapped r1 #2".to_owned()), "{emitted:?}");
}

#[test]
fn the_minute_of_repairs_is_counted_on_and_its_windows_are_known_when_it_is_wanted_again() {
    let mut bench = Bench::new(&["1s", "1m"], |settings| settings.is_repaired = true);
    bench.watch(0).trade(100, 5).trade(60_100, 6).tick(61_000).intervals(&["1s"]).trade(61_500, 8).tick(130_000);
    let emitted = bench.emitted();
    assert_eq!(emitted.iter().filter(|line| line.starts_with("1m")).count(), 2, "one closed, one open: {emitted:?}");
    bench.intervals(&["1s", "1m", "5m"]).trade(131_000, 9).tick(300_080);
    let emitted = bench.emitted();
    let long: Vec<&String> = emitted.iter().filter(|line| line.contains("m@")).collect();
    assert_eq!(long[0], "1m@120000 8/9/8/9 1 complete r0 #2", "{long:?}");
    assert_eq!(*long.last().unwrap(), "5m@0 5/9/5/9 4 gapped r0 #1", "{long:?}");
}

#[test]
fn candles_that_a_new_interval_does_not_have_are_not_believed_to_be_in_it() {
    // What the candle of the first minute has more than was seen is in no window of 30 s.
    let with_candle = |intervals: &[&str]| {
        let mut bench = Bench::new(intervals, |settings| settings.is_repaired = true);
        bench.watch(-1_000).trade(-500, 5).trade(10_000, 5).hole(20_000, Some(30_000)).trade(40_000, 6).tick(64_000);
        bench.minute(0, [5, 9, 5, 6, 3, 18]).tick(65_000);
        bench.emitted();
        bench.intervals(&["30s", "1m", "90s", "2m"]).tick(2 * MINUTE + 80);
        bench.emitted()
    };
    let emitted = with_candle(&["30s"]);
    let of = |interval: &str| emitted.iter().find(|line| line.starts_with(interval)).unwrap();
    assert_eq!(of("2m"), "2m@0 5/9/5/6 3 repaired r0 #1", "the minute of repairs has the candle");
    assert_eq!(of("90s"), "90s@0 5/6/5/6 2 partial r0 #1");
}

#[test]
fn symbols_that_left_and_came_back_have_the_new_intervals() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(10, 3).tick(1_100).gap(1_050);
    bench.aggregator.leave(SymbolId(0), &mut bench.out);
    bench.intervals(&["1s", "5s"]);
    let symbol = bench.aggregator.add_symbol(&Symbol::new("BTCUSDT").unwrap());
    bench.emitted();
    bench.aggregator.apply(&FeedEvent::Covered { symbols: vec![symbol], from: T0 + 5_000 });
    bench.aggregator.trade(&Trade { symbol, ..sample(T0 + 5_100, 8, 1, TradeId::Number(99)) });
    bench.tick(10_080);
    let emitted = bench.emitted();
    assert_eq!(emitted[0], "1s@5000 8/8/8/8 1 gapped r0 #2", "{emitted:?}");
    assert_eq!(emitted.last().unwrap(), "5s@5000 8/8/8/8 1 gapped r0 #1", "{emitted:?}");
}

#[test]
fn intervals_can_change_before_anything_has_happened() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.intervals(&["5s"]).watch(0).trade(100, 5).tick(10_080);
    assert_eq!(bench.emitted(), ["5s@0 5/5/5/5 1 gapped r0 #1", "5s@5000 5/5/5/5 0 complete r0 #2"]);
}
