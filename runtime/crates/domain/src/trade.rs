//! One public trade, as small as it can be without losing anything that a kline depends on.

use super::decimal::Decimal;
use super::symbol::SymbolId;
use super::time::ExchangeMillis;

/// Price or size of one trade: 18 digits at most, with the decimals that its text had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The digits as an integer.
    pub mantissa: i64,
    /// How many of them are decimals.
    pub scale: u8,
}

impl Quantity {
    /// The same number as a [`Decimal`].
    #[must_use]
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(i128::from(self.mantissa), self.scale)
    }
}

/// Who took liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The buyer was the taker.
    Buy,
    /// The seller was the taker.
    Sell,
}

/// A trade's identity within its category and symbol.
///
/// Texts that differ give ids that differ: only the canonical forms are packed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TradeId {
    /// A lower-case hyphenated UUID (derivatives).
    Uuid {
        /// The first 16 hexadecimal digits.
        high: u64,
        /// The last 16.
        low: u64,
    },
    /// A decimal number without leading zeros (spot).
    Number(u64),
    /// The id of a row in an archive, which names a trade only within its file.
    Archived {
        /// Number of the file.
        file: u32,
        /// The first 16 hexadecimal digits.
        high: u64,
        /// The last 16.
        low: u64,
    },
    /// Anything else.
    Text(Box<str>),
    /// The source has no id that could be a key: never a duplicate.
    None,
}

/// One fill.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    /// Which symbol, in the table of its category.
    pub symbol: SymbolId,
    /// Fill time `T`.
    pub time: ExchangeMillis,
    /// Cross sequence: orders trades of one `time`, shared by the fills of one match; 0 where the source has none.
    pub sequence: u64,
    /// Price per unit, greater than zero.
    pub price: Quantity,
    /// Size: base coin, or USD contracts for inverse. Greater than zero.
    pub size: Quantity,
    /// The taker's side.
    pub side: Side,
    /// Negotiated off the book.
    pub block: bool,
    /// What makes it the same trade when it comes again.
    pub id: TradeId,
}
