//! What identifies a series, and in which dialects it can be followed.

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::symbol::{Category, Symbol};

/// What identifies a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    /// Product category.
    pub category: Category,
    /// Symbol name.
    pub symbol: Symbol,
    /// Window length.
    pub interval: Interval,
}

impl SeriesKey {
    /// The series of a kline.
    #[must_use]
    pub fn of(kline: &Kline) -> Self {
        Self { category: kline.category, symbol: kline.symbol.clone(), interval: kline.interval }
    }
}

/// The dialects that subscribe to single series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Bybit's.
    Bybit,
    /// Ours.
    Stream,
}
