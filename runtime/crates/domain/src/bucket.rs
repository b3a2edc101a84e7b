//! What some trades add up to, those of a run or of a window, in the integers of one symbol. Knows neither intervals nor opens.

use super::decimal::widen;
use super::symbol::Category;
use super::time::Millis;
use super::trade::{Side, Trade};

/// Decimals that an inverse trade's turnover is rounded to.
pub const INVERSE_TURNOVER_SCALE: u8 = 8;

/// Greatest turnover of one trade, in units of its last decimal: 10^17 times what the largest real trades have, and
/// small enough that the sum of 10^5 of them fits.
const MOST_TURNOVER: i128 = 1_000_000_000_000_000_000_000_000_000_000_000;
/// Greatest sum that may be brought to wider integers: as many trades again can be added to it.
const MOST_SUM: i128 = i128::MAX / 2;

/// Decimals of a symbol's integers: the most seen in its prices and in its sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scales {
    /// Decimals of prices.
    pub price: u8,
    /// Decimals of sizes.
    pub size: u8,
}

impl Scales {
    /// Decimals of turnover.
    #[must_use]
    pub const fn turnover(self, category: Category) -> u8 {
        match category {
            Category::Inverse => INVERSE_TURNOVER_SCALE,
            Category::Linear | Category::Spot => self.price + self.size,
        }
    }

    /// Returns whether a trade's numbers need no more decimals than these.
    #[must_use]
    #[inline]
    pub const fn hold(self, trade: &Trade) -> bool {
        trade.price.scale <= self.price && trade.size.scale <= self.size
    }

    /// Returns the scales that hold a trade as well.
    #[must_use]
    pub fn widened(self, trade: &Trade) -> Self {
        Self { price: self.price.max(trade.price.scale), size: self.size.max(trade.size.scale) }
    }
}

/// Where a trade stands among the others: by time, then cross sequence, then arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Trade time.
    pub time: Millis,
    /// Cross sequence.
    pub sequence: u64,
}

/// A trade in the integers of its symbol.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    place: Place,
    price: i64,
    size: i64,
    turnover: i128,
    bought: bool,
}

impl Fill {
    /// Converts a trade, or returns nothing when it does not fit: price and size up to 9.2 × 10^18 units of the
    /// symbol's last decimal, turnover up to 10^33.
    #[must_use]
    #[inline]
    pub fn new(trade: &Trade, scales: Scales, category: Category) -> Option<Self> {
        let price = fit(trade.price.mantissa, scales.price.checked_sub(trade.price.scale)?)?;
        let size = fit(trade.size.mantissa, scales.size.checked_sub(trade.size.scale)?)?;
        let turnover = match category {
            Category::Linear | Category::Spot => i128::from(price) * i128::from(size),
            Category::Inverse => inverse_turnover(price, size, scales)?,
        };
        if turnover > MOST_TURNOVER {
            return None;
        }
        let place = Place { time: trade.time.get(), sequence: trade.sequence };
        Some(Self { place, price, size, turnover, bought: trade.side == Side::Buy })
    }

    /// Where it stands.
    #[must_use]
    #[inline]
    pub const fn place(&self) -> Place {
        self.place
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

/// The sums and extremes of some trades of one symbol. Exact; the same whatever the order of arrival, but for
/// trades that share time and cross sequence, of which the later arrival counts as later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Place of the earliest trade.
    pub first: Place,
    /// Place of the latest trade.
    pub last: Place,
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
    /// The bucket of no trade.
    pub const EMPTY: Self = Self {
        first: Place { time: 0, sequence: 0 },
        last: Place { time: 0, sequence: 0 },
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

    /// The bucket of one trade.
    #[must_use]
    #[inline]
    pub fn of(fill: &Fill) -> Self {
        let bought = i128::from(fill.bought);
        Self {
            first: fill.place,
            last: fill.place,
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

    /// Whether there is no trade in it.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.trades == 0
    }

    /// Forgets its trades; what else it holds means nothing from then on.
    #[inline]
    pub const fn clear(&mut self) {
        self.trades = 0;
    }

    /// Adds a trade that stands after all in the bucket, which is not empty.
    #[inline]
    pub fn append(&mut self, fill: &Fill) {
        let bought = i128::from(fill.bought);
        self.last = fill.place;
        self.high = self.high.max(fill.price);
        self.low = self.low.min(fill.price);
        self.close = fill.price;
        self.trades += 1;
        self.volume += i128::from(fill.size);
        self.turnover += fill.turnover;
        self.buy_volume += i128::from(fill.size) * bought;
        self.buy_turnover += fill.turnover * bought;
    }

    /// Adds the trades of a bucket that arrived after this one's.
    pub fn merge(&mut self, later: &Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = *later;
            return;
        }
        if later.first < self.first {
            (self.first, self.open) = (later.first, later.open);
        }
        if later.last >= self.last {
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

    /// Returns the same bucket in integers with more decimals, or nothing when a price no longer fits.
    #[must_use]
    pub fn rescaled(&self, by: Widening) -> Option<Self> {
        if self.is_empty() {
            return Some(*self);
        }
        let sum = |sum, by| widen(sum, by).filter(|sum| *sum <= MOST_SUM);
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
    /// The step from narrower to wider scales.
    #[must_use]
    pub const fn between(narrow: Scales, wide: Scales, category: Category) -> Self {
        Self {
            price: wide.price - narrow.price,
            size: wide.size - narrow.size,
            turnover: wide.turnover(category) - narrow.turnover(category),
        }
    }

    /// Returns a price in the wider integers.
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
            // 1 / 200,000,000 is half a unit: down to the even 0; 3 / 200,000,000 is 1.5 units: up to the even 2.
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
