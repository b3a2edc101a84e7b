//! The relative strength index of the closes, right from the first batch: it reads the closes before it in `start`.
//!
//! Gains and losses have equal weights (Cutler's RSI), so that a value depends on the last `period` + 1 closes alone: an
//! instance that has just started and one that has run for days emit the same values.

use std::collections::{BTreeMap, HashMap};

use klines_guest::{
    Batch, Category, Consumer, Failure, Interval, Kline, Problem, Subscription, emit, history, info, warn,
};
use serde::Deserialize;

/// The keys of `[consumers.rsi.settings]`.
#[derive(Deserialize)]
struct Settings {
    /// The symbols whose index is emitted.
    symbols: Vec<String>,
    /// The intervals.
    #[serde(default = "minute")]
    intervals: Vec<Interval>,
    /// The number of changes in the index.
    #[serde(default = "default_period")]
    period: usize,
}

fn minute() -> Vec<Interval> {
    vec![Interval { count: 1, unit: klines_guest::IntervalUnit::Minute }]
}

fn default_period() -> usize {
    14
}

/// The categories in which a symbol may exist.
const CATEGORIES: [Category; 3] = [Category::Linear, Category::Spot, Category::Inverse];
/// The closes that are kept in addition, for corrections of older klines.
const SPARE: usize = 10;

/// The last closes of one series, by the start of their window.
#[derive(Default)]
struct Closes(BTreeMap<u64, f64>);

impl Closes {
    /// Adds or corrects a close.
    fn add(&mut self, kline: &Kline, period: usize) {
        self.0.insert(kline.start, kline.close);
        while self.0.len() > period + 1 + SPARE {
            self.0.pop_first();
        }
    }

    /// Returns the index at the window that starts at `start`; `None` if there are too few closes before it.
    fn rsi(&self, start: u64, period: usize) -> Option<f64> {
        let newest_first: Vec<f64> = self.0.range(..=start).rev().take(period + 1).map(|(_, close)| *close).collect();
        if newest_first.len() <= period {
            return None;
        }
        let (mut gains, mut losses) = (0.0, 0.0);
        for pair in newest_first.windows(2).rev() {
            let change = pair[0] - pair[1];
            gains += change.max(0.0);
            losses += (-change).max(0.0);
        }
        let moved = gains + losses;
        // Without a change the index is neutral.
        Some(if moved > 0.0 { 100.0 * gains / moved } else { 50.0 })
    }
}

struct Rsi {
    settings: Settings,
    series: HashMap<(&'static str, String, Interval), Closes>,
}

impl Rsi {
    fn add(&mut self, kline: &Kline) -> &Closes {
        let key = (kline.category.name(), kline.symbol.clone(), kline.interval);
        let closes = self.series.entry(key).or_default();
        closes.add(kline, self.settings.period);
        closes
    }

    /// Reads the closes that were there before this instance. Returns how many there are.
    fn warm_up(&mut self) -> Result<usize, String> {
        let (symbols, intervals) = (self.settings.symbols.clone(), self.settings.intervals.clone());
        let (count, mut read) = (self.settings.period + 1 + SPARE, 0);
        for symbol in &symbols {
            for (interval, category) in intervals.iter().flat_map(|one| CATEGORIES.map(|category| (*one, category))) {
                let past = history::last(category, symbol, interval, count)?;
                read += past.len();
                for kline in &past {
                    self.add(kline);
                }
            }
        }
        Ok(read)
    }
}

impl Consumer for Rsi {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        if settings.symbols.is_empty() {
            problems.push(Problem::new("symbols", "is empty", "at least one symbol"));
        }
        if !(2..=500).contains(&settings.period) {
            problems.push(Problem::new("period", format!("is {}", settings.period), "a whole number from 2 to 500"));
        }
        problems
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { settings, series: HashMap::new() })
    }

    fn subscription(&self) -> Subscription {
        let Settings { symbols, intervals, .. } = &self.settings;
        Subscription { symbols: symbols.clone(), intervals: intervals.clone(), ..Subscription::closed() }
    }

    fn start(&mut self) -> Result<(), Failure> {
        match self.warm_up() {
            Ok(closes) => info!(closes = closes, "read the past"),
            // In a demo and in a replay there is no past: the index begins when there are enough klines.
            Err(reason) => warn!(reason = reason, "begins without the past"),
        }
        Ok(())
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        let period = self.settings.period;
        for (row, kline) in batch.klines.iter().enumerate() {
            if let Some(rsi) = self.add(kline).rsi(kline.start, period) {
                // Clients of `/v1/stream` receive it on the topic `ext.rsi.rsi.INTERVAL.SYMBOL`.
                emit::number(row, "rsi", rsi).map_err(Failure::fatal)?;
            }
        }
        Ok(())
    }
}

klines_guest::export!(Rsi);

#[cfg(test)]
mod tests {
    use klines_guest::testing;

    use super::*;

    fn minute(window: u64, close: f64) -> Kline {
        Kline { close, ..testing::kline("BTCUSDT", "1m", window * 60_000) }
    }

    fn started(period: usize) -> Rsi {
        let settings = Settings { symbols: vec!["BTCUSDT".to_owned()], intervals: super::minute(), period };
        let mut consumer = Rsi::setup(settings).unwrap();
        consumer.start().unwrap();
        consumer
    }

    fn values(consumer: &mut Rsi, klines: Vec<Kline>) -> Vec<Option<f64>> {
        testing::consume(consumer, &testing::batch(klines)).unwrap().iter().map(testing::Emitted::number).collect()
    }

    #[test]
    fn the_first_batch_has_the_value_of_one_that_has_run_all_day() {
        let close = |window: u64| 100.0 + f64::from(u32::try_from(window * 7 % 11).unwrap());
        let all: Vec<Kline> = (0..1_440).map(|window| minute(window, close(window))).collect();
        let all_day = values(&mut started(14), all.clone());
        testing::set_history(all[..1_439].to_vec());
        assert_eq!(values(&mut started(14), vec![all[1_439].clone()]), all_day[all_day.len() - 1..]);
    }

    #[test]
    fn a_correction_counts_in_place_of_the_kline_before() {
        testing::set_history(vec![minute(0, 10.0), minute(1, 12.0), minute(2, 11.0)]);
        let mut consumer = started(2);
        assert_eq!(values(&mut consumer, vec![minute(3, 11.0)]), [Some(0.0)]);
        let corrected = Kline { revision: 1, ..minute(2, 9.0) };
        assert_eq!(values(&mut consumer, vec![corrected, minute(4, 12.0)]), [Some(40.0), Some(100.0)]);
    }

    #[test]
    fn settings_without_symbols_are_refused() {
        let settings = Settings { symbols: Vec::new(), intervals: super::minute(), period: 1 };
        let paths: Vec<String> = Rsi::validate(&settings).into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["symbols", "period"]);
    }
}
