//! The kline contract by examples. `properties` compares the aggregator with a simple model.

mod closing;
mod doubts;
mod feeds;
mod intervals;
mod leaving;
mod model;
mod oracle;
mod properties;
mod repairs;
mod resuming;
mod revisions;
mod steps;

use std::sync::Arc;

use super::*;
use crate::interval::Interval;
use crate::kline::{Kline, Quality};
use crate::symbol::Category;
use crate::trade::{Quantity, Side, TradeId};

/// 2024-01-01T00:00:00Z, a Monday and the first of a month.
const T0: ExchangeMillis = ExchangeMillis::new(1_704_067_200_000);

/// One symbol's aggregator with its output collected.
struct Bench {
    aggregator: Aggregator,
    out: Vec<Batch>,
    ids: u64,
}

impl Bench {
    fn new(intervals: &[&str], change: impl FnOnce(&mut Settings)) -> Self {
        let intervals = intervals.iter().map(|text| text.parse().unwrap()).collect();
        let mut settings = Settings { update_interval: None, ..Settings::new(Category::Linear, intervals) };
        change(&mut settings);
        let mut aggregator = Aggregator::new(settings);
        aggregator.add_symbol(&Symbol::new("BTCUSDT").unwrap());
        Self { aggregator, out: Vec::new(), ids: 0 }
    }

    fn watch(&mut self, at: Millis) -> &mut Self {
        self.aggregator.apply(&FeedEvent::Covered { symbols: vec![SymbolId(0)], from: T0 + at });
        self
    }

    fn gap(&mut self, last_seen: Millis) -> &mut Self {
        self.hole(last_seen, None)
    }

    fn hole(&mut self, last_seen: Millis, until: Option<Millis>) -> &mut Self {
        let (last_seen, until) = (T0 + last_seen, until.map(|until| T0 + until));
        self.aggregator.apply(&FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen, until });
        self
    }

    /// A trade of size 1, with times counted from `T0`.
    fn trade(&mut self, at: Millis, price: i64) -> &mut Self {
        self.ids += 1;
        let trade = sample(T0 + at, price, 1, TradeId::Number(self.ids));
        self.aggregator.apply(&FeedEvent::Trade(trade));
        self
    }

    /// A trade from `from` to `to` could not be read.
    fn miss(&mut self, from: Millis, to: Millis) -> &mut Self {
        self.aggregator.apply(&FeedEvent::Missed { symbol: SymbolId(0), from: T0 + from, to: T0 + to });
        self
    }

    fn tick(&mut self, at: Millis) -> &mut Self {
        tick_through(&mut self.aggregator, T0 + at, &mut self.out);
        self
    }

    /// Returns the klines emitted since the last call, one per line: `interval@start ohlc volume quality …`.
    fn emitted(&mut self) -> Vec<String> {
        let batches = std::mem::take(&mut self.out);
        batches.iter().flat_map(|batch| &batch.klines).map(line).collect()
    }
}

/// Ticks until everything that is due has been emitted.
fn tick_through(aggregator: &mut Aggregator, now: ExchangeMillis, out: &mut Vec<Batch>) {
    aggregator.tick(now, out);
    while aggregator.is_behind() {
        aggregator.tick(now, out);
    }
}

/// Ends a run.
fn finish(aggregator: &mut Aggregator, out: &mut Vec<Batch>) {
    while aggregator.finish(out) {}
}

fn sample(time: ExchangeMillis, price: i64, size: i64, id: TradeId) -> Trade {
    let (price, size) = (Quantity { mantissa: price, scale: 0 }, Quantity { mantissa: size, scale: 0 });
    Trade { symbol: SymbolId(0), time, sequence: 0, price, size, side: Side::Buy, block: false, id }
}

fn line(kline: &Arc<Kline>) -> String {
    let interval = kline.series.interval;
    let Kline { open, high, low, close, volume, quality, revision, sequence, .. } = &**kline;
    let state = if kline.confirm { format!("r{revision}") } else { "open".to_owned() };
    format!("{interval}@{} {open}/{high}/{low}/{close} {volume} {quality} {state} #{sequence}", kline.start - T0.get())
}

#[test]
fn a_window_closes_by_the_clock_at_its_end_plus_grace() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).trade(900, 7).tick(999 + 79);
    assert!(bench.emitted().is_empty());
    assert_eq!(bench.tick(999 + 80).emitted(), ["1s@0 5/7/5/7 2 gapped r0 #1"]);
}

#[test]
fn a_window_before_the_first_event_has_its_grace_too() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(5_010).trade(5_010, 5).tick(5_010).watch(4_990).trade(4_990, 4).tick(5_078);
    assert!(bench.emitted().is_empty(), "more trades may arrive");
    assert_eq!(bench.trade(4_995, 7).tick(5_079).emitted(), ["1s@4000 4/7/4/7 2 partial r0 #1"]);
    assert_eq!(bench.tick(6_079).emitted(), ["1s@5000 7/7/5/5 1 complete r0 #2"]);
}

#[test]
fn the_open_is_the_previous_close_and_extends_high_and_low() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).trade(1_100, 9).trade(1_200, 8).trade(2_500, 2).tick(4_000);
    assert_eq!(
        bench.emitted(),
        ["1s@0 5/5/5/5 1 gapped r0 #1", "1s@1000 5/9/5/8 2 complete r0 #2", "1s@2000 8/8/2/2 1 complete r0 #3"]
    );
    let mut bench = Bench::new(&["1s"], |settings| settings.open = Open::FirstTrade);
    bench.watch(0).trade(100, 5).trade(1_100, 9).trade(1_200, 8).tick(3_000);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 1 complete r0 #1", "1s@1000 9/9/8/8 2 complete r0 #2"]);
}

#[test]
fn empty_windows_are_flat_at_the_previous_close() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(1_100, 5).tick(4_500);
    assert_eq!(
        bench.emitted(),
        ["1s@1000 5/5/5/5 1 gapped r0 #1", "1s@2000 5/5/5/5 0 complete r0 #2", "1s@3000 5/5/5/5 0 complete r0 #3"],
        "the first window has no known price and no kline"
    );
}

#[test]
fn windows_under_a_second_are_filled_only_when_asked() {
    for (fill, flats) in [(Fill::FromOneSecond, 0), (Fill::All, 9), (Fill::Never, 0)] {
        let mut bench = Bench::new(&["100ms"], |settings| settings.fill = fill);
        bench.watch(0).trade(50, 5).trade(950, 6).tick(1_200);
        assert_eq!(bench.emitted().len(), 2 + flats, "{fill:?}");
    }
}

#[test]
fn one_batch_a_boundary_shorter_intervals_first() {
    let mut bench = Bench::new(&["1m", "30s", "5m"], |_| ());
    bench.watch(0).trade(10, 1).tick(300_080);
    let shapes: Vec<Vec<String>> = bench
        .out
        .iter()
        .map(|batch| {
            batch.klines.iter().map(|kline| format!("{}@{}", kline.series.interval, kline.start - T0.get())).collect()
        })
        .collect();
    assert_eq!(shapes.len(), 10, "a boundary every 30 s");
    assert_eq!(shapes[1], ["30s@30000", "1m@0"]);
    assert_eq!(shapes[9], ["30s@270000", "1m@240000", "5m@0"]);
}

#[test]
fn updates_come_at_most_once_an_interval_and_only_for_changes() {
    let mut bench = Bench::new(&["1m"], |settings| settings.update_interval = Some(1_000));
    bench.watch(0).trade(10, 1).tick(10);
    assert_eq!(bench.emitted(), ["1m@0 1/1/1/1 1 gapped open #1"]);
    bench.trade(20, 2).tick(500).trade(600, 3).tick(1_009);
    assert!(bench.emitted().is_empty());
    assert_eq!(bench.tick(1_010).emitted(), ["1m@0 1/3/1/3 3 gapped open #1"]);
    assert!(bench.tick(59_000).emitted().is_empty(), "nothing changed");
    let mut bench = Bench::new(&["1m"], |settings| settings.update_interval = Some(0));
    bench.watch(0).trade(10, 1).tick(10).trade(10, 2).tick(10);
    assert_eq!(bench.emitted().len(), 2, "0 s is on every change");
}

#[test]
fn trades_ahead_of_the_clock_wait_for_their_window() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(990, 5).trade(1_010, 6).trade(995, 7).tick(1_079).tick(2_079);
    assert_eq!(bench.emitted(), ["1s@0 5/7/5/7 2 gapped r0 #1", "1s@1000 7/7/6/6 1 complete r0 #2"]);
}

#[test]
fn a_duplicate_counts_once_and_every_trade_is_accounted_for() {
    let mut bench = Bench::new(&["1s"], |settings| settings.block_trades = false);
    bench.watch(0).tick(100_000);
    let fresh = sample(T0 + 99_000, 5, 1, TradeId::Number(1));
    let block = Trade { block: true, ..sample(T0 + 99_001, 5, 1, TradeId::Number(2)) };
    let late = sample(T0 + 39_999, 5, 1, TradeId::Number(3));
    let unknown = Trade { symbol: SymbolId(9), ..sample(T0 + 99_001, 5, 1, TradeId::Number(4)) };
    for trade in [&fresh, &fresh, &block, &late, &unknown] {
        bench.aggregator.apply(&FeedEvent::Trade(trade.clone()));
    }
    bench.aggregator.reject(2);
    let tally = bench.aggregator.tally();
    // The time of the trade that does not fit is a gap of one millisecond, which nobody repairs.
    let gaps = GapTally { gap: 1, repaired: 0, unknown: 1 };
    assert_eq!(
        tally,
        Tally { received: 7, counted: 1, duplicate: 1, late: 1, rejected: 3, excluded: 1, superseded: 0, gaps }
    );
}

#[test]
fn more_decimals_in_mid_window_change_no_digit() {
    let mut bench = Bench::new(&["1m"], |_| ());
    bench.watch(0).trade(10, 3).tick(10);
    let fine = Trade {
        price: Quantity { mantissa: 30_001, scale: 4 },
        size: Quantity { mantissa: 5, scale: 3 },
        ..sample(T0 + 20, 0, 0, TradeId::Number(99))
    };
    bench.aggregator.apply(&FeedEvent::Trade(fine));
    bench.tick(60_079);
    let kline = &bench.out[0].klines[0];
    assert_eq!(line(kline), "1m@0 3/3.0001/3/3.0001 1.005 gapped r0 #1");
    assert_eq!((kline.turnover.to_string(), kline.price_decimals, kline.volume_decimals), ("3.0150005".into(), 4, 3));
}

#[test]
fn what_is_open_at_the_end_is_flushed_unconfirmed() {
    let mut bench = Bench::new(&["1s", "1m"], |_| ());
    bench.watch(0).trade(10, 3).trade(1_010, 4).tick(1_100);
    bench.emitted();
    finish(&mut bench.aggregator, &mut bench.out);
    assert_eq!(bench.emitted(), ["1s@1000 3/4/3/4 1 complete open #2", "1m@0 3/4/3/4 2 gapped open #1"]);
}

#[test]
fn a_window_in_its_grace_is_flushed_too() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(10, 3).trade(1_010, 4).trade(2_010, 5).tick(2_078);
    assert_eq!(bench.emitted(), ["1s@0 3/3/3/3 1 gapped r0 #1"]);
    finish(&mut bench.aggregator, &mut bench.out);
    let flushed = ["1s@1000 3/4/3/4 1 complete open #2", "1s@2000 4/5/4/5 1 complete open #2"];
    assert_eq!(bench.emitted(), flushed, "either may be confirmed next");
}

#[test]
fn weeks_and_months_close_on_the_calendar() {
    let day = crate::time::DAY;
    let mut bench = Bench::new(&["1W", "1M"], |_| ());
    bench.watch(0).trade(10, 3).tick(32 * day);
    assert_eq!(
        bench.emitted(),
        [
            "1W@0 3/3/3/3 1 gapped r0 #1".to_owned(),
            format!("1W@{} 3/3/3/3 0 complete r0 #2", 7 * day),
            format!("1W@{} 3/3/3/3 0 complete r0 #3", 14 * day),
            format!("1W@{} 3/3/3/3 0 complete r0 #4", 21 * day),
            "1M@0 3/3/3/3 1 gapped r0 #1".to_owned(),
        ]
    );
    assert_eq!(Interval::Month.next(T0.get()) - T0.get(), 31 * day);
    assert_eq!(Quality::Complete.worse(Quality::Gapped), Quality::Gapped);
}
