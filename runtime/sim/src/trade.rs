//! A fill on the simulated tape: the internal form, and the public one for tests that recompute klines.

use std::fmt;

use crate::{amount::Amount, category::Category};

/// Side of the taker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The taker bought.
    Buy,
    /// The taker sold.
    Sell,
}

impl Side {
    /// Returns `Buy` or `Sell`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "Buy",
            Self::Sell => "Sell",
        }
    }
}

/// Trade id in the form of its category. Compact, because the tape of a long run holds many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TradeId {
    /// Contracts.
    Uuid(u128),
    /// Spot.
    Number(u64),
    /// Taken unchanged from a recording.
    Text(Box<str>),
}

impl fmt::Display for TradeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bits) => write!(
                f,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                bits >> 96,
                (bits >> 80) & 0xffff,
                (bits >> 64) & 0xffff,
                (bits >> 48) & 0xffff,
                bits & 0xffff_ffff_ffff
            ),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Direction of the price relative to the previous trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TickDirection {
    Plus,
    ZeroPlus,
    Minus,
    ZeroMinus,
}

impl TickDirection {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plus => "PlusTick",
            Self::ZeroPlus => "ZeroPlusTick",
            Self::Minus => "MinusTick",
            Self::ZeroMinus => "ZeroMinusTick",
        }
    }
}

/// A fill: one trade of a match.
#[derive(Clone, Debug)]
pub(crate) struct Fill {
    pub time: i64,
    pub seq: u64,
    pub id: TradeId,
    pub price: Amount,
    pub size: Amount,
    pub side: Side,
    pub direction: TickDirection,
    pub block: bool,
    pub rpi: bool,
}

impl Fill {
    /// Returns the turnover of this fill: in the quote coin for linear and spot, in the base coin for inverse.
    pub fn turnover(&self, category: Category) -> Amount {
        match category {
            Category::Linear | Category::Spot => self.price.times(self.size),
            Category::Inverse => self.size.divided_by(self.price),
        }
    }
}

/// A trade on the simulated market, whether or not a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimTrade {
    /// Fill time in ms UTC.
    pub time: i64,
    /// Cross sequence, shared by all fills of one match.
    pub seq: u64,
    /// Trade id, unique within the symbol.
    pub id: String,
    /// Price, padded to the decimals of the tick.
    pub price: String,
    /// Size, padded to the decimals of the step.
    pub size: String,
    /// Side of the taker.
    pub side: Side,
    /// Whether it is a block trade.
    pub block: bool,
    /// Whether it is a retail price improvement (RPI) trade.
    pub rpi: bool,
}

impl From<&Fill> for SimTrade {
    fn from(fill: &Fill) -> Self {
        Self {
            time: fill.time,
            seq: fill.seq,
            id: fill.id.to_string(),
            price: fill.price.padded(),
            size: fill.size.padded(),
            side: fill.side,
            block: fill.block,
            rpi: fill.rpi,
        }
    }
}
