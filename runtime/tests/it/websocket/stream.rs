//! `/v1/stream`: every number comes once and in order, or an explicit message reports the gap; and all messages match
//! `docs/schemas`.

use klines_delivery::catalog::FeedState;
use klines_domain::kline::{Kline, Quality};
use klines_domain::symbol::Category;
use serde_json::{Value, json};

use super::peer::Peer;
use super::{KEY, Served, USER, closed, open};
use crate::support::in_category;

const TOPIC: &str = "kline.1m.BTCUSDT";

fn subscribe(peer: &mut Peer, more: &str) -> Value {
    peer.ask(&format!(r#"{{"op":"subscribe","id":1,"topics":["{TOPIC}"]{more}}}"#))
}

/// Returns a client that has subscribed to the topic: what it receives has also been sent to every other subscriber.
fn follower(served: &Served) -> Peer {
    let mut peer = served.enter("/v1/stream");
    assert_eq!(subscribe(&mut peer, "")["ok"], true);
    assert_eq!(peer.json()["type"], "snapshot");
    peer
}

#[track_caller]
fn assert_push(push: &Value, seq: u64, confirm: bool) {
    assert_eq!(
        (&push["type"], &push["seq"], &push["data"]["confirm"]),
        (&json!("kline"), &json!(seq), &json!(confirm)),
        "{push}"
    );
}

#[test]
fn a_subscription_is_a_snapshot_and_then_every_kline() {
    let served = Served::start();
    let mut peer = served.connect("/v1/stream");
    assert_eq!(
        peer.ask(&format!(r#"{{"op":"auth","user":"{USER}","key":"{KEY}"}}"#)),
        json!({"v":1,"op":"auth","ok":true})
    );
    served.publish([closed("BTCUSDT", "1m", 1), closed("BTCUSDT", "1m", 2)]);
    served.publish([open("BTCUSDT", "1m", 3)]);
    served.until_it_has("BTCUSDT", 3);
    assert_eq!(subscribe(&mut peer, r#","history":1"#)["topics"][TOPIC]["seq"], 2);
    let snapshot = peer.json();
    assert_eq!((&snapshot["data"][0]["seq"], &snapshot["data"][0]["sequence"]), (&Value::Null, &json!(2)));
    assert_eq!((&snapshot["data"][1]["confirm"], &snapshot["data"][2]), (&json!(false), &Value::Null));
    served.publish([closed("BTCUSDT", "1m", 3), closed("ETHUSDT", "1m", 1)]);
    served.publish([open("BTCUSDT", "1m", 4)]);
    let push = peer.json();
    assert_push(&push, 3, true);
    assert_eq!(push["data"]["turnover"], "20011.4375");
    assert_eq!(push["data"]["close"], "16580");
    assert_push(&peer.json(), 4, false);
    let mut other = follower(&served);
    assert_eq!(
        peer.ask(&format!(r#"{{"op":"unsubscribe","topics":["{TOPIC}"]}}"#)),
        json!({"v":1,"op":"unsubscribe","ok":true})
    );
    served.publish([closed("BTCUSDT", "1m", 4)]);
    assert_push(&other.json(), 4, true);
    assert_eq!(peer.ask(r#"{"op":"ping","id":"x"}"#)["id"], "x", "no push comes after the unsubscription");
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed_once_and_in_order() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    subscribe(&mut peer, "");
    let snapshot = peer.json();
    let epoch = snapshot["epoch"].as_str().unwrap().to_owned();
    served.publish([closed("BTCUSDT", "1m", 1)]);
    assert_push(&peer.json(), 1, true);
    drop(peer);
    let late = Kline { revision: 1, sequence: 3, quality: Quality::Gapped, ..closed("BTCUSDT", "1m", 1) };
    served.publish([closed("BTCUSDT", "1m", 2)]);
    served.publish([late]);
    served.publish([Kline { sequence: 4, ..open("BTCUSDT", "1m", 3) }]);
    let mut peer = served.enter("/v1/stream");
    served.until_it_has("BTCUSDT", 3);
    let answer = subscribe(&mut peer, &format!(r#","since":{{"{TOPIC}":{{"epoch":"{epoch}","seq":1}}}}"#));
    assert_eq!(answer["topics"][TOPIC], json!({"epoch":epoch,"seq":3,"recovered":true}));
    assert_push(&peer.json(), 2, true);
    let revision = peer.json();
    assert_push(&revision, 3, true);
    assert_eq!((&revision["data"]["revision"], &revision["data"]["quality"]), (&json!(1), &json!("gapped")));
    assert_push(&peer.json(), 4, false);
}

#[test]
fn a_failed_recovery_is_reported() {
    let served = Served::start();
    served.publish([closed("BTCUSDT", "1m", 1)]);
    let mut peer = served.enter("/v1/stream");
    for since in [r#"{"epoch":"0000000000000000","seq":0}"#, r#"{"epoch":"","seq":18446744073709551615}"#] {
        let answer = subscribe(&mut peer, &format!(r#","since":{{"{TOPIC}":{since}}}"#));
        assert_eq!(answer["topics"][TOPIC]["recovered"], false);
        let snapshot = peer.json();
        assert_eq!((&snapshot["type"], &snapshot["recovered"]), (&json!("snapshot"), &json!(false)));
    }
}

#[test]
fn klines_lost_inside_the_server_begin_a_new_epoch() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    subscribe(&mut peer, "");
    let epoch = peer.json()["epoch"].clone();
    served.publish([closed("BTCUSDT", "1m", 1)]);
    assert_push(&peer.json(), 1, true);
    served.publish([closed("BTCUSDT", "1m", 5)]);
    let snapshot = peer.json();
    assert_eq!(
        (&snapshot["type"], &snapshot["recovered"], &snapshot["seq"]),
        (&json!("snapshot"), &json!(false), &json!(5))
    );
    assert_ne!(snapshot["epoch"], epoch);
    served.publish([closed("BTCUSDT", "1m", 6)]);
    let push = peer.json();
    assert_push(&push, 6, true);
    assert_eq!(push["epoch"], snapshot["epoch"]);
}

#[test]
fn a_refused_subscription_changes_nothing_and_names_the_fix() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    for (topic, error) in [
        ("kline.60s.BTCUSDT", "unknown interval `60s`: write `1m`"),
        ("kline.4h.BTCUSDT", "interval `4h` is not made here, only 1s, 1m, 1h"),
        ("kline.1m.NOPEUSDT", "symbol `NOPEUSDT` of linear is not watched here"),
        ("kline.1m.linear:BTCUSDT", "linear is the first category and is not written: kline.1m.BTCUSDT"),
        ("ticker.BTCUSDT", "a topic is kline.{interval}.{symbol}, such as kline.1m.BTCUSDT"),
    ] {
        let answer = peer.ask(&format!(r#"{{"op":"subscribe","id":7,"topics":["{TOPIC}","{topic}"]}}"#));
        assert_eq!(answer, json!({"v":1,"op":"subscribe","id":7,"ok":false,"error":error,"topic":topic}));
    }
    let mut other = follower(&served);
    served.publish([closed("BTCUSDT", "1m", 1)]);
    assert_push(&other.json(), 1, true);
    assert_eq!(peer.ask(r#"{"op":"ping"}"#)["op"], "pong", "the good topic was not subscribed either");
    assert_eq!(peer.ask("[]")["ok"], false);
    assert_eq!(peer.ask("not JSON")["ok"], false);
}

#[test]
fn another_category_is_written_with_the_symbol() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    let topic = "kline.1m.spot:BTCUSDT";
    assert_eq!(peer.ask(&format!(r#"{{"op":"subscribe","topics":["{topic}"]}}"#))["ok"], true);
    assert_eq!(peer.json()["topic"], topic);
    let spot = in_category(Category::Spot, &closed("BTCUSDT", "1m", 1));
    served.publish([closed("BTCUSDT", "1m", 1), spot]);
    assert_eq!(peer.json()["topic"], topic);
    let topics = peer.ask(r#"{"op":"topics"}"#);
    assert_eq!(topics["symbols"]["spot"], json!(["BTCUSDT", "ETHUSDT"]));
    assert_eq!(topics["category"], "linear");
}

#[test]
fn the_last_message_is_the_shutdown() {
    let served = Served::start();
    let mut peer = served.enter("/v1/stream");
    subscribe(&mut peer, "");
    peer.json();
    served.publish([closed("BTCUSDT", "1m", 1)]);
    served.stop();
    let (texts, code) = peer.end();
    assert_eq!(texts.last().map(String::as_str), Some(r#"{"v":1,"type":"shutdown"}"#));
    assert_eq!((texts.len(), code), (2, Some(3000)));
}

#[test]
fn every_answer_and_push_matches_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../../../docs/schemas/server.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let served = Served::start();
    let mut peer = served.connect("/v1/stream");
    served.catalog.report(Category::Linear, FeedState::Live, 1_704_067_200_000);
    served.catalog.report(Category::Spot, FeedState::Down, 1_704_067_200_001);
    peer.say(&format!(r#"{{"op":"auth","id":"a","user":"{USER}","key":"{KEY}"}}"#));
    for request in [
        r#"{"op":"topics","id":1}"#,
        r#"{"op":"ping","id":2}"#,
        r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT","kline.1s.spot:ETHUSDT"]}"#,
        r#"{"op":"subscribe","id":4,"topics":["kline.1m.BTCUSDT"],"history":5,"since":{"kline.1m.BTCUSDT":{"epoch":"x","seq":1}}}"#,
        r#"{"op":"subscribe","id":5,"topics":["kline.9m.BTCUSDT"]}"#,
        r#"{"op":"unsubscribe","topics":["kline.1s.spot:ETHUSDT"]}"#,
        "{}",
    ] {
        peer.say(request);
    }
    let mut seen = vec![peer.json()];
    while seen.last().is_some_and(|message| message["op"] != "") {
        seen.push(peer.json());
    }
    served.publish([closed("BTCUSDT", "1m", 1), open("BTCUSDT", "1m", 2)]);
    served.publish([closed("BTCUSDT", "1m", 9)]);
    served.publish([open("BTCUSDT", "1m", 10)]);
    while seen.last().is_some_and(|message| message["seq"] != 10) {
        seen.push(peer.json());
    }
    served.stop();
    seen.extend(peer.end().0.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()));
    seen.extend(peer.statuses);
    for message in &seen {
        let problems: Vec<String> = schema.iter_errors(message).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{message}\n{problems:#?}");
    }
}
