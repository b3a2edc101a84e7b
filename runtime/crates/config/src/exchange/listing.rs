//! Symbols as they are listed: a plain name applies to every configured category, `spot:ETHUSDT` to `spot` only.

use klines_domain::symbol::{Category, Symbol};

use crate::loader::{Loader, Sourced};
use crate::value::{Fault, Scalar};

/// One symbol to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The category in which it is traded.
    pub category: Category,
    /// Its name.
    pub symbol: Symbol,
    /// Whether the category was written with it. A symbol without one need not exist in each of several categories.
    pub explicit: bool,
}

/// A symbol as written, with or without its category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolChoice {
    /// The category that was written with it, if any.
    pub category: Option<Category>,
    /// Its name.
    pub symbol: Symbol,
}

impl Scalar for SymbolChoice {
    const EXPECTED: &'static str = "symbols such as BTCUSDT or spot:ETHUSDT";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text.split_once(':') {
            Some((category, symbol)) => {
                Ok(Self { category: Some(Scalar::parse(category.trim())?), symbol: Scalar::parse(symbol.trim())? })
            }
            None => Ok(Self { category: None, symbol: Scalar::parse(text)? }),
        }
    }

    fn show(&self) -> String {
        match self.category {
            Some(category) => format!("{category}:{}", self.symbol),
            None => self.symbol.to_string(),
        }
    }
}

/// Returns the two symbols that are watched by default. Inverse contracts have different names from the others.
pub(super) fn defaults(categories: &[Category]) -> Vec<SymbolChoice> {
    let choices = |names: [&'static str; 2], category: Option<Category>| {
        names.into_iter().filter_map(move |name| Some(SymbolChoice { category, symbol: Symbol::new(name).ok()? }))
    };
    let is_inverse = |category: &Category| *category == Category::Inverse;
    let usual = ["BTCUSDT", "ETHUSDT"];
    let inverse = choices(["BTCUSD", "ETHUSD"], Some(Category::Inverse)).filter(|_| categories.iter().any(is_inverse));
    if !categories.iter().any(is_inverse) {
        return choices(usual, None).collect();
    }
    let others = categories.iter().filter(|category| !is_inverse(category));
    others.flat_map(|category| choices(usual, Some(*category))).chain(inverse).collect()
}

/// Returns one listing for each symbol and category. Drops repeated symbols with a warning.
pub(super) fn expand(
    loader: &mut Loader<'_>,
    symbols: Sourced<Vec<SymbolChoice>>,
    categories: &[Category],
) -> Vec<Listing> {
    let symbols = loader.unique(symbols, Scalar::show);
    loader.not_empty(&symbols, "symbol");
    let mut listings: Vec<Listing> = Vec::new();
    for choice in symbols.value {
        let (chosen, explicit) = match &choice.category {
            Some(category) => (std::slice::from_ref(category), true),
            None => (categories, false),
        };
        for category in chosen {
            let symbol = &choice.symbol;
            match listings.iter_mut().find(|known| known.category == *category && known.symbol == *symbol) {
                Some(known) => known.explicit |= explicit,
                None => listings.push(Listing { category: *category, symbol: symbol.clone(), explicit }),
            }
        }
    }
    listings
}

/// Returns the categories that have a symbol: first the configured ones in their order, then those that were only
/// written with a symbol.
pub(super) fn categories(listings: &[Listing], configured: &[Category]) -> Vec<Category> {
    let mut categories: Vec<Category> = Vec::new();
    let listed = listings.iter().map(|listing| listing.category);
    for category in configured.iter().copied().chain(listed.clone()) {
        if !categories.contains(&category) && listed.clone().any(|listed| listed == category) {
            categories.push(category);
        }
    }
    categories
}
