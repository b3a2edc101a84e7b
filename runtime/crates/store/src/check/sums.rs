//! Checks that a kline is the sum of the shorter ones in its window, where all of them are complete.

use std::sync::Arc;

use klines_delivery::history::{Query, Side};
use klines_domain::decimal::Decimal;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;

use super::MAX_FAULTS;
use crate::error::StoreError;
use crate::reader::Reader;

/// How many short klines are read at once.
const PARTS: Millis = 20_000;
/// A kline with more short ones than this is not compared.
const MAX_PARTS: Millis = 100_000;

/// Returns how many klines were compared.
pub(super) fn check(reader: &Reader, faults: &mut Vec<String>) -> Result<u64, StoreError> {
    let all = reader.series()?;
    let mut compared = 0;
    for long in &all {
        let parts_of = |short: &&SeriesKey| {
            let is_same = (short.category, &short.symbol) == (long.category, &long.symbol);
            is_same && short.interval != long.interval && short.interval.tiles(long.interval)
        };
        // The longest ones are the fewest.
        let short = all.iter().filter(parts_of).max_by_key(|short| short.interval.nominal_millis());
        let count = |short: &SeriesKey| long.interval.nominal_millis() / short.interval.nominal_millis();
        let Some(short) = short.filter(|short| count(short) <= MAX_PARTS) else { continue };
        compared += compare(reader, (short, long), PARTS / count(short), faults)?;
    }
    Ok(compared)
}

/// Compares the klines of a series with those of a shorter interval, `page` of them at a time.
fn compare(
    reader: &Reader,
    (short, long): (&SeriesKey, &SeriesKey),
    page: Millis,
    faults: &mut Vec<String>,
) -> Result<u64, StoreError> {
    let limit = usize::try_from(page).unwrap_or(1).max(1);
    let (mut from, mut compared) = (Millis::MIN, 0);
    loop {
        let query = Query { series: long.clone(), from, to: Millis::MAX, limit, side: Side::Oldest };
        let longs = reader.read(&query)?;
        let (Some(first), Some(last)) = (longs.first(), longs.last()) else { return Ok(compared) };
        let query =
            Query { series: short.clone(), from: first.start, to: last.end, limit: usize::MAX, side: Side::Oldest };
        let shorts = reader.read(&query)?;
        from = last.start + 1;
        for kline in longs.iter().filter(|kline| kline.quality == Quality::Complete) {
            let Some(parts) = parts_of(kline, &shorts) else { continue };
            compared += 1;
            if let Some((field, sum)) = difference(kline, parts).filter(|_| faults.len() < MAX_FAULTS) {
                let SeriesKey { category, symbol, interval } = long;
                let (start, short) = (kline.start, short.interval);
                faults.push(format!(
                    "{category} {symbol} {interval} {start}: {field} is not {sum}, that of its {short} klines"
                ));
            }
        }
    }
}

/// Returns the klines of the window of another one, if they are complete and there are all.
fn parts_of<'a>(kline: &Kline, shorts: &'a [Arc<Kline>]) -> Option<&'a [Arc<Kline>]> {
    let first = shorts.partition_point(|short| short.start < kline.start);
    let end = shorts.partition_point(|short| short.start <= kline.end);
    let parts = shorts.get(first..end)?;
    let mut next = kline.start;
    for part in parts {
        if part.start != next || part.quality != Quality::Complete {
            return None;
        }
        next = part.end + 1;
    }
    (next == kline.end + 1).then_some(parts)
}

/// Returns the first field in which a kline is not the sum of its parts, and the sum.
fn difference(kline: &Kline, parts: &[Arc<Kline>]) -> Option<(&'static str, String)> {
    // Klines that open with their first trade take no part of the prices of windows without trades.
    let traded: Vec<&Arc<Kline>> = parts.iter().filter(|part| part.trades > 0).collect();
    let all: Vec<&Arc<Kline>> = parts.iter().collect();
    let [of_all, of_traded] = [&all, &traded].map(|parts| prices(parts));
    let of_kline = [kline.open, kline.high, kline.low, kline.close];
    if of_all != Some(of_kline) && of_traded != Some(of_kline) {
        let differing = ["open", "high", "low", "close"].into_iter().zip(of_kline).zip(of_all?);
        let differing = differing.map(|((name, own), sum)| (name, own, sum)).find(|(_, own, sum)| own != sum);
        return differing.map(|(name, _, sum)| (name, sum.to_string()));
    }
    let names = ["volume", "turnover", "buy_volume", "buy_turnover"];
    for (at, (name, own)) in names.into_iter().zip(sums(kline)).enumerate() {
        let of = |part: &Arc<Kline>| sums(part).get(at).copied().unwrap_or_default();
        let sum = parts.iter().try_fold(Decimal::ZERO, |sum, part| sum.checked_add(of(part)));
        if sum.is_some_and(|sum| sum != own) {
            return sum.map(|sum| (name, sum.to_string()));
        }
    }
    let trades: u64 = parts.iter().map(|part| part.trades).sum();
    (trades != kline.trades).then(|| ("trades", trades.to_string()))
}

fn prices(parts: &[&Arc<Kline>]) -> Option<[Decimal; 4]> {
    let (first, last) = (parts.first()?, parts.last()?);
    let high = parts.iter().map(|part| part.high).max()?;
    let low = parts.iter().map(|part| part.low).min()?;
    Some([first.open, high, low, last.close])
}

const fn sums(kline: &Kline) -> [Decimal; 4] {
    [kline.volume, kline.turnover, kline.buy_volume, kline.buy_turnover]
}

#[cfg(test)]
mod tests;
