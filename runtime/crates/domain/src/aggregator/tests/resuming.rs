//! A run that continues an earlier one: its sequences, the windows that ended meanwhile, and those that are not repeated.

use super::*;
use crate::time::HOUR;

/// What an earlier run has left that stored its last second at 10 s and crashed.
fn left(horizon: Millis) -> Earlier {
    let second = EarlierSeries { interval: "1s".parse().unwrap(), sequence: 9, next: T0 + 10_000 };
    Earlier { series: vec![second], lost_before: T0 + 12_000, horizon }
}

fn resumed(horizon: Millis, intervals: &[&str]) -> Bench {
    let mut bench = Bench::new(intervals, |settings| settings.is_repaired = true);
    bench.aggregator.resume(SymbolId(0), &left(horizon));
    bench.watch(15_000).tick(15_000);
    bench
}

/// Trades that the exchange had: one before, and one a second.
fn trades() -> Vec<Trade> {
    let trade = |at: Millis, price| sample(T0 + at, price, 1, TradeId::Number(1_000 + price as u64));
    vec![trade(-5_000, 1), trade(9_500, 2), trade(10_500, 3), trade(11_500, 4), trade(12_500, 5), trade(14_500, 6)]
}

#[test]
fn what_ended_while_nothing_was_watched_is_repaired_under_further_sequences() {
    let mut bench = resumed(HOUR, &["1s", "1m"]);
    let symbol = SymbolId(0);
    let gaps = bench.aggregator.gaps(symbol);
    assert_eq!(gaps, [(T0, T0 + 14_999)], "the minute that was open began at 0");
    bench.aggregator.recover(symbol, T0, T0 + 14_999, &trades());
    bench.trade(15_100, 7).tick(16_100);
    // Windows that end before 12 s may have been published before the crash.
    assert_eq!(
        bench.emitted(),
        [
            "1s@10000 2/3/2/3 1 complete r1 #10",
            "1s@11000 3/4/3/4 1 complete r1 #11",
            "1s@12000 4/5/4/5 1 complete r0 #12",
            "1s@13000 5/5/5/5 0 complete r0 #13",
            "1s@14000 5/6/5/6 1 complete r0 #14",
            "1s@15000 6/7/6/7 1 complete r0 #15",
        ]
    );
    bench.tick(61_000);
    assert_eq!(bench.emitted().last().unwrap(), "1m@0 1/7/1/7 6 complete r0 #1");
    let gaps = bench.aggregator.tally().gaps;
    assert_eq!((gaps.gap, gaps.repaired), (5_001, 5_001), "nothing counts before the last stored kline");
}

#[test]
fn a_series_that_is_behind_shows_a_gap_that_was_not_repaired_yet() {
    let series = |interval: &str, next: Millis| EarlierSeries {
        interval: interval.parse().unwrap(),
        sequence: 1,
        next: ExchangeMillis::new(next),
    };
    let left = |minutes: Millis, months: Millis| Earlier {
        series: vec![series("1s", 600_000), series("1m", minutes), series("1M", months)],
        lost_before: ExchangeMillis::new(0),
        horizon: 3_600_000,
    };
    // A minute is missing, one is not over, a month is not over, and one is too long ago.
    assert_eq!(left(480_000, 0).watched(|_| true), Some(479_999));
    assert_eq!(left(599_000, 0).watched(|_| true), Some(599_999));
    assert_eq!(left(-3_600_000, 0).watched(|_| true), Some(599_999));
    assert_eq!(left(480_000, 0).watched(|known| known.interval != Interval::MINUTE), Some(599_999));
}

#[test]
fn an_outage_beyond_the_horizon_is_not_repaired() {
    let mut bench = resumed(4_000, &["1s"]);
    assert_eq!(bench.aggregator.since(SymbolId(0)), Some(T0 + 15_000), "as if there had been no earlier run");
    bench.trade(15_100, 7).trade(16_100, 8).tick(17_100);
    assert_eq!(bench.emitted(), ["1s@15000 7/7/7/7 1 gapped r0 #10", "1s@16000 7/8/7/8 1 complete r0 #11"]);
}

#[test]
fn a_window_that_has_a_kline_gets_no_other_one_if_the_clock_goes_back() {
    let mut bench = Bench::new(&["1s"], |settings| settings.is_repaired = true);
    bench.aggregator.resume(SymbolId(0), &left(HOUR));
    bench.watch(8_000).trade(8_100, 1).trade(9_100, 2).trade(10_100, 3).trade(11_100, 4).tick(12_100);
    assert_eq!(bench.emitted(), ["1s@10000 2/3/2/3 1 complete r1 #10", "1s@11000 3/4/3/4 1 complete r1 #11"]);
}
