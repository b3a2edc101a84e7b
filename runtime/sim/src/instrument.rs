//! An instrument: symbol, tick, step and how often it trades. No prices over time, no JSON.

use thiserror::Error;

use crate::{amount::Amount, category::Category};

/// Quote coins by which a symbol is split into base and quote, longest match first.
const QUOTES: [&str; 6] = ["USDT", "USDC", "PERP", "USD", "BTC", "EUR"];

/// How often a seeded instrument trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Does not trade by itself; only [`Sim::trade`](crate::Sim::trade) trades it.
    Still,
    /// Matches come at random times, with bursts and pauses.
    Matches {
        /// Mean gap between two matches in ms, at least 1.
        every_ms: u32,
    },
}

impl Activity {
    /// Several trades a second.
    pub const LIVELY: Self = Self::Matches { every_ms: 180 };
    /// A trade every second or two.
    pub const CALM: Self = Self::Matches { every_ms: 1_500 };
    /// Whole minutes can pass without a trade.
    pub const QUIET: Self = Self::Matches { every_ms: 45_000 };
}

/// The parameters do not describe a valid instrument.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InstrumentError {
    /// Not `[A-Za-z0-9-_]+`.
    #[error("bad symbol {0:?}: letters, digits, dashes and underscores only")]
    Symbol(String),
    /// Price, tick or step is not a positive plain decimal.
    #[error("bad {field} {text:?}: expected a positive plain decimal of at most 18 digits")]
    Number {
        /// `price`, `tick` or `step`.
        field: &'static str,
        /// The text that was given.
        text: String,
    },
}

/// An instrument of the simulated market.
#[derive(Clone, Debug)]
pub struct Instrument {
    pub(crate) category: Category,
    pub(crate) symbol: String,
    pub(crate) price: Amount,
    pub(crate) tick: Amount,
    pub(crate) step: Amount,
    pub(crate) activity: Activity,
    pub(crate) listed: bool,
    /// Since when the symbol trades, in ms, if that is later than the history begins.
    pub(crate) listed_at: Option<i64>,
}

impl Instrument {
    /// Creates a listed instrument of activity [`Activity::CALM`] that starts at `price`, moves by `tick` and trades in
    /// multiples of `step`. Prices and sizes are padded to the decimals of `tick` and `step`: with a tick of `0.10` a
    /// price is written `16578.50`.
    ///
    /// # Errors
    /// If the symbol has characters that Bybit does not use, or a number is not a positive plain decimal.
    pub fn new(category: Category, symbol: &str, price: &str, tick: &str, step: &str) -> Result<Self, InstrumentError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if symbol.is_empty() || !symbol.chars().all(plain) {
            return Err(InstrumentError::Symbol(symbol.to_owned()));
        }
        Ok(Self {
            category,
            symbol: symbol.to_owned(),
            price: positive("price", price)?,
            tick: positive("tick", tick)?,
            step: positive("step", step)?,
            activity: Activity::CALM,
            listed: true,
            listed_at: None,
        })
    }

    /// Returns the instrument with another activity.
    #[must_use]
    pub fn with_activity(mut self, activity: Activity) -> Self {
        self.activity = activity;
        self
    }

    /// Returns the instrument as unlisted: unknown to clients until a `list` fault lists it.
    #[must_use]
    pub fn unlisted(mut self) -> Self {
        self.listed = false;
        self
    }

    /// Returns the instrument as listed at this time (ms since the epoch): no klines exist before its minute.
    #[must_use]
    pub fn listed_at(mut self, at: i64) -> Self {
        self.listed_at = Some(at);
        self
    }

    /// Returns the category of the instrument.
    pub fn category(&self) -> Category {
        self.category
    }

    /// Returns the symbol of the instrument.
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Returns the base and the quote coin.
    pub(crate) fn coins(&self) -> (&str, &str) {
        let perpetual = self.symbol.split('-').next().unwrap_or(&self.symbol);
        for quote in QUOTES {
            if let Some(base) = perpetual.strip_suffix(quote).filter(|base| !base.is_empty()) {
                return (base, if quote == "PERP" { "USDC" } else { quote });
            }
        }
        (perpetual, "USDT")
    }
}

fn positive(field: &'static str, text: &str) -> Result<Amount, InstrumentError> {
    Amount::parse(text)
        .filter(|amount| !amount.is_zero())
        .ok_or_else(|| InstrumentError::Number { field, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quote_coin_separates_the_coins_of_a_symbol() {
        let coins = |symbol: &str| {
            let instrument = Instrument::new(Category::Linear, symbol, "1", "0.1", "1").unwrap();
            let (base, quote) = instrument.coins();
            (base.to_owned(), quote.to_owned())
        };
        assert_eq!(coins("1000PEPEUSDT"), ("1000PEPE".to_owned(), "USDT".to_owned()));
        assert_eq!(coins("BTCPERP"), ("BTC".to_owned(), "USDC".to_owned()));
        assert_eq!(coins("BTCUSDT-21FEB25"), ("BTC".to_owned(), "USDT".to_owned()));
        assert_eq!(coins("BTCUSD"), ("BTC".to_owned(), "USD".to_owned()));
    }

    #[test]
    fn errors_name_the_bad_text() {
        let error = |symbol: &str, price: &str, tick: &str, step: &str| {
            Instrument::new(Category::Spot, symbol, price, tick, step).unwrap_err()
        };
        assert_eq!(error("A.B", "1", "1", "1"), InstrumentError::Symbol("A.B".to_owned()));
        assert_eq!(error("AUSDT", "1", "0", "1"), InstrumentError::Number { field: "tick", text: "0".to_owned() });
    }
}
