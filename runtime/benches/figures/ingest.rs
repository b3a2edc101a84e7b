//! Measures the path from frame text to exact klines, with ids kept and duplicates rejected: CPU time of one thread,
//! median of five runs.

use std::hint::black_box;

use klines_bybit::decode::{Frame, decode};
use klines_domain::aggregator::{Aggregator, Fill, Open, Settings};
use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_domain::time::ExchangeMillis;

use crate::stream::Stream;
use crate::{Runs, cpu, naive, row};

const TRADES: u64 = 2_000_000;
const RUNS: usize = 5;

/// Prints the rate for 200 symbols at 1m, 5m and 1h, compared with a naive aggregator.
pub(crate) fn narrow() {
    let text = frames(200);
    let ours: Runs = (0..RUNS).map(|_| klines(&text, 200, &["1m", "5m", "1h"])).collect();
    let baseline: Runs = (0..RUNS).map(|_| naive::klines(&text, &[60_000, 300_000, 3_600_000])).collect();
    row(
        "text -> 1m+5m+1h, 200 symbols, M trades/core-s",
        ours,
        baseline,
        "M",
        "5 / 10 M (baseline: naive, floats, no ids)",
    );
}

/// Prints the rate for 1,000 symbols and 12 intervals, compared with 200 symbols and 3 intervals.
pub(crate) fn wide() {
    let all = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1D", "1W"];
    let (few, many) = (frames(200), frames(1_000));
    let (ours, baseline): (Vec<f64>, Vec<f64>) =
        (0..RUNS).map(|_| (klines(&many, 1_000, &all), klines(&few, 200, &["1m", "5m", "1h"]))).unzip();
    row("the same, 1,000 symbols x 12 intervals", ours, baseline, "M", "0.67 / 1 x (baseline: the row above)");
}

fn frames(symbols: u64) -> Vec<String> {
    let mut stream = Stream::new(symbols, TRADES);
    let mut frames = Vec::new();
    loop {
        let mut frame = String::new();
        if stream.frame(&mut frame) == 0 {
            return frames;
        }
        frames.push(frame);
    }
}

/// Returns millions of trades per second of CPU.
fn klines(frames: &[String], symbols: u64, intervals: &[&str]) -> f64 {
    let intervals = intervals.iter().map(|text| text.parse().unwrap()).collect();
    let mut aggregator = Aggregator::new(Settings {
        open: Open::FirstTrade,
        fill: Fill::Never,
        update_interval: None,
        ..Settings::new(Category::Linear, intervals)
    });
    let mut table = SymbolTable::default();
    let mut ids = Vec::new();
    for k in 0..symbols {
        let symbol = Symbol::new(&format!("S{k:03}USDT")).unwrap();
        table.intern(&symbol);
        ids.push(aggregator.add_symbol(&symbol));
    }
    aggregator.apply(&FeedEvent::Covered { symbols: ids, from: ExchangeMillis::new(1_704_067_200_000) });
    let (mut events, mut out, mut emitted) = (Vec::new(), Vec::new(), 0);
    let start = cpu();
    for frame in frames {
        events.clear();
        let Frame::Trades { stamped, .. } = decode(Category::Linear, frame, &table, &mut events).unwrap() else {
            panic!()
        };
        for event in &events {
            aggregator.apply(event);
        }
        aggregator.tick(stamped, &mut out);
        for batch in out.drain(..) {
            emitted += black_box(&batch).klines.len();
        }
    }
    let spent = cpu() - start;
    assert_eq!(aggregator.tally().counted, TRADES);
    assert!(emitted > 0);
    TRADES as f64 / spent.as_secs_f64() / 1e6
}
