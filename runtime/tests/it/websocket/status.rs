//! The status of the feeds: every client of `/v1/stream` gets it when it connects and at every change, without waiting
//! for a kline.

use klines_delivery::catalog::FeedState;
use klines_domain::symbol::Category;
use serde_json::{Value, json};

use super::{KEY, Served, USER, eventually};

fn status(feeds: &[(&str, &str, i64)]) -> Value {
    let feed = |(category, state, since): &(&str, &str, i64)| json!({"category":category,"state":state,"since":since});
    json!({"v":1,"type":"status","feeds":feeds.iter().map(feed).collect::<Vec<_>>()})
}

#[test]
fn a_client_gets_the_status_when_it_connects_and_at_every_change() {
    let served = Served::start();
    let report = |category, state, now| served.catalog.report(category, state, now);
    report(Category::Linear, FeedState::Live, 5);
    let live = status(&[("linear", "live", 5)]);
    let mut first = served.enter("/v1/stream");
    eventually("the server to have the status", || {
        let mut peer = served.enter("/v1/stream");
        peer.status() == live
    });
    while first.status() != live {}
    let mut second = served.connect("/v1/stream");
    assert_eq!(second.ask(&format!(r#"{{"op":"auth","user":"{USER}","key":"{KEY}"}}"#))["ok"], true);
    assert!(second.statuses.is_empty(), "no status before the log-in");
    assert_eq!(second.status(), live);
    report(Category::Linear, FeedState::Down, 7);
    report(Category::Linear, FeedState::Down, 8);
    let down = status(&[("linear", "down", 7)]);
    assert_eq!([first.status(), second.status()], [down.clone(), down]);
    report(Category::Spot, FeedState::Stale, 9);
    let both = status(&[("linear", "down", 7), ("spot", "stale", 9)]);
    assert_eq!([first.status(), second.status()], [both.clone(), both]);
}

#[test]
fn other_dialects_get_no_status() {
    let served = Served::start();
    let mut stream = served.enter("/v1/stream");
    let (mut bybit, mut streamer) = (served.enter("/v5/public/linear"), served.enter("/"));
    assert_eq!(streamer.json(), json!({"status":"authenticated"}));
    served.catalog.report(Category::Linear, FeedState::Down, 5);
    while stream.status() != status(&[("linear", "down", 5)]) {}
    assert_eq!(bybit.ask(r#"{"op":"ping"}"#)["ret_msg"], "pong");
    assert_eq!(streamer.ask(r#"{"type":"ping"}"#), json!({"type":"pong"}));
}

#[test]
fn no_client_gets_an_older_status_after_a_newer_one() {
    let served = Served::with(|settings| settings.commands = 1_000);
    let mut peers = Vec::new();
    const CHANGES: i64 = 200;
    for change in 1..=CHANGES {
        let state = if change % 2 == 0 { FeedState::Live } else { FeedState::Down };
        served.catalog.report(Category::Linear, state, change);
        if change % 4 == 0 {
            peers.push(served.enter("/v1/stream"));
        }
    }
    for mut peer in peers {
        let since = |status: &Value| status["feeds"][0]["since"].as_i64().unwrap_or_default();
        let mut known = 0;
        while known < CHANGES {
            let status = peer.status();
            assert!(since(&status) >= known, "{status} after {known}");
            known = since(&status);
        }
    }
}
