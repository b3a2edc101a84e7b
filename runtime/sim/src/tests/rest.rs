//! The REST calls: envelope, pages and refusals.

use serde_json::{Value, json};

use super::{
    client::{Client, get},
    quiet, still,
};
use crate::{Category, Market, Side, Sim, SimConfig};

async fn refusal(sim: &Sim, path: &str) -> (i64, String, Value) {
    let (status, body) = get(sim, path).await;
    assert_eq!(status, 200, "{path}");
    (body["retCode"].as_i64().unwrap(), body["retMsg"].as_str().unwrap().to_owned(), body["result"].clone())
}

async fn result(sim: &Sim, path: &str) -> Value {
    let (code, message, result) = refusal(sim, path).await;
    assert_eq!((code, message.as_str()), (0, "OK"), "{path}");
    result
}

#[tokio::test]
async fn time_is_the_exchanges_clock() {
    let sim = quiet().await;
    let before = sim.now_ms();
    let (_, body) = get(&sim, "/v5/market/time").await;
    let time = body["time"].as_i64().unwrap();
    assert!(before <= time && time <= sim.now_ms());
    assert_eq!(body["result"]["timeSecond"], json!((time / 1_000).to_string()));
    assert_eq!(body["result"]["timeNano"], json!(format!("{time}000000")));
    assert_eq!(body["retExtInfo"], json!({}));
}

#[tokio::test]
async fn an_unknown_route_is_not_found() {
    let sim = quiet().await;
    let (status, body) = get(&sim, "/v5/market/nothing").await;
    assert_eq!((status, body["retCode"].as_i64()), (404, Some(10_017)));
}

fn symbols(result: &Value) -> Vec<&str> {
    result["list"].as_array().unwrap().iter().map(|row| row["symbol"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn instruments_come_in_pages_until_an_empty_one() {
    let names: Vec<String> = (0..5).map(|n| format!("{n}USDT")).collect();
    let all = [Category::Linear, Category::Spot]
        .iter()
        .flat_map(|category| names.iter().map(|name| still(*category, name)))
        .collect();
    let sim = Sim::start(SimConfig::new(Market::seeded(1, all))).await.unwrap();
    // The cursor is percent-encoded; it must work both unchanged and encoded once more.
    for encode in [false, true] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let sent = if encode { cursor.replace('%', "%25") } else { cursor };
            let page =
                result(&sim, &format!("/v5/market/instruments-info?category=linear&limit=2&cursor={sent}")).await;
            seen.extend(symbols(&page).into_iter().map(str::to_owned));
            cursor = page["nextPageCursor"].as_str().unwrap().to_owned();
            pages += 1;
            if cursor.is_empty() {
                break;
            }
            assert!(cursor.starts_with("first%3D"), "{cursor}");
        }
        assert_eq!((&seen, pages), (&names, 3));
    }
    // A full last page has a cursor; the next page is empty.
    let page = result(&sim, "/v5/market/instruments-info?category=linear&limit=5").await;
    let cursor = page["nextPageCursor"].as_str().unwrap();
    let after = result(&sim, &format!("/v5/market/instruments-info?category=linear&limit=5&cursor={cursor}")).await;
    assert_eq!(after, json!({"category": "linear", "list": [], "nextPageCursor": ""}));
    // Spot ignores limit and cursor.
    assert_eq!(symbols(&result(&sim, "/v5/market/instruments-info?category=spot&limit=2&cursor=x").await), names);
}

#[tokio::test]
async fn instruments_have_the_fields_that_clients_read() {
    let sim = quiet().await;
    let linear = result(&sim, "/v5/market/instruments-info?category=linear&symbol=ETHUSDT").await;
    let row = &linear["list"][0];
    assert_eq!(row["status"], json!("Trading"));
    assert_eq!(row["contractType"], json!("LinearPerpetual"));
    assert_eq!((&row["baseCoin"], &row["quoteCoin"]), (&json!("ETH"), &json!("USDT")));
    assert_eq!(row["priceFilter"]["tickSize"], json!("0.01"));
    assert_eq!(row["lotSizeFilter"]["qtyStep"], json!("0.01"));
    let inverse = result(&sim, "/v5/market/instruments-info?category=inverse").await;
    assert_eq!(inverse["list"][0]["contractType"], json!("InversePerpetual"));
    assert_eq!(inverse["list"][0]["settleCoin"], json!("BTC"));
    let spot = result(&sim, "/v5/market/instruments-info?category=spot").await;
    assert_eq!(spot["list"][0]["lotSizeFilter"]["basePrecision"], json!("0.00001"));
    assert_eq!(spot["list"][0].get("launchTime"), None);
}

#[tokio::test]
async fn each_call_refuses_unknown_symbols_with_its_own_text() {
    let sim = quiet().await;
    let empty = json!({"category": "", "list": [], "nextPageCursor": ""});
    assert_eq!(
        refusal(&sim, "/v5/market/instruments-info?category=linear&symbol=NOPE").await,
        (10_001, "params error: symbol invalid".to_owned(), empty)
    );
    assert_eq!(result(&sim, "/v5/market/instruments-info?category=spot&symbol=NOPE").await["list"], json!([]));
    let message = |answer: (i64, String, Value)| (answer.0, answer.1);
    let kline = |query: &str| format!("/v5/market/kline?{query}");
    for (query, text) in [
        ("category=spot&symbol=NOPE&interval=1", "Not supported symbols"),
        ("category=linear&symbol=NOPE&interval=1", "params error: symbol invalid"),
        ("category=linear&symbol=ETHUSDT&interval=2", "Invalid period!"),
        ("category=option&symbol=ETHUSDT&interval=1", "params error: category invalid"),
        ("category=linear&symbol=ETHUSDT&interval=1&limit=0", "params error: limit invalid"),
        ("category=linear&symbol=ETHUSDT&interval=1&start=x", "params error: start invalid"),
    ] {
        assert_eq!(message(refusal(&sim, &kline(query)).await), (10_001, text.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn recent_trades_are_the_newest_first_with_the_ids_of_the_stream() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Spot).await;
    client.subscribe(&["publicTrade.ETHUSDT"]).await;
    for n in 1..=70 {
        sim.trade(Category::Spot, "ETHUSDT", Side::Sell, "1923.3", &format!("0.{n:02}")).unwrap();
    }
    let mut streamed = Vec::new();
    for _ in 0..70 {
        streamed.push(client.json().await["data"][0].clone());
    }
    streamed.reverse();
    let rows = result(&sim, "/v5/market/recent-trade?category=spot&symbol=ETHUSDT&limit=1000").await;
    let rows = rows["list"].as_array().unwrap();
    assert_eq!(rows.len(), 60, "spot answers with at most 60");
    for (row, trade) in rows.iter().zip(&streamed) {
        assert_eq!(row["execId"], trade["i"]);
        assert_eq!(row["seq"], json!(trade["seq"].to_string()));
        assert_eq!(row["time"], json!(trade["T"].to_string()));
        assert_eq!((&row["price"], &row["size"], &row["side"]), (&trade["p"], &trade["v"], &trade["S"]));
        assert_eq!((&row["isBlockTrade"], &row["isRPITrade"]), (&trade["BT"], &trade["RPI"]));
    }
    let five = result(&sim, "/v5/market/recent-trade?category=spot&symbol=ETHUSDT&limit=5").await;
    assert_eq!(five["list"].as_array().unwrap()[..], rows[..5]);
}

#[tokio::test]
async fn recent_trades_reach_back_a_thousand_trades_on_contracts_and_sixty_on_spot() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    client.subscribe(&["publicTrade.ETHUSDT"]).await;
    let (mut linear, mut spot) = (Vec::new(), Vec::new());
    for _ in 0..1_100 {
        linear.push(sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.50", "0.01").unwrap().id);
        spot.push(sim.trade(Category::Spot, "ETHUSDT", Side::Buy, "1922.5", "0.01").unwrap().id);
    }
    for id in &linear {
        assert_eq!(client.json().await["data"][0]["i"], json!(id));
    }
    linear.reverse();
    spot.reverse();
    let ids = async |query: &str| -> Vec<String> {
        let rows = result(&sim, &format!("/v5/market/recent-trade?symbol=ETHUSDT&category={query}")).await;
        let rows = rows["list"].as_array().unwrap().iter();
        rows.map(|row| row["execId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("linear&limit=1000").await, linear[..1_000]);
    assert_eq!(ids("linear&limit=5000").await, linear[..1_000]);
    assert_eq!(ids("linear").await, linear[..500]);
    assert_eq!(ids("spot").await, spot[..60]);
    assert_eq!(ids("spot&limit=1000").await, spot[..60]);
}

#[tokio::test]
async fn klines_are_the_newest_first_and_limited_by_start_end_and_limit() {
    // Half an hour of history gives thirty closed minutes.
    let market =
        Market::seeded(1, vec![still(Category::Linear, "ETHUSDT")]).with_history(std::time::Duration::from_secs(1_800));
    let history = std::time::Duration::ZERO;
    let sim = Sim::start(SimConfig { history, ..SimConfig::new(market) }).await.unwrap();
    let path = "/v5/market/kline?category=linear&symbol=ETHUSDT&interval=1";
    let starts = |result: Value| -> Vec<i64> {
        let rows = result["list"].as_array().unwrap().clone();
        rows.iter().map(|row| row[0].as_str().unwrap().parse().unwrap()).collect()
    };
    let all = starts(result(&sim, path).await);
    assert!(all.len() >= 31, "{}", all.len());
    assert!(all.windows(2).all(|two| two[0] - two[1] == 60_000));
    let row = result(&sim, path).await["list"][0].clone();
    assert_eq!(
        row.as_array().unwrap()[1..],
        ["1922.5", "1922.5", "1922.5", "1922.5", "0", "0"].map(|text| json!(text))
    );

    let (oldest, second) = (all[all.len() - 1], all[all.len() - 2]);
    let inside = oldest + 30_000;
    assert_eq!(starts(result(&sim, &format!("{path}&start={inside}&limit=2")).await), [second, oldest]);
    assert_eq!(starts(result(&sim, &format!("{path}&end={second}")).await), [second, oldest]);
    assert_eq!(starts(result(&sim, &format!("{path}&start={oldest}&end={second}&limit=1")).await), [second]);
}
