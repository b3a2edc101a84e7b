//! A run goes on where the one before it has ended, whether that was stopped or killed: its sequences, the windows that ended
//! meanwhile, consumers that had not got everything, and clients that come back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{assert_sound as assert_store_sound, path_in};
use crate::live::{DEMO, JSON, UNREPAIRED, demo, each_complete, pass, run_at};
use crate::support::program::{Running, Said, folder, klines};
use crate::support::received::{Received, SeriesKey, last_revisions, received};
use crate::support::truth::Truth;
use crate::websocket::peer::Peer;

const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
/// Lets the console print every closed kline as JSON, and gaps are repaired.
const REPAIRING: &str =
    "[klines]\nrepair = \"1h\"\n[consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n";
const TOPIC: &str = "kline.1s.BTCUSDT";

/// Returns the klines of the lines that were read as a whole.
fn whole(said: &Said) -> Vec<Received> {
    received(said.out.rsplit_once('\n').map_or("", |(whole, _)| whole))
}

/// Returns the greatest sequence of each series.
fn last_sequences(klines: &[Received]) -> BTreeMap<SeriesKey, u64> {
    let mut last = BTreeMap::new();
    for kline in klines {
        let known = last.entry(kline.series()).or_insert(0);
        *known = kline.sequence.max(*known);
    }
    last
}

/// Returns whether the newest revisions of all windows of a second between two moments are complete.
fn is_known(klines: &[Received], from: i64, to: i64) -> bool {
    let newest = last_revisions(klines);
    DEMO.iter().all(|symbol| {
        let series = newest.get(&("linear".to_owned(), (*symbol).to_owned(), "1s".to_owned()));
        let is_complete = |start| series.and_then(|klines| klines.get(&start)).is_some_and(Received::is_complete);
        (from - from % 1_000..to - 1_000).step_by(1_000).all(is_complete)
    })
}

/// Returns whether the run continues one that had crashed.
fn after_crash(said: &Said) -> bool {
    said.logged("storing klines")[0]["after_crash"].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_after_a_kill_and_after_a_stop() {
    let (sim, home) = (demo(64).await, folder(&[("klines.toml", REPAIRING)]));
    let start = || run_at(&home, &sim, SYMBOLS, "1s").with_one_feed().start();
    let (mut all, mut begun) = (Vec::new(), sim.now_ms());
    for is_killed in [true, false, true] {
        let run = start();
        // What ended while nothing ran is known afterwards.
        let known_by = sim.now_ms();
        run.until("what was missed", |said| {
            let klines: Vec<Received> = all.iter().cloned().chain(whole(said)).collect();
            each_complete(said, "1s", 3) && is_known(&klines, begun, known_by)
        });
        let said = if is_killed { run.kill().said } else { run.stop().success() };
        let klines = whole(&said);
        let last = last_sequences(&all);
        for (series, sequence) in &last {
            let first = klines.iter().find(|kline| kline.series() == *series).unwrap().sequence;
            // A kline that was published and not stored before a crash does not count.
            let is_next = if after_crash(&said) { first <= sequence + 1 } else { first == sequence + 1 };
            assert!(is_next, "{series:?} begins with {first} after {sequence}");
        }
        all.extend(klines);
        assert_store_sound(&path_in(&home));
        begun = sim.now_ms() - 1_000;
        pass(&sim, 1_500).await;
    }
    let run = start();
    run.until("klines", |said| each_complete(said, "1s", 1));
    let said = run.stop().success();
    assert!(after_crash(&said));
    all.extend(whole(&said));
    // No window has two different klines under one revision.
    let mut seen = BTreeMap::new();
    for kline in &all {
        let known = seen.insert((kline.series(), kline.start, kline.revision), kline.clone());
        assert!(known.is_none_or(|known| known == *kline), "{kline:?}");
    }
    let mut truth = Truth::default();
    truth.note(&sim, bybit_sim::Category::Linear, &DEMO);
    assert!(truth.assert_same(&all) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_did_not_live_to_repair_is_repaired_by_the_next_one() {
    let (sim, home) = (demo(67).await, folder(&[("klines.toml", REPAIRING)]));
    let start = || run_at(&home, &sim, SYMBOLS, "1s").with_one_feed().start();
    let (mut all, mut begun) = (Vec::new(), sim.now_ms());
    // The second run repairs nothing, and publishes klines behind what is missing.
    for repair in ["1h", "0s", "1h"] {
        let toml = REPAIRING.replace("1h", repair);
        std::fs::write(home.path().join("klines.toml"), toml).unwrap();
        let (run, known_by) = (start(), sim.now_ms());
        run.until("klines", |said| {
            let klines: Vec<Received> = all.iter().cloned().chain(whole(said)).collect();
            each_complete(said, "1s", 2) && (repair == "0s" || is_known(&klines, begun, known_by))
        });
        let klines = whole(&run.kill().said);
        all.extend(klines);
        assert_store_sound(&path_in(&home));
        if repair == "1h" {
            begun = sim.now_ms() - 1_000;
        }
        pass(&sim, 1_500).await;
    }
    let mut seen = BTreeMap::new();
    for kline in &all {
        let known = seen.insert((kline.series(), kline.start, kline.revision), kline.clone());
        assert!(known.is_none_or(|known| known == *kline), "{kline:?}");
    }
    let mut truth = Truth::default();
    truth.note(&sim, bybit_sim::Category::Linear, &DEMO);
    assert!(truth.assert_same(&all) > 0);
}

fn ask(home: &TempDir, arguments: &str) {
    klines(home.path(), &format!("consumer {arguments}")).run().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_what_it_had_not_acknowledged_before_the_klines_of_the_next_run() {
    // Most of what is stored does not pass its filter.
    let toml = format!("{UNREPAIRED}[consumers.console]\nreplay_on_start = \"1h\"\nintervals = [\"1s\"]\n");
    let (sim, home) = (demo(65).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").start();
    run.until("the socket", |_| home.path().join("klines-data/admin.sock").exists());
    run.until("klines", |said| each_complete(said, "1s", 2));
    ask(&home, "pause console");
    // These wait in its queue, and are stored.
    pass(&sim, 2_500).await;
    let first = whole(&run.kill().said);
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").start();
    run.until("klines", |said| each_complete(said, "1s", 3));
    let said = run.stop().success();
    assert!(!said.logged("consumer has got what it had missed in earlier runs").is_empty(), "{}", said.err);
    let (before, second) = (last_sequences(&first), whole(&said));
    for (series, last) in last_sequences(&second) {
        let of_series = |klines: &[Received]| -> Vec<u64> {
            klines.iter().filter(|kline| kline.series() == series).map(|kline| kline.sequence).collect()
        };
        let sequences = of_series(&second);
        assert!(sequences.is_sorted(), "{series:?}: {sequences:?}");
        let known = before.get(&series).copied().unwrap_or_default();
        assert!((known + 1..=last).all(|sequence| sequences.contains(&sequence)), "{series:?} {known}: {sequences:?}");
    }
    // What it had acknowledged when it was stopped does not come again, nor does what its filter leaves out.
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").start();
    run.until("klines", |said| each_complete(said, "1s", 1));
    let third = whole(&run.stop().success());
    let repeated = third.iter().find(|kline| last_sequences(&second)[&kline.series()] >= kline.sequence);
    assert_eq!(repeated, None);
}

fn serve(home: &TempDir, sim: &bybit_sim::Sim) -> (Running, SocketAddr) {
    let run = run_at(home, sim, SYMBOLS, "1s").with("ENABLED_CONSUMERS", "console,websocket");
    let run = run.with("WSS_AUTH_USER", "me").with("WSS_AUTH_KEY", "nOt4-kEy_tHat-aNyone.gu3sses-9f").start();
    run.until("the server", |said| !said.logged("serving klines").is_empty());
    let address = run.said().logged("serving klines")[0]["address"].as_str().unwrap().parse().unwrap();
    (run, address)
}

/// Subscribes from a position on. Returns the answer, and the sequences of the next closed klines.
fn resume(address: SocketAddr, since: Option<(&str, u64)>, count: usize) -> (Value, Vec<u64>) {
    let mut peer = Peer::connect(address, "/v1/stream", &[]).unwrap();
    let since = since.map_or(json!({}), |(epoch, seq)| json!({ TOPIC: { "epoch": epoch, "seq": seq } }));
    let answer = peer.ask(&json!({"op": "subscribe", "topics": [TOPIC], "since": since}).to_string());
    assert_eq!(answer["ok"], true, "{answer}");
    let mut sequences = Vec::new();
    while sequences.len() < count {
        let push = peer.json();
        let is_closed = push["type"] == "kline" && push["data"]["confirm"] == true;
        sequences.extend(push["seq"].as_u64().filter(|_| is_closed));
    }
    (answer["topics"][TOPIC].clone(), sequences)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_resumes_over_a_stop_and_over_a_crash_as_far_as_klines_were_stored() {
    let toml = format!("[klines]\nrepair = \"0s\"\n[websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n{JSON}");
    let (sim, home) = (demo(66).await, folder(&[("klines.toml", &toml)]));
    let (run, address) = serve(&home, &sim);
    run.until("klines", |said| each_complete(said, "1s", 3));
    let (state, _) = resume(address, None, 1);
    let first = state["epoch"].as_str().unwrap().to_owned();
    run.stop().success();

    let (run, address) = serve(&home, &sim);
    let (state, sequences) = resume(address, Some((&first, 1)), 4);
    assert_eq!((&state["epoch"], &state["recovered"]), (&json!(first), &json!(true)), "{state}");
    assert_eq!(sequences, [2, 3, 4, 5], "those of both runs, without a hole");
    run.until("klines that are stored", |said| each_complete(said, "1s", 4));
    run.kill();

    let (run, address) = serve(&home, &sim);
    let (state, sequences) = resume(address, Some((&first, 2)), 3);
    let second = state["epoch"].as_str().unwrap().to_owned();
    assert_eq!((second == first, &state["recovered"]), (false, &json!(true)), "{state}");
    assert_eq!(sequences, [3, 4, 5]);
    let (state, _) = resume(address, Some((&first, 1_000)), 0);
    assert_eq!(state["recovered"], false, "it was never stored: {state}");
    let (state, _) = resume(address, Some((&second, 4)), 1);
    assert_eq!(state["recovered"], true, "{state}");
    run.stop().success();
}
