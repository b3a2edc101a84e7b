//! A moving average of closes: emits it for every closed kline, and logs when the close crosses it.

use std::collections::{HashMap, VecDeque};

use klines_guest::{Batch, Consumer, Failure, Interval, Kline, Problem, emit, info};
use serde::Deserialize;

/// What the operator may write under `[consumers.{{name}}.settings]`. Unknown keys and wrong types are refused for you.
#[derive(Deserialize)]
struct Settings {
    /// The number of klines that the average looks back on.
    #[serde(default = "default_period")]
    period: usize,
}

fn default_period() -> usize {
    5
}

/// The last closes of one symbol and interval.
#[derive(Default)]
struct Average {
    closes: VecDeque<f64>,
    /// Start of the newest kline counted.
    newest: Option<u64>,
    above: Option<bool>,
}

impl Average {
    /// Takes a closed kline; returns the average once there are enough of them.
    fn add(&mut self, kline: &Kline, period: usize) -> Option<f64> {
        // A correction of an older kline, or one that was delivered before: it is in the average already.
        if self.newest.is_some_and(|newest| kline.start <= newest) {
            return None;
        }
        self.newest = Some(kline.start);
        self.closes.push_back(kline.close);
        if self.closes.len() > period {
            self.closes.pop_front();
        }
        (self.closes.len() == period).then(|| self.closes.iter().sum::<f64>() / period as f64)
    }
}

struct MovingAverage {
    period: usize,
    averages: HashMap<(&'static str, Interval, String), Average>,
}

impl Consumer for MovingAverage {
    type Settings = Settings;

    /// What types cannot say; `klines check` shows it.
    fn validate(settings: &Settings) -> Vec<Problem> {
        if (2..=1000).contains(&settings.period) {
            return Vec::new();
        }
        vec![Problem::new("period", format!("is {}", settings.period), "a whole number from 2 to 1000")]
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        info!(period = settings.period, "averaging closes");
        Ok(Self { period: settings.period, averages: HashMap::new() })
    }

    /// Takes one batch of closed klines (what it gets unless there is a `subscription`).
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        for (row, kline) in batch.klines.iter().enumerate() {
            let key = (kline.category.name(), kline.interval, kline.symbol.clone());
            let average = self.averages.entry(key).or_default();
            let Some(sma) = average.add(kline, self.period) else { continue };
            // Clients find it as `ext.{{name}}.sma.INTERVAL.SYMBOL` on `/v1/stream`.
            emit::number(row, "sma", sma).map_err(Failure::fatal)?;
            let above = kline.close > sma;
            if average.above.is_some_and(|before| before != above) {
                let direction = if above { "above" } else { "below" };
                info!(
                    close = kline.close,
                    sma = format_args!("{sma:.4}"),
                    "{} {} closed {direction} its average",
                    kline.symbol,
                    kline.interval
                );
            }
            average.above = Some(above);
        }
        Ok(())
    }
}

klines_guest::export!(MovingAverage);

/// Plain `cargo test` works: outside a component the log and the emitted values go to `testing`.
#[cfg(test)]
mod tests {
    use klines_guest::emit::Value;
    use klines_guest::testing;

    use super::*;

    fn closed(start: u64, close: f64) -> Batch {
        Batch { klines: vec![Kline { close, ..testing::kline("BTCUSDT", "1m", start) }], lost: 0 }
    }

    #[test]
    fn a_kline_that_comes_twice_counts_once() {
        let mut consumer = MovingAverage::setup(Settings { period: 2 }).unwrap();
        for (start, close) in [(0, 10.0), (60_000, 12.0), (60_000, 12.0), (120_000, 9.0)] {
            consumer.consume(&closed(start, close)).unwrap();
        }
        let published: Vec<Value> = testing::take_emitted().into_iter().map(|(_, _, value)| value).collect();
        assert_eq!(published, [Value::Number(11.0), Value::Number(10.5)]);
        let last = testing::take_logs().pop().unwrap().1;
        assert_eq!(last, "BTCUSDT 1m closed below its average close=9 sma=10.5000");
    }

    #[test]
    fn a_period_of_one_is_refused() {
        assert_eq!(MovingAverage::validate(&Settings { period: 1 }).len(), 1);
        assert!(MovingAverage::validate(&Settings { period: 1000 }).is_empty());
    }
}
