//! What the symbols trade: trades per second of the last minute, from the klines of one interval and their updates.

use std::collections::{BTreeMap, VecDeque};

use klines_domain::interval::Interval;
use klines_domain::time::{Millis, SECOND};
use serde::Deserialize;

/// The seconds that are kept.
pub(super) const SECONDS: usize = 60;
/// The seconds over which the rate is the mean.
const RATE_OVER: usize = 10;
/// Windows of a symbol whose trades are counted apart: that which is open, and that which waits for late trades.
const WINDOWS: usize = 2;
/// Largest number of symbols; the exchange has fewer.
const MAX_SYMBOLS: usize = 10_000;

/// The fields of a kline that are shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct SeenKline {
    pub(super) category: String,
    pub(super) symbol: String,
    pub(super) start: Millis,
    pub(super) close: String,
    pub(super) volume: String,
    pub(super) trades: u64,
    pub(super) quality: String,
}

/// The activity of all symbols.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(BTreeMap<String, SymbolActivity>);

/// The activity of one symbol.
#[derive(Clone, Debug, Default)]
pub(super) struct SymbolActivity {
    /// The last price.
    pub(super) last: String,
    /// The volume of the newest window.
    pub(super) volume: String,
    /// The quality of the newest kline.
    pub(super) quality: String,
    /// The trades of each past second, newest last.
    seconds: VecDeque<u64>,
    /// The trades of this second.
    current: u64,
    /// The trades of the newest windows that have been counted, by their start, newest last.
    windows: VecDeque<(Millis, u64)>,
}

/// Returns the interval whose klines show best what is traded: the shortest one of at least a second, or the longest.
pub(super) fn interval_of(made: &[String]) -> Option<Interval> {
    let made: Vec<Interval> = made.iter().filter_map(|text| text.parse().ok()).collect();
    let whole = made.iter().filter(|interval| interval.nominal_millis() >= SECOND);
    whole.min_by_key(|interval| interval.nominal_millis()).or_else(|| made.iter().max()).copied()
}

impl Activity {
    /// Counts the trades that a kline has more than what was known of its window.
    pub(super) fn see(&mut self, kline: &SeenKline) {
        let name = match kline.category.as_str() {
            "linear" => kline.symbol.clone(),
            category => format!("{category}:{}", kline.symbol),
        };
        if self.0.len() < MAX_SYMBOLS || self.0.contains_key(&name) {
            self.0.entry(name).or_default().see(kline);
        }
    }

    /// Ends a second.
    pub(super) fn tick(&mut self) {
        self.0.values_mut().for_each(SymbolActivity::tick);
    }

    /// Forgets everything: another interval is watched.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the symbols, by name.
    pub(super) fn symbols(&self) -> impl Iterator<Item = (&str, &SymbolActivity)> {
        self.0.iter().map(|(name, activity)| (name.as_str(), activity))
    }
}

impl SymbolActivity {
    fn see(&mut self, kline: &SeenKline) {
        let newest = self.windows.back().map(|(start, _)| *start);
        if let Some((_, counted)) = self.windows.iter_mut().find(|(start, _)| *start == kline.start) {
            self.current += kline.trades.saturating_sub(*counted);
            *counted = kline.trades.max(*counted);
        } else if newest.is_none_or(|newest| kline.start > newest) {
            // When the trades of the first window happened is not known.
            self.current += if newest.is_none() { 0 } else { kline.trades };
            self.windows.push_back((kline.start, kline.trades));
            if self.windows.len() > WINDOWS {
                self.windows.pop_front();
            }
        } else {
            // Something older, such as a repaired window.
            return;
        }
        if self.windows.back().is_some_and(|(start, _)| kline.start == *start) {
            self.last.clone_from(&kline.close);
            self.volume.clone_from(&kline.volume);
        }
        self.quality.clone_from(&kline.quality);
    }

    fn tick(&mut self) {
        self.seconds.push_back(std::mem::take(&mut self.current));
        if self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
    }

    /// Returns the trades of the last minute.
    pub(super) fn trades(&self) -> u64 {
        self.seconds.iter().sum()
    }

    /// Returns ten times the trades per second.
    pub(super) fn tenths_per_second(&self) -> u64 {
        let count = self.seconds.len().clamp(1, RATE_OVER) as u64;
        self.seconds.iter().rev().take(RATE_OVER).sum::<u64>() * 10 / count
    }

    /// Returns the trades of the last `count` seconds, oldest first.
    pub(super) fn last_seconds(&self, count: usize) -> impl Iterator<Item = u64> {
        self.seconds.iter().skip(self.seconds.len().saturating_sub(count)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kline(start: Millis, trades: u64) -> SeenKline {
        let text = |text: &str| text.to_owned();
        let (category, symbol) = (text("spot"), text("BTCUSDT"));
        SeenKline { category, symbol, start, close: text("1"), volume: text("2"), trades, quality: text("complete") }
    }

    #[test]
    fn each_trade_counts_once_in_the_second_in_which_it_was_seen() {
        let mut activity = Activity::default();
        for (seen, expected) in [
            (&[(0, 500), (0, 507)][..], 7),
            (&[(0, 510)], 3),
            (&[(60, 2), (0, 511), (60, 4)], 5),
            (&[(60, 4)], 0),
            (&[(-60, 9), (120, 1), (60, 6)], 3),
        ] {
            seen.iter().for_each(|(start, trades)| activity.see(&kline(*start, *trades)));
            activity.tick();
            let (name, symbol) = activity.symbols().next().unwrap();
            assert_eq!((name, symbol.last_seconds(1).next()), ("spot:BTCUSDT", Some(expected)), "{seen:?}");
        }
        let (_, symbol) = activity.symbols().next().unwrap();
        assert_eq!((symbol.trades(), symbol.tenths_per_second()), (18, 36));
    }

    #[test]
    fn a_minute_is_kept() {
        let mut activity = Activity::default();
        activity.see(&kline(0, 0));
        for trades in 1..=100 {
            activity.see(&kline(0, trades));
            activity.tick();
        }
        let (_, symbol) = activity.symbols().next().unwrap();
        assert_eq!((symbol.trades(), symbol.last_seconds(100).count()), (60, SECONDS));
    }

    #[test]
    fn the_shortest_interval_of_at_least_a_second_is_read() {
        for (made, expected) in
            [("1h 1m 100ms 5m", Some("1m")), ("100ms 1s", Some("1s")), ("100ms 500ms", Some("500ms")), ("", None)]
        {
            let made: Vec<String> = made.split_whitespace().map(str::to_owned).collect();
            assert_eq!(interval_of(&made).map(|interval| interval.to_string()).as_deref(), expected, "{made:?}");
        }
    }
}
