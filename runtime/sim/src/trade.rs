//! A fill on the simulated tape: as kept inside, and as handed to tests that recompute the truth.

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
    /// `Buy` or `Sell`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "Buy",
            Self::Sell => "Sell",
        }
    }
}

/// Trade id in the form of its market. Compact, because the tape of a long run holds many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TradeId {
    /// Contracts.
    Uuid(u128),
    /// Spot.
    Number(u64),
    /// Taken from a recording as it stood.
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

/// Price against the trade before.
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

/// One fill.
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
    /// Turnover of this fill: quote coin for linear and spot, base coin for inverse.
    pub fn turnover(&self, category: Category) -> Amount {
        match category {
            Category::Linear | Category::Spot => self.price.times(self.size),
            Category::Inverse => self.size.per(self.price),
        }
    }
}

/// One trade that happened on the simulated market, whether or not any client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimTrade {
    /// Fill time in ms UTC.
    pub time: i64,
    /// Cross sequence, shared by all fills of one match.
    pub seq: u64,
    /// Trade id, unique for the symbol.
    pub id: String,
    /// Price with tick padding.
    pub price: String,
    /// Size with step padding.
    pub size: String,
    /// Side of the taker.
    pub side: Side,
    /// Block trade.
    pub block: bool,
    /// Retail price improvement.
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
