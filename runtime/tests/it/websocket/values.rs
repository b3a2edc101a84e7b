//! Values of consumers on `/v1/stream`: like a kline, each value comes once and in order, or an explicit message
//! reports the gap.

use klines_delivery::emit::Value::{Json, Number};
use klines_domain::symbol::Category;
use serde_json::{Value, json};

use super::peer::Peer;
use super::{Served, closed, eventually, open};
use crate::support::in_category;

const TOPIC: &str = "ext.mine.rsi.1m.BTCUSDT";

fn subscribe(peer: &mut Peer, topic: &str, more: &str) -> Value {
    peer.ask(&format!(r#"{{"op":"subscribe","id":1,"topics":["{topic}"]{more}}}"#))
}

/// Waits until the server has received a value of a topic.
fn until_known(served: &Served, topic: &str) {
    let mut peer = served.enter("/v1/stream");
    let known = || peer.ask(r#"{"op":"topics"}"#)["values"].as_array().unwrap().contains(&json!(topic));
    eventually("a value", known);
}

#[track_caller]
fn assert_push(push: &Value, seq: u64, confirm: bool, value: &Value) {
    let found = (&push["type"], &push["topic"], &push["seq"], &push["data"]["confirm"], &push["data"]["value"]);
    assert_eq!(found, (&json!("value"), &json!(TOPIC), &json!(seq), &json!(confirm), value), "{push}");
}

#[test]
fn a_subscription_is_a_snapshot_and_then_every_value() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    assert_eq!(subscribe(&mut peer, TOPIC, "")["topics"][TOPIC]["seq"], 0);
    assert_eq!(peer.json()["data"], json!([]));
    served.emit("mine", "rsi", &closed("BTCUSDT", "1m", 1), Number(61.25));
    assert_push(&peer.json(), 1, true, &json!(61.25));
    served.emit("mine", "rsi", &open("BTCUSDT", "1m", 2), Number(60.0));
    assert_push(&peer.json(), 2, false, &json!(60));
    served.emit("mine", "rsi", &closed("BTCUSDT", "1m", 2), Json(r#"{"side":"buy"}"#.into()));
    let push = peer.json();
    assert_push(&push, 2, true, &json!({"side":"buy"}));
    assert_eq!((&push["data"]["start"], &push["data"]["end"]), (&json!(120_000), &json!(179_999)));
    let mut second = served.enter("/v1/stream");
    subscribe(&mut second, TOPIC, r#","history":1"#);
    let snapshot = second.json();
    assert_eq!((&snapshot["seq"], snapshot["data"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(peer.ask(&format!(r#"{{"op":"unsubscribe","topics":["{TOPIC}"]}}"#))["ok"], true);
    served.emit("mine", "rsi", &closed("BTCUSDT", "1m", 3), Number(1.0));
    assert_push(&second.json(), 3, true, &json!(1));
    assert_eq!(peer.ask(r#"{"op":"ping","id":"x"}"#)["id"], "x");
}

#[test]
fn a_client_that_reconnects_gets_the_missed_values_or_recovered_is_false() {
    let served = Served::start();
    for window in 1..=3 {
        served.emit("mine", "rsi", &closed("BTCUSDT", "1m", window), Number(f64::from(window)));
    }
    served.emit("mine", "rsi", &open("BTCUSDT", "1m", 4), Number(4.0));
    let mut peer = served.enter("/v1/stream");
    let mut epoch = String::new();
    eventually("all values", || {
        subscribe(&mut peer, TOPIC, "");
        let snapshot = std::iter::repeat_with(|| peer.json()).find(|push| push["type"] == "snapshot").unwrap();
        snapshot["epoch"].as_str().unwrap().clone_into(&mut epoch);
        snapshot["data"][0]["start"] == 240_000
    });
    let mut peer = served.enter("/v1/stream");
    let answer = subscribe(&mut peer, TOPIC, &format!(r#","since":{{"{TOPIC}":{{"epoch":"{epoch}","seq":1}}}}"#));
    assert_eq!(answer["topics"][TOPIC], json!({"epoch":epoch,"seq":3,"recovered":true}));
    assert_push(&peer.json(), 2, true, &json!(2));
    assert_push(&peer.json(), 3, true, &json!(3));
    assert_push(&peer.json(), 4, false, &json!(4));
    let answer = subscribe(&mut peer, TOPIC, &format!(r#","since":{{"{TOPIC}":{{"epoch":"0","seq":1}}}}"#));
    assert_eq!(answer["topics"][TOPIC]["recovered"], false);
    assert_eq!(peer.json()["recovered"], false);
}

#[test]
fn a_flood_of_one_consumer_evicts_no_value_of_another() {
    let served = Served::start();
    served.emit("other", "rsi", &closed("BTCUSDT", "1m", 1), Number(7.0));
    let text = format!("\"{}\"", "t".repeat(4_000));
    for window in 1..=2_000 {
        served.emit("mine", "rsi", &closed("BTCUSDT", "1m", window), Json(text.as_str().into()));
    }
    served.emit("other", "rsi", &closed("BTCUSDT", "1m", 2), Number(8.0));
    let other = "ext.other.rsi.1m.BTCUSDT";
    // A new client each time: nothing is pushed to it before its snapshot.
    let snapshot = |topic: &str| {
        let mut peer = served.enter("/v1/stream");
        subscribe(&mut peer, topic, r#","history":1000"#);
        peer.json()
    };
    eventually("the last value", || {
        let found = snapshot(other);
        found["seq"] == 2 && found["data"].as_array().unwrap().len() == 2
    });
    let held = snapshot(TOPIC).to_string();
    assert!(held.len() > 100_000 && held.len() < 1_200_000, "{} bytes of the flood are held", held.len());
}

#[test]
fn a_refused_topic_of_values_names_the_fix() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    for (topic, error) in [
        ("ext.mina.rsi.1m.BTCUSDT", "no consumer `mina` publishes here: did you mean `mine`?"),
        ("ext.console.rsi.1m.BTCUSDT", "no consumer `console` publishes here, only mine, other"),
        ("ext.mine.RSI.1m.BTCUSDT", "`RSI` is not the name of a series: that is 1 to 32 of a-z 0-9 _ -"),
        ("ext.mine.rsi.60s.BTCUSDT", "unknown interval `60s`: write `1m`"),
        ("ext.mine.rsi.1m.NOPEUSDT", "symbol `NOPEUSDT` of linear is not watched here"),
        ("ext.mine.rsi.1m.linear:BTCUSDT", "linear is the first category and is not written: ext.mine.rsi.1m.BTCUSDT"),
        (
            "ext.mine.1m.BTCUSDT",
            "a topic of values is ext.{consumer}.{name}.{interval}.{symbol}, such as ext.mine.rsi.1m.BTCUSDT",
        ),
    ] {
        let answer = subscribe(&mut peer, topic, "");
        assert_eq!(answer, json!({"v":1,"op":"subscribe","id":1,"ok":false,"error":error,"topic":topic}));
    }
    let served = Served::with(|settings| settings.publishers.clear());
    let answer = subscribe(&mut served.enter("/v1/stream"), TOPIC, "");
    assert_eq!(answer["error"], "no consumer publishes here: no component file is enabled");
}

#[test]
fn the_limit_of_topics_counts_values_and_a_refusal_subscribes_nothing() {
    let served = Served::with(|settings| settings.topics = 2);
    let mut peer = served.enter("/v1/stream");
    let many: Vec<String> = (0..3).map(|at| format!("\"ext.mine.n{at}.1m.BTCUSDT\"")).collect();
    let answer = peer.ask(&format!(r#"{{"op":"subscribe","topics":[{}]}}"#, many.join(",")));
    assert_eq!(answer["error"], "too many topics: at most 2 a connection");
    assert_eq!(subscribe(&mut peer, TOPIC, "")["ok"], true);
}

#[test]
fn values_of_another_category_have_separate_topics() {
    let served = Served::start();
    let spot = in_category(Category::Spot, &closed("BTCUSDT", "1m", 1));
    served.emit("mine", "rsi", &spot, Number(1.0));
    served.emit("mine", "rsi", &closed("BTCUSDT", "1m", 1), Number(2.0));
    until_known(&served, "ext.mine.rsi.1m.spot:BTCUSDT");
    until_known(&served, TOPIC);
}

#[test]
fn every_push_of_values_matches_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../../../docs/schemas/server.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    peer.say(&format!(
        r#"{{"op":"subscribe","topics":["{TOPIC}","kline.1m.BTCUSDT"],"since":{{"{TOPIC}":{{"epoch":"x","seq":1}}}}}}"#
    ));
    // The answer and two snapshots.
    let mut seen = vec![peer.json(), peer.json(), peer.json()];
    served.emit("mine", "rsi", &closed("BTCUSDT", "1m", 1), Number(f64::MAX));
    served.emit("mine", "rsi", &open("BTCUSDT", "1m", 2), Json("[null,{}]".into()));
    while seen.last().is_some_and(|message| message["seq"] != 2) {
        seen.push(peer.json());
    }
    seen.push(peer.ask(r#"{"op":"topics"}"#));
    assert_eq!(seen.last().unwrap()["values"], json!([TOPIC]));
    for message in &seen {
        let problems: Vec<String> = schema.iter_errors(message).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{message}\n{problems:#?}");
    }
}
