//! The state of a dead exchange: clients of the stream, `/readyz` and `/metrics` get the same state, without waiting
//! for a kline. A feed that has lost one of its connections is live, and the metrics show that it is no longer redundant.

use bybit_sim::{Fault, Sim};
use serde_json::Value;

use super::alerts::{Expected, assert_alerts};
use super::{LINEAR, demo, health, page, served};
use crate::live::run_at;
use crate::support::program::{Running, folder};
use crate::websocket::peer::Peer;

const TOML: &str = "enabled_consumers = [\"websocket\"]\n\
    [websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n\
    [metrics]\nlisten = \"127.0.0.1:0\"\nstale_after = \"5s\"\n";

/// The program, and a client that subscribes to no topic.
struct Fixture {
    run: Running,
    peer: Peer,
}

impl Fixture {
    fn start(home: &tempfile::TempDir, sim: &Sim) -> Self {
        let run = run_at(home, sim, "BTCUSDT,ETHUSDT", "1h").with("WSS_AUTH_USER", "it");
        let run = run.with("WSS_AUTH_KEY", "canary-0815-0123456789").start();
        let peer = Peer::connect(served(&run, "serving klines"), "/v1/stream", &[]).unwrap();
        Self { run, peer }
    }

    /// Waits until the client gets this state, and asserts that `/readyz` and `/metrics` show the same one.
    fn until(&mut self, state: &str) {
        let mut status = Value::Null;
        while status["feeds"][0]["state"] != state {
            status = self.peer.status();
        }
        let metrics = served(&self.run, "serving metrics");
        // `/readyz` may still show an earlier state, or already a later one.
        self.run.until("the same at /readyz", |_| {
            let (code, body) = health(metrics, "/readyz");
            let feed = &body["feeds"][0];
            assert_eq!(code == 200, feed["state"] == "live", "{body}");
            assert_eq!(code == 200, body["reasons"].as_array().is_some_and(Vec::is_empty), "{body}");
            feed["state"] == state && feed["since"] == status["feeds"][0]["since"]
        });
        let page = page(metrics);
        let share = |of: &str| page.value("klines_feed_state", &[("category", "linear"), ("state", of)]);
        assert_eq!(share(state), 1.0);
        assert_eq!(["live", "stale", "down"].map(share).iter().sum::<f64>(), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_the_same_state_of_a_dead_exchange_without_waiting_for_a_kline() {
    let (sim, home) = (demo(75).await, folder(&[("klines.toml", TOML)]));
    let mut fixture = Fixture::start(&home, &sim);
    fixture.until("live");
    sim.inject(Fault::Down);
    fixture.until("down");
    sim.heal();
    fixture.until("live");
    sim.inject(Fault::Stall);
    fixture.until("stale");
    sim.heal();
    fixture.until("live");
    fixture.run.stop().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_never_reached_is_down() {
    let (sim, home) = (demo(76).await, folder(&[("klines.toml", TOML)]));
    sim.inject(Fault::Down);
    let mut fixture = Fixture::start(&home, &sim);
    fixture.until("down");
    sim.heal();
    fixture.until("live");
    fixture.run.stop().success();
}

/// The lost connection is opened again, but its only topic is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_with_one_connection_left_is_live_and_not_redundant() {
    let (sim, home) = (demo(79).await, folder(&[("klines.toml", TOML)]));
    let run = run_at(&home, &sim, "BTCUSDT", "1s").with("ENABLED_CONSUMERS", "console").start();
    let address = served(&run, "serving metrics");
    let redundancy = || page(address).get("klines_feed_redundancy", &[LINEAR]);
    run.until("both connections", |_| redundancy() == Some(2.0));
    let before = page(address);
    sim.inject(Fault::Refuse("BTCUSDT".to_owned()));
    sim.inject(Fault::DropOldest);
    run.until("the loss of one", |_| redundancy() == Some(1.0));
    run.until("the refusal", |said| !said.logged("symbol refused by the exchange").is_empty());
    let (code, body) = health(address, "/readyz");
    let feed = &body["feeds"][0];
    assert_eq!((code, &feed["state"], &feed["fresh"]), (200, &"live".into(), &true.into()), "{body}");
    assert_eq!((&feed["redundancy"], &feed["redundancy_wanted"]), (&1.into(), &2.into()), "{body}");
    let page_after = page(address);
    assert_eq!(page_after.value("klines_feed_redundancy_wanted", &[LINEAR]), 2.0);
    assert_eq!(page_after.value("klines_feed_topics_covered", &[LINEAR]), 1.0, "by the other connection");
    let labels = [LINEAR, ("severity", "warn")];
    let summary = "linear: 1 connections deliver each symbol, the next loss may be a gap";
    let expected = [Expected("KlinesFeedNotRedundant", &labels, summary), Expected("KlinesFeedSilent", &[], "")];
    assert_alerts(&before, &page_after, &expected);
    sim.inject(Fault::DropOldest);
    run.until("the loss of the other", |_| redundancy() == Some(0.0));
    run.until("/readyz to report it", |_| health(address, "/readyz").0 == 503);
    run.stop().success();
}
