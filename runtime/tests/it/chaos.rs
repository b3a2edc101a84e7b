//! Many failures at once: clients that die, stall, reset and reconnect, an exchange that falls silent, and a server
//! that is killed. The promises of `/v1/stream` still hold for every client and topic.
//!
//! `SEED=n` repeats the plan of a run, `KLINES_CHAOS_SECONDS=n` sets its length.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod checker;
mod client;
mod plan;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bybit_sim::{Category, Fault as Outage, Market, Sim, SimConfig};
use checker::{Findings, check};
use client::{Client, Entry, Shared, View};
use plan::{Dice, Fault, steps};
use tempfile::TempDir;

use crate::live::{DEMO, run_at};
use crate::support::program::{Running, folder};
use crate::support::received::Received;
use crate::support::truth::Truth;

const CLIENTS: usize = 6;
const INTERVALS: &str = "100ms,1s,5s";
const KEY: &str = "6d1f0f6a9b7c4d21a3e5";
/// The default length in seconds.
const LENGTH: u64 = 12;
/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(120);
/// Updates so often that some are always in flight to every client, and a queue that [`Fault::Flood`] can fill.
const TOML: &str = r#"
enabled_consumers = ["websocket"]
[klines]
update_interval = "50ms"
[websocket]
host = "127.0.0.1"
queue = "48KiB"
"#;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Starts the server on this port; returns where it listens.
fn serve(home: &TempDir, sim: &Sim, port: u16) -> (Running, std::net::SocketAddr) {
    let run = run_at(home, sim, &DEMO.join(","), INTERVALS).with("WEBSOCKET_PORT", &port.to_string());
    let run = run.with("WSS_AUTH_USER", "chaos").with("WSS_AUTH_KEY", KEY).start();
    run.until("the server", |said| !said.logged("serving klines").is_empty());
    let address = run.said().logged("serving klines")[0]["address"].as_str().unwrap().parse().unwrap();
    (run, address)
}

/// All clients. Dropping it ends them.
struct Crowd {
    shared: Arc<Shared>,
    views: Vec<Arc<View>>,
    threads: Vec<JoinHandle<Vec<Entry>>>,
}

impl Crowd {
    fn start(shared: Shared, seed: u64, length: Duration) -> Self {
        let mut crowd = Self { shared: Arc::new(shared), views: Vec::new(), threads: Vec::new() };
        for which in 1..=CLIENTS as u64 {
            let (mut dice, view) = (Dice::new(seed, which), Arc::<View>::default());
            let steps = steps(&mut dice, length);
            let client = Client::new(crowd.shared.clone(), view.clone(), topics(), steps, dice);
            crowd.views.push(view);
            crowd.threads.push(thread::spawn(move || client.run()));
        }
        crowd
    }

    /// Waits until all faults are over and every client has reached the furthest position that any client had then.
    async fn settle(&self) {
        self.until("the end of all faults", |view| view.idle.load(Ordering::SeqCst)).await;
        let mut furthest = BTreeMap::new();
        for view in &self.views {
            for (topic, (_, seq)) in view.positions.lock().unwrap().iter() {
                let most = furthest.entry(topic.clone()).or_insert(*seq);
                *most = (*most).max(*seq);
            }
        }
        assert_eq!(furthest.keys().cloned().collect::<Vec<_>>(), topics(), "every topic is followed");
        let has_caught_up = |view: &View| {
            let positions = view.positions.lock().unwrap();
            furthest.iter().all(|(topic, most)| positions.get(topic).is_some_and(|(_, seq)| seq >= most))
        };
        self.until("all to catch up", has_caught_up).await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&View) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.views.iter().all(|view| holds(view)) {
            assert!(Instant::now() < deadline, "waited long for {what}");
            assert!(self.threads.iter().all(|thread| !thread.is_finished()), "a client has failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn recordings(mut self) -> Vec<Vec<Entry>> {
        self.threads.drain(..).map(|thread| thread.join().unwrap()).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

/// Returns all topics, sorted like the keys of a map.
fn topics() -> Vec<String> {
    let of = |interval: &str| DEMO.map(|symbol| format!("kline.{interval}.{symbol}"));
    let mut topics: Vec<String> = INTERVALS.split(',').flat_map(of).collect();
    topics.sort();
    topics
}

/// Compares all closed klines with the exchange's tape, separately for each epoch. Returns how many were compared.
fn compare(findings: &Findings, sim: &Sim) -> usize {
    let mut truth = Truth::default();
    truth.note(sim, Category::Linear, &DEMO);
    let mut by_epoch = BTreeMap::<&str, Vec<Received>>::new();
    for ((epoch, _), klines) in &findings.klines {
        let klines = klines.values().map(|text| serde_json::from_str::<Received>(text).unwrap());
        by_epoch.entry(epoch).or_default().extend(klines);
    }
    by_epoch.values().map(|received| truth.assert_same(received)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_comes_once_and_in_order_whatever_happens_to_clients_and_server() {
    let seed = number("SEED").unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
    let length = Duration::from_secs(number("KLINES_CHAOS_SECONDS").unwrap_or(LENGTH));
    println!("{} s of chaos with SEED={seed}", length.as_secs());
    let sim = Sim::start(SimConfig::new(Market::demo(seed))).await.unwrap();
    let home = folder(&[("klines.toml", TOML)]);
    let (first, address) = serve(&home, &sim, 0);
    let began = Instant::now();
    let crowd = {
        let (life, closing, over) = (AtomicU32::new(1), AtomicBool::new(false), AtomicBool::new(false));
        Crowd::start(Shared { address, key: KEY, began, life, closing, over }, seed, length)
    };
    let mut dice = Dice::new(seed, 0);
    let reach = |at: Duration| tokio::time::sleep(at.saturating_sub(began.elapsed()));

    reach(length / 5).await;
    sim.inject(Outage::Stall.lasting(Duration::from_millis(1_500)));
    reach(length / 2 + dice.millis(0..500)).await;
    let killed = first.kill();
    assert_eq!(killed.status.signal(), Some(9));
    tokio::time::sleep(dice.millis(0..1_000)).await;
    crowd.shared.life.store(2, Ordering::SeqCst);
    let (second, again) = serve(&home, &sim, address.port());
    assert_eq!(again, address);
    reach(length * 3 / 4).await;
    sim.inject(Outage::Stall.lasting(Duration::from_millis(1_500)));
    reach(length).await;
    crowd.settle().await;
    crowd.shared.closing.store(true, Ordering::SeqCst);
    second.stop().success();

    let findings = check(&crowd.recordings());
    let compared = compare(&findings, &sim);
    let Findings { lives, faults, resumed, recovered, closed, .. } = &findings;
    println!(
        "{} pushes of {} klines, {} updates and {} snapshots; {compared} compared with the tape\n\
         faults {faults:?}, topics resumed {resumed:?}, recovered no/yes {recovered:?}, closed {closed:?}, epochs {lives:?}",
        findings.confirmed,
        findings.klines.values().map(BTreeMap::len).sum::<usize>(),
        findings.updates,
        findings.snapshots,
    );
    let problems = &findings.problems;
    assert!(
        problems.is_empty(),
        "{} problems, SEED={seed}:\n{}",
        problems.len(),
        problems[..problems.len().min(20)].join("\n")
    );
    assert_all_happened(&findings);
    assert!(compared > 0);
}

/// Asserts that the run had what it is to test.
#[track_caller]
fn assert_all_happened(findings: &Findings) {
    let Findings { lives, faults, resumed, recovered, closed, .. } = findings;
    for fault in [Fault::Kill, Fault::Reset, Fault::Leave, Fault::Stall, Fault::Flood] {
        assert!(faults.contains_key(&fault), "{fault:?} has not happened");
    }
    for fault in [Fault::Kill, Fault::Reset, Fault::Leave] {
        assert!(resumed.contains_key(&fault), "no client resumed after {fault:?}");
    }
    assert!(closed.contains_key(&3001), "a client that asks for too much is cut");
    assert_eq!(
        (closed.get(&3000), findings.dismissed),
        (Some(&CLIENTS), CLIENTS),
        "every client gets the shutdown message"
    );
    assert_eq!(lives.keys().copied().collect::<Vec<_>>(), [1, 2], "the server was killed and restarted");
    assert!(recovered[1] > 0 && findings.continued > 0 && findings.updates > 0);
    let is_revision = |text: &String| serde_json::from_str::<Received>(text).unwrap().revision > 0;
    assert!(findings.klines.values().flat_map(BTreeMap::values).any(is_revision), "late trades corrected klines");
}
