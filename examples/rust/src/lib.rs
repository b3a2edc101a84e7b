//! Emits the relative strength index and two moving averages of every series, and a signal when the averages cross.
//!
//! The signal is `buy` when the fast average crosses above the slow one, unless the index is already high, and `sell` when
//! it crosses below, unless the index is already low. This is an example, not financial advice.

mod indicators;

use std::collections::HashMap;

use indicators::{Ema, Rsi};
use klines_guest::{Batch, Consumer, Failure, Interval, Kline, Problem, emit, info};
use serde::{Deserialize, Serialize};

/// The keys of `[consumers.NAME.settings]`. The helper crate reports unknown keys and wrong types to the operator.
#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    /// The number of changes in the index.
    period: u32,
    /// The number of closes in the fast average.
    fast: u32,
    /// The number of closes in the slow average.
    slow: u32,
    /// The index at which there is no `buy` any more; there is no `sell` at or below 100 minus this value.
    hot: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { period: 14, fast: 9, slow: 21, hot: 70.0 }
    }
}

/// The indicators of one category, symbol and interval.
struct Series {
    /// Start of the newest kline in the indicators.
    newest: Option<u64>,
    rsi: Rsi,
    fast: Ema,
    slow: Ema,
    /// Whether the fast average was above the slow one.
    above: Option<bool>,
}

/// A signal, as clients receive it.
#[derive(Serialize)]
struct Signal<'a> {
    side: &'a str,
    /// The exact digits of the close.
    price: &'a str,
    rsi: f64,
}

struct Crossover {
    settings: Settings,
    series: HashMap<(&'static str, Interval, String), Series>,
}

impl Series {
    fn new(settings: &Settings) -> Self {
        Self {
            newest: None,
            rsi: Rsi::new(settings.period),
            fast: Ema::new(settings.fast),
            slow: Ema::new(settings.slow),
            above: None,
        }
    }

    /// Returns whether a kline is new: neither a correction of an older one, nor one that was delivered before.
    fn is_new(&mut self, kline: &Kline) -> bool {
        let is_new = self.newest.is_none_or(|newest| kline.start > newest);
        if is_new {
            self.newest = Some(kline.start);
        }
        is_new
    }

    /// Returns whether the fast average is now above the slow one, or `None` if it has not crossed it.
    fn crossed(&mut self, above: bool) -> Option<bool> {
        let before = self.above.replace(above)?;
        (before != above).then_some(above)
    }
}

impl Consumer for Crossover {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in [("period", settings.period), ("fast", settings.fast), ("slow", settings.slow)] {
            if !(2..=1000).contains(&value) {
                problems.push(Problem::new(key, format!("is {value}"), "a whole number from 2 to 1000"));
            }
        }
        if settings.fast >= settings.slow {
            let slow = format!("a number below slow, which is {}", settings.slow);
            problems.push(Problem::new("fast", format!("is {}", settings.fast), slow));
        }
        if !(50.0..=100.0).contains(&settings.hot) {
            problems.push(Problem::new("hot", format!("is {}", settings.hot), "a number from 50 to 100"));
        }
        problems
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { settings, series: HashMap::new() })
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        for (row, kline) in batch.klines.iter().enumerate() {
            self.take(batch, row, kline).map_err(Failure::fatal)?;
        }
        Ok(())
    }
}

impl Crossover {
    fn take(&mut self, batch: &Batch, row: usize, kline: &Kline) -> Result<(), String> {
        let key = (kline.category.name(), kline.interval, kline.symbol.clone());
        let series = self.series.entry(key).or_insert_with(|| Series::new(&self.settings));
        if !series.is_new(kline) {
            return Ok(());
        }
        let (rsi, fast, slow) =
            (series.rsi.add(kline.close), series.fast.add(kline.close), series.slow.add(kline.close));
        for (name, value) in [("rsi", rsi), ("fast", fast), ("slow", slow)] {
            if let Some(value) = value {
                emit::number(row, name, value)?;
            }
        }
        let (Some(rsi), Some(fast), Some(slow)) = (rsi, fast, slow) else { return Ok(()) };
        let Some(above) = series.crossed(fast > slow) else { return Ok(()) };
        let (side, strength) = if above { ("buy", rsi) } else { ("sell", 100.0 - rsi) };
        if strength >= self.settings.hot {
            return Ok(());
        }
        let price = batch.exact(row).close;
        info!(
            side = side,
            price = price,
            rsi = format_args!("{rsi:.1}"),
            "{} {} crossed",
            kline.symbol,
            kline.interval
        );
        emit::json(row, "signal", &Signal { side, price: &price, rsi })
    }
}

klines_guest::export!(Crossover);

#[cfg(test)]
mod tests {
    use klines_guest::testing::{self, Emitted};

    use super::*;

    fn run(closes: &[f64]) -> Vec<Emitted> {
        let settings = Settings { period: 3, fast: 2, slow: 4, hot: 90.0 };
        let mut consumer = Crossover::setup(settings).unwrap();
        let klines = closes.iter().zip(0..).map(|(close, window): (&f64, u64)| Kline {
            close: *close,
            ..testing::kline("BTCUSDT", "1m", window * 60_000)
        });
        let batch = testing::batch(klines.collect());
        testing::consume(&mut consumer, &batch).unwrap()
    }

    fn signals(emitted: &[Emitted]) -> Vec<(usize, String)> {
        let signals = emitted.iter().filter(|value| value.name == "signal");
        signals.map(|value| (value.row, value.json().unwrap()["side"].as_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn averages_that_cross_emit_a_signal_with_the_exact_price() {
        let emitted = run(&[10.0, 9.0, 8.0, 7.0, 8.0, 9.5, 9.0, 7.0, 6.0]);
        assert_eq!(signals(&emitted), [(5, "buy".to_owned()), (7, "sell".to_owned())]);
        let signal = emitted.iter().find(|value| value.name == "signal").unwrap().json().unwrap();
        assert_eq!(signal["price"], "9.5");
        let logs = testing::take_logs();
        assert!(logs[0].1.starts_with("BTCUSDT 1m crossed side=buy price=9.5 rsi="), "{logs:?}");
    }

    #[test]
    fn a_kline_that_is_delivered_twice_counts_once() {
        let mut consumer = Crossover::setup(Settings { period: 2, ..Settings::default() }).unwrap();
        let batch = testing::batch(vec![testing::kline("BTCUSDT", "1m", 0); 5]);
        assert!(testing::consume(&mut consumer, &batch).unwrap().is_empty());
    }

    #[test]
    fn every_error_in_the_settings_is_reported() {
        let wrong = Settings { period: 1, fast: 30, slow: 21, hot: 10.0 };
        let paths: Vec<String> = Crossover::validate(&wrong).into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["period", "fast", "hot"]);
        assert!(Crossover::validate(&Settings::default()).is_empty());
    }
}
