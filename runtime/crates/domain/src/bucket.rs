//! Adds up trades of a run or a window in the integers of one symbol. Knows neither intervals nor opens.

mod candle;

use super::decimal::widen;
use super::mutants::Mutant;
use super::symbol::Category;
use super::time::Millis;
use super::trade::{Side, Trade};

/// The number of decimals to which the turnover of an inverse trade is rounded.
pub const INVERSE_TURNOVER_SCALE: u8 = 8;

/// The maximum turnover of one trade, in units of its last decimal: 10^17 times that of the largest real trades, and
/// small enough that the sum of 10^5 of them fits.
const MAX_TURNOVER: i128 = 1_000_000_000_000_000_000_000_000_000_000_000;
/// The maximum sum that may be rescaled: as much again can be added to it.
const MAX_SUM: i128 = i128::MAX / 2;

/// The numbers of decimals of a symbol's integers: the maximum seen in its prices and in its sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scales {
    /// Decimals of prices.
    pub price: u8,
    /// Decimals of sizes.
    pub size: u8,
}

impl Scales {
    /// Returns the number of decimals of turnover.
    #[must_use]
    pub const fn turnover(self, category: Category) -> u8 {
        match category {
            Category::Inverse => INVERSE_TURNOVER_SCALE,
            Category::Linear | Category::Spot => self.price + self.size,
        }
    }

    /// Returns whether the numbers of a trade need no more decimals than these.
    #[must_use]
    #[inline]
    pub const fn hold(self, trade: &Trade) -> bool {
        trade.price.scale <= self.price && trade.size.scale <= self.size
    }

    /// Returns the scales with as many more decimals as a trade needs.
    #[must_use]
    pub fn widened(self, trade: &Trade) -> Self {
        Self { price: self.price.max(trade.price.scale), size: self.size.max(trade.size.scale) }
    }
}

/// The order of a trade among others: by time, then cross sequence, then arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TradeOrder {
    /// Trade time.
    pub time: Millis,
    /// Cross sequence.
    pub sequence: u64,
}

/// A trade in the integers of its symbol.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    order: TradeOrder,
    price: i64,
    size: i64,
    turnover: i128,
    bought: bool,
}

impl Fill {
    /// Converts a trade. Returns `None` if it does not fit: price and size up to 9.2 × 10^18 units of the symbol's last
    /// decimal, turnover up to 10^33.
    #[must_use]
    #[inline]
    pub fn new(trade: &Trade, scales: Scales, category: Category) -> Option<Self> {
        let price = fit(trade.price.mantissa, scales.price.checked_sub(trade.price.scale)?)?;
        let size = fit(trade.size.mantissa, scales.size.checked_sub(trade.size.scale)?)?;
        let turnover = match category {
            Category::Linear | Category::Spot => i128::from(price) * i128::from(size),
            Category::Inverse => inverse_turnover(price, size, scales)?,
        };
        if turnover > MAX_TURNOVER {
            return None;
        }
        let order = TradeOrder { time: trade.time.get(), sequence: trade.sequence };
        Some(Self { order, price, size, turnover, bought: trade.side == Side::Buy })
    }

    /// Returns the order of the trade.
    #[must_use]
    #[inline]
    pub const fn order(&self) -> TradeOrder {
        self.order
    }
}

#[inline]
fn fit(mantissa: i64, by: u8) -> Option<i64> {
    if by == 0 { Some(mantissa) } else { i64::try_from(widen(i128::from(mantissa), by)?).ok() }
}

/// Returns size / price in units of `10^-8`, rounded half to even.
fn inverse_turnover(price: i64, size: i64, scales: Scales) -> Option<i128> {
    let up = widen(i128::from(size), INVERSE_TURNOVER_SCALE.checked_add(scales.price)?)?;
    let down = widen(i128::from(price), scales.size)?;
    let (quotient, remainder) = (up.checked_div(down)?, up.checked_rem(down)?);
    let twice = remainder.checked_mul(2)?;
    let round_up = twice > down || (twice == down && quotient % 2 != 0);
    Some(quotient + i128::from(round_up))
}

/// The sums and extremes of some trades of one symbol. They are exact and independent of the order of arrival, except
/// for trades with the same time and cross sequence, of which the one that arrived later counts as later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The order of the earliest trade.
    pub first: TradeOrder,
    /// The order of the latest trade.
    pub last: TradeOrder,
    /// Price of the earliest trade.
    pub open: i64,
    /// Greatest price.
    pub high: i64,
    /// Least price.
    pub low: i64,
    /// Price of the latest trade.
    pub close: i64,
    /// Number of trades; 0 means that every other field is meaningless.
    pub trades: u64,
    /// Sum of sizes.
    pub volume: i128,
    /// Sum of turnovers.
    pub turnover: i128,
    /// Sum of sizes whose taker bought.
    pub buy_volume: i128,
    /// Sum of turnovers whose taker bought.
    pub buy_turnover: i128,
}

impl Bucket {
    /// The bucket without trades.
    pub const EMPTY: Self = Self {
        first: TradeOrder { time: 0, sequence: 0 },
        last: TradeOrder { time: 0, sequence: 0 },
        open: 0,
        high: 0,
        low: 0,
        close: 0,
        trades: 0,
        volume: 0,
        turnover: 0,
        buy_volume: 0,
        buy_turnover: 0,
    };

    /// Returns the bucket of one trade.
    #[must_use]
    #[inline]
    pub fn of(fill: &Fill) -> Self {
        let bought = i128::from(fill.bought);
        Self {
            first: fill.order,
            last: fill.order,
            open: fill.price,
            high: fill.price,
            low: fill.price,
            close: fill.price,
            trades: 1,
            volume: i128::from(fill.size),
            turnover: fill.turnover,
            buy_volume: i128::from(fill.size) * bought,
            buy_turnover: fill.turnover * bought,
        }
    }

    /// Returns whether the bucket has no trades.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.trades == 0
    }

    /// Removes its trades; its other fields are meaningless afterwards.
    #[inline]
    pub const fn clear(&mut self) {
        self.trades = 0;
    }

    /// Adds a trade that is later than all others. The bucket must not be empty.
    #[inline]
    pub fn append(&mut self, fill: &Fill) {
        let bought = i128::from(fill.bought);
        self.last = fill.order;
        self.high = self.high.max(fill.price);
        self.low = self.low.min(fill.price);
        self.close = fill.price;
        self.trades += 1;
        self.volume += i128::from(fill.size);
        self.turnover += fill.turnover;
        self.buy_volume += i128::from(fill.size) * bought;
        self.buy_turnover += fill.turnover * bought;
    }

    /// Adds the trades of a bucket that arrived after those of this one.
    pub fn merge(&mut self, later: &Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = *later;
            return;
        }
        self.join(later);
    }

    /// Adds the sums of a bucket that arrived after this one; neither may be empty, but the number of its trades may be 0
    /// if it is what a candle has beyond them.
    pub fn join(&mut self, later: &Self) {
        if later.first < self.first {
            (self.first, self.open) = (later.first, later.open);
        }
        if later.last >= self.last || Mutant::LateTradeLast.is_made() {
            (self.last, self.close) = (later.last, later.close);
        }
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.trades += later.trades;
        self.volume += later.volume;
        self.turnover += later.turnover;
        self.buy_volume += later.buy_volume;
        self.buy_turnover += later.buy_turnover;
    }

    /// Returns the same bucket in integers with more decimals; `None` if a number no longer fits.
    #[must_use]
    pub fn rescaled(&self, by: Widening) -> Option<Self> {
        if self.is_empty() {
            return Some(*self);
        }
        let sum = |sum, by| widen(sum, by).filter(|sum| *sum <= MAX_SUM);
        Some(Self {
            open: by.price(self.open)?,
            high: by.price(self.high)?,
            low: by.price(self.low)?,
            close: by.price(self.close)?,
            volume: sum(self.volume, by.size)?,
            turnover: sum(self.turnover, by.turnover)?,
            buy_volume: sum(self.buy_volume, by.size)?,
            buy_turnover: sum(self.buy_turnover, by.turnover)?,
            ..*self
        })
    }
}

/// By how many decimals a symbol's integers grow.
#[derive(Clone, Copy, Debug)]
pub struct Widening {
    price: u8,
    size: u8,
    turnover: u8,
}

impl Widening {
    /// Returns the difference between narrower and wider scales.
    #[must_use]
    pub const fn between(narrow: Scales, wide: Scales, category: Category) -> Self {
        Self {
            price: wide.price - narrow.price,
            size: wide.size - narrow.size,
            turnover: wide.turnover(category) - narrow.turnover(category),
        }
    }

    /// Returns a price in the wider integers; `None` if it does not fit.
    #[must_use]
    pub fn price(self, price: i64) -> Option<i64> {
        fit(price, self.price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;
    use crate::symbol::SymbolId;
    use crate::trade::{Quantity, TradeId};

    fn trade(price: (i64, u8), size: (i64, u8)) -> Trade {
        Trade {
            symbol: SymbolId(0),
            time: crate::time::ExchangeMillis::new(1),
            sequence: 0,
            price: Quantity { mantissa: price.0, scale: price.1 },
            size: Quantity { mantissa: size.0, scale: size.1 },
            side: Side::Buy,
            block: false,
            id: TradeId::None,
        }
    }

    #[test]
    fn inverse_turnover_rounds_half_to_even() {
        for (price, size, printed) in [
            ((3, 0), (1, 0), "0.33333333"),
            ((3, 0), (2, 0), "0.66666667"),
            // 1 / 200,000,000 is half a unit and rounds down to the even 0; 3 / 200,000,000 is 1.5 units and rounds up
            // to the even 2.
            ((200_000_000, 0), (1, 0), "0"),
            ((200_000_000, 0), (3, 0), "0.00000002"),
            ((165_785, 1), (100, 0), "0.00603191"),
        ] {
            let given = trade(price, size);
            let scales = Scales::default().widened(&given);
            let bucket = Bucket::of(&Fill::new(&given, scales, Category::Inverse).unwrap());
            assert_eq!(Decimal::new(bucket.turnover, 8).to_string(), printed, "{size:?} / {price:?}");
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused_not_wrapped() {
        let given = trade((999_999_999_999_999_999, 0), (1, 0));
        assert!(Fill::new(&given, Scales { price: 2, size: 0 }, Category::Linear).is_none());
        assert!(Fill::new(&given, Scales { price: 0, size: 0 }, Category::Linear).is_some());
    }
}
