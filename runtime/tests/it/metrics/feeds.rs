//! A dead exchange does not look alive: clients of the stream, `/readyz` and `/metrics` say the same of it, and none of them
//! waits for a kline.

use bybit_sim::{Fault, Sim};
use serde_json::Value;

use super::{demo, judged, page, served};
use crate::live::run_at;
use crate::support::program::{Running, folder};
use crate::websocket::peer::Peer;

const TOML: &str = "enabled_consumers = [\"websocket\"]\n\
    [websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n\
    [metrics]\nlisten = \"127.0.0.1:0\"\nstale_after = \"5s\"\n";

/// The program, a client that follows no topic, and what is said to both.
struct Scene {
    run: Running,
    peer: Peer,
}

impl Scene {
    fn start(home: &tempfile::TempDir, sim: &Sim) -> Self {
        let run = run_at(home, sim, "BTCUSDT,ETHUSDT", "1h").with("WSS_AUTH_USER", "it");
        let run = run.with("WSS_AUTH_KEY", "canary-0815-0123456789").start();
        let peer = Peer::connect(served(&run, "serving klines"), "/v1/stream", &[]).unwrap();
        Self { run, peer }
    }

    /// Waits until the client is told of this state, and everybody who asks gets the same answer.
    fn until(&mut self, state: &str) {
        let mut told = Value::Null;
        while told["feeds"][0]["state"] != state {
            told = self.peer.status();
        }
        let metrics = served(&self.run, "serving metrics");
        // It may have become another one since; what holds is told last.
        self.run.until("the same at /readyz", |_| {
            let (status, body) = judged(metrics, "/readyz");
            let feed = &body["feeds"][0];
            assert_eq!(status == 200, feed["state"] == "live", "{body}");
            assert_eq!(status == 200, body["reasons"].as_array().is_some_and(Vec::is_empty), "{body}");
            feed["state"] == state && feed["since"] == told["feeds"][0]["since"]
        });
        let page = page(metrics);
        let share = |of: &str| page.value("klines_feed_state", &[("category", "linear"), ("state", of)]);
        assert_eq!(share(state), 1.0);
        assert_eq!(["live", "stale", "down"].map(share).iter().sum::<f64>(), 1.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_the_same_of_a_dead_exchange_and_nobody_waits_for_a_kline() {
    let (sim, home) = (demo(75).await, folder(&[("klines.toml", TOML)]));
    let mut scene = Scene::start(&home, &sim);
    scene.until("live");
    sim.inject(Fault::Down);
    scene.until("down");
    sim.heal();
    scene.until("live");
    sim.inject(Fault::Stall);
    scene.until("stale");
    sim.heal();
    scene.until("live");
    scene.run.stop().well();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_was_never_reached_is_down() {
    let (sim, home) = (demo(76).await, folder(&[("klines.toml", TOML)]));
    sim.inject(Fault::Down);
    let mut scene = Scene::start(&home, &sim);
    scene.until("down");
    sim.heal();
    scene.until("live");
    scene.run.stop().well();
}
