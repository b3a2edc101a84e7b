//! Product categories, symbol names, and the small numbers that replace names on the hot path.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hashbrown::HashMap;
use thiserror::Error;

/// The maximum length of a symbol name; the longest known one of Bybit has under 30 characters.
pub const MAX_NAME: usize = 64;

/// A product category for which Bybit publishes trades and klines.
///
/// Options have trades but no klines, and are rejected by name.
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

    /// Returns Bybit's name: `linear`, `spot` or `inverse`.
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
    #[error("Bybit has no klines of option contracts: use linear, spot or inverse")]
    Option,
    /// The text is not one of Bybit's categories.
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

/// A symbol's name as Bybit writes it: upper-case letters, digits, dashes. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// Validates a name. Lower case is rejected because Bybit rejects it.
    ///
    /// # Errors
    /// [`SymbolError`] with the reason.
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

    /// Returns the name.
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
    /// The name is empty or longer than [`MAX_NAME`].
    #[error("a symbol has 1 to {MAX_NAME} characters")]
    Length,
    /// The name is valid except for its case.
    #[error("symbols are upper case on Bybit")]
    LowerCase,
    /// The name contains a character that no symbol has.
    #[error("a symbol cannot contain {0:?}")]
    Character(char),
}

/// A symbol's number inside one [`SymbolTable`], counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(pub u32);

impl SymbolId {
    /// Returns the number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The symbols of one category, each with its number. Numbers are never reused, so a symbol that left and comes back gets a
/// new one.
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
    /// Returns the number of a symbol; a new symbol gets the next number.
    pub fn intern(&mut self, symbol: &Symbol) -> SymbolId {
        if let Some(id) = self.get(symbol.as_str()) {
            return id;
        }
        let id = SymbolId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(symbol.clone());
        self.ids.insert(symbol.clone(), id);
        id
    }

    /// Gives a symbol the next number, also if it has one already.
    pub fn renew(&mut self, symbol: &Symbol) -> SymbolId {
        self.ids.remove(symbol);
        self.intern(symbol)
    }

    /// Returns the number of a name; `None` if it has none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SymbolId> {
        self.ids.get(name).copied()
    }

    /// Returns the name of a number.
    #[must_use]
    pub fn name(&self, id: SymbolId) -> Option<&Symbol> {
        self.names.get(id.index())
    }

    /// Returns the number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there is no symbol.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns all symbols with their numbers, in the order of the numbers.
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
        assert_eq!((table.renew(&btc), table.get("BTCUSDT"), table.len()), (SymbolId(2), Some(SymbolId(2)), 3));
        assert_eq!(table.name(SymbolId(0)), Some(&btc), "the old number keeps its name");
    }
}
