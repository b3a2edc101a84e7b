//! Symbols that are listed and delisted while the exchange runs.

use serde_json::{Value, json};

use super::{
    client::{Client, eventually, get},
    quiet, quiet_market, still,
};
use crate::{Activity, Category, Fault, Script, Side, Sim, SimConfig, amount::Amount};

const LINEAR: &str = "/v5/market/instruments-info?category=linear";

/// Returns the rows of an instrument list.
async fn list(sim: &Sim, path: &str) -> Vec<Value> {
    get(sim, path).await.1["result"]["list"].as_array().unwrap().clone()
}

fn symbols(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["symbol"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_delisted_symbol_leaves_the_list_and_a_listed_one_joins_it() {
    let sim = quiet().await;
    assert_eq!(symbols(&list(&sim, LINEAR).await), ["BTCUSDT", "ETHUSDT"]);
    assert!(list(&sim, &format!("{LINEAR}&status=Closed")).await.is_empty(), "one that was never listed is not closed");
    sim.inject(Fault::Delist("ETHUSDT".to_owned()));
    sim.inject(Fault::List("NEWUSDT".to_owned()));
    assert_eq!(symbols(&list(&sim, LINEAR).await), ["BTCUSDT", "NEWUSDT"]);
    let closed = list(&sim, &format!("{LINEAR}&status=Closed")).await;
    assert_eq!((symbols(&closed), &closed[0]["status"]), (vec!["ETHUSDT"], &json!("Closed")));
    assert_ne!(closed[0]["deliveryTime"], json!("0"));
    assert_eq!(sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1", "1"), None);
    assert!(sim.trade(Category::Linear, "NEWUSDT", Side::Buy, "1", "1").is_some());
}

#[tokio::test]
async fn rest_refuses_a_delisted_symbol() {
    let sim = quiet().await;
    sim.inject(Fault::Delist("ETHUSDT".to_owned()).on(Category::Linear));
    for call in ["kline?interval=1&", "recent-trade?", "instruments-info?"] {
        let (_, body) = get(&sim, &format!("/v5/market/{call}category=linear&symbol=ETHUSDT")).await;
        let answer = (&body["retCode"], &body["retMsg"]);
        assert_eq!(answer, (&json!(10_001), &json!("params error: symbol invalid")), "{call}");
        let (_, spot) = get(&sim, &format!("/v5/market/{call}category=spot&symbol=ETHUSDT")).await;
        assert_eq!(spot["retCode"], json!(0), "{call}");
    }
}

#[tokio::test]
async fn a_script_lists_a_symbol_that_the_market_does_not_know() {
    let script = Script::parse("at 0s list MOONUSDT\nat 0s list MARSUSDT spot\nat 0s list not.a.symbol").unwrap();
    let sim = Sim::start(SimConfig { script, ..SimConfig::new(quiet_market()) }).await.unwrap();
    assert_eq!(symbols(&list(&sim, LINEAR).await), ["BTCUSDT", "ETHUSDT", "MOONUSDT"]);
    let spot = list(&sim, "/v5/market/instruments-info?category=spot").await;
    assert_eq!(symbols(&spot), ["ETHUSDT", "MARSUSDT"]);
    let mut client = Client::connect(&sim, Category::Linear).await;
    client.subscribe(&["publicTrade.MOONUSDT", "kline.1.MOONUSDT"]).await;
    let topics = [client.json().await["topic"].clone(), client.json().await["topic"].clone()];
    assert!(topics.contains(&json!("publicTrade.MOONUSDT")), "{topics:?}");
    let trades = sim.trades(Category::Linear, "MOONUSDT");
    let month = sim.klines(Category::Linear, "MOONUSDT", "M").pop().unwrap();
    assert_eq!(month.open, Amount::parse(&trades[0].price).unwrap().trimmed());
}

#[tokio::test]
async fn any_instrument_can_be_listed_and_is_listed_again_after_a_delisting() {
    let sim = quiet().await;
    let new = still(Category::Inverse, "ETHUSD").with_activity(Activity::Matches { every_ms: 5 });
    assert!(sim.list(new.clone()));
    eventually("it trades", || !sim.trades(Category::Inverse, "ETHUSD").is_empty()).await;
    sim.inject(Fault::Delist("ETHUSD".to_owned()));
    let before = sim.trades(Category::Inverse, "ETHUSD").len();
    assert!(sim.list(new));
    eventually("it trades again", || sim.trades(Category::Inverse, "ETHUSD").len() > before).await;
    assert_eq!(symbols(&list(&sim, "/v5/market/instruments-info?category=inverse").await), ["BTCUSD", "ETHUSD"]);
}
