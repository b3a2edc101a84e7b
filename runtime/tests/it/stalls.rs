//! The process is stopped at boundaries, for as long as a busy or paused machine would stop it: trades that the machine
//! receives meanwhile belong in the klines that are closed afterwards.
//!
//! `KLINES_STALLS=100` sets a higher number of stalls (`make soak-stalls`).

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use bybit_sim::{Activity, Category, Event, Instrument, Market, Sim};
use tempfile::TempDir;

use crate::live::{JSON, assert_nobody_quarantined, journaled, run_at};
use crate::support::program::{Running, folder};
use crate::support::received::{Received, assert_sound, received};

/// The default number of stalls per test.
const STALLS: i64 = 6;
/// The length of the shortest and the longest stall, in ms.
const SHORTEST: i64 = 50;
const LONGEST: i64 = 900;
/// The default grace, in ms.
const GRACE: i64 = 80;
/// The number of symbols that trade; the others make a second and a third connection necessary.
const LIVELY: usize = 30;

/// Returns a market, and its symbols, whose topics need this number of connections without redundancy: each takes 21,000 characters.
pub fn market(connections: usize) -> (Market, String) {
    // With `publicTrade.` and the punctuation of the request, a topic has 75 characters: 280 of them fit on a
    // connection.
    let name = |number: usize| format!("{:X<56}{number:04}", "S");
    let count = if connections == 1 { LIVELY } else { 280 * (connections - 1) + LIVELY };
    let every = count / LIVELY;
    let instrument = |number: usize| {
        let activity = if number.is_multiple_of(every) { Activity::LIVELY } else { Activity::Still };
        let instrument = Instrument::new(Category::Linear, &name(number), "100.00", "0.01", "0.01");
        instrument.unwrap().with_activity(activity)
    };
    let names: Vec<String> = (0..count).map(name).collect();
    (Market::seeded(61, (0..count).map(instrument).collect()), names.join(","))
}

/// A span in which the process was stopped, in market time.
#[derive(Clone, Copy, Debug)]
struct Stall {
    stopped: i64,
    resumed: i64,
}

async fn sleep_until(sim: &Sim, moment: i64) {
    while sim.now_ms() < moment {
        let left = u64::try_from(moment - sim.now_ms()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(left.clamp(1, 20))).await;
    }
}

/// Stops the process so that a window of a second ends and its grace passes during the stall. The sooner the process is
/// resumed afterwards, the fewer of the window's trades it has read.
async fn stall(run: &Running, sim: &Sim, number: i64, of: i64) -> Stall {
    let length = SHORTEST + (LONGEST - SHORTEST) * number / (of - 1).max(1);
    // A stall that is shorter than the grace cannot span both; it then ends just after the grace.
    let spare = (length - GRACE - 20).max(1);
    let boundary = sim.now_ms().div_euclid(1_000) * 1_000 + 2_000;
    let resumes = boundary + GRACE + 20 + number * 37 % spare;
    sleep_until(sim, resumes - length).await;
    run.freeze();
    let stopped = sim.now_ms();
    sleep_until(sim, stopped + length).await;
    let resumed = sim.now_ms();
    run.thaw();
    Stall { stopped, resumed }
}

/// Finds first revisions that miss a trade although it was sent before the process was resumed, among windows that
/// ended before that and too late to be closed before the stop. Returns them and the number of checked klines.
fn wrong(sim: &Sim, klines: &[Received], stalls: &[Stall]) -> (Vec<String>, usize) {
    let mut sent = BTreeMap::<String, i64>::new();
    for entry in sim.journal() {
        let Event::Sent(text) = entry.event else { continue };
        let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        for row in frame["data"].as_array().into_iter().flatten() {
            sent.entry(row["i"].as_str().unwrap().to_owned()).or_insert(entry.at);
        }
    }
    let mut tapes = BTreeMap::new();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for kline in klines.iter().filter(|kline| kline.revision == 0 && kline.is_complete()) {
        let is_hit = |stall: &&Stall| stall.stopped <= kline.end + GRACE && kline.end < stall.resumed;
        let Some(stall) = stalls.iter().find(is_hit) else { continue };
        let tape = tapes.entry(&kline.symbol).or_insert_with(|| sim.trades(Category::Linear, &kline.symbol));
        let received = tape.iter().filter(|trade| {
            (kline.start..=kline.end).contains(&trade.time)
                && sent.get(&trade.id).is_some_and(|at| *at <= stall.resumed)
        });
        let received = received.count() as u64;
        checked += 1;
        if kline.trades < received {
            wrong.push(format!("{} of {received} trades: {stall:?} {kline:?}", kline.trades));
        }
    }
    (wrong, checked)
}

/// Waits until a window that began after `moment` has been closed.
#[track_caller]
fn recover(run: &Running, moment: i64) {
    run.until("klines after the stall", |said| received(&said.out).iter().any(|kline| kline.start > moment));
}

/// Starts a run whose topics need this number of sets, each of them on `feeds` connections.
async fn started(sets: usize, feeds: usize) -> (Sim, TempDir, Running) {
    let (market, symbols) = market(sets);
    let (sim, home) = (journaled(market).await, folder(&[("klines.toml", JSON)]));
    let run = run_at(&home, &sim, &symbols, "1s").with("BYBIT_FEEDS", &feeds.to_string()).start();
    run.until("all connections", |said| said.logged("subscribed").len() == sets * feeds);
    recover(&run, sim.now_ms() + 1_000);
    assert_eq!(sim.counters().open, (sets * feeds) as u64);
    (sim, home, run)
}

async fn stalls_at_boundaries(sets: usize, feeds: usize) {
    let count = std::env::var("KLINES_STALLS").map_or(STALLS, |text| text.parse().unwrap());
    let (sim, _home, run) = started(sets, feeds).await;
    let mut stalls = Vec::new();
    for number in 0..count {
        stalls.push(stall(&run, &sim, number, count).await);
        recover(&run, sim.now_ms());
    }
    let said = run.stop().success();
    let klines = received(&said.out);
    assert_sound(&klines);
    assert_nobody_quarantined(&said);
    let (wrong, checked) = wrong(&sim, &klines, &stalls);
    println!(
        "{count} stalls, {sets} sets of topics on {feeds} feeds: {} of {checked} first confirmed klines miss a trade that had arrived",
        wrong.len()
    );
    let shown = &wrong[..wrong.len().min(5)];
    assert!(wrong.is_empty(), "{} of {checked}: {shown:#?}", wrong.len());
    // Most of the lively symbols trade in most windows.
    assert!(checked as i64 > count * 10, "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_at_a_boundary_costs_a_kline_no_trade() {
    stalls_at_boundaries(1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_at_a_boundary_costs_no_trade_of_redundant_connections() {
    stalls_at_boundaries(1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_at_a_boundary_costs_no_trade_of_three_connections() {
    stalls_at_boundaries(3, 1).await;
}
