//! Product categories, symbol names, and the small numbers that stand for names on the hot path.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hashbrown::HashMap;
use thiserror::Error;

/// Longest symbol name accepted; Bybit's longest known is under 30 characters.
pub const MAX_NAME: usize = 64;

/// A product category that Bybit publishes trades and klines for.
///
/// Options have trades but no klines, and are refused by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Perpetuals and futures margined in USDT or USDC.
    #[default]
    Linear,
    /// Spot pairs.
    Spot,
    /// Contracts margined in the base coin: size in USD, turnover in the base coin.
    Inverse,
}

impl Category {
    /// All categories, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Spot, Self::Inverse];

    /// Bybit's name: `linear`, `spot` or `inverse`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Spot => "spot",
            Self::Inverse => "inverse",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Why a text is not a [`Category`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CategoryError {
    /// Options have no klines.
    #[error(
        "option contracts have no klines on Bybit and no last price of their own worth a candle: use linear, spot or inverse"
    )]
    Option,
    /// Not one of Bybit's categories.
    #[error("unknown category: use linear, spot or inverse")]
    Unknown,
}

impl FromStr for Category {
    type Err = CategoryError;

    fn from_str(text: &str) -> Result<Self, CategoryError> {
        match text {
            "linear" => Ok(Self::Linear),
            "spot" => Ok(Self::Spot),
            "inverse" => Ok(Self::Inverse),
            "option" => Err(CategoryError::Option),
            _ => Err(CategoryError::Unknown),
        }
    }
}

/// A symbol's name as Bybit writes it: upper-case letters, digits, dashes; shared, never copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// Checks a name. Lower case is refused because Bybit refuses it.
    ///
    /// # Errors
    /// [`SymbolError`] naming what is wrong.
    pub fn new(name: &str) -> Result<Self, SymbolError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(SymbolError::Length);
        }
        match name.chars().find(|found| !matches!(found, 'A'..='Z' | '0'..='9' | '-' | '_')) {
            Some(found) if found.is_ascii_lowercase() => Err(SymbolError::LowerCase),
            Some(found) => Err(SymbolError::Character(found)),
            None => Ok(Self(Arc::from(name))),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// Why a text is not a [`Symbol`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SymbolError {
    /// Empty or longer than [`MAX_NAME`].
    #[error("a symbol has 1 to {MAX_NAME} characters")]
    Length,
    /// Right but for its case.
    #[error("symbols are upper case on Bybit")]
    LowerCase,
    /// A character that no symbol has.
    #[error("{0:?} cannot stand in a symbol")]
    Character(char),
}

/// A symbol's number inside one [`SymbolTable`], counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(pub u32);

impl SymbolId {
    /// The number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The symbols of one category, each with its number. Numbers are never given twice.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    ids: HashMap<Symbol, SymbolId, foldhash::fast::RandomState>,
    names: Vec<Symbol>,
}

impl std::borrow::Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl SymbolTable {
    /// Returns the number of a symbol, giving it the next one if it is new.
    pub fn intern(&mut self, symbol: &Symbol) -> SymbolId {
        if let Some(id) = self.get(symbol.as_str()) {
            return id;
        }
        let id = SymbolId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(symbol.clone());
        self.ids.insert(symbol.clone(), id);
        id
    }

    /// Returns the number of a name, if it has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SymbolId> {
        self.ids.get(name).copied()
    }

    /// Returns the name behind a number.
    #[must_use]
    pub fn name(&self, id: SymbolId) -> Option<&Symbol> {
        self.names.get(id.index())
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All symbols with their numbers, in the order of the numbers.
    pub fn iter(&self) -> impl Iterator<Item = (SymbolId, &Symbol)> {
        (0u32..).map(SymbolId).zip(&self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_bybit_writes_them_are_accepted() {
        for name in ["BTCUSDT", "1000PEPEUSDT", "4USDT", "BTC-24MAR23", "BTCUSDT-14AUG26", "BTCUSDZ26"] {
            assert_eq!(Symbol::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        assert_eq!(Symbol::new("btcusdt").unwrap_err(), SymbolError::LowerCase);
        assert_eq!(Symbol::new("BTC/USDT").unwrap_err(), SymbolError::Character('/'));
        assert_eq!(Symbol::new("").unwrap_err(), SymbolError::Length);
        assert_eq!(Symbol::new(&"A".repeat(65)).unwrap_err(), SymbolError::Length);
    }

    #[test]
    fn numbers_are_stable() {
        let mut table = SymbolTable::default();
        let (btc, eth) = (Symbol::new("BTCUSDT").unwrap(), Symbol::new("ETHUSDT").unwrap());
        assert_eq!(table.intern(&btc), SymbolId(0));
        assert_eq!(table.intern(&eth), SymbolId(1));
        assert_eq!(table.intern(&btc), SymbolId(0));
        assert_eq!(table.get("ETHUSDT"), Some(SymbolId(1)));
        assert_eq!(table.name(SymbolId(1)), Some(&eth));
    }
}
