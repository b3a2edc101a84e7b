//! A run that continues an earlier one: its sequences, the windows that ended meanwhile, and those that are not repeated.

use super::*;
use crate::time::HOUR;

fn series(interval: &str, sequence: u64, next: ExchangeMillis) -> EarlierSeries {
    let interval = interval.parse().unwrap();
    EarlierSeries { interval, sequence, next, missing: Vec::new(), doubtful: Vec::new() }
}

/// What an earlier run has left that stored its last second at 10 s and crashed.
fn left(horizon: Millis) -> Earlier {
    Earlier { series: vec![series("1s", 9, T0 + 10_000)], crashes: vec![T0 + 12_000], horizon }
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
fn what_others_have_not_published_is_repaired_and_their_last_boundary_is_made_again() {
    let took_over = |intervals: &[&str], until, horizon| {
        let mut bench = Bench::new(intervals, |settings| settings.is_repaired = true);
        bench.aggregator.take_over(SymbolId(0), T0 + until, horizon);
        bench.watch(15_000).tick(15_000);
        bench
    };
    let symbol = SymbolId(0);
    let mut bench = took_over(&["1s", "5s", "1m"], 10_000, HOUR);
    assert_eq!(bench.aggregator.gaps(symbol), [(T0, T0 + 14_999)], "the minute that was open began at 0");
    bench.aggregator.recover(symbol, T0, T0 + 14_999, &trades());
    bench.trade(15_100, 7).tick(16_100);
    assert_eq!(
        bench.emitted(),
        [
            "1s@9000 1/2/1/2 1 complete r0 #1",
            "5s@5000 1/2/1/2 1 complete r0 #1",
            "1s@10000 2/3/2/3 1 complete r0 #2",
            "1s@11000 3/4/3/4 1 complete r0 #3",
            "1s@12000 4/5/4/5 1 complete r0 #4",
            "1s@13000 5/5/5/5 0 complete r0 #5",
            "1s@14000 5/6/5/6 1 complete r0 #6",
            "5s@10000 2/6/2/6 4 complete r0 #2",
            "1s@15000 6/7/6/7 1 complete r0 #7",
        ]
    );
    bench.tick(61_000);
    assert_eq!(bench.emitted().last().unwrap(), "1m@0 1/7/1/7 6 complete r0 #1");

    // What ended too long ago is left, and so is a time that has not come yet.
    for (until, horizon) in [(10_000, 1_000), (20_000, HOUR)] {
        let mut bench = took_over(&["1s"], until, horizon);
        bench.aggregator.recover(symbol, T0, T0 + 14_999, &trades());
        bench.trade(15_100, 7).tick(16_100);
        let expected = ["1s@15000 6/7/6/7 1 complete r0 #1"];
        assert_eq!(bench.emitted(), &expected[..], "{until}");
    }
}

#[test]
fn a_series_that_is_behind_shows_a_gap_that_was_not_repaired_yet() {
    let left = |minutes: Millis, months: Millis, horizon| {
        let series = [("1s", 600_000), ("1m", minutes), ("1M", months)];
        let series = series.map(|(interval, next)| self::series(interval, 1, ExchangeMillis::new(next)));
        Earlier { series: series.to_vec(), crashes: Vec::new(), horizon }
    };
    let since = |left: Earlier| {
        let mut bench = Bench::new(&["1s", "1m", "1M"], |settings| settings.is_repaired = true);
        bench.aggregator.resume(SymbolId(0), &left);
        bench.aggregator.cover(SymbolId(0), 601_000);
        bench.aggregator.since(SymbolId(0)).unwrap().get()
    };
    // A minute is missing, one is not over, a month is not over, and one is too long ago.
    assert_eq!(since(left(480_000, 0, HOUR)), 479_999);
    assert_eq!(since(left(599_000, 0, HOUR)), 599_999);
    assert_eq!(since(left(480_000, 0, 60_000)), 599_999);
    assert_eq!(since(left(480_000, 0, 100_000)), 539_998, "a window that began before the horizon is repaired, too");
}

/// A run that began at 20 s, after one that ended at 10 s, was itself ended at 30 s, before it had repaired what lay between.
#[test]
fn what_a_run_did_not_live_to_repair_is_repaired_by_the_next_one() {
    let mut second = series("1s", 19, T0 + 30_000);
    second.missing = vec![(T0 + 10_000, T0 + 18_999)];
    second.doubtful = vec![(T0 + 19_000, 4), (T0 + 29_000, 0)];
    let left = Earlier { series: vec![second], crashes: vec![T0 + 12_000, T0 + 15_000], horizon: HOUR };
    let mut bench = Bench::new(&["1s"], |settings| settings.is_repaired = true);
    bench.aggregator.resume(SymbolId(0), &left);
    bench.watch(31_000).tick(31_000);
    let symbol = SymbolId(0);
    let trade = |at: Millis, price| sample(T0 + at, price, 1, TradeId::Number(price as u64));
    let trades = [trade(9_000, 1), trade(11_500, 2), trade(14_500, 3), trade(19_500, 4), trade(25_000, 5)];
    assert_eq!(bench.aggregator.gaps(symbol), [(T0, T0 + 30_999)], "the minute that was open began at 0");
    bench.aggregator.recover(symbol, T0 + 9_999, T0 + 27_999, &trades);
    bench.tick(31_000);
    assert_eq!(
        bench.emitted(),
        [
            "1s@10000 1/1/1/1 0 complete r2 #20",
            "1s@11000 1/2/1/2 1 complete r2 #21",
            "1s@12000 2/2/2/2 0 complete r1 #22",
            "1s@13000 2/2/2/2 0 complete r1 #23",
            "1s@14000 2/3/2/3 1 complete r1 #24",
            "1s@15000 3/3/3/3 0 complete r0 #25",
            "1s@16000 3/3/3/3 0 complete r0 #26",
            "1s@17000 3/3/3/3 0 complete r0 #27",
            "1s@18000 3/3/3/3 0 complete r0 #28",
            "1s@19000 3/4/3/4 1 complete r5 #29",
        ],
        "what has a kline gets no other one, unless it may lack trades"
    );
    bench.aggregator.recover(symbol, T0 + 28_000, T0 + 30_999, &trades);
    bench.tick(31_100).tick(31_999);
    let last = bench.emitted();
    assert_eq!(last, ["1s@30000 5/5/5/5 0 complete r0 #30", "1s@29000 5/5/5/5 0 complete r1 #31"]);
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
