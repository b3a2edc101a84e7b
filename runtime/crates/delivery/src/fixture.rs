//! Klines, batches and values for tests.

#![allow(clippy::unwrap_used, reason = "klines made up for tests")]

use std::sync::Arc;

use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};

use super::emit::{Emitter, Point, Value};
use crate::call::Subscription;

/// Returns a linear kline of the `window`-th window, with an open of 16578.5 and a high of 16580.25.
pub fn kline(symbol: &str, interval: &str, window: i64, confirm: bool) -> Kline {
    let interval: Interval = interval.parse().unwrap();
    let start = window * interval.nominal_millis();
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new(symbol).unwrap(), interval),
        start,
        end: interval.next(start) - 1,
        open: Decimal::parse("16578.5").unwrap(),
        high: Decimal::parse("16580.25").unwrap(),
        low: Decimal::parse("16578").unwrap(),
        close: Decimal::parse("16580").unwrap(),
        volume: Decimal::parse("1.207").unwrap(),
        turnover: Decimal::parse("20011.4375").unwrap(),
        buy_volume: Decimal::parse("0.5").unwrap(),
        buy_turnover: Decimal::parse("8289.25").unwrap(),
        price_decimals: 2,
        volume_decimals: 3,
        trades: 7,
        last_trade_time: start + 5,
        confirm,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: start + 60_080,
    }
}

/// Returns the same kline in another category.
pub fn in_category(category: Category, kline: &Kline) -> Kline {
    Kline { series: kline.series.in_category(category), ..*kline }
}

/// Returns the klines as one batch of the hub.
pub fn batch(klines: impl IntoIterator<Item = Kline>) -> Batch {
    Batch { klines: klines.into_iter().map(Arc::new).collect() }
}

/// Returns a subscription to everything.
pub fn everything() -> Subscription {
    Subscription::default()
}

/// Returns a value that a consumer published in its series `name` for the `window`-th minute of BTCUSDT; `json` is its
/// text.
pub fn point(consumer: &str, name: &str, window: i64, confirm: bool, json: &str) -> Point {
    let emitter = Emitter::new(consumer, 1, None);
    emitter.point(name.into(), &kline("BTCUSDT", "1m", window, confirm), Value::Json(json.into()))
}
