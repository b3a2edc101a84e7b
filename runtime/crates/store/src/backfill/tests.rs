//! What is better replaces what is stored, what is equal costs nothing, and what contradicts is reported.

use klines_domain::decimal::Decimal;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::MINUTE;

use super::*;
use crate::{check, file};

/// 2024-01-01T00:00:00Z.
const T0: Millis = 1_704_067_200_000;

fn kline(minute: i64, quality: Quality, volume: i128) -> Arc<Kline> {
    let series = SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), "1m".parse().unwrap());
    let (start, price, is_exact) = (T0 + minute * MINUTE, Decimal::new(6_400_000, 2), quality == Quality::Complete);
    Arc::new(Kline {
        series,
        start,
        end: start + MINUTE - 1,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: Decimal::new(volume, 3),
        turnover: Decimal::new(volume * 6_400_000, 5),
        buy_volume: Decimal::new(if is_exact { volume / 2 } else { 0 }, 3),
        buy_turnover: Decimal::ZERO,
        price_decimals: 2,
        volume_decimals: 3,
        trades: if is_exact { 4 } else { 0 },
        last_trade_time: if is_exact { start + 7 } else { 0 },
        confirm: true,
        revision: 9,
        quality,
        sequence: 77,
        emitted: 0,
    })
}

fn counts(outcome: &Outcome) -> [u64; 4] {
    [outcome.added, outcome.improved, outcome.unchanged, outcome.conflicting]
}

#[test]
fn the_better_one_stays_whatever_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let mut backfill = Backfill::open(&path, "live").unwrap();
    let qualities = [Quality::Gapped, Quality::Partial, Quality::Repaired, Quality::Complete];
    let first: Vec<_> = (0..4).map(|at| kline(at, qualities[at as usize], 40)).collect();
    assert_eq!(counts(&backfill.store(&first).unwrap()), [4, 0, 0, 0]);
    assert_eq!(counts(&backfill.store(&first).unwrap()), [0, 0, 4, 0]);
    let all = |quality, volume| (0..4).map(|at| kline(at, quality, volume)).collect::<Vec<_>>();
    assert_eq!(counts(&backfill.store(&all(Quality::Gapped, 7)).unwrap()), [0, 0, 4, 0]);
    assert_eq!(counts(&backfill.store(&all(Quality::Repaired, 40)).unwrap()), [0, 2, 2, 0]);
    assert_eq!(counts(&backfill.store(&all(Quality::Complete, 40)).unwrap()), [0, 3, 1, 0]);
    let stored = with_stored(&backfill.reader, &first.iter().collect::<Vec<_>>()).unwrap();
    let seen: Vec<_> = stored
        .iter()
        .filter_map(|(_, stored)| stored.as_ref())
        .map(|kline| (kline.revision, kline.quality, kline.sequence))
        .collect();
    assert_eq!(seen, [2, 2, 1, 0].map(|revision| (revision, Quality::Complete, 0)));
    let outcome = backfill.store(&all(Quality::Complete, 41)).unwrap();
    assert_eq!(counts(&outcome), [0, 0, 0, 4]);
    let first = &outcome.conflicts[0];
    assert_eq!(first.start, T0);
    assert_eq!(first.differences[0], ("volume", "0.04".to_owned(), "0.041".to_owned()));
    assert_eq!(counts(&backfill.store(&all(Quality::Repaired, 41)).unwrap()), [0, 0, 0, 4]);
    let mut comparison = Comparison::default();
    let mut compare = |klines: Vec<_>| comparison.add(backfill.reader(), &klines).unwrap();
    compare(all(Quality::Repaired, 40));
    compare(all(Quality::Partial, 3));
    compare(vec![kline(3, Quality::Complete, 41), kline(4, Quality::Complete, 40)]);
    let Comparison { equal, differing, uncertain, absent, .. } = comparison;
    assert_eq!([equal, differing, uncertain, absent], [4, 1, 4, 1]);
    backfill.close().unwrap();
    assert_eq!(check::verify(&path).unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_run_that_writes_the_store_is_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let writer = Writer::open(&path, "live", Limits::none()).unwrap();
    assert!(matches!(Backfill::open(&path, "live"), Err(StoreError::InUse(_))));
    drop(writer);
    assert!(matches!(Backfill::open(&path, "simulated"), Err(StoreError::OtherOrigin { .. })));
    Backfill::open(&path, "live").unwrap().close().unwrap();
}

#[test]
fn old_klines_are_sealed_although_newer_ones_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let mut backfill = Backfill::open(&path, "live").unwrap();
    let later: Vec<_> = (10_000..10_010).map(|at| kline(at, Quality::Complete, 5)).collect();
    backfill.store(&later).unwrap();
    for part in 0..10 {
        let part: Vec<_> = (part * 100..part * 100 + 100).map(|at| kline(at, Quality::Complete, 5)).collect();
        backfill.store(&part).unwrap();
    }
    let info = check::info(&path).unwrap();
    assert_eq!((info.in_log, info.intervals[0].klines), (0, 1_010));
    assert!(info.intervals[0].bytes < 1_010 * 24, "{info:?}");
    backfill.close().unwrap();
    assert_eq!(check::verify(&path).unwrap().faults, Vec::<String>::new());
}
