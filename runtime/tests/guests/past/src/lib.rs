//! A consumer that reads klines of the past in every call and logs the answer. In `consume` it also compares the answer with
//! what was delivered to it.

use std::collections::BTreeMap;

use klines_guest::{Batch, Category, Consumer, Failure, Interval, Kline, Subscription, history, info, warn};
use serde::Deserialize;

/// Its settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Settings {
    /// What it subscribes to; an empty list is everything.
    symbols: Vec<String>,
    /// The series that it reads.
    symbol: String,
    interval: Interval,
    /// The question.
    before: u64,
    limit: usize,
    /// Whether it logs no answers of `consume`, and only compares them.
    quiet: bool,
    /// Whether it asks in `start` again and again.
    flood: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let interval = Interval { count: 1, unit: klines_guest::IntervalUnit::Minute };
        let symbol = "BTCUSDT".to_owned();
        Self { symbols: Vec::new(), symbol, interval, before: u64::MAX, limit: 5, quiet: false, flood: false }
    }
}

struct Past {
    settings: Settings,
    /// The newest revision that was delivered of each window, by series.
    delivered: BTreeMap<(String, String), BTreeMap<u64, u32>>,
    checked: u64,
    wrong: u64,
}

impl Past {
    fn ask(&self) -> Result<Vec<Kline>, String> {
        let Settings { symbol, interval, before, limit, .. } = &self.settings;
        history::closed(Category::Linear, symbol, *interval, *before, *limit)
    }

    fn log(&self, call: &str) {
        match self.ask() {
            Ok(klines) => {
                let windows: Vec<String> =
                    klines.iter().map(|kline| format!("{}/{}", kline.start / 60_000, kline.revision)).collect();
                info!("{call}: {}", windows.join(" "));
            }
            Err(error) => info!("{call}: error: {error}"),
        }
    }

    /// Compares what is stored of a series with what was delivered of it.
    fn compare(&mut self, kline: &Kline) {
        let key = (kline.symbol.clone(), kline.interval.to_string());
        let Some(delivered) = self.delivered.get(&key) else { return };
        self.checked += 1;
        let stored = match history::closed(kline.category, &kline.symbol, kline.interval, u64::MAX, 100) {
            Ok(stored) => stored,
            Err(error) => {
                self.wrong += 1;
                warn!("wrong: {} {}: {error}", kline.symbol, kline.interval);
                return;
            }
        };
        let stored: BTreeMap<u64, u32> = stored.iter().map(|kline| (kline.start, kline.revision)).collect();
        let (oldest, newest) = (stored.keys().next(), stored.keys().next_back());
        let differs = delivered.iter().find(|(start, revision)| {
            oldest.is_some_and(|oldest| oldest <= *start) && stored.get(*start) != Some(*revision)
        });
        let beyond = newest > delivered.keys().next_back();
        if stored.is_empty() || differs.is_some() || beyond {
            self.wrong += 1;
            warn!("wrong: {} {}: {differs:?} {beyond} of {}", kline.symbol, kline.interval, stored.len());
        }
    }
}

impl Consumer for Past {
    type Settings = Settings;

    fn setup(settings: Settings) -> Result<Self, Failure> {
        let past = Self { settings, delivered: BTreeMap::new(), checked: 0, wrong: 0 };
        past.log("setup");
        Ok(past)
    }

    fn subscription(&self) -> Subscription {
        Subscription { symbols: self.settings.symbols.clone(), ..Subscription::closed() }
    }

    fn start(&mut self) -> Result<(), Failure> {
        while self.settings.flood && self.ask().is_ok() {}
        self.log("start");
        Ok(())
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        for kline in &batch.klines {
            let key = (kline.symbol.clone(), kline.interval.to_string());
            self.delivered.entry(key).or_default().insert(kline.start, kline.revision);
        }
        if self.settings.quiet {
            batch.klines.iter().take(3).for_each(|kline| self.compare(kline));
        } else {
            self.log("consume");
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.log("stop");
        info!("checked {} wrong {}", self.checked, self.wrong);
    }
}

klines_guest::export!(Past);
