//! A simple model of the contract: sorts all trades, cuts them into windows, and looks back for opens.

use std::collections::BTreeMap;

use num_bigint::BigInt;

use super::*;

/// The expected final revision of a closed kline. Amounts are in units of `10^-8` and `10^-16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) prices: [String; 4],
    pub(super) volume: BigInt,
    pub(super) turnover: BigInt,
    pub(super) buy_volume: BigInt,
    pub(super) trades: u64,
}

/// Returns the final klines by (interval, start) for one symbol that was watched from `since` until `until`.
pub(super) fn klines(
    trades: &[Trade],
    settings: &Settings,
    since: ExchangeMillis,
    until: ExchangeMillis,
) -> BTreeMap<(Interval, Millis), Expected> {
    let (since, until) = (since.get(), until.get());
    let mut sorted: Vec<&Trade> = trades.iter().collect();
    sorted.sort_by_key(|trade| (trade.time, trade.sequence));
    let mut klines = BTreeMap::new();
    for interval in &settings.intervals {
        let mut start = interval.start_of(since);
        while interval.next(start) - 1 + settings.grace <= until {
            let end = interval.next(start) - 1;
            let inside: Vec<&&Trade> =
                sorted.iter().filter(|trade| (start..=end).contains(&trade.time.get())).collect();
            let before = sorted.iter().rfind(|trade| trade.time.get() < start);
            let opens = before.filter(|_| settings.open == Open::PreviousClose || inside.is_empty());
            let fills = settings.fill.applies(*interval) && before.is_some() && since <= start;
            if !inside.is_empty() || fills {
                let prices = opens.into_iter().chain(inside.iter().copied()).map(|trade| trade.price.to_decimal());
                let prices: Vec<_> = prices.collect();
                let shown =
                    [prices[0], *prices.iter().max().unwrap(), *prices.iter().min().unwrap(), *prices.last().unwrap()];
                let bought = inside.iter().filter(|trade| trade.side == Side::Buy);
                let expected = Expected {
                    prices: shown.map(|price| price.to_string()),
                    volume: inside.iter().map(|trade| units(trade.size)).sum(),
                    turnover: inside.iter().map(|trade| units(trade.size) * units(trade.price)).sum(),
                    buy_volume: bought.map(|trade| units(trade.size)).sum(),
                    trades: inside.len() as u64,
                };
                klines.insert((*interval, start), expected);
            }
            start = interval.next(start);
        }
    }
    klines
}

/// Returns the final klines in an aggregator's output.
pub(super) fn emitted(batches: &[Batch]) -> BTreeMap<(Interval, Millis), Expected> {
    let confirmed = batches.iter().flat_map(|batch| &batch.klines).filter(|kline| kline.confirm);
    confirmed
        .map(|kline| {
            let expected = Expected {
                prices: [kline.open, kline.high, kline.low, kline.close].map(|price| price.to_string()),
                volume: scaled(kline.volume, 8),
                turnover: scaled(kline.turnover, 16),
                buy_volume: scaled(kline.buy_volume, 8),
                trades: kline.trades,
            };
            ((kline.series.interval, kline.start), expected)
        })
        .collect()
}

fn units(quantity: Quantity) -> BigInt {
    scaled(quantity.to_decimal(), 8)
}

fn scaled(value: crate::decimal::Decimal, decimals: u8) -> BigInt {
    let value = value.trimmed();
    BigInt::from(value.mantissa()) * BigInt::from(10).pow(u32::from(decimals - value.scale()))
}
