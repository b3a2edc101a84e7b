//! Composes klines of the exchange's minutes. A window becomes a kline only if all of its minutes are there.

use std::sync::Arc;

use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::repair::Candle;
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{MINUTE, Millis};
use klines_domain::trade::Quantity;

/// Returns whether an interval can be composed of minutes.
#[must_use]
pub fn is_composable(interval: Interval) -> bool {
    Interval::MINUTE.tiles(interval)
}

/// The windows of a symbol that are open, one for each interval.
#[derive(Debug)]
pub struct Composer {
    windows: Vec<ComposedWindow>,
    /// The most decimals of prices and of volumes so far.
    decimals: (u8, u8),
}

#[derive(Debug)]
struct ComposedWindow {
    series: SeriesId,
    /// The start of the next minute, if those before it are all in the kline.
    next: Millis,
    kline: Option<Kline>,
}

impl Composer {
    /// Creates a composer for intervals of whole minutes.
    #[must_use]
    pub fn new(category: Category, symbol: &Symbol, intervals: &[Interval]) -> Self {
        let series = intervals.iter().map(|interval| SeriesId::new(category, symbol.clone(), *interval));
        let windows = series.map(|series| ComposedWindow { series, next: 0, kline: None }).collect();
        Self { windows, decimals: (0, 0) }
    }

    /// Adds a minute, which is later than all before it. Appends the klines that end with it to `out`.
    pub fn add(&mut self, minute: &Candle, out: &mut Vec<Arc<Kline>>) {
        let prices = [minute.open, minute.high, minute.low, minute.close];
        let scale = prices.iter().map(|price| price.scale).max().unwrap_or_default();
        let (prices, volumes) = &mut self.decimals;
        (*prices, *volumes) = (scale.max(*prices), minute.volume.scale().max(*volumes));
        for window in &mut self.windows {
            if let Some(kline) = window.add(minute) {
                out.push(Arc::new(Kline { price_decimals: *prices, volume_decimals: *volumes, ..kline }));
            }
        }
    }
}

impl ComposedWindow {
    fn add(&mut self, minute: &Candle) -> Option<Kline> {
        let (at, interval) = (minute.start.get(), self.series.interval);
        self.kline = if interval.start_of(at) == at {
            Some(first(self.series, minute))
        } else {
            self.kline.take().filter(|_| self.next == at).and_then(|kline| joined(&kline, minute))
        };
        self.next = at + MINUTE;
        self.kline.take_if(|kline| kline.end + 1 == at + MINUTE)
    }
}

fn first(series: SeriesId, minute: &Candle) -> Kline {
    let start = minute.start.get();
    let end = series.interval.next(start) - 1;
    let [open, high, low, close] = [minute.open, minute.high, minute.low, minute.close].map(Quantity::to_decimal);
    Kline {
        series,
        start,
        end,
        open,
        high,
        low,
        close,
        volume: minute.volume,
        turnover: minute.turnover,
        buy_volume: Decimal::ZERO,
        buy_turnover: Decimal::ZERO,
        price_decimals: 0,
        volume_decimals: 0,
        trades: 0,
        last_trade_time: 0,
        confirm: true,
        revision: 0,
        quality: Quality::Repaired,
        sequence: 0,
        emitted: end,
    }
}

/// Returns a kline with a further minute; `None` if a sum is too large.
fn joined(kline: &Kline, minute: &Candle) -> Option<Kline> {
    let [high, low, close] = [minute.high, minute.low, minute.close].map(Quantity::to_decimal);
    Some(Kline {
        high: kline.high.max(high),
        low: kline.low.min(low),
        close,
        volume: kline.volume.checked_add(minute.volume)?,
        turnover: kline.turnover.checked_add(minute.turnover)?,
        ..kline.clone()
    })
}

#[cfg(test)]
mod tests {
    use klines_domain::time::ExchangeMillis;

    use super::*;

    /// 2024-01-01T00:00:00Z.
    const T0: Millis = 1_704_067_200_000;

    fn minute(number: i64, price: i64) -> Candle {
        let price = |more| Quantity { mantissa: price + more, scale: 1 };
        Candle {
            start: ExchangeMillis::new(T0 + number * MINUTE),
            open: price(0),
            high: price(5),
            low: price(-5),
            close: price(1),
            volume: Decimal::new(15, 1),
            turnover: Decimal::new(1_234, 2),
        }
    }

    fn compose(minutes: impl IntoIterator<Item = i64>, intervals: &str) -> Vec<Arc<Kline>> {
        let intervals: Vec<Interval> = intervals.split(',').map(|interval| interval.parse().unwrap()).collect();
        let mut composer = Composer::new(Category::Linear, &Symbol::new("BTCUSDT").unwrap(), &intervals);
        let mut klines = Vec::new();
        minutes.into_iter().for_each(|number| composer.add(&minute(number, 1_000 + number), &mut klines));
        klines
    }

    #[test]
    fn a_window_is_the_sum_of_its_minutes() {
        let klines = compose(0..60, "1m,1h");
        assert_eq!(klines.len(), 61);
        let hour = &klines[60];
        assert_eq!((hour.start, hour.end), (T0, T0 + 60 * MINUTE - 1));
        let said = [hour.open, hour.high, hour.low, hour.close, hour.volume, hour.turnover].map(|it| it.to_string());
        assert_eq!(said, ["100", "106.4", "99.5", "106", "90", "740.4"]);
        assert_eq!((hour.quality, hour.trades, hour.price_decimals), (Quality::Repaired, 0, 1));
    }

    #[test]
    fn a_window_without_one_of_its_minutes_is_none() {
        let starts = |klines: Vec<Arc<Kline>>| klines.iter().map(|it| (it.start - T0) / MINUTE).collect::<Vec<_>>();
        assert_eq!(starts(compose((0..30).filter(|at| *at != 7), "5m")), [0, 10, 15, 20, 25]);
        assert_eq!(starts(compose(3..16, "5m")), [5, 10]);
        assert_eq!(starts(compose((0..15).filter(|at| *at != 5 && *at != 9), "5m")), [0, 10]);
    }

    #[test]
    fn weeks_and_months_are_composed_and_seconds_are_not() {
        let is = |interval: &str| is_composable(interval.parse().unwrap());
        assert!(is("1m") && is("90m") && is("1W") && is("1M"));
        assert!(!is("1s") && !is("30s"));
    }
}
