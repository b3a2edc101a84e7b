//! The chosen symbols of each category, which a changed configuration replaces while the run goes on.

use std::sync::Arc;

use klines_bybit::config::{BybitConfig, CategoryConfig, SymbolChoice};
use klines_domain::symbol::Category;
use tokio::sync::watch;

/// The chosen symbols of the categories of a run; clones share them.
#[derive(Clone, Debug)]
pub struct Choices(Arc<Vec<(Category, watch::Sender<SymbolChoice>)>>);

impl Choices {
    /// Returns the symbols that a configuration chooses.
    #[must_use]
    pub fn new(wanted: BybitConfig) -> Self {
        let categories = wanted.categories.into_iter();
        let senders = categories.map(|CategoryConfig { category, symbols }| (category, watch::Sender::new(symbols)));
        Self(Arc::new(senders.collect()))
    }

    /// Returns a receiver of the symbols of a category.
    pub(super) fn follow(&self, category: &CategoryConfig) -> watch::Receiver<SymbolChoice> {
        let own = self.0.iter().find(|(known, _)| *known == category.category);
        own.map_or_else(|| watch::Sender::new(category.symbols.clone()).subscribe(), |(_, choice)| choice.subscribe())
    }

    /// Returns the categories that a configuration wants but this run has not opened.
    #[must_use]
    pub fn unknown(&self, wanted: &BybitConfig) -> Vec<Category> {
        let categories = wanted.categories.iter().map(|wanted| wanted.category);
        categories.filter(|category| !self.0.iter().any(|(known, _)| known == category)).collect()
    }

    /// Chooses the symbols of a configuration. Categories that it does not want keep no symbol.
    pub fn choose(&self, wanted: &BybitConfig) {
        for (category, choice) in &*self.0 {
            let chosen = wanted.categories.iter().find(|wanted| wanted.category == *category);
            let chosen = chosen.map_or_else(|| SymbolChoice::Listed(Vec::new()), |chosen| chosen.symbols.clone());
            choice.send_replace(chosen);
        }
    }
}
