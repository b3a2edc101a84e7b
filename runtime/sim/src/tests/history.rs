//! REST klines from before the start of the exchange, and how they join those of the trades.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    client::{Client, get},
    still,
};
use crate::{Activity, Category, Fault, Instrument, Market, Side, Sim, SimConfig, amount::Amount, interval::Interval};

/// A row of a kline answer: its start, then open, high, low, close, volume and turnover.
type KlineRow = (i64, [Amount; 6]);

async fn rows(sim: &Sim, category: Category, symbol: &str, query: &str) -> Vec<KlineRow> {
    let path = format!("/v5/market/kline?category={category}&symbol={symbol}&{query}");
    let (_, body) = get(sim, &path).await;
    let list = body["result"]["list"].as_array().unwrap_or_else(|| panic!("{body}"));
    let row = |row: &Value| {
        let texts: Vec<&str> = row.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let numbers = [1, 2, 3, 4, 5, 6].map(|n| Amount::parse(texts[n]).unwrap());
        (texts[0].parse().unwrap(), numbers)
    };
    list.iter().rev().map(row).collect()
}

fn texts(row: &KlineRow) -> [String; 6] {
    row.1.map(Amount::trimmed)
}

/// Returns the rows of `interval` that are composed of these rows, which have no holes.
fn compose(rows: &[KlineRow], interval: Interval) -> Vec<KlineRow> {
    let mut composed = BTreeMap::<i64, [Amount; 6]>::new();
    for (start, row) in rows {
        let whole = composed.entry(interval.start_of(*start));
        whole
            .and_modify(|sum| {
                *sum =
                    [sum[0], sum[1].max(row[1]), sum[2].min(row[2]), row[3], sum[4].plus(row[4]), sum[5].plus(row[5])];
            })
            .or_insert(*row);
    }
    composed.into_iter().collect()
}

fn lively(category: Category, symbol: &str) -> Instrument {
    let (price, tick, step) = match category {
        Category::Linear => ("1922.50", "0.01", "0.01"),
        Category::Spot => ("1923.3", "0.1", "0.00001"),
        Category::Inverse => ("64250.0", "0.50", "1"),
    };
    Instrument::new(category, symbol, price, tick, step).unwrap().with_activity(Activity::LIVELY)
}

#[tokio::test]
async fn longer_klines_are_composed_of_shorter_ones_across_the_start() {
    let market = Market::seeded(4, Category::ALL.map(|category| lively(category, "BTCUSD")).to_vec())
        .with_history(std::time::Duration::from_secs(400));
    let sim = Sim::start(SimConfig::new(market)).await.unwrap();
    // The rows that are open change while they are read; `end` leaves them out, and a day or month is never a part.
    let minute = sim.now_ms() - sim.now_ms().rem_euclid(60_000);
    for category in Category::ALL {
        let minutes = rows(&sim, category, "BTCUSD", &format!("interval=1&limit=1000&end={}", minute - 60_000)).await;
        let hours = rows(&sim, category, "BTCUSD", "interval=60&limit=1000").await;
        assert_eq!((minutes.len(), hours.len()), (1_000, 1_000));
        assert!(minutes.windows(2).all(|two| two[0].1[3].trimmed() == two[1].1[0].trimmed()));
        for interval in ["3", "5", "15", "30", "60", "120", "240", "360"] {
            let interval = Interval::from_code(interval).unwrap();
            let query = format!("interval={}&limit=1000&end={}", interval.code(), minute - interval.shortest_ms());
            let answered: BTreeMap<i64, [String; 6]> =
                rows(&sim, category, "BTCUSD", &query).await.iter().map(|row| (row.0, texts(row))).collect();
            let composed = compose(&minutes, interval);
            // The first one may lack minutes, the last one as well.
            for row in &composed[1..composed.len() - 1] {
                assert_eq!(texts(row), answered[&row.0], "{category} {interval:?} {}", row.0);
            }
        }
        for (short, long) in [("60", "720"), ("60", "D"), ("D", "W"), ("D", "M")] {
            let interval = Interval::from_code(long).unwrap();
            let parts = rows(&sim, category, "BTCUSD", &format!("interval={short}&limit=1000")).await;
            let whole: BTreeMap<i64, [String; 6]> =
                rows(&sim, category, "BTCUSD", &format!("interval={long}&limit=1000"))
                    .await
                    .iter()
                    .map(|row| (row.0, texts(row)))
                    .collect();
            let first = usize::from(short == "60");
            let composed = compose(&parts, interval);
            assert!(composed.len() >= 2, "{long}");
            for row in &composed[first..composed.len() - 1] {
                assert_eq!(texts(row), whole[&row.0], "{category} {long} {}", row.0);
            }
        }
    }
}

#[tokio::test]
async fn the_minute_of_the_start_holds_the_recent_trades_and_opens_at_the_last_close_of_the_history() {
    let sim = Sim::start(SimConfig::new(Market::seeded(4, vec![still(Category::Linear, "BTCUSDT")]))).await.unwrap();
    let trade = sim.trade(Category::Linear, "BTCUSDT", Side::Buy, "1930.00", "0.50").unwrap();
    let minute = trade.time - trade.time.rem_euclid(60_000);
    let klines = sim.klines(Category::Linear, "BTCUSDT", "1");
    let kline = klines.iter().find(|kline| kline.start == minute).unwrap();
    let numbers = [&kline.open, &kline.high, &kline.low, &kline.close, &kline.volume, &kline.turnover];
    assert_eq!(numbers, ["1922.5", "1930", "1922.5", "1930", "0.5", "965"]);
    let before = klines.iter().find(|kline| kline.start == minute - 60_000).unwrap();
    assert_eq!(before.close, "1922.5");
}

#[tokio::test]
async fn a_push_and_its_rest_row_hold_the_same_history() {
    let sim = Sim::start(SimConfig::new(Market::seeded(4, vec![lively(Category::Linear, "BTCUSDT")]))).await.unwrap();
    let mut client = Client::connect(&sim, Category::Linear).await;
    client.subscribe(&["kline.M.BTCUSDT"]).await;
    let push = client.json().await["data"][0].clone();
    let month = sim.klines(Category::Linear, "BTCUSDT", "M").pop().unwrap();
    assert_eq!((&push["open"], &push["start"]), (&Value::from(month.open), &Value::from(month.start)));
    let volume = |text: &str| Amount::parse(text).unwrap();
    let pushed = volume(push["volume"].as_str().unwrap());
    assert!(pushed.compare(volume(&month.volume)).is_le() && !pushed.is_zero());
}

#[tokio::test]
async fn rows_of_the_history_are_selected_by_start_end_and_limit() {
    let sim = Sim::start(SimConfig::new(Market::seeded(4, vec![lively(Category::Spot, "AUSDT")]))).await.unwrap();
    let hour = 3_600_000;
    let at = sim.now_ms() - 500 * hour;
    let at = at - at.rem_euclid(hour);
    let starts = async |query: String| -> Vec<i64> {
        let rows = rows(&sim, Category::Spot, "AUSDT", &format!("interval=60&{query}")).await;
        rows.into_iter().map(|row| row.0).collect()
    };
    assert_eq!(starts(format!("start={}&limit=3", at + 5)).await, [at, at + hour, at + 2 * hour]);
    assert_eq!(starts(format!("end={}&limit=2", at + 5)).await, [at - hour, at]);
    assert_eq!(starts(format!("start={at}&end={}&limit=2", at + 3 * hour)).await, [at + 2 * hour, at + 3 * hour]);
    assert_eq!(starts(format!("start={at}&end={}", at + 2 * hour)).await, [at, at + hour, at + 2 * hour]);
    assert_eq!(starts("start=0&limit=1".to_owned()).await.len(), 1, "the first kline ever");
    assert!(starts("end=0".to_owned()).await.is_empty());
    assert!(starts(format!("start={}", at + 1_000_000 * hour)).await.is_empty());
}

#[tokio::test]
async fn a_symbol_has_no_klines_from_before_its_listing() {
    let start = crate::clock::wall_ms();
    let young = lively(Category::Linear, "YOUNGUSDT").listed_at(start - 90 * 60_000);
    let market = Market::seeded(4, vec![young, lively(Category::Linear, "NEWUSDT").unlisted()]);
    let sim = Sim::start(SimConfig::new(market)).await.unwrap();
    let minutes = rows(&sim, Category::Linear, "YOUNGUSDT", "interval=1&limit=1000").await;
    assert!((91..=95).contains(&minutes.len()), "{}", minutes.len());
    let days = rows(&sim, Category::Linear, "YOUNGUSDT", "interval=W").await;
    assert_eq!(days.first().unwrap().0, Interval::Week.start_of(minutes[0].0));
    let (_, info) = get(&sim, "/v5/market/instruments-info?category=linear&symbol=YOUNGUSDT").await;
    assert_eq!(info["result"]["list"][0]["launchTime"], Value::from(minutes[0].0.to_string()));

    sim.inject(Fault::List("NEWUSDT".to_owned()));
    sim.trade(Category::Linear, "NEWUSDT", Side::Buy, "1900.00", "1").unwrap();
    assert_eq!(sim.klines(Category::Linear, "NEWUSDT", "D").len(), 1);
    assert!(sim.klines(Category::Linear, "NEWUSDT", "1").len() <= 2);
}
