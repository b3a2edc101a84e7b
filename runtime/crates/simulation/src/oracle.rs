//! Computes klines from the exchange's tape, window by window, with arithmetic of its own.

pub mod windows;

use klines_domain::time::Millis;

use super::market::{PRICE_DECIMALS, SIZE_DECIMALS, TapeTrade};

/// A kline as decimal numbers written out, so that two are equal only if every digit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub prices: [String; 4],
    pub volume: String,
    pub turnover: String,
    pub buy_volume: String,
    pub buy_turnover: String,
    pub trades: u64,
    pub last_trade_time: Millis,
}

/// Computes the kline of the window from `start` to `end`, both included; `None` if nothing has traded by its end.
pub fn row(tape: &[TapeTrade], start: Millis, end: Millis) -> Option<Row> {
    let first = tape.partition_point(|trade| trade.time < start);
    let after = tape.partition_point(|trade| trade.time <= end);
    let inside = tape.get(first..after)?;
    let before = first.checked_sub(1).and_then(|at| tape.get(at));
    let open = before.or(inside.first())?.price;
    let close = inside.last().map_or(open, |trade| trade.price);
    let (mut high, mut low) = (open, open);
    let (mut volume, mut turnover, mut bought, mut paid) = (0i128, 0i128, 0i128, 0i128);
    for trade in inside {
        (high, low) = (high.max(trade.price), low.min(trade.price));
        let (size, value) = (i128::from(trade.size), i128::from(trade.size) * i128::from(trade.price));
        (volume, turnover) = (volume + size, turnover + value);
        if trade.is_buy {
            (bought, paid) = (bought + size, paid + value);
        }
    }
    let sizes = |sum| decimal(sum, SIZE_DECIMALS);
    let values = |sum| decimal(sum, SIZE_DECIMALS + PRICE_DECIMALS);
    Some(Row {
        prices: [open, high, low, close].map(|price| decimal(price.into(), PRICE_DECIMALS)),
        volume: sizes(volume),
        turnover: values(turnover),
        buy_volume: sizes(bought),
        buy_turnover: values(paid),
        trades: inside.len() as u64,
        last_trade_time: inside.last().map_or(0, |trade| trade.time),
    })
}

/// Writes units of `10^-digits` without trailing zeros.
fn decimal(units: i128, digits: u8) -> String {
    let scale = 10i128.pow(digits.into());
    let text = format!("{}.{:0width$}", units / scale, units % scale, width = digits.into());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
