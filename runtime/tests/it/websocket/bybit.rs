//! Bybit's dialect: the exact messages that pybit and ccxt rely on.

use klines_domain::symbol::Category;
use klines_system::clock::LocalClock;
use serde_json::{Value, json};
use sha2::Sha256;

use super::peer::Peer;
use super::{KEY, Served, USER, closed, open};
use crate::support::in_category;

const LINEAR: &str = "/v5/public/linear";

/// Removes the field that differs from connection to connection.
fn plain(mut answer: Value) -> Value {
    assert!(answer["conn_id"].as_str().is_some_and(|id| !id.is_empty()), "{answer}");
    answer.as_object_mut().unwrap().remove("conn_id");
    answer
}

fn sign(expires: u64) -> String {
    use hmac::{Hmac, Mac};
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    mac.update(format!("GET/realtime{expires}").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn follow(served: &Served, path: &str, topic: &str) -> Peer {
    let mut peer = served.enter(path);
    assert_eq!(peer.ask(&format!(r#"{{"op":"subscribe","args":["{topic}"]}}"#))["success"], true);
    peer
}

/// Reads up to the closed kline of a window: all earlier pushes have then been sent to every subscriber.
#[track_caller]
fn until_window(peer: &mut Peer, window: i64) {
    while peer.json()["data"][0]["start"] != window * 60_000 {}
}

#[test]
fn the_acknowledgement_comes_before_the_first_data() {
    let served = Served::start();
    let mut first = follow(&served, LINEAR, "kline.1.BTCUSDT");
    served.publish([open("BTCUSDT", "1m", 1)]);
    first.json();
    let mut second = served.enter(LINEAR);
    second.say(r#"{"op":"subscribe","req_id":"a","args":["kline.1.BTCUSDT","kline.1s.ETHUSDT"]}"#);
    assert_eq!(plain(second.json()), json!({"success":true,"ret_msg":"","req_id":"a","op":"subscribe"}));
    let push = second.json();
    assert_eq!((&push["topic"], &push["type"]), (&json!("kline.1.BTCUSDT"), &json!("snapshot")));
    let data = &push["data"][0];
    assert_eq!((&data["interval"], &data["confirm"], &data["close"]), (&json!("1"), &json!(false), &json!("16580")));
    served.publish([closed("BTCUSDT", "1m", 1), closed("ETHUSDT", "1s", 7)]);
    assert_eq!(second.json()["data"][0]["confirm"], true);
    assert_eq!(second.json()["topic"], "kline.1s.ETHUSDT");
}

#[test]
fn no_data_follows_the_acknowledgement_of_an_unsubscription() {
    let served = Served::start();
    let [mut peer, mut other] = [(); 2].map(|()| follow(&served, LINEAR, "kline.1.BTCUSDT"));
    for window in 1..200 {
        served.publish([closed("BTCUSDT", "1m", window)]);
    }
    peer.say(r#"{"op":"unsubscribe","req_id":3,"args":["kline.1.BTCUSDT"]}"#);
    while peer.json()["op"] != "unsubscribe" {}
    served.publish([closed("BTCUSDT", "1m", 200)]);
    until_window(&mut other, 200);
    assert_eq!(peer.ask(r#"{"op":"ping"}"#)["ret_msg"], "pong");
}

#[test]
fn request_ids_are_returned_as_strings() {
    let served = Served::start();
    for (path, message) in [(LINEAR, ""), ("/v5/public/spot", "subscribe")] {
        let mut peer = served.enter(path);
        for (id, echo) in
            [(r#","req_id":"x y""#, "x y"), (r#","req_id":17"#, "17"), (r#","req_id":null"#, ""), ("", "")]
        {
            let answer =
                peer.ask(&format!(r#"{{"op":"subscribe"{id},"args":["kline.1.BTCUSDT"],"callerMethodName":"x"}}"#));
            assert_eq!(
                plain(answer),
                json!({"success":true,"ret_msg":message,"req_id":echo,"op":"subscribe"}),
                "{path}"
            );
        }
    }
    let (mut linear, mut spot) = (served.enter(LINEAR), served.enter("/v5/public/spot"));
    let pong = |id: Option<&str>| {
        let mut answer = json!({"success":true,"ret_msg":"pong","op":"ping"});
        id.into_iter().for_each(|id| answer["req_id"] = json!(id));
        answer
    };
    assert_eq!(plain(linear.ask(r#"{"op":"ping"}"#)), pong(Some("")));
    assert_eq!(plain(spot.ask(r#"{"op":"ping"}"#)), pong(None));
    assert_eq!(plain(spot.ask(r#"{"op":"ping","req_id":"1"}"#)), pong(Some("1")));
}

#[test]
fn refusals_are_those_of_the_exchange_and_subscribe_nothing() {
    let served = Served::start();
    let mut linear = served.enter(LINEAR);
    let refused = |message: &str, op: &str| json!({"success":false,"ret_msg":message,"req_id":"r","op":op});
    let answer = linear.ask(r#"{"op":"subscribe","req_id":"r","args":["kline.1.BTCUSDT","kline.1.NOPE"]}"#);
    assert_eq!(plain(answer), refused("error:handler not found,topic:kline.1.NOPE", "subscribe"));
    let mut other = follow(&served, LINEAR, "kline.1.BTCUSDT");
    served.publish([closed("BTCUSDT", "1m", 1)]);
    until_window(&mut other, 1);
    assert_eq!(linear.ask(r#"{"op":"ping"}"#)["ret_msg"], "pong", "the good topic was not subscribed either");
    let answer = linear.ask(r#"{"op":"dance","req_id":"r","args":["x"]}"#);
    assert_eq!(
        (&answer["ret_msg"], &answer["request"]),
        (&json!("error:invalid op"), &json!({"op":"dance","args":["x"]}))
    );
    let answer = linear.ask("hello");
    assert!(answer["ret_msg"].as_str().unwrap().starts_with("Failed to decode incoming data:"), "{answer}");
    let mut spot = served.enter("/v5/public/spot");
    let answer = spot.ask(r#"{"op":"subscribe","req_id":"r","args":["kline.1.NOPE"]}"#);
    assert_eq!(plain(answer), refused("Invalid symbol :[kline.1.NOPE]", "subscribe"));
    let many = [r#""kline.1.BTCUSDT""#; 11].join(",");
    let answer = spot.ask(&format!(r#"{{"op":"subscribe","req_id":"r","args":[{many}]}}"#));
    assert_eq!(plain(answer), refused("args size >10", "subscribe"));
    assert_eq!(Peer::connect(served.address, "/v5/public/option", &[]).err(), Some(404));
}

#[test]
fn categories_are_separate() {
    let served = Served::start();
    let (mut linear, mut spot) =
        (follow(&served, LINEAR, "kline.1.BTCUSDT"), follow(&served, "/v5/public/spot", "kline.1.BTCUSDT"));
    served.publish([in_category(Category::Spot, &closed("BTCUSDT", "1m", 1))]);
    served.publish([closed("BTCUSDT", "1m", 2)]);
    assert_eq!(spot.json()["data"][0]["start"], 60_000);
    assert_eq!(linear.json()["data"][0]["start"], 120_000);
}

#[test]
fn a_signature_as_bybit_defines_it_logs_in() {
    let served = Served::start();
    let expires = u64::try_from(LocalClock::start().now().get()).unwrap() + 10_000;
    for quote in ["", "\""] {
        let mut peer = served.connect(LINEAR);
        let answer =
            peer.ask(&format!(r#"{{"op":"auth","args":["{USER}",{quote}{expires}{quote},"{}"]}}"#, sign(expires)));
        assert_eq!((&answer["success"], &answer["op"]), (&json!(true), &json!("auth")));
        assert_eq!(peer.ask(r#"{"op":"ping"}"#)["ret_msg"], "pong");
    }
    let mut late = served.connect(LINEAR);
    let old = expires - 60_000;
    let answer = late.ask(&format!(r#"{{"op":"auth","args":["{USER}",{old},"{}"]}}"#, sign(old)));
    assert_eq!(answer["success"], false);
    assert_eq!(late.end().1, Some(3501));
}
