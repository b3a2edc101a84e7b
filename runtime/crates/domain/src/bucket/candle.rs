//! The exchange's candles as buckets, and what they have more than the trades that were counted.

use super::{Bucket, Scales, TradeOrder, fit};
use crate::decimal::{Decimal, widen};
use crate::repair::{Candle, Grain};
use crate::symbol::Category;
use crate::time::Millis;

impl TradeOrder {
    /// Returns the order of the end of a candle whose last millisecond is `end`: after every trade until then.
    const fn candle_end(end: Millis) -> Self {
        Self { time: end, sequence: u64::MAX }
    }

    /// Returns whether this is the end of a candle, not a trade.
    #[must_use]
    #[inline]
    pub const fn is_candle(self) -> bool {
        self.sequence == u64::MAX
    }
}

impl Scales {
    /// Returns the scales with as many more decimals as a candle needs; `None` if its turnover has more than those of
    /// the category.
    #[must_use]
    pub fn widened_for(self, candle: &Candle, category: Category) -> Option<Self> {
        let prices = [candle.open, candle.high, candle.low, candle.close];
        let price = prices.iter().fold(self.price, |scale, price| scale.max(price.scale));
        let wide = Self { price, size: self.size.max(trimmed(candle.volume).1) };
        let missing = trimmed(candle.turnover).1.saturating_sub(wide.turnover(category));
        match category {
            Category::Inverse => (missing == 0).then_some(wide),
            Category::Linear | Category::Spot => Some(Self { size: wide.size.checked_add(missing)?, ..wide }),
        }
    }
}

impl Bucket {
    /// Returns a candle in the integers of its symbol; `None` if it does not fit. Its takers and the number of its trades
    /// are not known: there is at least one if it has volume.
    #[must_use]
    pub fn of_candle(candle: &Candle, grain: Grain, scales: Scales, category: Category) -> Option<Self> {
        let start = candle.start.get();
        let price = |price: crate::trade::Quantity| fit(price.mantissa, scales.price.checked_sub(price.scale)?);
        let sum = |sum: Decimal, scale: u8| {
            let (mantissa, own) = trimmed(sum);
            widen(mantissa, scale.checked_sub(own)?)
        };
        let volume = sum(candle.volume, scales.size)?;
        Some(Self {
            first: TradeOrder { time: start, sequence: 0 },
            last: TradeOrder::candle_end(start + grain.millis() - 1),
            open: price(candle.open)?,
            high: price(candle.high)?,
            low: price(candle.low)?,
            close: price(candle.close)?,
            trades: u64::from(volume > 0),
            volume,
            turnover: sum(candle.turnover, scales.turnover(category))?,
            buy_volume: 0,
            buy_turnover: 0,
        })
    }

    /// Returns what a candle has more than the trades of its window that were counted. Its prices are those of the candle;
    /// if it has more volume, at least one trade was not counted.
    #[must_use]
    pub fn beyond(&self, counted: &Self) -> Self {
        let (volume, turnover) = if counted.is_empty() { (0, 0) } else { (counted.volume, counted.turnover) };
        let volume = self.volume - volume;
        Self { volume, turnover: self.turnover - turnover, trades: u64::from(volume > 0), ..*self }
    }

    /// Adds what a candle has [beyond](Self::beyond) the trades of its window, which are part of this bucket.
    pub fn absorb(&mut self, candle: &Self) {
        if self.is_empty() { *self = *candle } else { self.join(candle) }
    }

    /// Returns whether a candle cannot include the trades of this bucket, which lie in its window.
    #[must_use]
    pub fn contradicts(&self, candle: &Self, category: Category) -> bool {
        if self.is_empty() {
            return false;
        }
        // Each turnover of an inverse contract is rounded.
        let rounding = if category == Category::Inverse { i128::from(self.trades) } else { 0 };
        candle.volume < self.volume
            || candle.turnover + rounding < self.turnover
            || candle.high < self.high
            || candle.low > self.low
    }

    /// Returns the time of the last trade, of a candle the earliest one that it can have.
    #[must_use]
    pub const fn last_trade_time(&self) -> Millis {
        if !self.last.is_candle() {
            return self.last.time;
        }
        // A candle of an hour begins at a minute, too, but its last trade may lie before the last minute.
        let (minute, hour) = (Grain::Minute.millis(), Grain::Hour.millis());
        let end = self.last.time + 1;
        let hour_start = end - hour;
        if end % hour == 0 && self.first.time <= hour_start { hour_start } else { end - minute }
    }
}

/// Returns the mantissa and the scale of a number without trailing zeros.
fn trimmed(number: Decimal) -> (i128, u8) {
    let (mut mantissa, mut scale) = (number.mantissa(), number.scale());
    while scale > 0 && mantissa % 10 == 0 {
        (mantissa, scale) = (mantissa / 10, scale - 1);
    }
    (mantissa, scale)
}
