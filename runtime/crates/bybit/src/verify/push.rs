//! A kline push of the exchange, and our values as the same six texts.

use klines_domain::decimal::Decimal;
use klines_domain::time::{ExchangeMillis, Millis};
use serde::Deserialize;

use super::OurKline;

/// The compared fields, in this order.
pub(super) const FIELDS: [&str; 6] = ["open", "high", "low", "close", "volume", "turnover"];

/// The six values as text; they are compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values(pub(super) [String; 6]);

/// One element of a kline frame's `data`.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) start: Millis,
    pub(super) end: Millis,
    pub(super) stamped: ExchangeMillis,
    pub(super) values: Values,
}

/// ```json
/// {"topic":"kline.1.ETHUSDT","data":[{"start":1786310760000,"end":1786310819999,"interval":"1","open":"1922.43",
///  "close":"1922.48","high":"1922.48","low":"1922.42","volume":"15.7","turnover":"30182.0724","confirm":false,
///  "timestamp":1786310819124}],"ts":1786310819124,"type":"snapshot"}
/// ```
#[derive(Deserialize)]
struct WireFrame {
    data: Vec<WireKline>,
    ts: Millis,
}

#[derive(Deserialize)]
struct WireKline {
    start: Millis,
    end: Millis,
    open: String,
    high: String,
    low: String,
    close: String,
    volume: String,
    turnover: String,
}

/// Parses the pushes of a `kline` frame.
pub(super) fn read(text: &str) -> Option<Vec<Push>> {
    let WireFrame { data, ts } = serde_json::from_str(text).ok()?;
    let push = |kline: WireKline| {
        let WireKline { start, end, open, high, low, close, volume, turnover } = kline;
        Push {
            start,
            end,
            stamped: ExchangeMillis::new(ts),
            values: Values([open, high, low, close, volume, turnover]),
        }
    };
    Some(data.into_iter().map(push).collect())
}

impl Values {
    /// Returns the close as a number, or zero if it is not a number; zero differs from every real price.
    pub(super) fn close(&self) -> Decimal {
        let [_, _, _, close, _, _] = &self.0;
        Decimal::parse(close).unwrap_or(Decimal::ZERO)
    }

    /// Returns our values: the open is the previous close; high and low include it.
    pub(super) fn of(ours: &OurKline) -> Self {
        let OurKline { bucket, scales, category, previous } = ours;
        let price = |mantissa: i64| Decimal::new(i128::from(mantissa), scales.price);
        let prices = match (previous, bucket.is_empty()) {
            (Some(open), true) => [*open; 4],
            (None, true) => [Decimal::ZERO; 4],
            (previous, false) => {
                let open = previous.unwrap_or(price(bucket.open));
                [open, price(bucket.high).max(open), price(bucket.low).min(open), price(bucket.close)]
            }
        };
        let [open, high, low, close] = prices.map(|price| price.to_string());
        let volume = Decimal::new(bucket.volume, scales.size).to_string();
        let turnover = Decimal::new(bucket.turnover, scales.turnover(*category)).to_string();
        Self([open, high, low, close, volume, turnover])
    }
}
