//! Which series of the streams are wanted on a serve node: those of its configuration, or, with `load_all`, every symbol that
//! comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use klines_cluster::partition::{Partition, Partitions};
use klines_config::Config;
use klines_config::exchange::Symbols;
use klines_delivery::catalog::Catalog;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::{Category, Symbol};

/// The maximum number of symbols of a category that the streams can bring.
const MOST_SYMBOLS: usize = 10_000;

/// The series that are wanted. Clones share the catalogue.
#[derive(Clone, Debug)]
pub struct Wanted {
    catalog: Arc<Catalog>,
    categories: Vec<Category>,
    /// The symbols of each category; `None` if all that the streams bring are wanted.
    listed: Option<BTreeMap<Category, BTreeSet<Symbol>>>,
    /// Locked while a symbol is added, because the catalogue takes all of a category at once.
    adding: Arc<Mutex<()>>,
}

impl Wanted {
    /// Returns what a configuration wants.
    #[must_use]
    pub fn new(config: &Config, catalog: Arc<Catalog>) -> Self {
        let listed = match &config.exchange.symbols {
            Symbols::All(_) => None,
            Symbols::Listed(listed) => {
                let mut by_category = BTreeMap::<Category, BTreeSet<Symbol>>::new();
                for listing in listed {
                    by_category.entry(listing.category).or_default().insert(listing.symbol.clone());
                }
                Some(by_category)
            }
        };
        Self { catalog, categories: config.exchange.categories.clone(), listed, adding: Arc::default() }
    }

    /// Returns the id of a series that is wanted. A new symbol is added to the catalogue.
    #[must_use]
    pub fn find(&self, key: &SeriesKey) -> Option<SeriesId> {
        let is_wanted = self.categories.contains(&key.category) && self.catalog.makes(key.interval);
        let is_wanted = is_wanted
            && match &self.listed {
                Some(listed) => listed.get(&key.category).is_some_and(|symbols| symbols.contains(&key.symbol)),
                None => self.admits(key),
            };
        is_wanted.then(|| SeriesId::of(key.clone()))
    }

    /// Returns the partitions that have wanted symbols.
    #[must_use]
    pub fn partitions(&self, all: Partitions) -> BTreeSet<Partition> {
        let Some(listed) = &self.listed else { return all.iter().collect() };
        let of = |(category, symbols): (&Category, &BTreeSet<Symbol>)| {
            symbols.iter().map(|symbol| all.of(*category, symbol)).collect::<Vec<_>>()
        };
        listed.iter().flat_map(of).collect()
    }

    /// Returns the number of symbols in the catalogue.
    #[must_use]
    pub fn count(&self) -> usize {
        self.categories.iter().map(|category| self.catalog.count(*category)).sum()
    }

    fn admits(&self, key: &SeriesKey) -> bool {
        if self.catalog.knows(key.category, &key.symbol) {
            return true;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.catalog.count(key.category) >= MOST_SYMBOLS {
            return false;
        }
        let known = self.catalog.symbols().into_iter().find(|(category, _)| *category == key.category);
        let symbols = known.map(|(_, symbols)| symbols).unwrap_or_default();
        self.catalog.watch(key.category, symbols.into_iter().chain([key.symbol.clone()]));
        true
    }
}
