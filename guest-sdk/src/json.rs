//! Encodes one kline as one JSON object with exact digits, in the format that the shipped consumers write. It is not
//! one of the runtime's wire formats.

use serde::Serialize;

use crate::{ExactKline, Failure, Interval, Kline};

/// A kline as JSON: prices and amounts are strings of exact digits, times are milliseconds UTC, names are those of
/// Bybit.
#[derive(Debug, Serialize)]
pub struct JsonKline<'a> {
    category: &'static str,
    symbol: &'a str,
    interval: &'a Interval,
    start: u64,
    end: u64,
    open: &'a str,
    high: &'a str,
    low: &'a str,
    close: &'a str,
    volume: &'a str,
    turnover: &'a str,
    buy_volume: &'a str,
    buy_turnover: &'a str,
    trades: u64,
    last_trade_time: u64,
    confirm: bool,
    revision: u32,
    quality: &'static str,
    sequence: u64,
}

impl<'a> JsonKline<'a> {
    /// Makes the JSON form of a kline from the kline and its exact digits.
    #[must_use]
    pub fn new(kline: &'a Kline, digits: &'a ExactKline) -> Self {
        Self {
            category: kline.category.name(),
            symbol: &kline.symbol,
            interval: &kline.interval,
            start: kline.start,
            end: kline.end,
            open: &digits.open,
            high: &digits.high,
            low: &digits.low,
            close: &digits.close,
            volume: &digits.volume,
            turnover: &digits.turnover,
            buy_volume: &digits.buy_volume,
            buy_turnover: &digits.buy_turnover,
            trades: kline.trades,
            last_trade_time: kline.last_trade_time,
            confirm: kline.confirm,
            revision: kline.revision,
            quality: kline.quality.name(),
            sequence: kline.sequence,
        }
    }

    /// Appends the object and a line feed to `out`.
    ///
    /// # Errors
    /// A fatal failure if the object cannot be written as JSON; no kline is known to cause that.
    pub fn append_line(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        serde_json::to_writer(&mut *out, self)
            .map_err(|e| Failure::fatal(format!("cannot write {} as json: {e}", self.symbol)))?;
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, testing};

    #[test]
    fn a_line_holds_every_field_with_exact_digits() {
        let batch = Batch { klines: vec![testing::kline("BTCUSDT", "1m", 60_000)], lost: 0 };
        let digits = ExactKline { turnover: "123456789012345678.00000001".into(), ..batch.exact(0) };
        let mut out = Vec::new();
        JsonKline::new(&batch.klines[0], &digits).append_line(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"category\":\"linear\",\"symbol\":\"BTCUSDT\",\"interval\":\"1m\",\"start\":60000,\"end\":119999,\
             \"open\":\"1\",\"high\":\"1\",\"low\":\"1\",\"close\":\"1\",\"volume\":\"1\",\
             \"turnover\":\"123456789012345678.00000001\",\"buy_volume\":\"1\",\"buy_turnover\":\"1\",\"trades\":1,\
             \"last_trade_time\":60000,\"confirm\":true,\"revision\":0,\"quality\":\"complete\",\"sequence\":1}\n"
        );
    }
}
