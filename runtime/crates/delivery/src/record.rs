//! Writes and reads deliveries in dead letters and crash reports: klines as the JSON of [`encode::object`].

use std::sync::Arc;

use klines_domain::decimal::Decimal;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::Symbol;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::call::Delivery;
use crate::encode;

/// A kline on disk, field by field. Times are milliseconds since 1970.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKline {
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

/// Why a kline cannot be read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It is not a JSON object with every field and no other.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A field has an invalid value.
    #[error("`{text}` is not {expected} (field `{field}`)")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Its text.
        text: String,
        /// What is expected instead.
        expected: &'static str,
    },
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
    RecordError::Field { field, text: text.to_owned(), expected }
}

/// Reads a kline.
///
/// # Errors
/// It is not a JSON object with every field and no other, or a field has an invalid value.
fn read(text: &RawValue) -> Result<Kline, RecordError> {
    let wire: WireKline = serde_json::from_str(text.get())?;
    Kline::try_from(&wire)
}

/// A delivery on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireDelivery {
    /// Closed klines that were lost before it.
    pub lost: u64,
    /// The klines.
    pub klines: Vec<Box<RawValue>>,
}

impl TryFrom<&Delivery> for WireDelivery {
    type Error = serde_json::Error;

    fn try_from(delivery: &Delivery) -> serde_json::Result<Self> {
        let written = |kline: &Arc<Kline>| {
            let mut text = String::new();
            encode::object(kline, &mut text);
            RawValue::from_string(text)
        };
        Ok(Self { lost: delivery.lost, klines: delivery.klines.iter().map(written).collect::<Result<_, _>>()? })
    }
}

impl TryFrom<&WireDelivery> for Delivery {
    type Error = RecordError;

    fn try_from(wire: &WireDelivery) -> Result<Self, RecordError> {
        let klines = wire.klines.iter().map(|text| read(text).map(Into::into));
        Ok(Self { lost: wire.lost, klines: klines.collect::<Result<_, _>>()?, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::kline;

    fn written(kline: Kline) -> WireDelivery {
        let delivery = Delivery { klines: [Arc::new(kline)].into(), lost: 3, ..Delivery::default() };
        WireDelivery::try_from(&delivery).unwrap()
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let kline = kline("BTCUSDT", "1m", 2, true);
        let text = serde_json::to_string(&written(kline.clone())).unwrap();
        let wire: WireDelivery = serde_json::from_str(&text).unwrap();
        let read = Delivery::try_from(&wire).unwrap();
        assert_eq!((read.lost, &*read.klines[0]), (3, &kline));
    }

    #[test]
    fn an_invalid_field_is_named() {
        let mut wire = written(kline("BTCUSDT", "1m", 2, true));
        let text = wire.klines[0].get();
        let (invalid, short) = (text.replace("20011.4375", "1e5"), text.replace("\"revision\":0,", ""));
        wire.klines = vec![RawValue::from_string(invalid).unwrap()];
        let error = Delivery::try_from(&wire).unwrap_err().to_string();
        assert_eq!(error, "`1e5` is not a decimal number (field `turnover`)");
        wire.klines = vec![RawValue::from_string(short).unwrap()];
        assert!(Delivery::try_from(&wire).unwrap_err().to_string().contains("missing field `revision`"));
    }
}
