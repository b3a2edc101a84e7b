//! Emits the moving average of the closes for every closed kline, and logs when the close crosses the average.

use std::collections::{HashMap, VecDeque};

use klines_guest::{Batch, Consumer, Failure, Interval, Kline, Problem, emit, info};
use serde::Deserialize;

/// The keys of `[consumers.{{name}}.settings]`. The helper crate reports unknown keys and wrong types to the operator.
#[derive(Deserialize)]
struct Settings {
    /// The number of klines in the average.
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
    /// Start of the newest kline in the average.
    newest: Option<u64>,
    /// Whether the last close was above the average.
    above: Option<bool>,
}

impl Average {
    /// Adds a closed kline; returns the average once there are `period` of them.
    fn add(&mut self, kline: &Kline, period: usize) -> Option<f64> {
        // A correction of an older kline, or a kline that was delivered before: it is in the average already.
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

    /// Returns the errors that the types do not exclude; `klines check` shows them to the operator.
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

    /// Is called for every batch of closed klines. (A method `subscription` can select other klines.)
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        for (row, kline) in batch.klines.iter().enumerate() {
            let key = (kline.category.name(), kline.interval, kline.symbol.clone());
            let average = self.averages.entry(key).or_default();
            let Some(sma) = average.add(kline, self.period) else { continue };
            // Clients of `/v1/stream` receive it on the topic `ext.{{name}}.sma.INTERVAL.SYMBOL`.
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

/// `cargo test` runs these without WebAssembly: the module `testing` collects the log and the emitted values.
#[cfg(test)]
mod tests {
    use klines_guest::emit::Value;
    use klines_guest::testing;

    use super::*;

    fn closed(start: u64, close: f64) -> Batch {
        Batch { klines: vec![Kline { close, ..testing::kline("BTCUSDT", "1m", start) }], lost: 0 }
    }

    #[test]
    fn a_kline_that_is_delivered_twice_counts_once() {
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
