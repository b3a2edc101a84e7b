//! A kline that is not the sum of its parts is a fault; one of which a part is missing or not complete is not compared.

use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::MINUTE;

use super::*;
use crate::backfill::Backfill;
use crate::{check, file};

/// 2024-01-01T00:00:00Z.
const T0: Millis = 1_704_067_200_000;

fn kline(interval: &str, minute: i64, price: i128, trades: u64) -> Kline {
    let series = SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), interval.parse().unwrap());
    let start = T0 + minute * MINUTE;
    let (end, volume) = (series.interval.next(start) - 1, i128::from(trades));
    Kline {
        series,
        start,
        end,
        open: Decimal::new(price, 1),
        high: Decimal::new(price + 2, 1),
        low: Decimal::new(price, 1),
        close: Decimal::new(price + 1, 1),
        volume: Decimal::new(volume * 5, 1),
        turnover: Decimal::new(volume * 55, 2),
        buy_volume: Decimal::new(volume * 2, 1),
        buy_turnover: Decimal::new(volume * 22, 2),
        price_decimals: 1,
        volume_decimals: 1,
        trades,
        last_trade_time: end,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: 0,
        emitted: end,
    }
}

/// Returns the check of a store with five minutes and the kline that `change` makes of their sum.
fn verdict(change: impl FnOnce(&mut Vec<Kline>)) -> check::Verdict {
    let mut klines: Vec<Kline> = (0..5).map(|minute| kline("1m", minute, 1_000 + i128::from(minute), 3)).collect();
    let whole = Kline { high: Decimal::new(1_006, 1), close: Decimal::new(1_005, 1), ..kline("5m", 0, 1_000, 15) };
    klines.push(whole);
    change(&mut klines);
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let mut backfill = Backfill::open(&path, "live").unwrap();
    backfill.store(&klines.into_iter().map(Arc::new).collect::<Vec<_>>()).unwrap();
    backfill.close().unwrap();
    check::verify(&path).unwrap()
}

#[test]
fn a_kline_is_the_sum_of_its_parts() {
    let sound = verdict(|_| {});
    assert_eq!((sound.sums, sound.faults), (1, Vec::<String>::new()));
    let fault = |change: fn(&mut Kline)| {
        let verdict = verdict(|klines| change(klines.last_mut().unwrap()));
        assert_eq!((verdict.sums, verdict.faults.len()), (1, 1), "{:?}", verdict.faults);
        verdict.faults[0].clone()
    };
    assert_eq!(
        fault(|kline| kline.volume = Decimal::new(76, 1)),
        "linear BTCUSDT 5m 1704067200000: volume is not 7.5, that of its 1m klines"
    );
    assert!(fault(|kline| kline.trades = 14).contains("trades is not 15"));
    assert!(fault(|kline| kline.high = Decimal::new(1_007, 1)).contains("high is not 100.6"));
    assert!(fault(|kline| kline.open = Decimal::new(1_001, 1)).contains("open is not 100"));
}

#[test]
fn what_is_not_known_is_not_compared() {
    assert_eq!(verdict(|klines| klines.retain(|kline| kline.start != T0 + 2 * MINUTE)).sums, 0);
    assert_eq!(verdict(|klines| klines[3].quality = Quality::Gapped).sums, 0);
    assert_eq!(verdict(|klines| klines[5].quality = Quality::Repaired).sums, 0);
}
