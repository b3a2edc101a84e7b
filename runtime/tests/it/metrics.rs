//! Monitoring of the real binary: metrics that add up, health that fails and recovers, and a port that is refused
//! before anything runs.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]
#![expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]

mod alerts;
mod exposition;
mod feeds;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bybit_sim::{Fault, Market, Sim, SimConfig};
use exposition::Page;
use futures_util::SinkExt;
use serde_json::Value;

use crate::live::{JSON, each_complete, run_at};
use crate::support::program::{Running, component, folder, klines};

const PATIENCE: Duration = Duration::from_secs(60);
/// The label of the default category.
pub const LINEAR: (&str, &str) = ("category", "linear");
/// Any free port.
pub const ANYWHERE: &str = "127.0.0.1:0";

/// Returns the address in the log line with this message.
pub fn served(run: &Running, message: &str) -> SocketAddr {
    run.until(message, |said| !said.logged(message).is_empty());
    run.said().logged(message)[0]["address"].as_str().unwrap().parse().unwrap()
}

/// Requests a page and returns its status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Requests and parses the metrics.
pub fn page(address: SocketAddr) -> Page {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    Page::read(&text)
}

/// Requests a health page and returns its status and JSON body.
pub fn health(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, text) = get(address, path);
    (status, serde_json::from_str(&text).unwrap())
}

async fn demo(seed: u64) -> Sim {
    Sim::start(SimConfig::new(Market::demo(seed))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_account_for_every_trade_and_every_kline() {
    let (sim, home) = (demo(71).await, folder(&[("klines.toml", JSON)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    run.until("klines", |said| each_complete(said, "1s", 3));
    sim.inject(Fault::Duplicate);
    run.until("more klines", |said| each_complete(said, "1s", 6));
    run.until("both connections", |_| page(address).get("klines_feed_redundancy", &[LINEAR]) == Some(2.0));
    let page = page(address);
    let linear = LINEAR;
    let (received, counted) =
        (page.value("klines_trades_received_total", &[linear]), page.sum("klines_trades_total", linear));
    assert!(received > 0.0);
    assert_eq!(received, counted, "received = counted + duplicate + late + rejected + excluded");
    let outcome = |outcome| page.value("klines_trades_total", &[linear, ("outcome", outcome)]);
    assert!(outcome("duplicate") > 0.0 && outcome("counted") > 0.0);
    assert!(page.value("klines_feed_trades_total", &[linear]) > 0.0);
    assert_eq!(page.value("klines_feed_connections", &[linear, ("state", "open")]), 2.0);
    assert_eq!(page.value("klines_feed_redundancy_wanted", &[linear]), 2.0);
    assert_eq!(page.value("klines_feed_topics_wanted", &[linear]), 3.0, "each topic once");
    assert_eq!(page.value("klines_feed_topics_covered", &[linear]), 3.0);
    assert!(page.value("klines_feed_frames_total", &[linear, ("kind", "trades")]) > 0.0);
    assert!(page.value("klines_feed_frame_age_seconds", &[linear]) < 30.0);
    let console = ("consumer", "console");
    assert_eq!(page.value("klines_consumer_info", &[console, ("kind", "wasm")]), 1.0);
    assert_eq!(page.value("klines_consumer_state", &[console, ("state", "running")]), 1.0);
    assert_eq!(page.sum("klines_consumer_state", console), 1.0, "one state at a time");
    let calls = page.value("klines_consumer_deliveries_total", &[console]);
    assert!(calls > 0.0 && page.value("klines_consumer_klines_total", &[console]) >= calls);
    assert!(page.value("klines_consumer_call_duration_seconds_count", &[console]) >= calls);
    assert!(page.value("klines_consumer_lag_seconds_count", &[console]) > 0.0);
    assert!(page.value("klines_consumer_lag_seconds_sum", &[console]) > 0.0);
    assert!(page.value("klines_consumer_memory_bytes", &[console]) > 65_536.0);
    assert!(page.value("klines_consumer_loaded_component_bytes", &[console]) > 65_536.0);
    assert_eq!(page.value("klines_consumer_queue_capacity_klines", &[console]), 4_096.0);
    assert!(page.value("klines_closing_delay_seconds_count", &[]) > 0.0);
    assert!(page.value("klines_closing_delay_seconds_sum", &[]) > 0.0);
    assert_eq!(page.value("klines_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(health(address, "/healthz").0, 200);
    let (status, ready) = health(address, "/readyz");
    assert_eq!((status, &ready["status"], &ready["consumers"][0]["state"]), (200, &"ok".into(), &"running".into()));
    assert_eq!(get(address, "/").0, 200);
    assert_eq!(get(address, "/nothing").0, 404);
    run.stop().success();
}

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Returns the names of the documented metrics.
pub fn documented() -> BTreeSet<String> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).filter(|name| !name.starts_with('/')).collect()
}

pub fn is_of_cluster(name: &str) -> bool {
    name.starts_with("klines_cluster_")
}

/// Returns the names of the metrics on a page, as they are documented.
pub fn shown(page: &Page) -> BTreeSet<String> {
    let shown = |(name, kind): (&String, &String)| match kind.as_str() {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.clone(),
    };
    page.families.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_metric_exists() {
    // Nobody listens on this port: failed requests are counted too.
    let toml = "[klines]\nrepair = \"1h\"\n[consumers.webhook]\nsettings.url = \"http://127.0.0.1:9/\"\n\
        allow.http = [{ host = \"127.0.0.1\", port = 9, methods = [\"POST\"], plain = true, private = true }]\n";
    let (sim, home) = (demo(72).await, folder(&[("klines.toml", toml)]));
    let run = run_at(&home, &sim, "BTCUSDT", "100ms").with("METRICS_LISTEN", ANYWHERE);
    let run = run.with("ENABLED_CONSUMERS", "console,websocket,webhook,redis").with("WEBSOCKET_PORT", "0");
    let run = run.with("REDIS_URL", "redis://127.0.0.1:1/0");
    let run = run.with("WSS_AUTH_USER", "me").with("WSS_AUTH_KEY", "nOt4-kEy_tHat-aNyone.gu3sses-9f").start();
    let address = served(&run, "serving metrics");
    run.until("klines", |said| said.out.contains('✓'));
    let page = page(address);
    // Those of a cluster need one: `it/cluster.rs`.
    let (_, documented): (BTreeSet<_>, BTreeSet<_>) = documented().into_iter().partition(|name| is_of_cluster(name));
    assert_eq!(shown(&page), documented);
    for (label, values) in page.labels() {
        assert!(DOCUMENT.contains(&format!("`{label}`")), "the label {label} with {values:?} is not documented");
    }
    assert_eq!(page.labels()["consumer"], ["console", "redis", "webhook", "websocket"].into(), "only configured names");
    run.stop().success_except(|name| name == "webhook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_component_shows_in_the_metrics_and_the_console_runs_on() {
    let path = component("hostile");
    let toml = format!(
        "enabled_consumers = [\"console\", \"bad\"]\n[consumers.bad]\ncomponent = {path:?}\n\
         [consumers.bad.settings]\nmode = \"trap\"\n"
    );
    let (sim, home) = (demo(73).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms").with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    run.until("a second instance", |said| said.logged("consumer crashed and gets a new instance").len() >= 2);
    let (bad, good) = (("consumer", "bad"), ("consumer", "console"));
    let (mut seen, between) = (Page::default(), [bad, ("state", "running")]);
    // On a busy machine the next instance may run before the page is read.
    run.until("a page between two instances", |_| {
        seen = page(address);
        seen.value("klines_consumer_state", &between) == 0.0
            && seen.value("klines_consumer_memory_bytes", &[bad]) == 0.0
    });
    let page = seen;
    assert!(page.value("klines_consumer_crashes_total", &[bad, ("kind", "trap")]) >= 2.0);
    assert!(page.value("klines_consumer_restarts_total", &[bad]) >= 1.0);
    assert_eq!(page.sum("klines_consumer_state", bad), 1.0);
    assert_eq!(page.value("klines_consumer_state", &[good, ("state", "running")]), 1.0);
    assert_eq!(page.sum("klines_consumer_crashes_total", good), 0.0);
    let mut ready = (200, Value::Null);
    run.until("it is not ready", |_| {
        ready = health(address, "/readyz");
        ready.0 == 503
    });
    assert!(ready.1["reasons"][0].as_str().is_some_and(|reason| reason.starts_with("bad is ")), "{}", ready.1);
    assert_eq!(health(address, "/healthz").0, 200, "the feed is healthy");
    run.stop().success_except(|name| name == "bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_fails_when_the_exchange_falls_silent_and_recovers_with_it() {
    let (sim, home) = (demo(74).await, folder(&[("klines.toml", "[metrics]\nstale_after = \"2s\"\n")]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "1s").with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    run.until("frames of the exchange", |_| health(address, "/healthz").0 == 200);
    sim.inject(Fault::Stall);
    run.until("/healthz to report the silence", |_| health(address, "/healthz").0 == 503);
    let (status, body) = health(address, "/healthz");
    let reason = body["reasons"][0].as_str().unwrap_or_default().to_owned();
    assert!(status == 503 && reason.starts_with("linear: no frame for "), "{body}");
    assert_eq!((&body["feeds"][0]["fresh"], health(address, "/readyz").0), (&false.into(), 503));
    sim.heal();
    run.until("frames again", |_| health(address, "/readyz").0 == 200);
    run.stop().success();
}

#[test]
fn a_port_in_use_is_reported_before_anything_runs() {
    let taken = TcpListener::bind(ANYWHERE).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = folder(&[]);
    let run = klines(home.path(), "run --demo --for 20s").with("METRICS_LISTEN", &address);
    let ended = run.run();
    assert_eq!(ended.code(), Some(1));
    let said = &ended.said.err;
    assert!(said.contains(&format!("cannot serve metrics on {address}")) && said.contains("METRICS_LISTEN"), "{said}");
    assert!(!said.contains("consumer started"), "{said}");
}

#[test]
fn a_port_for_everyone_is_a_warning_and_no_address_an_error() {
    let home = folder(&[]);
    let ended = klines(home.path(), "check").with("METRICS_LISTEN", "0.0.0.0:9464").run();
    assert!(ended.said.err.contains("0.0.0.0:9464 can read the metrics"), "{}", ended.said.err);
    assert_eq!(ended.code(), Some(0));
    let ended = klines(home.path(), "check").with("METRICS_LISTEN", "9464").run();
    assert!(ended.said.err.contains("127.0.0.1:9464"), "{}", ended.said.err);
    assert_eq!(ended.code(), Some(78));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_websocket_server_are_counted_by_the_reason_of_their_end() {
    let (sim, home) = (demo(76).await, folder(&[]));
    let run = run_at(&home, &sim, "BTCUSDT", "1s").with("METRICS_LISTEN", ANYWHERE);
    let run =
        run.with("ENABLED_CONSUMERS", "websocket").with("WEBSOCKET_PORT", "0").with("WEBSOCKET_HOST", "127.0.0.1");
    let run = run.with("WSS_AUTH_USER", "me").with("WSS_AUTH_KEY", "nOt4-kEy_tHat-aNyone.gu3sses-9f").start();
    let (address, clients) = (served(&run, "serving metrics"), served(&run, "serving klines"));
    let stream = tokio::net::TcpStream::connect(clients).await.unwrap();
    let (mut client, _) = tokio_tungstenite::client_async(format!("ws://{clients}/"), stream).await.unwrap();
    let server = ("consumer", "websocket");
    run.until("it is counted", |_| page(address).value("klines_websocket_clients", &[server]) == 1.0);
    client.send(r#"{"user":"me","key":"wrong"}"#.into()).await.unwrap();
    run.until("it is gone", |_| page(address).value("klines_websocket_clients", &[server]) == 0.0);
    let page = page(address);
    assert_eq!(page.value("klines_websocket_connections_total", &[server]), 1.0);
    assert_eq!(page.value("klines_websocket_failed_logins_total", &[server]), 1.0);
    assert_eq!(page.sum("klines_websocket_disconnects_total", server), 1.0);
    let reason = ("reason", "authentication failed");
    assert_eq!(page.value("klines_websocket_disconnects_total", &[server, reason]), 1.0);
    assert_eq!(page.get("klines_consumer_memory_bytes", &[server]), None, "a native consumer has no guest memory");
    assert_eq!(
        page.get("klines_consumer_loaded_component_bytes", &[server]),
        None,
        "a native consumer has no component"
    );
    run.stop().success();
}

/// More clients that send nothing than are served at a time, one whose request head is too long, and some that never
/// read.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_do_not_block_others() {
    let (sim, home) = (demo(75).await, folder(&[]));
    let run = run_at(&home, &sim, "BTCUSDT", "1s").with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(get(address, "/healthz").0, 200);
    for mut socket in silent {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // It is closed or reset, and gets no answer.
        let (mut answer, kept) = (Vec::new(), [ErrorKind::WouldBlock, ErrorKind::TimedOut]);
        let ended = socket.read_to_end(&mut answer);
        assert!(!ended.is_err_and(|error| kept.contains(&error.kind())), "a silent client is disconnected");
        assert_eq!(String::from_utf8_lossy(&answer), "");
    }
    let mut long = TcpStream::connect(address).unwrap();
    long.set_read_timeout(Some(PATIENCE)).unwrap();
    long.write_all(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(17 << 10)).as_bytes()).unwrap();
    let mut answer = [0; 64];
    let read = long.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let deaf: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).unwrap();
            socket
        })
        .collect();
    assert_eq!(get(address, "/healthz").0, 200);
    drop(deaf);
    run.stop().success();
}
