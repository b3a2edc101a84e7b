//! A stored kline: integers in the decimals of its block.

use std::sync::Arc;

use klines_domain::decimal::{Decimal, widen};
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;

/// The numbers of decimals that the integers of rows have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decimals {
    pub price: u8,
    pub size: u8,
    pub turnover: u8,
}

/// A confirmed kline without its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub start: Millis,
    pub revision: u32,
    pub sequence: u64,
    pub quality: Quality,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub volume: i128,
    pub turnover: i128,
    pub buy_volume: i128,
    pub buy_turnover: i128,
    pub trades: u64,
    pub last_trade_time: Millis,
}

impl Row {
    /// A row before its numbers are read.
    pub const BLANK: Self = Self {
        start: 0,
        revision: 0,
        sequence: 0,
        quality: Quality::Complete,
        open: 0,
        high: 0,
        low: 0,
        close: 0,
        volume: 0,
        turnover: 0,
        buy_volume: 0,
        buy_turnover: 0,
        trades: 0,
        last_trade_time: 0,
    };

    /// Returns the row of a kline, and its decimals; `None` if a number has more decimals than the kline says, or does not
    /// fit, which the aggregator never makes.
    pub fn of(kline: &Kline) -> Option<(Decimals, Self)> {
        let turnover = kline.turnover.scale().max(kline.buy_turnover.scale());
        let decimals = Decimals { price: kline.price_decimals, size: kline.volume_decimals, turnover };
        let price = |value: Decimal| i64::try_from(at_scale(value, decimals.price)?).ok();
        let row = Self {
            start: kline.start,
            revision: kline.revision,
            sequence: kline.sequence,
            quality: kline.quality,
            open: price(kline.open)?,
            high: price(kline.high)?,
            low: price(kline.low)?,
            close: price(kline.close)?,
            volume: at_scale(kline.volume, decimals.size)?,
            turnover: at_scale(kline.turnover, turnover)?,
            buy_volume: at_scale(kline.buy_volume, decimals.size)?,
            buy_turnover: at_scale(kline.buy_turnover, turnover)?,
            trades: kline.trades,
            last_trade_time: kline.last_trade_time,
        };
        Some((decimals, row))
    }

    /// Returns the kline of the row. The time when it was emitted is not stored; its end takes the place of it.
    pub fn kline(&self, series: SeriesId, decimals: Decimals) -> Arc<Kline> {
        let price = |mantissa: i64| Decimal::new(i128::from(mantissa), decimals.price);
        let size = |mantissa| Decimal::new(mantissa, decimals.size);
        let turnover = |mantissa| Decimal::new(mantissa, decimals.turnover);
        let end = series.interval.next(self.start) - 1;
        Arc::new(Kline {
            series,
            start: self.start,
            end,
            open: price(self.open),
            high: price(self.high),
            low: price(self.low),
            close: price(self.close),
            volume: size(self.volume),
            turnover: turnover(self.turnover),
            buy_volume: size(self.buy_volume),
            buy_turnover: turnover(self.buy_turnover),
            price_decimals: decimals.price,
            volume_decimals: decimals.size,
            trades: self.trades,
            last_trade_time: self.last_trade_time,
            confirm: true,
            revision: self.revision,
            quality: self.quality,
            sequence: self.sequence,
            emitted: end,
        })
    }

    /// Returns whether it says only that nothing was traded at the last price.
    pub fn is_flat(&self) -> bool {
        let has_moved = [self.high, self.low, self.close].iter().any(|price| *price != self.open);
        let sums = [self.volume, self.turnover, self.buy_volume, self.buy_turnover];
        !has_moved && self.trades == 0 && self.last_trade_time == 0 && sums == [0; 4]
    }
}

fn at_scale(value: Decimal, scale: u8) -> Option<i128> {
    let value = if value.scale() > scale { value.trimmed() } else { value };
    widen(value.mantissa(), scale.checked_sub(value.scale())?)
}
