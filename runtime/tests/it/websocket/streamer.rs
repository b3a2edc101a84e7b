//! `/`: a client written from the description of Bybit Klines Streamer's protocol.

use klines_domain::kline::{Kline, Quality};
use klines_domain::symbol::Category;
use serde_json::json;

use super::{KEY, Served, USER, closed, open};
use crate::support::in_category;

fn login() -> String {
    format!(r#"{{"user":"{USER}","key":"{KEY}"}}"#)
}

#[test]
fn a_client_logs_in_and_gets_every_batch() {
    let served = Served::start();
    let mut peer = served.connect("/");
    assert_eq!(peer.ask(&login()), json!({"status":"authenticated"}));
    served.publish([closed("BTCUSDT", "1m", 1), closed("ETHUSDT", "1m", 1), closed("BTCUSDT", "1h", 1)]);
    let batch = peer.json();
    let expected = json!({
        "symbol":"BTCUSDT","interval":60000,"timestamp":60000,"open":16578.5,"high":16580.25,"low":16578.0,
        "close":16580.0,"volume":1.207,"trade_count":7,"category":"linear","turnover":20011.4375,"quality":"complete",
    });
    assert_eq!(batch[0], expected);
    assert_eq!((batch.as_array().unwrap().len(), &batch[2]["interval"]), (3, &json!(3_600_000)));
    assert_eq!(peer.ask(r#"{"type":"ping"}"#), json!({"type":"pong"}));
    served.stop();
    let (texts, code) = peer.end();
    assert_eq!((texts, code), (vec![r#"{"type":"server_shutdown"}"#.to_owned()], Some(3000)));
}

#[test]
fn only_klines_that_the_streamer_would_send_are_sent() {
    let served = Served::start();
    let mut peer = served.connect("/");
    peer.ask(&login());
    served.publish([Kline { quality: Quality::Partial, ..closed("BTCUSDT", "1m", 1) }]);
    served.publish([Kline { revision: 1, sequence: 2, ..closed("ETHUSDT", "1m", 1) }]);
    served.publish([open("BTCUSDT", "1m", 2)]);
    served.publish([in_category(Category::Spot, &closed("BTCUSDT", "1m", 3))]);
    served.publish([closed("BTCUSDT", "1m", 4)]);
    assert_eq!(peer.json()[0]["timestamp"], 240_000);
}

#[test]
fn a_first_kline_that_was_withheld_is_sent_once_it_is_admissible() {
    let served = Served::start();
    let version = |revision: u32, quality| Kline {
        revision,
        quality,
        sequence: u64::from(revision) + 1,
        ..closed("BTCUSDT", "1m", 1)
    };
    // Before anybody listens.
    served.publish([version(0, Quality::Partial)]);
    let mut peer = served.connect("/");
    peer.ask(&login());
    served.publish([version(1, Quality::Partial)]);
    served.publish([version(2, Quality::Repaired), closed("ETHUSDT", "1m", 2)]);
    served.publish([version(3, Quality::Complete)]);
    served.publish([closed("BTCUSDT", "1m", 4)]);
    let first = peer.json();
    assert_eq!((&first[0]["timestamp"], &first[0]["quality"]), (&json!(60_000), &json!("repaired")));
    assert_eq!(first.as_array().unwrap().len(), 2);
    assert_eq!(peer.json()[0]["timestamp"], 240_000, "and it is not sent again");
}

#[test]
fn another_category_is_chosen_in_the_url() {
    let served = Served::start();
    let mut peer = served.connect("/?category=spot");
    peer.ask(&login());
    served.publish([closed("BTCUSDT", "1m", 1)]);
    served.publish([in_category(Category::Spot, &closed("BTCUSDT", "1m", 2))]);
    assert_eq!(peer.json()[0]["category"], "spot");
}

#[test]
fn wrong_credentials_are_answered_as_the_streamer_did() {
    let served = Served::start();
    for (first, answer) in [
        ("hello", r#"{"error":"Invalid auth format"}"#),
        (r#"{"user":"tester"}"#, r#"{"error":"Invalid auth format"}"#),
        (r#"{"user":"tester","key":"wrong"}"#, r#"{"error":"Authentication failed"}"#),
        (r#"{"user":"other","key":"f3b1c0d9e8a7465c9b12"}"#, r#"{"error":"Authentication failed"}"#),
    ] {
        let mut peer = served.connect("/");
        peer.say(first);
        assert_eq!(peer.end(), (vec![answer.to_owned()], Some(3501)), "{first}");
    }
}

#[test]
fn a_client_that_does_not_log_in_is_closed_after_ten_seconds() {
    let served = Served::start();
    let mut peer = served.connect("/");
    assert_eq!(peer.end(), (vec![r#"{"error":"Authentication timeout"}"#.to_owned()], Some(3500)));
}
