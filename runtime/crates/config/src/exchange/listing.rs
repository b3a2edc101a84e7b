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
        parse_one(text).map_err(|fault| {
            let words = text.split([' ', ',']).map(str::trim).filter(|word| !word.is_empty());
            let list: Vec<String> = words.filter_map(intended).collect();
            if list.len() < 2 {
                return fault;
            }
            // Only an item of a TOML list can have a comma.
            let near = list.join(if text.contains(',') { "\", \"" } else { "," });
            Fault::new(format!("`{text}` is more than one symbol"), Self::EXPECTED).nearest(Some(near))
        })
    }

    fn show(&self) -> String {
        match self.category {
            Some(category) => format!("{category}:{}", self.symbol),
            None => self.symbol.to_string(),
        }
    }
}

fn parse_one(text: &str) -> Result<SymbolChoice, Fault> {
    match text.split_once(':') {
        Some((category, symbol)) => {
            let category: Category = Scalar::parse(category.trim())?;
            let symbol = Symbol::parse(symbol.trim()).map_err(|fault| {
                let near = fault.nearest.as_ref().map(|near| format!("{category}:{near}"));
                fault.nearest(near)
            })?;
            Ok(SymbolChoice { category: Some(category), symbol })
        }
        None => Ok(SymbolChoice { category: None, symbol: Scalar::parse(text)? }),
    }
}

/// Returns one symbol as it was probably intended.
fn intended(text: &str) -> Option<String> {
    parse_one(text).map_or_else(|fault| fault.nearest, |choice| Some(choice.show()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs_and_other_separators_find_what_was_intended() {
        for (text, near) in [
            ("BTCUSDT ETHUSDT", "BTCUSDT,ETHUSDT"),
            ("btcusdt  spot:ethusdt SOL/USDT", "BTCUSDT,spot:ETHUSDT,SOLUSDT"),
            ("BTCUSDT,ETHUSDT", "BTCUSDT\", \"ETHUSDT"),
            ("BTCUSDT.P", "BTCUSDT"),
            ("spot:ethusdt", "spot:ETHUSDT"),
            ("btcusdt.p", "BTCUSDT"),
            ("BTC-PERP.P", "BTCPERP"),
        ] {
            assert_eq!(SymbolChoice::parse(text).unwrap_err().nearest.as_deref(), Some(near), "{text}");
        }
        for text in ["BTCUSDT", "spot:ETHUSDT", "spot : ETHUSDT"] {
            assert!(SymbolChoice::parse(text).is_ok(), "{text}");
        }
    }
}
