//! Recent trades and candles: what is requested, what is read, and which answers are not believed.

use klines_domain::repair::{Candle, Grain};
use klines_domain::symbol::SymbolId;
use klines_domain::trade::{Side, TradeId};

use super::*;

/// 2023-11-14T22:12:00Z: the last minute that is over at the time of the answers of `ok`.
const LAST: i64 = 1_699_999_920_000;
const MINUTE: i64 = 60_000;

fn ethusdt() -> Symbol {
    Symbol::new("ETHUSDT").unwrap()
}

async fn trades(category: Category, list: &str) -> (Result<Vec<klines_domain::trade::Trade>, RestError>, String) {
    let (client, served) = client(vec![ok(&format!(r#"{{"category":"{category}","list":[{list}]}}"#))]).await;
    let trades = client.recent_trades(category, SymbolId(3), &ethusdt()).await;
    (trades.map(|reply| reply.result), served.await.unwrap().remove(0))
}

fn trade(id: &str, price: &str, time: i64, seq: u64) -> String {
    format!(
        r#"{{"execId":"{id}","symbol":"ETHUSDT","price":"{price}","size":"0.10","side":"Sell","time":"{time}",
            "isBlockTrade":true,"isRPITrade":false,"seq":"{seq}"}}"#
    )
}

#[tokio::test]
async fn recent_trades_are_oldest_first_with_the_ids_of_the_stream() {
    // Newest first; the two of one match share time and sequence, and one is not in order.
    let rows = [("13", 1_020, 9), ("12", 1_010, 8), ("11", 1_010, 8), ("14", 1_020, 7), ("10", 1_000, 5)];
    let rows = rows.map(|(id, time, seq)| trade(id, "1922.50", time, seq)).join(",");
    let (found, target) = trades(Category::Spot, &rows).await;
    let found = found.unwrap();
    let ids: Vec<_> = found.iter().map(|trade| trade.id.clone()).collect();
    assert_eq!(ids, [10, 11, 12, 14, 13].map(TradeId::Number));
    assert_eq!(target, "/v5/market/recent-trade?category=spot&symbol=ETHUSDT&limit=60");
    let first = &found[0];
    assert_eq!((first.symbol, first.time.get(), first.sequence, first.side), (SymbolId(3), 1_000, 5, Side::Sell));
    assert_eq!((first.price.mantissa, first.price.scale, first.size.mantissa, first.block), (192_250, 2, 10, true));

    let row = trade("19d7df56-4f10-5290-a969-d9d9f2c74cc3", "1922.5", 1_000, 5);
    let (found, target) = trades(Category::Linear, &row).await;
    let id = TradeId::Uuid { high: 0x19d7_df56_4f10_5290, low: 0xa969_d9d9_f2c7_4cc3 };
    assert_eq!(found.unwrap()[0].id, id);
    assert!(target.ends_with("category=linear&symbol=ETHUSDT&limit=1000"), "{target}");
    assert!(trades(Category::Inverse, "").await.0.unwrap().is_empty());
}

#[tokio::test]
async fn one_trade_that_cannot_be_read_spoils_the_list() {
    let good = trade("11", "1922.50", 1_000, 5);
    for (from, to, field) in [
        ("\"1922.50\"", "\"0\"", "price of trade 1"),
        ("\"0.10\"", "\"-1\"", "size of trade 1"),
        ("\"Sell\"", "\"sell\"", "side of trade 1"),
        ("\"1000\"", "\"soon\"", "time of trade 1"),
        ("\"1000\"", "\"1700000099999\"", "time of trade 1"),
        ("\"5\"", "\"x\"", "seq of trade 1"),
        ("\"11\"", "\"\"", "execId of trade 1"),
        ("ETHUSDT", "BTCUSDT", "symbol BTCUSDT instead of ETHUSDT"),
    ] {
        assert!(good.contains(from), "{from}");
        let list = [good.clone(), good.replace(from, to), good.clone()].join(",");
        let error = trades(Category::Spot, &list).await.0.unwrap_err();
        assert_eq!(error.to_string(), format!("answer not understood: {field}"));
    }
    let missing = good.replace("\"price\":\"1922.50\",", "");
    assert!(matches!(trades(Category::Spot, &missing).await.0, Err(RestError::Malformed(_))));
}

async fn candles(result: &str) -> (Result<Vec<Candle>, RestError>, String) {
    let (client, served) = client(vec![ok(result)]).await;
    let (from, to) = (ExchangeMillis::new(LAST - 2 * MINUTE), ExchangeMillis::new(LAST + MINUTE));
    let candles = client.candles(Category::Linear, &ethusdt(), Grain::Minute, from, to).await;
    (candles.map(|reply| reply.result), served.await.unwrap().remove(0))
}

/// Returns a row of 7 texts; `rest` is open, high, low, close, volume, turnover.
fn row(start: i64, rest: &str) -> String {
    let fields: Vec<String> = rest.split(' ').map(|field| format!("\"{field}\"")).collect();
    format!(r#"["{start}",{}]"#, fields.join(","))
}

const GOOD: &str = "10 12 9.5 11 3 31.5";

#[tokio::test]
async fn candles_are_oldest_first_and_those_that_are_not_over_are_left_out() {
    // The newest is the open one; one is missing, and one had no trades.
    let rows = [row(LAST + MINUTE, GOOD), row(LAST, "11 11 11 11 0 0"), row(LAST - 2 * MINUTE, GOOD)].join(",");
    let (found, target) = candles(&format!(r#"{{"category":"linear","symbol":"ETHUSDT","list":[{rows}]}}"#)).await;
    let found = found.unwrap();
    let starts: Vec<i64> = found.iter().map(|candle| candle.start.get()).collect();
    assert_eq!(starts, [LAST - 2 * MINUTE, LAST]);
    let first = found[0];
    let prices = [first.open, first.high, first.low, first.close].map(|price| price.to_decimal().to_string());
    assert_eq!(prices, ["10", "12", "9.5", "11"]);
    assert_eq!((first.volume.to_string(), first.turnover.to_string()), ("3".to_owned(), "31.5".to_owned()));
    let (from, to) = (LAST - 2 * MINUTE, LAST + MINUTE);
    let query = format!("category=linear&symbol=ETHUSDT&interval=1&start={from}&end={to}&limit=4");
    assert_eq!(target, format!("/v5/market/kline?{query}"));
    assert!(candles(r#"{"list":[]}"#).await.0.unwrap().is_empty(), "the names are optional, and so is every candle");
}

#[tokio::test]
async fn hours_are_requested_by_their_own_interval() {
    let (client, served) = client(vec![ok(r#"{"list":[]}"#)]).await;
    let hour = Grain::Hour.millis();
    let (from, to) = (ExchangeMillis::new(400_000 * hour), ExchangeMillis::new(402_000 * hour));
    client.candles(Category::Spot, &ethusdt(), Grain::Hour, from, to).await.unwrap();
    let target = served.await.unwrap().remove(0);
    assert!(target.contains("interval=60&") && target.ends_with("&limit=1000"), "{target}");
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_is_not_believed() {
    let refusal = async |rows: &[String]| {
        candles(&format!(r#"{{"list":[{}]}}"#, rows.join(","))).await.0.unwrap_err().to_string()
    };
    for (rest, problem) in [
        ("0 12 9.5 11 3 31.5", "open is not a price"),
        ("10 12 9.5 -11 3 31.5", "close is not a price"),
        ("10 1e1 9.5 11 3 31.5", "high is not a price"),
        ("10 9.5 12 11 3 31.5", "high is below low"),
        ("9 12 9.5 11 3 31.5", "open or close is outside low and high"),
        ("10 12 9.5 13 3 31.5", "open or close is outside low and high"),
        ("10 12 9.5 11 -3 31.5", "volume is not a sum"),
        ("10 12 9.5 11 3 NaN", "turnover is not a sum"),
        ("10 12 9.5 11 3 0", "only one of volume and turnover is zero"),
        ("10 12 9.5 11 0.0 31.5", "only one of volume and turnover is zero"),
        ("10 12 9.5 11 0 0", "prices move without volume"),
    ] {
        let found = refusal(&[row(LAST, GOOD), row(LAST - MINUTE, rest)]).await;
        assert_eq!(found, format!("answer not understood: candle {}: {problem}", LAST - MINUTE));
    }
    for (starts, at, problem) in [
        ([LAST, LAST], LAST, "not newer than the row after it"),
        ([LAST - MINUTE, LAST], LAST - MINUTE, "not newer than the row after it"),
        ([LAST, LAST - 59_999], LAST - 59_999, "start is not one of the requested ones"),
        ([LAST, LAST - 3 * MINUTE], LAST - 3 * MINUTE, "start is not one of the requested ones"),
        ([LAST + 2 * MINUTE, LAST], LAST + 2 * MINUTE, "start is not one of the requested ones"),
    ] {
        let found = refusal(&starts.map(|start| row(start, GOOD))).await;
        assert_eq!(found, format!("answer not understood: candle {at}: {problem}"));
    }
    for (result, problem) in [
        (r#"{"category":"spot","list":[]}"#, "category spot instead of linear"),
        (r#"{"symbol":"BTCUSDT","list":[]}"#, "symbol BTCUSDT instead of ETHUSDT"),
    ] {
        assert_eq!(candles(result).await.0.unwrap_err().to_string(), format!("answer not understood: {problem}"));
    }
    assert!(matches!(candles(r#"{"list":[["1","2"]]}"#).await.0, Err(RestError::Malformed(_))));
    let (client, _served) = client(vec![http("200 OK", r#"{"retCode":0,"result":{"list":[]}}"#)]).await;
    let from = ExchangeMillis::new(LAST);
    let undated = client.candles(Category::Linear, &ethusdt(), Grain::Minute, from, from).await.unwrap_err();
    assert_eq!(undated.to_string(), "answer not understood: time 0");
}
