//! The watched symbols, the exchange's descriptions of them, the intervals of the klines, and the state of the feeds. Filled by the code that talks
//! to the exchange, read by consumers. Stores names and texts; sends no requests.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use klines_domain::interval::Interval;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use tokio::sync::watch;

/// The watched symbols of every category, in the configured order of categories.
#[derive(Debug)]
pub struct Catalog {
    listings: RwLock<Vec<Listing>>,
    /// The intervals of which klines are made, in the configured order.
    intervals: RwLock<Vec<Interval>>,
    wants_descriptions: bool,
    feeds: watch::Sender<Vec<FeedStatus>>,
}

/// Whether the feed of a category delivers trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedState {
    /// Every topic is acknowledged on at least one connection on which frames arrive.
    Live,
    /// Connected, but trades may be missing: some topics have no connection on which frames arrive.
    Stale,
    /// There is no connection.
    Down,
}

/// The state of a category's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// The category.
    pub category: Category,
    /// The state.
    pub state: FeedState,
    /// Since when it has been in this state, in ms since 1970 UTC.
    pub since: Millis,
}

impl FeedState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Live, Self::Stale, Self::Down];

    /// Returns the lower-case name that every output uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Down => "down",
        }
    }
}

#[derive(Debug)]
struct Listing {
    category: Category,
    /// Each with the exchange's description, a JSON object; `None` until it is known.
    symbols: BTreeMap<Symbol, Option<Arc<str>>>,
}

impl Catalog {
    /// Builds a catalog of the configured symbols, without intervals. A category whose symbols have to be requested first
    /// starts empty.
    #[must_use]
    pub fn new(listed: impl IntoIterator<Item = (Category, Vec<Symbol>)>, wants_descriptions: bool) -> Self {
        let listing = |(category, symbols): (Category, Vec<Symbol>)| Listing {
            category,
            symbols: symbols.into_iter().map(|symbol| (symbol, None)).collect(),
        };
        let (feeds, _) = watch::channel(Vec::new());
        let listings = RwLock::new(listed.into_iter().map(listing).collect());
        Self { listings, intervals: RwLock::default(), wants_descriptions, feeds }
    }

    /// Reports the state of a category's feed, with `now` if it has changed. Categories are listed in the order in
    /// which they were first reported.
    pub fn report(&self, category: Category, state: FeedState, now: Millis) {
        self.feeds.send_if_modified(|feeds| {
            let status = FeedStatus { category, state, since: now };
            match feeds.iter_mut().find(|feed| feed.category == category) {
                Some(feed) if feed.state == state => return false,
                Some(feed) => *feed = status,
                None => feeds.push(status),
            }
            true
        });
    }

    /// Subscribes to the states of the feeds; empty if there is no feed, as in a replay.
    #[must_use]
    pub fn feeds(&self) -> watch::Receiver<Vec<FeedStatus>> {
        self.feeds.subscribe()
    }

    /// Returns whether a consumer reads the exchange's descriptions.
    #[must_use]
    pub const fn wants_descriptions(&self) -> bool {
        self.wants_descriptions
    }

    /// Replaces the intervals of which klines are made.
    pub fn make(&self, intervals: &[Interval]) {
        *self.intervals.write().unwrap_or_else(PoisonError::into_inner) = intervals.to_vec();
    }

    /// Returns whether klines of an interval are made.
    #[must_use]
    pub fn makes(&self, interval: Interval) -> bool {
        self.intervals.read().unwrap_or_else(PoisonError::into_inner).contains(&interval)
    }

    /// Returns the intervals of which klines are made, in the configured order.
    #[must_use]
    pub fn intervals(&self) -> Vec<Interval> {
        self.intervals.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the symbols of a category by those that are watched.
    pub fn watch(&self, category: Category, symbols: impl IntoIterator<Item = Symbol>) {
        self.change(category, |known| {
            *known = symbols.into_iter().map(|symbol| (symbol.clone(), known.remove(&symbol).flatten())).collect();
        });
    }

    /// Stores the exchange's descriptions, except those of symbols that are not watched.
    pub fn describe(&self, category: Category, rows: impl IntoIterator<Item = (Symbol, String)>) {
        self.change(category, |known| {
            for (symbol, row) in rows {
                if let Some(description) = known.get_mut(&symbol) {
                    *description = Some(row.into());
                }
            }
        });
    }

    /// Returns whether a symbol is watched.
    #[must_use]
    pub fn knows(&self, category: Category, symbol: &Symbol) -> bool {
        self.read().iter().any(|listing| listing.category == category && listing.symbols.contains_key(symbol))
    }

    /// Returns the number of watched symbols of a category.
    #[must_use]
    pub fn count(&self, category: Category) -> usize {
        let listings = self.read();
        listings.iter().find(|listing| listing.category == category).map_or(0, |listing| listing.symbols.len())
    }

    /// Returns the watched symbols by category, each list sorted by name.
    #[must_use]
    pub fn symbols(&self) -> Vec<(Category, Vec<Symbol>)> {
        let names = |listing: &Listing| (listing.category, listing.symbols.keys().cloned().collect());
        self.read().iter().map(names).collect()
    }

    /// Returns the known descriptions of a category's watched symbols, sorted by name.
    #[must_use]
    pub fn rows(&self, category: Category) -> Vec<(Symbol, Arc<str>)> {
        let listings = self.read();
        let own = listings.iter().filter(|listing| listing.category == category).flat_map(|listing| &listing.symbols);
        own.filter_map(|(symbol, row)| Some((symbol.clone(), row.clone()?))).collect()
    }

    fn change(&self, category: Category, change: impl FnOnce(&mut BTreeMap<Symbol, Option<Arc<str>>>)) {
        let mut listings = self.listings.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listings.iter_mut().find(|listing| listing.category == category) {
            change(&mut listing.symbols);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Listing>> {
        self.listings.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_keeps_its_state_and_time_until_the_state_changes() {
        let catalog = Catalog::new([], false);
        let mut feeds = catalog.feeds();
        assert!(feeds.borrow_and_update().is_empty());
        catalog.report(Category::Linear, FeedState::Down, 5);
        catalog.report(Category::Spot, FeedState::Live, 6);
        catalog.report(Category::Linear, FeedState::Live, 7);
        let status = |category, state, since| FeedStatus { category, state, since };
        let expected = [status(Category::Linear, FeedState::Live, 7), status(Category::Spot, FeedState::Live, 6)];
        assert_eq!(*feeds.borrow_and_update(), expected);
        catalog.report(Category::Spot, FeedState::Live, 8);
        assert!(!feeds.has_changed().unwrap(), "nothing is new");
        assert_eq!(*feeds.borrow(), expected);
    }

    #[test]
    fn only_watched_symbols_keep_their_descriptions() {
        let symbol = |name| Symbol::new(name).unwrap();
        let catalog = Catalog::new([(Category::Linear, vec![symbol("BTCUSDT")]), (Category::Spot, vec![])], true);
        catalog.describe(Category::Linear, [(symbol("BTCUSDT"), "{}".to_owned()), (symbol("XUSDT"), "{}".to_owned())]);
        catalog.watch(Category::Linear, [symbol("ETHUSDT"), symbol("BTCUSDT")]);
        assert!(catalog.knows(Category::Linear, &symbol("ETHUSDT")));
        assert!(!catalog.knows(Category::Spot, &symbol("ETHUSDT")));
        assert_eq!(catalog.rows(Category::Linear), [(symbol("BTCUSDT"), "{}".into())]);
        assert_eq!(catalog.symbols()[0].1, [symbol("BTCUSDT"), symbol("ETHUSDT")]);
    }
}
