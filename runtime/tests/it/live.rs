//! The real binary on a live exchange that misbehaves: klines continue and are exact or marked by their quality, and
//! every event is logged once. The exchange is the simulator, over real sockets.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod categories;
mod clocks;
mod completeness;
mod feeds;
mod outages;
mod past;
mod patience;
mod redundancy;
mod reload;
mod repairs;
mod unhindered;

use std::collections::BTreeSet;
use std::time::Duration;

use bybit_sim::{Activity, Category, Fault, Garbage, Instrument, Market, Side, Sim, SimConfig};
use tempfile::TempDir;

use crate::support::oracle::Oracle;
use crate::support::program::{Invocation, Said, folder, klines};
use crate::support::received::{Received, assert_sound, complete, received};

/// Lets the console print every closed kline as JSON.
pub const JSON: &str = "[consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n";
/// The default number of connections for each set of topics.
pub const FEEDS: usize = 2;
/// As [`JSON`], and gaps stay: what the exchange has sent alone decides what each window says.
pub const UNREPAIRED: &str =
    "[klines]\nrepair = \"0s\"\n[consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n";
/// The symbols of the demo market.
pub const DEMO: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];

/// Prepares a run against an exchange, with a log in JSON.
pub fn run_at(folder: &TempDir, sim: &Sim, symbols: &str, intervals: &str) -> Invocation {
    let run = klines(folder.path(), "run").at(sim).with("LOG_FORMAT", "json");
    run.with("BYBIT_SYMBOLS", symbols).with("KLINE_INTERVALS", intervals)
}

/// Returns whether the console has printed at least this number of complete klines of each demo symbol.
pub fn each_complete(said: &Said, interval: &str, at_least: usize) -> bool {
    DEMO.iter().all(|symbol| complete(&said.out, symbol, interval) >= at_least)
}

/// Invariant for every category: received = counted + duplicate + late + rejected + excluded
/// + superseded.
#[track_caller]
pub fn assert_accounted(said: &Said, categories: &[&str]) {
    let lines = said.logged("trades accounted for");
    let found: Vec<&str> = lines.iter().filter_map(|line| line["category"].as_str()).collect();
    assert_eq!(found, categories, "{}", said.err);
    for line in lines {
        let count = |what: &str| line[what].as_u64().unwrap();
        let parts = ["counted", "duplicate", "late", "rejected", "excluded", "superseded"].map(count);
        assert_eq!(count("received"), parts.iter().sum::<u64>(), "{line}");
        assert!(count("counted") > 0, "{line}");
    }
}

/// Counts the lines of the log with this message.
pub fn times(said: &Said, message: &str) -> usize {
    said.logged(message).len()
}

/// Asserts that no consumer was quarantined because the process stood still.
#[track_caller]
pub fn assert_nobody_quarantined(said: &Said) {
    assert_eq!(times(said, "consumer crashes too often and is quarantined"), 0, "{}", said.err);
}

/// Asserts that a run on the demo market reported exactly the windows that the oracle demands, and that all trades are
/// accounted for. Returns the klines.
#[track_caller]
pub fn assert_demo_run(said: &Said, oracle: &Oracle) -> Vec<Received> {
    let received = received(&said.out);
    assert_sound(&received);
    let findings = oracle.check(&received);
    assert!(findings.complete > 0, "no window was certain: {findings:?}");
    assert_accounted(said, &["linear"]);
    received
}

/// Waits until the market has advanced by `ms`.
pub async fn pass(sim: &Sim, ms: i64) {
    let goal = sim.now_ms() + ms;
    while sim.now_ms() < goal {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts the demo market on an exchange that keeps a journal.
pub async fn demo(seed: u64) -> Sim {
    journaled(Market::demo(seed)).await
}

/// Starts an exchange that keeps a journal.
pub async fn journaled(market: Market) -> Sim {
    Sim::start(SimConfig { journal: true, ..SimConfig::new(market) }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_closed_kline_is_what_was_traded() {
    let (sim, home) = (demo(21).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s,2s").start();
    run.until("klines", |said| each_complete(said, "2s", 4) && times(said, "subscribed") == FEEDS);
    let said = run.stop().success();
    assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s,2s"));
    for message in ["running", "feed started", "feed ended", "trades accounted for"] {
        assert_eq!(times(&said, message), 1, "{message}: {}", said.err);
    }
    for message in ["connected", "subscribed"] {
        assert_eq!(times(&said, message), FEEDS, "{message}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_and_disorder_change_no_kline_and_garbage_marks_what_it_may_have_held() {
    let (sim, home) = (demo(22).await, folder(&[("klines.toml", UNREPAIRED)]));
    // What one connection cannot read, another one would deliver.
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").with_one_feed().start();
    run.until("klines", |said| each_complete(said, "1s", 1));
    sim.inject(Fault::Duplicate);
    sim.inject(Fault::Reorder(Duration::from_millis(200)));
    for garbage in [Garbage::NotJson, Garbage::Truncated, Garbage::BadPrice, Garbage::NotJson, Garbage::Truncated] {
        sim.inject(Fault::Garbage(garbage));
    }
    let before = complete(&run.said().out, "BTCUSDT", "1s");
    run.until("klines go on", |said| each_complete(said, "1s", before + 4));
    sim.heal();
    // Long enough that the last reordered frames are known to have arrived.
    let before = complete(&run.said().out, "BTCUSDT", "1s");
    run.until("klines afterwards", |said| each_complete(said, "1s", before + 4));
    let said = run.stop().success();
    let received = assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s"));
    // Garbage names the first topic. A window without a known trade is not reported unless it is certain that there was
    // none.
    let sure = |kline: &&Received| {
        (kline.symbol.as_str(), kline.interval.as_str()) == ("BTCUSDT", "1s") && kline.is_complete()
    };
    let sure: BTreeSet<i64> = received.iter().filter(sure).map(|kline| kline.start / 1_000).collect();
    let all = sure.last().unwrap() - sure.first().unwrap() + 1;
    let doubtful = all - i64::try_from(sure.len()).unwrap();
    assert!((1..=all / 2).contains(&doubtful), "damaged frames mark their moment: {doubtful} of {all} s\n{}", said.out);
    let tally = &said.logged("trades accounted for")[0];
    assert!(tally["duplicate"].as_u64().unwrap() > 0, "{tally}");
    assert_eq!(tally["rejected"], 2, "the bad price, sent twice like every frame: {tally}");
    let kinds = said.logged("frame not understood, further ones of its kind are only counted");
    assert!(!kinds.is_empty() && kinds.len() <= 2, "once a kind: {kinds:?}");
    assert_eq!((times(&said, "connected"), times(&said, "connection lost, reconnecting")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_symbol_is_logged_once_by_each_connection_and_the_others_go_on() {
    let (sim, home) = (demo(23).await, folder(&[("klines.toml", UNREPAIRED)]));
    sim.inject(Fault::Refuse("ETHUSDT".to_owned()));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "1s").start();
    let both = |said: &Said| ["BTCUSDT", "SOLUSDT"].iter().all(|name| complete(&said.out, name, "1s") >= 4);
    run.until("klines of the others", both);
    run.until("both connections", |said| times(said, "subscribed") == FEEDS);
    let said = run.stop().success();
    let received = assert_demo_run(&said, &Oracle::new(&sim, "1s"));
    assert!(received.iter().all(|kline| kline.symbol != "ETHUSDT"));
    let refused = said.logged("symbol refused by the exchange");
    assert!(refused.iter().all(|line| line["symbol"] == "ETHUSDT"), "{refused:?}");
    let connections: BTreeSet<Option<u64>> = refused.iter().map(|line| line["connection"].as_u64()).collect();
    assert_eq!((refused.len(), connections), (FEEDS, [Some(0), Some(1)].into()), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_categories_run_side_by_side() {
    let lively = |category, symbol, price| {
        Instrument::new(category, symbol, price, "0.01", "0.001").unwrap().with_activity(Activity::LIVELY)
    };
    let instruments = vec![
        lively(Category::Linear, "BTCUSDT", "64250.00"),
        lively(Category::Linear, "ETHUSDT", "1922.50"),
        lively(Category::Spot, "ETHUSDT", "1921.00"),
    ];
    let sim = journaled(Market::seeded(24, instruments)).await;
    let home = folder(&[("klines.toml", UNREPAIRED)]);
    let run = run_at(&home, &sim, "BTCUSDT,spot:ETHUSDT", "1s").start();
    let spot = |said: &Said| received(&said.out).iter().filter(|kline| kline.category == "spot").count();
    run.until("klines of both", |said| complete(&said.out, "BTCUSDT", "1s") >= 4 && spot(said) >= 5);
    let said = run.stop().success();
    let received = received(&said.out);
    assert_sound(&received);
    assert!(Oracle::new(&sim, "1s").check(&received).complete > 0);
    assert_accounted(&said, &["linear", "spot"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_that_was_held_back_corrects_its_kline() {
    let still = Instrument::new(Category::Linear, "BTCUSDT", "100", "0.10", "0.001").unwrap();
    let sim = journaled(Market::seeded(25, vec![still.with_activity(Activity::Still)])).await;
    let home = folder(&[("klines.toml", JSON)]);
    let run = run_at(&home, &sim, "BTCUSDT", "1s").start();
    run.until("the subscriptions", |said| times(said, "subscribed") == FEEDS);
    // A trade from before the subscription could not be known to be the last one before it.
    pass(&sim, 1_000).await;
    let trade = |price, size| sim.trade(Category::Linear, "BTCUSDT", Side::Buy, price, size).unwrap();
    trade("100.10", "0.010");
    // Flat klines follow the first trade, so that the window of the next one is reported even while its frame is held
    // back.
    run.until("flat klines", |said| complete(&said.out, "BTCUSDT", "1s") >= 2);
    sim.inject(Fault::Stall);
    let held = trade("100.50", "0.020");
    let window = held.time - held.time % 1_000;
    let revision = |said: &Said, revision| {
        received(&said.out).into_iter().find(|kline| kline.start == window && kline.revision == revision)
    };
    run.until("the window without the trade", |said| revision(said, 0).is_some());
    sim.heal();
    run.until("the window with the trade", |said| revision(said, 1).is_some());
    let said = run.stop().success();
    let (first, second) = (revision(&said, 0).unwrap(), revision(&said, 1).unwrap());
    assert_eq!((first.trades, first.close.as_str(), first.confirm), (0, "100.1", true));
    assert_eq!((second.trades, second.close.as_str(), second.open.as_str()), (1, "100.5", "100.1"));
    assert_eq!((second.confirm, second.quality.as_str(), second.turnover.as_str()), (true, "complete", "2.01"));
    let received = received(&said.out);
    assert_sound(&received);
    let after = received.iter().filter(|kline| kline.start > window && kline.revision > 0);
    after.for_each(|kline| assert_eq!(kline.close, "100.5", "the correction applies to later klines: {kline:?}"));
    assert_accounted(&said, &["linear"]);
}
