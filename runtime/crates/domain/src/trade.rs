//! One public trade, with exactly the data that klines depend on.

use super::decimal::{Decimal, widen};
use super::symbol::SymbolId;
use super::time::ExchangeMillis;

/// The price or size of one trade: at most 18 digits, with the number of decimals of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The digits as an integer.
    pub mantissa: i64,
    /// The number of decimals among them.
    pub scale: u8,
}

impl Quantity {
    /// Returns the digits with `scale` decimals; `None` if they have fewer or do not fit.
    #[must_use]
    pub fn at_scale(self, scale: u8) -> Option<i64> {
        let by = scale.checked_sub(self.scale)?;
        i64::try_from(widen(i128::from(self.mantissa), by)?).ok()
    }

    /// Returns the number as a [`Decimal`].
    #[must_use]
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(i128::from(self.mantissa), self.scale)
    }
}

/// The side of the taker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The buyer was the taker.
    Buy,
    /// The seller was the taker.
    Sell,
}

/// The identity of a trade within its category and symbol.
///
/// Different texts give different ids: only canonical forms are packed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TradeId {
    /// A lower-case hyphenated UUID (derivatives).
    Uuid {
        /// The first 16 hexadecimal digits.
        high: u64,
        /// The last 16 hexadecimal digits.
        low: u64,
    },
    /// A decimal number without leading zeros (spot).
    Number(u64),
    /// The id of a row in an archive; unique only within its file.
    Archived {
        /// The number of the file.
        file: u32,
        /// The first 16 hexadecimal digits.
        high: u64,
        /// The last 16 hexadecimal digits.
        low: u64,
    },
    /// Any other text.
    Text(Box<str>),
    /// The source has no usable id: the trade is never a duplicate.
    None,
}

/// One fill.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    /// The number of the symbol in the table of its category.
    pub symbol: SymbolId,
    /// Fill time `T`.
    pub time: ExchangeMillis,
    /// Cross sequence: orders trades with the same `time`, shared by the fills of one match; 0 if the source has none.
    pub sequence: u64,
    /// Price per unit, greater than zero.
    pub price: Quantity,
    /// Size: base coin, or USD contracts for inverse. Greater than zero.
    pub size: Quantity,
    /// The taker's side.
    pub side: Side,
    /// Whether the trade was negotiated off the order book.
    pub block: bool,
    /// The identity by which a repeated trade is recognised.
    pub id: TradeId,
}
