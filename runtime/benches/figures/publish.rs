//! Measures how long `Hub::publish` blocks ingest at a boundary of a whole exchange: 1,440 symbols, 14 intervals and
//! five consumers. The baseline is the minimum work: clone the `Arc` of every kline once per consumer.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use klines_delivery::Subscription;
use klines_delivery::filter::Watched;
use klines_delivery::hub::Hub;
use klines_delivery::queue::{DEFAULT_CAPACITY, Grouping, Popped, Queue};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};

use crate::row;

const SYMBOLS: usize = 1_440;
const INTERVALS: [&str; 14] = ["1s", "5s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "12h", "1D"];
const CONSUMERS: usize = 5;
const RUNS: i64 = 31;

/// Prints the cost of a boundary for queues that are empty, full, or full of updates, and of a round of updates.
pub(crate) fn boundary() {
    let (symbols, intervals) = (symbols(), intervals());
    let fixture = || Fixture::new(&symbols, &intervals);
    let batch = |window, confirm| batch(&symbols, &intervals, window, confirm);
    let baseline: Vec<f64> = (0..RUNS).map(|window| share(&batch(window, true))).collect();
    let closed = "20,160 closed klines";
    let empty = fixture();
    let took: Vec<f64> = (0..RUNS).map(|window| empty.timed(&batch(window, true), Fixture::drain)).collect();
    row(&format!("publish {closed}, 5 queues that are empty"), took, baseline.clone(), "ms", "-");
    let full = fixture();
    (0..4).for_each(|window| full.hub.publish(&batch(window, true)));
    let took: Vec<f64> = (4..4 + RUNS).map(|window| full.timed(&batch(window, true), |_| ())).collect();
    row(&format!("publish {closed}, 5 queues that are full"), took, baseline.clone(), "ms", "-");
    let open = fixture();
    open.hub.publish(&batch(0, false));
    let took: Vec<f64> = (1..=RUNS).map(|window| open.timed(&batch(window, false), |_| ())).collect();
    row("publish 20,160 updates that conflate, 5 queues", took, baseline.clone(), "ms", "-");
    let both = fixture();
    let took: Vec<f64> = (0..RUNS)
        .map(|window| {
            both.hub.publish(&batch(window, false));
            both.timed(&batch(window, true), Fixture::drain)
        })
        .collect();
    row(&format!("publish {closed} over their updates"), took, baseline, "ms", "-");
}

/// A hub with queues that no consumer reads.
struct Fixture {
    hub: Hub,
    queues: Vec<Arc<Queue>>,
}

impl Fixture {
    fn new(symbols: &[Symbol], intervals: &[Interval]) -> Self {
        let hub = Hub::new();
        let queue = || Arc::new(Queue::new(DEFAULT_CAPACITY, &Subscription::default()));
        let queues: Vec<_> = (0..CONSUMERS).map(|_| queue()).collect();
        queues.iter().for_each(|queue| hub.add(queue.clone(), Arc::default()));
        hub.watch(Watched { symbols: symbols.to_vec(), intervals: intervals.to_vec() });
        Self { hub, queues }
    }

    /// Returns the duration of one call in milliseconds.
    fn timed(&self, batch: &Batch, after: impl FnOnce(&Self)) -> f64 {
        let begun = Instant::now();
        self.hub.publish(batch);
        let took = begun.elapsed();
        after(self);
        took.as_secs_f64() * 1e3
    }

    fn drain(&self) {
        for queue in &self.queues {
            while queue.depth().closed + queue.depth().updates > 0 {
                assert!(matches!(queue.pop(Grouping::Boundary), Popped::Delivery(_)));
            }
        }
    }
}

fn share(batch: &Batch) -> f64 {
    let begun = Instant::now();
    let shared: Vec<Vec<Arc<Kline>>> = (0..CONSUMERS).map(|_| batch.klines.clone()).collect();
    let took = begun.elapsed();
    drop(black_box(shared));
    took.as_secs_f64() * 1e3
}

fn symbols() -> Vec<Symbol> {
    (0..SYMBOLS).map(|at| Symbol::new(&format!("S{at}USDT")).unwrap()).collect()
}

fn intervals() -> Vec<Interval> {
    INTERVALS.iter().map(|text| text.parse().unwrap()).collect()
}

fn batch(symbols: &[Symbol], intervals: &[Interval], window: i64, confirm: bool) -> Batch {
    let all = intervals.iter().flat_map(|interval| symbols.iter().map(move |symbol| (symbol, *interval)));
    Batch { klines: all.map(|(symbol, interval)| Arc::new(kline(symbol, interval, window, confirm))).collect() }
}

fn kline(symbol: &Symbol, interval: Interval, window: i64, confirm: bool) -> Kline {
    let start = window * interval.nominal_millis();
    let price = Decimal::parse("16578.5").unwrap();
    Kline {
        series: SeriesId::new(Category::Linear, symbol.clone(), interval),
        start,
        end: interval.next(start) - 1,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: Decimal::parse("0.25").unwrap(),
        turnover: Decimal::parse("4144.625").unwrap(),
        buy_volume: Decimal::ZERO,
        buy_turnover: Decimal::ZERO,
        price_decimals: 1,
        volume_decimals: 2,
        trades: 1,
        last_trade_time: start,
        confirm,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: start,
    }
}
