//! The webhook loses no kline while its server is down, and reports missing grants before it starts.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use klines_delivery::Subscription;
use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec};
use klines_delivery::policy::OnError;
use klines_delivery::queue::{DEFAULT_CAPACITY, Grouping};
use klines_delivery::stats::State;
use klines_delivery::{Blueprint as _, Failure};
use klines_domain::kline::Batch;
use klines_system::limits::Limits;
use klines_wasm::WasmBlueprint;
use klines_wasm::grants::Grants;
use serde_json::{Value, json};

use super::fixtures::{blueprint, delivery, live};
use super::peer::{Peer, Seen, eventually, response};
use crate::support::program::{folder, klines};

const PATIENCE: Duration = Duration::from_secs(60);

fn webhook(name: &str, peer: &Peer, more: &Value) -> WasmBlueprint {
    let mut settings = json!({ "url": peer.url("/klines"), "consumer": name, "timeout_ms": 5_000 });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let grants = Grants { http: peer.egress("POST"), ..Grants::default() };
    let limits = Limits { call: Duration::from_secs(10), ..Limits::default() };
    blueprint("webhook", name, &settings.to_string(), limits, grants)
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn starts(seen: &[Seen]) -> Vec<i64> {
    let klines = seen.iter().flat_map(|seen| body(seen)["klines"].as_array().unwrap().clone());
    klines.map(|kline| kline["start"].as_i64().unwrap() / 60_000).collect()
}

#[test]
fn klines_arrive_with_exact_digits_and_their_key() {
    let peer = Peer::answering(204, "");
    let mut webhook = webhook("webhook", &peer, &json!({}));
    assert_eq!(webhook.validate(), []);
    live(&mut webhook, 1).unwrap();
    let seen = &peer.seen()[0];
    let body = body(seen);
    assert_eq!(
        (seen.line.as_str(), seen.headers["content-type"].as_str()),
        ("POST /klines HTTP/1.1", "application/json")
    );
    assert_eq!(seen.headers["idempotency-key"], "linear:BTCUSDT:1m:0:0");
    assert_eq!((&body["consumer"], &body["lost"]), (&json!("webhook"), &json!(0)));
    assert_eq!((&body["klines"][0]["turnover"], &body["klines"][0]["price_decimals"]), (&json!("4144.625"), &json!(1)));
    assert_eq!(webhook.http_counters().read().requests, 1);
}

#[test]
fn requests_leave_no_handle_open() {
    let peer = Peer::answering(204, "");
    let settings = json!({ "url": peer.url("/klines"), "timeout_ms": 5_000 }).to_string();
    let limits = Limits { call: Duration::from_secs(10), handles: 50, ..Limits::default() };
    let grants = Grants { http: peer.egress("POST"), ..Grants::default() };
    live(&mut blueprint("webhook", "handles", &settings, limits, grants), 100).unwrap();
    assert_eq!(peer.seen().len(), 100);
}

#[test]
fn an_address_that_is_down_costs_no_kline_and_no_quarantine() {
    const KLINES: i64 = 200;
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = refusals.clone();
    // Three failures of three kinds, and then success.
    let peer = Peer::start(move |_, stream| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Ok(()),
        1 => stream.write_all(&response(503, "", b"")),
        2 => stream.write_all(&response(429, "retry-after: 1\r\n", b"")),
        _ => stream.write_all(&response(200, "", b"")),
    });
    let (data, hub) = (tempfile::tempdir().unwrap(), Hub::new());
    let spec = Spec {
        name: "down".into(),
        blueprint: Box::new(webhook("down", &peer, &json!({}))),
        allowed: Subscription::default(),
        queue: DEFAULT_CAPACITY,
        grouping: Grouping::UpTo(64),
        on_error: OnError::Restart,
        hub: None,
    };
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(data.path())).unwrap();
    assert_eq!(manager.started(PATIENCE).len(), 1);
    for window in 0..KLINES {
        hub.publish(&Batch { klines: delivery(window).klines.to_vec() });
    }
    eventually("all klines", || refusals.load(Ordering::Relaxed) > 3 && starts(&peer.seen()).contains(&(KLINES - 1)));
    let stats = manager.shutdown(PATIENCE).remove(0).stats;
    assert_eq!((stats.state, stats.delivered, stats.lost(), stats.crashes()), (State::Stopped, 200, 0, 0));
    assert_eq!(stats.retries, 3);
    let seen = peer.seen();
    // The first three requests are the same batch with the same key; after that each kline comes once and in order.
    let keys: Vec<&String> = seen.iter().take(4).map(|seen| &seen.headers["idempotency-key"]).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(starts(&seen[3..]), (0..KLINES).collect::<Vec<_>>());
}

#[test]
fn without_a_grant_the_webhook_fails_with_the_reason() {
    let peer = Peer::answering(200, "");
    let settings = json!({ "url": peer.url("/") }).to_string();
    let mut ungranted = blueprint("webhook", "ungranted", &settings, Limits::default(), Grants::default());
    match live(&mut ungranted, 1).err() {
        Some(Failure::Fatal(text)) => assert!(text.contains("are not granted"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(peer.seen().is_empty());
}

#[test]
fn a_check_names_the_line_that_is_missing() {
    let toml =
        "enabled_consumers = [\"webhook\"]\n[consumers.webhook.settings]\nurl = \"https://hooks.example.com:8443/k\"\n";
    let place = folder(&[("klines.toml", toml)]);
    let ended = klines(place.path(), "check").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    let line = r#"http = [{ host = "hooks.example.com", port = 8443, methods = ["POST"] }]"#;
    // The report is wrapped at the width of the terminal.
    let said = ended.said.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(said.contains(line) && said.contains("[consumers.webhook.allow]"), "{}", ended.said.err);
    let granted = format!("{toml}[consumers.webhook.allow]\n{line}\n");
    let place = folder(&[("klines.toml", &granted)]);
    assert_eq!(klines(place.path(), "check").run().code(), Some(0));
}

#[test]
fn inspecting_shows_what_is_wanted_granted_and_missing() {
    let place = folder(&[]);
    let said = klines(place.path(), "consumer inspect webhook --json").run().success();
    let shown: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(shown["manifest"]["name"], "webhook");
    assert_eq!(shown["contract"], "klines:consumer/consumer@1.2.0");
    assert_eq!(shown["sha256"].as_str().unwrap().len(), 64);
    let toml = shown["toml"].as_str().unwrap();
    assert!(
        toml.starts_with("[consumers.webhook.allow]\nhttp = [{ host = \"HOST\", methods = [\"POST\"] }]\n"),
        "{toml}"
    );
    // A file, and then a consumer with grants in its configuration.
    let file = crate::support::program::component("jsonl");
    let command = format!("consumer inspect {}", file.display());
    let said = klines(place.path(), &command).run().success();
    assert!(
        said.out.contains("wasi:filesystem/") && said.out.contains("none; its imports show what it requests"),
        "{}",
        said.out
    );
    let said = klines(place.path(), "consumer inspect jsonl").run().success();
    assert!(said.out.contains("granted  dirs     ./klines-out as /out (write)"), "{}", said.out);
    assert_eq!(klines(place.path(), "consumer inspect nothing").run().code(), Some(78));
    assert_eq!(klines(place.path(), "consumer inspect ./nothing.wasm").run().code(), Some(1));
}
