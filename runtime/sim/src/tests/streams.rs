//! Acks and refusals of the streams, compared byte for byte, and the order of acks and data.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite};

use super::{
    client::{Client, eventually},
    quiet, quiet_market,
};
use crate::{Activity, Category, Entry, Event, Instrument, Market, Side, Sim, SimConfig};

#[tokio::test]
async fn linear_acks_have_the_shape_of_their_category() {
    let sim = quiet().await;
    for category in [Category::Linear, Category::Inverse] {
        let mut client = Client::connect(&sim, category).await;
        let topic = if category == Category::Linear { "publicTrade.ETHUSDT" } else { "publicTrade.BTCUSD" };
        assert_eq!(
            client.subscribe(&[topic]).await,
            r#"{"success":true,"ret_msg":"","conn_id":"?","req_id":"","op":"subscribe"}"#
        );
        assert_eq!(
            client.ask(&json!({"op": "unsubscribe", "req_id": 3, "args": [topic]}).to_string()).await,
            r#"{"success":true,"ret_msg":"","conn_id":"?","req_id":"3","op":"unsubscribe"}"#
        );
        assert_eq!(
            client.ask(r#"{"req_id":"100001","op":"ping"}"#).await,
            r#"{"success":true,"ret_msg":"pong","conn_id":"?","req_id":"100001","op":"ping"}"#
        );
        assert_eq!(
            client.ask(r#"{"op":"ping"}"#).await,
            r#"{"success":true,"ret_msg":"pong","conn_id":"?","req_id":"","op":"ping"}"#
        );
    }
}

#[tokio::test]
async fn spot_acks_have_the_shape_of_their_category() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Spot).await;
    assert_eq!(
        client.subscribe(&["publicTrade.ETHUSDT"]).await,
        r#"{"success":true,"ret_msg":"subscribe","conn_id":"?","op":"subscribe"}"#
    );
    assert_eq!(
        client.ask(r#"{"op":"subscribe","req_id":"a","args":["kline.1.ETHUSDT"]}"#).await,
        r#"{"success":true,"ret_msg":"subscribe","conn_id":"?","req_id":"a","op":"subscribe"}"#
    );
    assert_eq!(client.ask(r#"{"op":"ping"}"#).await, r#"{"success":true,"ret_msg":"pong","conn_id":"?","op":"ping"}"#);
}

#[tokio::test]
async fn a_bad_topic_refuses_the_whole_linear_frame_and_only_the_first_is_named() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    for bad in ["publicTrade.NOPEUSDT", "publicTrade.ethusdt", "kline.2.ETHUSDT", "orderbook.50.ETHUSDT", "order", ""] {
        assert_eq!(
            client.subscribe(&["publicTrade.ETHUSDT", bad, "publicTrade.ALSONOT"]).await,
            format!(
                r#"{{"success":false,"ret_msg":"error:handler not found,topic:{bad}","conn_id":"?","req_id":"","op":"subscribe"}}"#
            )
        );
    }
    assert!(sim.topics(Category::Linear).is_empty());
    assert_eq!(sim.counters().subscribes, 6);
}

#[tokio::test]
async fn a_topic_twice_is_refused_within_a_frame_and_over_frames() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    let refusal = r#"{"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.ETHUSDT","conn_id":"?","req_id":"","op":"subscribe"}"#;
    assert_eq!(client.subscribe(&["publicTrade.ETHUSDT", "publicTrade.ETHUSDT"]).await, refusal);
    assert!(client.subscribe(&["publicTrade.ETHUSDT"]).await.contains(r#""success":true"#));
    assert_eq!(client.subscribe(&["publicTrade.BTCUSDT", "publicTrade.ETHUSDT"]).await, refusal);
    assert_eq!(sim.topics(Category::Linear).into_iter().collect::<Vec<_>>(), ["publicTrade.ETHUSDT"]);
}

#[tokio::test]
async fn spot_names_an_unknown_symbol_and_takes_ten_topics_a_frame() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Spot).await;
    assert_eq!(
        client.subscribe(&["publicTrade.NOPEUSDT"]).await,
        r#"{"success":false,"ret_msg":"Invalid symbol :[publicTrade.NOPEUSDT]","conn_id":"?","op":"subscribe"}"#
    );
    let codes = ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D"];
    let topics: Vec<String> = codes.iter().map(|code| format!("kline.{code}.ETHUSDT")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    assert_eq!(
        client.subscribe(&topics).await,
        r#"{"success":false,"ret_msg":"args size >10","conn_id":"?","op":"subscribe"}"#
    );
    assert!(client.subscribe(&topics[..10]).await.contains(r#""success":true"#));
}

#[tokio::test]
async fn a_bad_operation_and_bad_json_are_answered_and_the_socket_stays_open() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    assert_eq!(
        client.ask(r#"{"op":"dance","args":["publicTrade.ETHUSDT"]}"#).await,
        r#"{"success":false,"ret_msg":"error:invalid op","conn_id":"?","request":{"op":"dance","args":["publicTrade.ETHUSDT"]}}"#
    );
    assert_eq!(
        client.ask("{}").await,
        r#"{"success":false,"ret_msg":"error:invalid op","conn_id":"?","request":{"op":"","args":null}}"#
    );
    assert_eq!(
        client.ask("hello").await,
        r#"{"success":false,"ret_msg":"Failed to decode incoming data:readObjectStart: expect { or n, but found h, error found in #1 byte of ...|hello|..., bigger context ...|hello|...","conn_id":"?","req_id":"","op":""}"#
    );
    assert!(client.ask(r#"{"op":"ping"}"#).await.contains("pong"));
}

#[tokio::test]
async fn options_and_unknown_paths_are_not_found() {
    let sim = quiet().await;
    for path in ["/v5/public/option", "/v5/public/LINEAR", "/v5/private", "/"] {
        let error = connect_async(format!("{}{path}", sim.ws_url())).await.unwrap_err();
        assert!(matches!(&error, tungstenite::Error::Http(response) if response.status() == 404), "{path}: {error}");
    }
}

#[tokio::test]
async fn the_same_symbol_trades_separately_in_each_category() {
    let sim = quiet().await;
    let mut linear = Client::connect(&sim, Category::Linear).await;
    let mut spot = Client::connect(&sim, Category::Spot).await;
    linear.subscribe(&["publicTrade.ETHUSDT"]).await;
    spot.subscribe(&["publicTrade.ETHUSDT"]).await;
    let first = sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap();
    let second = sim.trade(Category::Spot, "ETHUSDT", Side::Sell, "1923.3", "0.04537").unwrap();
    assert_eq!((first.price.as_str(), first.size.as_str()), ("1922.50", "0.10"));
    let (on_linear, on_spot) = (linear.json().await, spot.json().await);
    assert_eq!(on_linear["data"][0]["i"], json!(first.id));
    assert_eq!(on_linear["data"][0]["L"], json!("ZeroPlusTick"));
    assert_eq!(on_spot["data"][0]["i"], json!(second.id));
    assert_eq!(on_spot["data"][0].get("L"), None);
    assert_eq!(on_spot["data"][0]["T"], json!(second.time));
    assert_eq!(sim.trades(Category::Linear, "ETHUSDT"), [first]);
    assert_eq!(sim.trades(Category::Spot, "ETHUSDT"), [second]);
    assert_eq!(sim.trade(Category::Spot, "BTCUSDT", Side::Buy, "1", "1"), None);
    assert_eq!(sim.trade(Category::Spot, "ETHUSDT", Side::Buy, "1e3", "1"), None);
}

#[tokio::test]
async fn the_ack_precedes_the_data_and_nothing_follows_the_ack_of_an_unsubscribe() {
    let sim = quiet().await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    client.send(r#"{"op":"subscribe","args":["kline.1.ETHUSDT","publicTrade.ETHUSDT"]}"#).await;
    while !sim.topics(Category::Linear).contains("publicTrade.ETHUSDT") {
        tokio::task::yield_now().await;
    }
    sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap();
    assert!(client.text().await.contains(r#""op":"subscribe""#));
    while !client.text().await.contains("publicTrade") {}

    client.send(r#"{"op":"unsubscribe","args":["kline.1.ETHUSDT","publicTrade.ETHUSDT"]}"#).await;
    while !client.text().await.contains(r#""op":"unsubscribe""#) {}
    sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap();
    assert_eq!(client.frames_until_pong().await, [""; 0]);
}

#[tokio::test]
async fn the_journal_has_requests_and_sent_frames_of_a_connection_in_order() {
    let sim = Sim::start(SimConfig { journal: true, ..SimConfig::new(quiet_market()) }).await.unwrap();
    let mut client = Client::connect(&sim, Category::Linear).await;
    let ack = client.subscribe(&["publicTrade.ETHUSDT"]).await;
    let id = sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap().id;
    let frame = client.text().await;
    assert!(frame.contains(&id));
    drop(client);
    eventually("the end is noticed", || sim.counters().open == 0).await;
    let journal = sim.journal();
    let events: Vec<&Event> = journal.iter().map(|entry| &entry.event).collect();
    let [Event::Opened, Event::Asked(asked), Event::Sent(first), Event::Sent(second), Event::Closed { cut: false }] =
        events[..]
    else {
        panic!("{events:?}")
    };
    assert!(asked.contains("publicTrade.ETHUSDT"));
    assert!(first.contains(r#""op":"subscribe""#) && ack.contains(r#""op":"subscribe""#), "{first}");
    assert_eq!(second, &frame);
    assert!(journal.is_sorted_by_key(|entry| entry.at));
    assert!(quiet().await.journal().is_empty(), "the journal is off by default");
}

#[tokio::test]
async fn a_leap_moves_the_clock_ahead_without_trades_in_between() {
    let lively = Instrument::new(Category::Linear, "BTCUSDT", "100", "0.10", "0.001").unwrap();
    let market = Market::seeded(3, vec![lively.with_activity(Activity::LIVELY)]);
    let sim = Sim::start(SimConfig { ahead_ms: -7_200_000, ..SimConfig::new(market) }).await.unwrap();
    let begun = sim.now_ms();
    let trades = || sim.trades(Category::Linear, "BTCUSDT");
    eventually("trades", || trades().len() > 3).await;
    sim.leap(Duration::from_secs(3_600));
    let from = sim.now_ms();
    eventually("trades afterwards", || trades().iter().any(|trade| trade.time > from)).await;
    let (before, after) = (begun + 1_800_000, begun + 3_600_000);
    assert!(trades().iter().all(|trade| trade.time < before || trade.time >= after), "{:?}", trades());
}

#[tokio::test]
async fn every_second_connection_receives_a_trade_later() {
    let lag = Duration::from_millis(300);
    let sim = Sim::start(SimConfig { lag, journal: true, ..SimConfig::new(quiet_market()) }).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&sim, Category::Linear).await;
        client.subscribe(&["publicTrade.ETHUSDT"]).await;
        clients.push(client);
    }
    let at = sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap().time;
    for client in &mut clients {
        client.text().await;
    }
    let sent = |entry: &Entry| matches!(&entry.event, Event::Sent(text) if text.contains("topic"));
    eventually("both are in the journal", || sim.journal().iter().filter(|entry| sent(entry)).count() == 2).await;
    let journal = sim.journal();
    let late: Vec<&Entry> = journal.iter().filter(|entry| sent(entry) && entry.at >= at + 300).collect();
    assert!(late.iter().any(|entry| entry.connection == 1), "{late:?}");
    assert_eq!(journal.iter().find(|entry| sent(entry)).unwrap().connection, 0);
}
