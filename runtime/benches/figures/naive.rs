//! The baseline for ingest: a naive aggregator with a JSON tree, maps by name, floats and no trade ids.

use std::collections::HashMap;
use std::hint::black_box;

use serde_json::Value;

use crate::cpu;

#[derive(Clone, Copy)]
struct Bar {
    start: i64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    turnover: f64,
    trades: u64,
}

/// Returns millions of trades per second of CPU.
pub(crate) fn klines(frames: &[String], intervals: &[i64]) -> f64 {
    let mut bars: HashMap<String, HashMap<i64, Bar>> = HashMap::new();
    let (mut closed, mut trades) = (Vec::new(), 0u64);
    let start = cpu();
    for frame in frames {
        let frame: Value = serde_json::from_str(frame).unwrap();
        for trade in frame["data"].as_array().unwrap() {
            trades += 1;
            let price: f64 = trade["p"].as_str().unwrap().parse().unwrap();
            let size: f64 = trade["v"].as_str().unwrap().parse().unwrap();
            let time = trade["T"].as_i64().unwrap();
            let of_symbol = bars.entry(trade["s"].as_str().unwrap().to_owned()).or_default();
            for interval in intervals {
                let start = time - time % interval;
                let fresh = Bar {
                    start,
                    open: price,
                    high: price,
                    low: price,
                    close: price,
                    volume: 0.0,
                    turnover: 0.0,
                    trades: 0,
                };
                let bar = of_symbol.entry(*interval).or_insert(fresh);
                if bar.start != start {
                    closed.push(std::mem::replace(bar, fresh));
                }
                bar.high = bar.high.max(price);
                bar.low = bar.low.min(price);
                bar.close = price;
                bar.volume += size;
                bar.turnover += price * size;
                bar.trades += 1;
            }
        }
        if closed.len() > 1_000 {
            black_box(&closed);
            closed.clear();
        }
    }
    let spent = cpu() - start;
    black_box(bars.values().flat_map(HashMap::values).map(|bar| bar.open).sum::<f64>());
    trades as f64 / spent.as_secs_f64() / 1e6
}
