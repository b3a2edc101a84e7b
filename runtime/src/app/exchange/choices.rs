//! The chosen symbols of each category and the chosen intervals, which a changed configuration replaces while the run goes
//! on.

use std::sync::Arc;

use klines_bybit::config::{BybitConfig, CategoryConfig, SymbolChoice};
use klines_domain::interval::Interval;
use klines_domain::symbol::Category;
use tokio::sync::watch;

/// The chosen symbols of the categories of a run, and its intervals; clones share them.
#[derive(Clone, Debug)]
pub struct Choices {
    symbols: Arc<Vec<(Category, watch::Sender<SymbolChoice>)>>,
    intervals: watch::Sender<Vec<Interval>>,
}

impl Choices {
    /// Returns the symbols and intervals that a configuration chooses.
    #[must_use]
    pub fn new(wanted: BybitConfig, intervals: &[Interval]) -> Self {
        let categories = wanted.categories.into_iter();
        let senders = categories.map(|CategoryConfig { category, symbols }| (category, watch::Sender::new(symbols)));
        Self { symbols: Arc::new(senders.collect()), intervals: watch::Sender::new(intervals.to_vec()) }
    }

    /// Returns a receiver of the symbols of a category.
    pub(super) fn follow(&self, category: &CategoryConfig) -> watch::Receiver<SymbolChoice> {
        let own = self.symbols.iter().find(|(known, _)| *known == category.category);
        own.map_or_else(|| watch::Sender::new(category.symbols.clone()).subscribe(), |(_, choice)| choice.subscribe())
    }

    /// Returns a receiver of the intervals.
    pub(super) fn follow_intervals(&self) -> watch::Receiver<Vec<Interval>> {
        self.intervals.subscribe()
    }

    /// Chooses the intervals of a configuration.
    pub fn choose_intervals(&self, intervals: &[Interval]) {
        self.intervals.send_if_modified(|known| {
            let is_other = known != intervals;
            if is_other {
                *known = intervals.to_vec();
            }
            is_other
        });
    }

    /// Returns the categories that a configuration wants but this run has not opened.
    #[must_use]
    pub fn unknown(&self, wanted: &BybitConfig) -> Vec<Category> {
        let categories = wanted.categories.iter().map(|wanted| wanted.category);
        categories.filter(|category| !self.symbols.iter().any(|(known, _)| known == category)).collect()
    }

    /// Chooses the symbols of a configuration. Categories that it does not want keep no symbol.
    pub fn choose(&self, wanted: &BybitConfig) {
        for (category, choice) in &*self.symbols {
            let chosen = wanted.categories.iter().find(|wanted| wanted.category == *category);
            let chosen = chosen.map_or_else(|| SymbolChoice::Listed(Vec::new()), |chosen| chosen.symbols.clone());
            choice.send_replace(chosen);
        }
    }
}
