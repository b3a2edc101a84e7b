//! A moving average, for benchmarks and tests: counts closed klines and logs when a close crosses its EMA.

use std::collections::HashMap;

use klines_guest::{Batch, Consumer, Failure, Interval, Problem, info};
use serde::Deserialize;

/// Its settings.
#[derive(Deserialize)]
struct Settings {
    /// The number of klines in the average.
    #[serde(default = "default_period")]
    period: u32,
}

fn default_period() -> u32 {
    20
}

struct EmaCross {
    /// The weight of the newest close.
    weight: f64,
    /// By interval, of which there are few, and then by symbol.
    averages: Vec<(Interval, HashMap<String, Average>)>,
}

struct Average {
    klines: u64,
    /// Start of the newest kline counted.
    newest: u64,
    ema: f64,
    above: bool,
}

impl Consumer for EmaCross {
    type Settings = Settings;

    /// Returns the problems of the settings; `klines check` shows them.
    fn validate(settings: &Settings) -> Vec<Problem> {
        if (2..=1000).contains(&settings.period) {
            return Vec::new();
        }
        vec![Problem::new("period", format!("is {}", settings.period), "a whole number from 2 to 1000")]
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { weight: 2.0 / (f64::from(settings.period) + 1.0), averages: Vec::new() })
    }

    /// Consumes one batch of closed klines, which a consumer gets by default.
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        for kline in &batch.klines {
            if !self.averages.iter().any(|(interval, _)| *interval == kline.interval) {
                self.averages.push((kline.interval, HashMap::new()));
            }
            let same = |(interval, _): &&mut (Interval, _)| *interval == kline.interval;
            let Some((_, symbols)) = self.averages.iter_mut().find(same) else { continue };
            let Some(average) = symbols.get_mut(&kline.symbol) else {
                // The average begins at the first close.
                let first = Average { klines: 1, newest: kline.start, ema: kline.close, above: false };
                symbols.insert(kline.symbol.clone(), first);
                continue;
            };
            // A correction of an older kline, or one that was delivered before: the average already contains it.
            if kline.start <= average.newest {
                continue;
            }
            average.klines += 1;
            average.newest = kline.start;
            average.ema += (kline.close - average.ema) * self.weight;

            let above = kline.close > average.ema;
            if above != average.above {
                let direction = if above { "above" } else { "below" };
                info!(
                    "{} {} closed {direction} its average: {} against {:.4}, after {} klines",
                    kline.symbol, kline.interval, kline.close, average.ema, average.klines
                );
            }
            average.above = above;
        }
        Ok(())
    }
}

klines_guest::export!(EmaCross);

/// These tests run with plain `cargo test`: outside a component the log goes to `testing`.
#[cfg(test)]
mod tests {
    use klines_guest::testing;

    use super::*;

    #[test]
    fn a_close_above_the_average_is_logged_once() {
        let mut consumer = EmaCross::setup(Settings { period: 3 }).unwrap();
        for (start, close) in [(0, 10.0), (60_000, 10.0), (120_000, 12.0), (120_000, 12.0), (180_000, 13.0)] {
            let kline = klines_guest::Kline { close, ..testing::kline("BTCUSDT", "1m", start) };
            consumer.consume(&Batch { klines: vec![kline], lost: 0 }).unwrap();
        }
        let logs = testing::take_logs();
        assert_eq!(logs.len(), 1);
        assert_eq!(logs[0].1, "BTCUSDT 1m closed above its average: 12 against 11.0000, after 3 klines");
    }

    #[test]
    fn a_period_of_one_is_refused() {
        assert_eq!(EmaCross::validate(&Settings { period: 1 }).len(), 1);
        assert!(EmaCross::validate(&Settings { period: 1000 }).is_empty());
    }
}
