//! Measures the cost of the sandbox: a small guest with every limit on, compared with the same average in native code.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Subscription};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use klines_wasm::{Origin, Setup, WasmBlueprint};

use crate::{Runs, cpu, row};

const BATCH: usize = 64;
const BATCHES: usize = 2_000;
const RUNS: usize = 9;

/// Prints the CPU time per kline in nanoseconds, in batches of 64.
pub(crate) fn batch() {
    let ours: Runs = (0..RUNS).map(|_| cost(&mut *guest())).collect();
    let native: Runs = (0..RUNS).map(|_| cost(&mut Native::default())).collect();
    row(
        "Rust guest, batch of 64, all limits on, ns a kline",
        ours,
        native,
        "ns",
        "250 / 170 ns (baseline: native call)",
    );
}

fn guest() -> Box<dyn Consumer> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components/average.wasm");
    let components = Components::new(WasmEngine::new().unwrap());
    let component = components.from_trusted(&std::fs::read(&path).unwrap(), u64::MAX).unwrap();
    // An untrusted origin, so that its calls need permits too.
    let setup = Setup { origin: Origin::File(path), ..Setup::plain("average", "{}") };
    WasmBlueprint::new(component, setup).instantiate(&Arc::default()).unwrap()
}

/// The same moving average without a sandbox.
#[derive(Default)]
struct Native {
    averages: HashMap<String, (f64, u64)>,
}

impl Consumer for Native {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        Ok(Subscription::default())
    }

    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        for kline in delivery.klines.iter() {
            let close = kline.close.to_f64();
            if let Some((average, count)) = self.averages.get_mut(kline.series.symbol.as_str()) {
                *average += (close - *average) * 2.0 / 21.0;
                *count += 1;
            } else {
                self.averages.insert(kline.series.symbol.to_string(), (close, 1));
            }
        }
        black_box(&self.averages);
        Ok(Next::Deliver)
    }

    fn stop(&mut self) {}
}

pub(crate) fn cost(consumer: &mut dyn Consumer) -> f64 {
    consumer.setup().unwrap();
    consumer.start().unwrap();
    consumer.consume(&delivery(0)).unwrap();
    let mut spent = Duration::ZERO;
    for number in 1..=BATCHES {
        // As in a run, the klines were just created, so they are in the processor's cache.
        let delivery = delivery(number);
        let start = cpu();
        consumer.consume(&delivery).unwrap();
        spent += cpu() - start;
    }
    spent.as_nanos() as f64 / (BATCH * BATCHES) as f64
}

pub(crate) fn delivery(number: usize) -> Delivery {
    let klines = (0..BATCH).map(|row| Arc::new(kline(number as i64, row % 500)));
    Delivery { klines: klines.collect(), ..Delivery::default() }
}

pub(crate) fn kline(window: i64, symbol: usize) -> Kline {
    let decimal = |mantissa: i64| Decimal::new(i128::from(mantissa), 4);
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new(&format!("SYM{symbol:03}USDT")).unwrap(), Interval::MINUTE),
        start: window * 60_000,
        end: window * 60_000 + 59_999,
        open: decimal(165_785_000),
        high: decimal(165_790_000),
        low: decimal(165_700_000),
        close: decimal(165_785_100),
        volume: decimal(12_345_678 + window),
        turnover: decimal(999_999_999),
        buy_volume: decimal(2_345),
        buy_turnover: decimal(88_888_888),
        price_decimals: 4,
        volume_decimals: 4,
        trades: 12,
        last_trade_time: window * 60_000 + 5,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: 1,
        emitted: window * 60_000 + 60_080,
    }
}
