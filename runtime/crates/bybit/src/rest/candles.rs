//! Closed candles of the exchange: `GET /v5/market/kline`. An answer that contradicts itself is an error as a whole.

use klines_domain::decimal::Decimal;
use klines_domain::repair::{Candle, Grain, MAX_CANDLES};
use klines_domain::sanitize::{MAX_SHOWN_BYTES, sanitize};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::Quantity;
use serde::Deserialize;

use super::wire::check_name;
use super::{Reply, RestClient, RestError};
use crate::decode::{is_stamp, quantity};

/// ```json
/// {"category":"linear","symbol":"ETHUSDT","list":[["1786310820000","1922.5","1923","1922.4","1922.9","10.5","20187"]]}
/// ```
#[derive(Debug, Deserialize)]
struct WireCandles {
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    symbol: Option<String>,
    list: Vec<WireCandle>,
}

/// Start, open, high, low, close, volume, turnover.
type WireCandle = [String; 7];

impl RestClient {
    /// Requests the candles that start from `from` to `to`, both included and starts of candles; at most
    /// [`MAX_CANDLES`]. Returns those that are over, oldest first; candles may be missing.
    ///
    /// # Errors
    /// [`RestError`]; [`RestError::Malformed`] also if a row contradicts itself, the others or the request.
    pub async fn candles(
        &self,
        category: Category,
        symbol: &Symbol,
        grain: Grain,
        from: ExchangeMillis,
        to: ExchangeMillis,
    ) -> Result<Reply<Vec<Candle>>, RestError> {
        let interval = grain.millis() / Grain::Minute.millis();
        let (start, end) = (from.get(), to.get());
        let count = usize::try_from(end.saturating_sub(start) / grain.millis() + 1).unwrap_or(1).clamp(1, MAX_CANDLES);
        let query =
            format!("category={category}&symbol={symbol}&interval={interval}&start={start}&end={end}&limit={count}");
        let Reply { result, stamped, received } = self.get::<WireCandles>("kline", &query).await?;
        check_name("category", result.category.as_deref(), category.as_str())?;
        check_name("symbol", result.symbol.as_deref(), symbol.as_str())?;
        if !is_stamp(stamped) {
            // It decides which candles are over.
            return Err(RestError::Malformed(format!("time {}", stamped.get())));
        }
        let mut candles: Vec<Candle> = Vec::with_capacity(result.list.len());
        // Newest first on the wire.
        for row in result.list.iter().rev() {
            let candle = candle(row).and_then(|candle| {
                let is_requested = (from..=to).contains(&candle.start) && candle.start.get() % grain.millis() == 0;
                let is_later = candles.last().is_none_or(|last| last.start < candle.start);
                if !is_requested {
                    Err("start is not one of the requested ones")
                } else if !is_later {
                    Err("not newer than the row after it")
                } else {
                    Ok(candle)
                }
            });
            candles.push(candle.map_err(|problem| contradiction(row, problem))?);
        }
        candles.retain(|candle| candle.start.saturating_add(grain.millis()) <= stamped);
        Ok(Reply { result: candles, stamped, received })
    }
}

fn contradiction([start, ..]: &WireCandle, problem: &str) -> RestError {
    RestError::Malformed(format!("candle {}: {problem}", sanitize(start, MAX_SHOWN_BYTES)))
}

/// Returns the candle of a row, or what is wrong with the row.
fn candle([start, open, high, low, close, volume, turnover]: &WireCandle) -> Result<Candle, &'static str> {
    let price = |text: &str, problem| quantity(text.as_bytes()).ok_or(problem);
    let sum = |text: &str, problem| Decimal::parse(text).ok().filter(|sum| *sum >= Decimal::ZERO).ok_or(problem);
    let candle = Candle {
        start: start.parse::<Millis>().map(ExchangeMillis::new).map_err(|_| "start is not a time")?,
        open: price(open, "open is not a price")?,
        high: price(high, "high is not a price")?,
        low: price(low, "low is not a price")?,
        close: price(close, "close is not a price")?,
        volume: sum(volume, "volume is not a sum")?,
        turnover: sum(turnover, "turnover is not a sum")?,
    };
    check(&candle).map(|()| candle)
}

fn check(candle: &Candle) -> Result<(), &'static str> {
    let [open, high, low, close] = [candle.open, candle.high, candle.low, candle.close].map(Quantity::to_decimal);
    let is_within = |price: Decimal| low <= price && price <= high;
    let has_trades = candle.volume > Decimal::ZERO;
    if low > high {
        Err("high is below low")
    } else if !is_within(open) || !is_within(close) {
        Err("open or close is outside low and high")
    } else if has_trades != (candle.turnover > Decimal::ZERO) {
        Err("only one of volume and turnover is zero")
    } else if !has_trades && low != high {
        Err("prices move without volume")
    } else {
        Ok(())
    }
}
