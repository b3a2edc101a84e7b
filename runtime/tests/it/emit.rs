//! Values of components in the whole program: one component that behaves and one that floods, with the WebSocket server
//! and Redis. Every client gets every confirmed value once, in order and right, up to the last.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]
#![expect(clippy::float_cmp, reason = "the component and the test compute the same from the same digits")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use bybit_sim::{Market, Sim, SimConfig};
use serde_json::Value;

use crate::live::{DEMO, run_at};
use crate::redis::server::{Server, eventually};
use crate::support::program::{Running, component, folder};
use crate::websocket::peer::{Peer, get};

fn toml() -> String {
    let (ledger, hostile) = (component("ledger"), component("hostile"));
    format!(
        "enabled_consumers = [\"redis\", \"websocket\", \"mine\", \"flood\"]\n\
         [websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [consumers.mine]\ncomponent = {ledger:?}\nsettings.emit = true\n\
         [consumers.flood]\ncomponent = {hostile:?}\nsettings.mode = \"emit-flood\"\n"
    )
}

/// Returns the address in the log line with this message.
fn address(run: &Running, message: &str) -> SocketAddr {
    run.until(message, |said| !said.logged(message).is_empty());
    run.said().logged(message)[0]["address"].as_str().unwrap().parse().unwrap()
}

/// Reads a counter of a consumer.
fn count(metrics: SocketAddr, name: &str, consumer: &str) -> u64 {
    let (_, page) = get(metrics, "/metrics", "");
    let start = format!("{name}{{consumer=\"{consumer}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start}in {page}")).parse().unwrap()
}

/// Returns the confirmed pushes of a topic by number, and asserts that they are contiguous and unique.
#[track_caller]
fn confirmed<'a>(pushes: &'a [Value], topic: &str) -> BTreeMap<u64, &'a Value> {
    let of_topic = pushes.iter().filter(|push| push["topic"] == topic && push["data"]["confirm"] == true);
    let numbered: Vec<(u64, &Value)> = of_topic.map(|push| (push["seq"].as_u64().unwrap(), &push["data"])).collect();
    assert!(numbered.len() > 5, "{topic}: {}", numbered.len());
    assert!(numbered.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{topic}: each once and in order");
    numbered.into_iter().collect()
}

fn middle(kline: &Value) -> f64 {
    let number = |field: &str| kline[field].as_str().unwrap().parse::<f64>().unwrap();
    f64::midpoint(number("high"), number("low"))
}

/// Asserts that each value belongs to the kline with its number, and that the last kline has a value.
#[track_caller]
fn assert_right(klines: &BTreeMap<u64, &Value>, values: &BTreeMap<u64, &Value>) {
    for (number, value) in values {
        let Some(kline) = klines.get(number) else { continue };
        for field in ["start", "end", "revision"] {
            assert_eq!(value[field], kline[field], "{number}: {value} {kline}");
        }
        assert_eq!(value["value"].as_f64().unwrap(), middle(kline), "{number}: {value} {kline}");
    }
    assert_eq!(values.keys().last(), klines.keys().last(), "values of the last deliveries arrive before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_reach_every_client_once_and_in_order_while_another_component_floods() {
    let server = Server::start();
    let sim = Sim::start(SimConfig::new(Market::demo(41))).await.unwrap();
    let home = folder(&[("klines.toml", &toml())]);
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").with("REDIS_URL", &server.url());
    let run = run.with("WSS_AUTH_USER", "it").with("WSS_AUTH_KEY", "canary-0815-0123456789").start();
    let metrics = address(&run, "serving metrics");
    let channels: Vec<String> = DEMO.iter().map(|symbol| format!("ext.mine.middle.1s.{symbol}")).collect();
    let heard = server.subscribe(&channels.iter().map(String::as_str).collect::<Vec<_>>());
    let mut peer = Peer::connect(address(&run, "serving klines"), "/v1/stream", &[]).unwrap();
    let topics = DEMO
        .map(|symbol| format!(r#""kline.1s.{symbol}","ext.mine.middle.1s.{symbol}","ext.mine.signal.1s.{symbol}""#));
    let answer = peer.ask(&format!(r#"{{"op":"subscribe","topics":[{}]}}"#, topics.join(",")));
    assert_eq!(answer["ok"], true, "{answer}");
    let reader = thread::spawn(move || peer.end().0);
    // Both counters include the intervals 100 ms and 1 s of three symbols.
    eventually("values", || count(metrics, "klines_consumer_emitted_values_total", "mine") > 2_000);
    eventually("a flood", || count(metrics, "klines_consumer_refused_values_total", "flood") > 10_000);
    assert_eq!(count(metrics, "klines_consumer_lost_values_total", "mine"), 0);
    assert_eq!(count(metrics, "klines_consumer_refused_values_total", "mine"), 0);
    let said = run.stop().success();
    // 256 KiB hold 32 numbers of 64 bytes and 63 texts of 4,002 and 64 each.
    let bounded = said.log().iter().any(|line| {
        let text = line.to_string();
        text.contains("32 names: ") && text.contains("; 63 texts: ") && text.contains("; 1000 more refused")
    });
    assert!(bounded, "{}", said.err);
    let pushes: Vec<Value> = reader.join().unwrap().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert!(pushes.iter().all(|push| push["recovered"] != false), "no loss was reported");
    for symbol in DEMO {
        let klines = confirmed(&pushes, &format!("kline.1s.{symbol}"));
        let values = confirmed(&pushes, &format!("ext.mine.middle.1s.{symbol}"));
        assert_right(&klines, &values);
        let signals = confirmed(&pushes, &format!("ext.mine.signal.1s.{symbol}"));
        for (number, signal) in &signals {
            let Some(kline) = klines.get(number) else { continue };
            let number = |field: &str| kline[field].as_str().unwrap().parse::<f64>().unwrap();
            let side = if number("close") >= number("open") { "buy" } else { "sell" };
            assert_eq!(signal["value"]["side"], side, "{signal} {kline}");
        }
        let channel = format!("ext.mine.middle.1s.{symbol}");
        let last = klines.keys().last().copied();
        let published = || -> Vec<Value> {
            let messages = heard.messages();
            let of_channel = messages.iter().filter(|(name, _)| *name == channel);
            let all = of_channel.map(|(_, text)| serde_json::from_str::<Value>(text).unwrap());
            all.filter(|value| value["confirm"] == true).collect()
        };
        eventually("the last value on redis", || {
            published().last().and_then(|value| value["sequence"].as_u64()) == last
        });
        let published = published();
        let numbered: Vec<(u64, &Value)> =
            published.iter().map(|value| (value["sequence"].as_u64().unwrap(), value)).collect();
        assert!(numbered.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{channel}: each once and in order");
        assert_right(&klines, &numbered.into_iter().collect());
    }
}
