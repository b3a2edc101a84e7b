//! Decides which klines a consumer receives: those that it subscribes to and the operator's configuration allows.
//!
//! Checks one kline at a time and stores none; also computes how many klines can pass at one moment.

use hashbrown::HashSet;
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Symbol;

use super::emit::Point;
use crate::call::Subscription;

/// The symbols and intervals of which klines are created, of all categories together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Symbols; one that is watched in two categories occurs twice.
    pub symbols: Vec<Symbol>,
    /// Intervals, each once.
    pub intervals: Vec<Interval>,
}

/// The intersection of any number of subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `None` means all. An empty set means that no symbol passes: two subscriptions have none in common.
    symbols: Option<HashSet<Symbol, foldhash::fast::RandomState>>,
    /// As for symbols; a list, because there are few.
    intervals: Option<Vec<Interval>>,
    closed_only: bool,
}

impl Filter {
    /// Builds the filter of one subscription.
    #[must_use]
    pub fn new(subscription: &Subscription) -> Self {
        Self::default().and(subscription)
    }

    /// Returns the intersection of this filter and the subscription.
    #[must_use]
    pub fn and(mut self, subscription: &Subscription) -> Self {
        if !subscription.symbols.is_empty() {
            let wanted = subscription.symbols.iter();
            self.symbols = Some(match &self.symbols {
                None => wanted.cloned().collect(),
                Some(allowed) => wanted.filter(|symbol| allowed.contains(*symbol)).cloned().collect(),
            });
        }
        if !subscription.intervals.is_empty() {
            let wanted = subscription.intervals.iter().copied();
            self.intervals = Some(match &self.intervals {
                None => wanted.collect(),
                Some(allowed) => wanted.filter(|interval| allowed.contains(interval)).collect(),
            });
        }
        self.closed_only |= subscription.closed_only;
        self
    }

    /// Returns whether no kline can pass.
    #[must_use]
    pub fn passes_nothing(&self) -> bool {
        self.symbols.as_ref().is_some_and(HashSet::is_empty) || self.intervals.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns the number of series (a symbol and an interval) that pass: the klines of the largest boundary. Every
    /// interval that divides a day ends at midnight, and so do weeks and months: on the first of a month that is a
    /// Monday all close at once.
    #[must_use]
    pub fn series(&self, watched: &Watched) -> usize {
        let symbols = watched.symbols.iter().filter(|symbol| self.passes_symbol(symbol)).count();
        let intervals = watched.intervals.iter().filter(|interval| self.passes_interval(**interval)).count();
        symbols.saturating_mul(intervals)
    }

    /// Returns whether the consumer receives this kline.
    #[must_use]
    pub fn passes(&self, kline: &Kline) -> bool {
        self.passes_of(&kline.series, kline.confirm)
    }

    /// Returns whether the consumer receives the confirmed klines of this symbol and interval.
    #[must_use]
    pub fn passes_series(&self, series: &SeriesKey) -> bool {
        self.passes_of(series, true)
    }

    /// Returns whether the consumer receives this value: if it would receive its kline.
    #[must_use]
    pub fn passes_value(&self, point: &Point) -> bool {
        self.passes_of(&point.series, point.confirm)
    }

    fn passes_of(&self, series: &SeriesKey, confirm: bool) -> bool {
        (confirm || !self.closed_only) && self.passes_interval(series.interval) && self.passes_symbol(&series.symbol)
    }

    fn passes_interval(&self, interval: Interval) -> bool {
        self.intervals.as_ref().is_none_or(|allowed| allowed.contains(&interval))
    }

    fn passes_symbol(&self, symbol: &Symbol) -> bool {
        self.symbols.as_ref().is_none_or(|allowed| allowed.contains(symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn subscription(symbols: &[&str], intervals: &[&str], closed_only: bool) -> Subscription {
        Subscription {
            symbols: symbols.iter().map(|name| Symbol::new(name).unwrap()).collect(),
            intervals: intervals.iter().map(|text| text.parse().unwrap()).collect(),
            closed_only,
        }
    }

    #[test]
    fn an_empty_subscription_passes_everything() {
        let filter = Filter::new(&Subscription::default());
        assert!(filter.passes(&fixture::kline("BTCUSDT", "1m", 0, true)));
        assert!(filter.passes(&fixture::kline("ETHUSDT", "1D", 0, false)));
        assert!(!filter.passes_nothing());
    }

    #[test]
    fn the_operator_can_only_narrow() {
        let filter = Filter::new(&subscription(&["BTCUSDT", "ETHUSDT"], &["1m", "5m"], true)).and(&subscription(
            &["ETHUSDT", "SOLUSDT"],
            &[],
            false,
        ));
        assert!(filter.passes(&fixture::kline("ETHUSDT", "5m", 0, true)));
        assert!(!filter.passes(&fixture::kline("ETHUSDT", "5m", 0, false)));
        assert!(!filter.passes(&fixture::kline("ETHUSDT", "1h", 0, true)));
        assert!(!filter.passes(&fixture::kline("BTCUSDT", "1m", 0, true)));
        assert!(!filter.passes(&fixture::kline("SOLUSDT", "1m", 0, true)));
    }

    #[test]
    fn an_empty_intersection_passes_nothing() {
        for wish in [subscription(&["ETHUSDT"], &[], false), subscription(&[], &["1h"], false)] {
            let filter = Filter::new(&subscription(&["BTCUSDT"], &["1m"], false)).and(&wish);
            assert!(filter.passes_nothing());
            assert!(!filter.passes(&fixture::kline("BTCUSDT", "1m", 0, true)));
        }
    }
}
