//! The state of a dead exchange: clients of the stream, `/readyz` and `/metrics` get the same state, without waiting
//! for a kline.

use bybit_sim::{Fault, Sim};
use serde_json::Value;

use super::{demo, health, page, served};
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
