//! Serve nodes: what they hand on after a restart, and clients that go on at another one.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Cluster, assert_whole, more};
use crate::support::program::Running;
use crate::support::received::received;
use crate::websocket::peer::Peer;

/// Klines of three symbols in two intervals for about four seconds.
const SOME: usize = 18;
const TOPIC: &str = "kline.1s.BTCUSDT";
const GATEWAY: [(&str, &str); 4] = [
    ("ENABLED_CONSUMERS", "console,websocket"),
    ("WEBSOCKET_PORT", "0"),
    ("WSS_AUTH_USER", "tester"),
    ("WSS_AUTH_KEY", "f3b1c0d9e8a7465c9b12"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_serve_node_that_was_killed_goes_on_behind_what_it_has_stored() {
    let mut cluster = Cluster::start(91).await;
    let one = cluster.node("one", "ingest");
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one"]);
    more(&serve, SOME);
    let before = serve.kill().said;
    let serve = cluster.node("serve", "serve");
    more(&serve, SOME);
    let after = serve.stop().success();
    let klines = [received(&before.out), received(&after.out)].concat();
    // It may hand on again what was not stored when it was killed, and nothing else.
    let mut seen = std::collections::HashSet::new();
    let once = klines.iter().filter(|kline| seen.insert((kline.series(), kline.start, kline.revision)));
    assert_whole(&once.cloned().collect::<Vec<_>>());
    one.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_at_another_gateway_and_misses_nothing() {
    let mut cluster = Cluster::start(92).await;
    let one = cluster.node("one", "ingest");
    let first = cluster.node_with("first", "serve", &GATEWAY);
    cluster.until_counting(&["one"]);
    more(&first, SOME);
    // It begins in the middle of the life of the cluster, and has what Redis keeps.
    let second = cluster.node_with("second", "serve", &GATEWAY);
    more(&second, SOME);
    let mut client = enter(&first, "");
    let mut position = Value::Null;
    let mut sequences = Vec::new();
    while sequences.len() < 3 {
        let push = client.json();
        if push["data"]["confirm"] == true {
            sequences.push(push["seq"].as_u64().unwrap());
            position = serde_json::json!({ "epoch": push["epoch"], "seq": push["seq"] });
        }
    }
    first.kill();
    let mut client = enter(&second, &format!(r#","since":{{"{TOPIC}":{position}}}"#));
    while sequences.len() < 9 {
        let push = client.json();
        assert_eq!(push["type"], "kline", "{push}");
        assert_eq!(push["epoch"], position["epoch"], "{push}");
        if push["data"]["confirm"] == true {
            sequences.push(push["seq"].as_u64().unwrap());
        }
    }
    let expected: Vec<u64> = (sequences[0]..).take(sequences.len()).collect();
    assert_eq!(sequences, expected, "each kline once and in order");
    second.stop().success();
    one.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_windows_are_updated_and_never_after_their_kline() {
    let mut cluster = Cluster::start(93).await;
    let toml = cluster.toml().replace("show = \"closed\"", "show = \"all\"");
    let toml = format!("[klines]\nupdate_interval = \"200ms\"\n{toml}");
    for name in ["one", "serve"] {
        cluster.folders.insert(name.to_owned(), crate::support::program::folder(&[("klines.toml", &toml)]));
    }
    let one = cluster.node("one", "ingest");
    let serve = cluster.node("serve", "serve");
    serve.until("updates", |said| said.out.matches(r#""confirm":false"#).count() >= 30);
    more(&serve, SOME);
    let said = serve.stop().success();
    let mut closed = std::collections::HashMap::new();
    for kline in received(&said.out) {
        let newest = closed.entry(kline.series()).or_insert(i64::MIN);
        assert!(kline.confirm || kline.start > *newest, "after its kline: {kline:?}");
        *newest = if kline.confirm { kline.start.max(*newest) } else { *newest };
    }
    one.kill();
}

/// Connects to a gateway and subscribes.
fn enter(gateway: &Running, more: &str) -> Peer {
    gateway.until("it serves", |said| !said.logged("serving klines").is_empty());
    let line = gateway.said().logged("serving klines")[0].clone();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let mut peer = Peer::connect(address, "/v1/stream", &[("Authorization", "Bearer f3b1c0d9e8a7465c9b12")]).unwrap();
    let answer = peer.ask(&format!(r#"{{"op":"subscribe","id":1,"topics":["{TOPIC}"]{more}}}"#));
    assert_eq!(answer["ok"], true, "{answer}");
    if !more.is_empty() {
        assert_eq!(answer["topics"][TOPIC]["recovered"], true, "{answer}");
    }
    peer
}
