//! A kline as JSON with every field, decimals as exact text: how it is written down for people and for another run.

use klines_domain::decimal::Decimal;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::Symbol;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::call::Delivery;

/// A kline, field by field. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireKline {
    category: String,
    symbol: String,
    interval: String,
    start: i64,
    end: i64,
    open: String,
    high: String,
    low: String,
    close: String,
    volume: String,
    turnover: String,
    buy_volume: String,
    buy_turnover: String,
    price_decimals: u8,
    volume_decimals: u8,
    trades: u64,
    last_trade_time: i64,
    confirm: bool,
    revision: u32,
    quality: String,
    sequence: u64,
    emitted: i64,
}

/// A field that means nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not {expected} (field `{field}`)")]
pub struct RecordError {
    field: &'static str,
    text: String,
    expected: &'static str,
}

impl From<&Kline> for WireKline {
    fn from(kline: &Kline) -> Self {
        Self {
            category: kline.series.category.as_str().to_owned(),
            symbol: kline.series.symbol.as_str().to_owned(),
            interval: kline.series.interval.to_string(),
            start: kline.start,
            end: kline.end,
            open: kline.open.to_string(),
            high: kline.high.to_string(),
            low: kline.low.to_string(),
            close: kline.close.to_string(),
            volume: kline.volume.to_string(),
            turnover: kline.turnover.to_string(),
            buy_volume: kline.buy_volume.to_string(),
            buy_turnover: kline.buy_turnover.to_string(),
            price_decimals: kline.price_decimals,
            volume_decimals: kline.volume_decimals,
            trades: kline.trades,
            last_trade_time: kline.last_trade_time,
            confirm: kline.confirm,
            revision: kline.revision,
            quality: kline.quality.as_str().to_owned(),
            sequence: kline.sequence,
            emitted: kline.emitted,
        }
    }
}

impl TryFrom<&WireKline> for Kline {
    type Error = RecordError;

    fn try_from(wire: &WireKline) -> Result<Self, RecordError> {
        let decimal = |field, text: &str| Decimal::parse(text).map_err(|_| error(field, text, "a decimal number"));
        let quality = |quality: &Quality| quality.as_str() == wire.quality;
        let category = wire.category.parse().map_err(|_| error("category", &wire.category, "a category"))?;
        let symbol = Symbol::new(&wire.symbol).map_err(|_| error("symbol", &wire.symbol, "a symbol's name"))?;
        let interval = wire.interval.parse().map_err(|_| error("interval", &wire.interval, "an interval"))?;
        Ok(Self {
            series: SeriesId::new(category, symbol, interval),
            start: wire.start,
            end: wire.end,
            open: decimal("open", &wire.open)?,
            high: decimal("high", &wire.high)?,
            low: decimal("low", &wire.low)?,
            close: decimal("close", &wire.close)?,
            volume: decimal("volume", &wire.volume)?,
            turnover: decimal("turnover", &wire.turnover)?,
            buy_volume: decimal("buy_volume", &wire.buy_volume)?,
            buy_turnover: decimal("buy_turnover", &wire.buy_turnover)?,
            price_decimals: wire.price_decimals,
            volume_decimals: wire.volume_decimals,
            trades: wire.trades,
            last_trade_time: wire.last_trade_time,
            confirm: wire.confirm,
            revision: wire.revision,
            quality: [Quality::Complete, Quality::Partial, Quality::Gapped, Quality::Repaired]
                .into_iter()
                .find(quality)
                .ok_or_else(|| error("quality", &wire.quality, "a quality"))?,
            sequence: wire.sequence,
            emitted: wire.emitted,
        })
    }
}

fn error(field: &'static str, text: &str, expected: &'static str) -> RecordError {
    RecordError { field, text: text.to_owned(), expected }
}

/// A delivery, kline by kline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireDelivery {
    /// Closed klines lost before it.
    pub lost: u64,
    /// The klines.
    pub klines: Vec<WireKline>,
}

impl From<&Delivery> for WireDelivery {
    fn from(delivery: &Delivery) -> Self {
        Self { lost: delivery.lost, klines: delivery.klines.iter().map(|kline| WireKline::from(&**kline)).collect() }
    }
}

impl TryFrom<&WireDelivery> for Delivery {
    type Error = RecordError;

    fn try_from(wire: &WireDelivery) -> Result<Self, RecordError> {
        let klines = wire.klines.iter().map(|kline| Kline::try_from(kline).map(Into::into));
        Ok(Self { lost: wire.lost, klines: klines.collect::<Result<_, _>>()?, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::kline;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let kline = kline("BTCUSDT", "1m", 2, true);
        let text = serde_json::to_string(&WireKline::from(&kline)).unwrap();
        let wire: WireKline = serde_json::from_str(&text).unwrap();
        assert_eq!(Kline::try_from(&wire).unwrap(), kline);
    }

    #[test]
    fn a_senseless_field_is_named() {
        let mut wire = WireKline::from(&kline("BTCUSDT", "1m", 2, true));
        wire.turnover = "1e5".into();
        assert_eq!(Kline::try_from(&wire).unwrap_err().to_string(), "`1e5` is not a decimal number (field `turnover`)");
    }
}
