//! How long `Hub::publish` holds ingest at a boundary of a whole exchange, 1,440 symbols and 14 intervals, before five
//! consumers. The baseline is the least that has to be done: to share every kline once more for each of them.

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

use crate::{median, row};

const SYMBOLS: usize = 1_440;
const INTERVALS: [&str; 14] = ["1s", "5s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "12h", "1D"];
const CONSUMERS: usize = 5;
const RUNS: i64 = 31;

/// Prints what a boundary costs in queues that are empty, full, and full of updates; and a round of updates.
pub(crate) fn boundary() {
    let (symbols, intervals) = (symbols(), intervals());
    let stage = || Stage::new(&symbols, &intervals);
    let batch = |window, confirm| batch(&symbols, &intervals, window, confirm);
    let baseline = median((0..RUNS).map(|window| share(&batch(window, true))).collect());
    let closed = "20,160 closed klines";
    let empty = stage();
    let took = (0..RUNS).map(|window| empty.timed(&batch(window, true), Stage::drain)).collect();
    row(&format!("publish {closed}, 5 queues that are empty"), median(took), baseline, "ms", "-");
    let full = stage();
    (0..4).for_each(|window| full.hub.publish(&batch(window, true)));
    let took = (4..4 + RUNS).map(|window| full.timed(&batch(window, true), |_| ())).collect();
    row(&format!("publish {closed}, 5 queues that are full"), median(took), baseline, "ms", "-");
    let open = stage();
    open.hub.publish(&batch(0, false));
    let took = (1..=RUNS).map(|window| open.timed(&batch(window, false), |_| ())).collect();
    row("publish 20,160 updates that conflate, 5 queues", median(took), baseline, "ms", "-");
    let both = stage();
    let took = (0..RUNS).map(|window| {
        both.hub.publish(&batch(window, false));
        both.timed(&batch(window, true), Stage::drain)
    });
    row(&format!("publish {closed} over their updates"), median(took.collect()), baseline, "ms", "-");
}

/// A hub with queues that nobody takes from.
struct Stage {
    hub: Hub,
    queues: Vec<Arc<Queue>>,
}

impl Stage {
    fn new(symbols: &[Symbol], intervals: &[Interval]) -> Self {
        let hub = Hub::new();
        let queue = || Arc::new(Queue::new(DEFAULT_CAPACITY, &Subscription::default()));
        let queues: Vec<_> = (0..CONSUMERS).map(|_| queue()).collect();
        queues.iter().for_each(|queue| hub.add(queue.clone(), Arc::default()));
        hub.watch(Watched { symbols: symbols.to_vec(), intervals: intervals.to_vec() });
        Self { hub, queues }
    }

    /// Milliseconds of one call.
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
