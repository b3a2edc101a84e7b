//! Compares kline pushes and REST klines with klines recomputed from the tape.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::{Client, get};
use crate::{Activity, Category, Instrument, Market, Sim, SimConfig, SimTrade, amount::Amount};

/// Returns open, high, low, close, volume and turnover of the trades in `[start, until]`, computed from the tape only.
fn recompute(trades: &[SimTrade], before: &str, start: i64, until: i64) -> [String; 6] {
    let number = |text: &str| Amount::parse(text).unwrap();
    let previous = trades.iter().rev().find(|trade| trade.time < start).map_or(before, |trade| &trade.price);
    let open = number(previous);
    let (mut high, mut low, mut close) = (open, open, open);
    let (mut volume, mut turnover) = (Amount::ZERO, Amount::ZERO);
    for trade in trades.iter().filter(|trade| start <= trade.time && trade.time <= until) {
        let (price, size) = (number(&trade.price), number(&trade.size));
        (high, low, close) = (high.max(price), low.min(price), price);
        (volume, turnover) = (volume.plus(size), turnover.plus(price.times(size)));
    }
    [open, high, low, close, volume, turnover].map(Amount::trimmed)
}

fn pushed(object: &Value) -> [String; 6] {
    ["open", "high", "low", "close", "volume", "turnover"].map(|key| object[key].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_push_equals_the_trades_up_to_its_timestamp() {
    let instrument = |category| {
        Instrument::new(category, "ETHUSDT", "1922.50", "0.01", "0.001").unwrap().with_activity(Activity::LIVELY)
    };
    let market = Market::seeded(9, vec![instrument(Category::Linear), instrument(Category::Spot)]);
    // A market minute takes a quarter of a second.
    let (history, settle) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let sim = Sim::start(SimConfig { speed: 240.0, history, settle, ..SimConfig::new(market) }).await.unwrap();
    for category in [Category::Linear, Category::Spot] {
        let mut client = Client::connect(&sim, category).await;
        client.subscribe(&["kline.1.ETHUSDT", "kline.3.ETHUSDT"]).await;
        let (mut confirms, mut kept, mut together) = (BTreeMap::<String, Vec<i64>>::new(), Vec::new(), 0);
        while confirms.get("3").is_none_or(|starts| starts.len() < 2) {
            let frame = client.json().await;
            let objects = frame["data"].as_array().unwrap().clone();
            together += usize::from(objects.len() == 2);
            for object in objects {
                assert_eq!(object["timestamp"], frame["ts"]);
                let start = object["start"].as_i64().unwrap();
                if object["confirm"] == Value::Bool(true) {
                    let code = object["interval"].as_str().unwrap().to_owned();
                    confirms.entry(code).or_default().push(start);
                }
                kept.push((start, object["end"].as_i64().unwrap(), frame["ts"].as_i64().unwrap(), pushed(&object)));
            }
        }
        let trades = sim.trades(category, "ETHUSDT");
        assert!(kept.len() > 100, "{}", kept.len());
        for (start, end, ts, values) in kept {
            assert_eq!(values, recompute(&trades, "1922.50", start, end.min(ts)), "{category} {start} at {ts}");
        }
        for (code, starts) in &confirms {
            let length = 60_000 * code.parse::<i64>().unwrap();
            assert!(starts.windows(2).all(|two| two[1] - two[0] == length), "{code}: {starts:?}");
        }
        assert_eq!(together > 0, category == Category::Linear, "two objects in a frame: {together}");
    }

    let path = "/v5/market/kline?category=linear&symbol=ETHUSDT&interval=5";
    let (_, body) = get(&sim, path).await;
    let trades = sim.trades(Category::Linear, "ETHUSDT");
    let rows = body["result"]["list"].as_array().unwrap();
    assert!(rows.len() > 1);
    // The newest row was still open when it was read.
    for row in &rows[1..] {
        let texts: Vec<&str> = row.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let start = texts[0].parse().unwrap();
        assert_eq!(texts[1..], recompute(&trades, "1922.50", start, start + 299_999));
    }
}

#[tokio::test]
async fn a_new_subscriber_gets_the_last_push_at_once() {
    let sim = super::quiet().await;
    let mut first = Client::connect(&sim, Category::Inverse).await;
    first.subscribe(&["kline.M.BTCUSD"]).await;
    let pushed = first.json().await;
    let mut second = Client::connect(&sim, Category::Inverse).await;
    second.subscribe(&["kline.M.BTCUSD"]).await;
    let snapshot = second.json().await;
    assert!(snapshot["ts"].as_i64() >= pushed["ts"].as_i64());
    assert_eq!(snapshot["data"][0]["close"], serde_json::json!("64250"));
}
