//! Two connections with the same symbols: the loss of one of them costs no kline anything, the loss of both is a gap.

use std::collections::BTreeMap;

use bybit_sim::{Fault, Sim};

use super::{DEMO, FEEDS, UNREPAIRED, assert_demo_run, demo, each_complete, pass, run_at, times};
use crate::support::oracle::{Oracle, SLACK};
use crate::support::program::{Running, folder};
use crate::support::received::{Received, complete, received};

/// How often one of the connections is cut.
const CUTS: usize = 4;
const LOST: &str = "connection lost, reconnecting";

/// Waits until all connections have been subscribed `subscribed` times in total and have certainly delivered trades since.
/// Returns a time from which on all of them certainly cover everything.
async fn settle(run: &Running, sim: &Sim, subscribed: usize) -> i64 {
    run.until("all connections", |said| times(said, "subscribed") == subscribed);
    // A hole begins with the last trades before the loss: those have to be newer than the coverage by the other one.
    let moment = sim.now_ms() + SLACK;
    pass(sim, SLACK).await;
    run.until("klines of all", |said| {
        let received = received(&said.out);
        DEMO.iter().all(|symbol| received.iter().any(|kline| kline.symbol == *symbol && kline.start > moment))
    });
    moment
}

/// Returns the klines of each series from a time on, revisions included, and from the first complete one on: the open of
/// the first one is not known.
fn since(time: i64, klines: &[Received]) -> BTreeMap<(&str, &str), Vec<&Received>> {
    let mut series = BTreeMap::<(&str, &str), Vec<&Received>>::new();
    for kline in klines.iter().filter(|kline| kline.start >= time) {
        let known = series.entry((&kline.symbol, &kline.interval)).or_default();
        if kline.is_complete() || !known.is_empty() {
            known.push(kline);
        }
    }
    series
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_one_of_two_connections_costs_no_kline_anything() {
    let (sim, home) = (demo(51).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s,5s").start();
    let covered = settle(&run, &sim, FEEDS).await;
    for cut in 1..=CUTS {
        // Each connection in turn: the oldest is the one that was not cut the last time.
        sim.inject(Fault::DropOldest);
        run.until("it is noticed", |said| times(said, LOST) == cut);
        settle(&run, &sim, FEEDS + cut).await;
    }
    let said = run.stop().success();
    let klines = assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s,5s"));
    let series = since(covered, &klines);
    assert_eq!(series.len(), 3 * DEMO.len());
    for ((symbol, interval), klines) in series {
        klines
            .iter()
            .for_each(|kline| assert!(kline.is_complete(), "it was covered all the time since {covered}: {kline:?}"));
        let mut starts: Vec<i64> = klines.iter().map(|kline| kline.start).collect();
        starts.dedup();
        let length = if interval == "1s" { 1_000 } else { 5_000 };
        // Windows of 100 ms without trades are not reported.
        let is_contiguous = starts.windows(2).all(|pair| pair[1] <= pair[0] + length);
        assert!(interval == "100ms" || is_contiguous, "{symbol} {interval}: {starts:?}");
    }
    let cut: Vec<u64> = said.logged(LOST).iter().map(|line| line["connection"].as_u64().unwrap()).collect();
    assert_eq!(cut, [0, 1, 0, 1].map(|first| first ^ cut[0]), "each in turn");
    let tally = &said.logged("trades accounted for")[0];
    let [counted, duplicate] = ["counted", "duplicate"].map(|outcome| tally[outcome].as_u64().unwrap());
    assert!(duplicate > 0 && counted > 0, "each trade arrives twice: {tally}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_both_connections_is_a_gap() {
    let (sim, home) = (demo(52).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s,5s").start();
    settle(&run, &sim, FEEDS).await;
    sim.inject(Fault::Cut);
    run.until("both are missed", |said| times(said, LOST) == FEEDS);
    let from = sim.now_ms();
    pass(&sim, 1_500).await;
    let to = sim.now_ms();
    sim.heal();
    run.until("both are back", |said| times(said, "subscribed") == 2 * FEEDS);
    let before = DEMO.iter().map(|symbol| complete(&run.said().out, symbol, "1s")).max().unwrap();
    run.until("klines go on", |said| each_complete(said, "1s", before + 4) && each_complete(said, "5s", 1));
    let said = run.stop().success();
    let klines = assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s,5s"));
    let touched: Vec<&Received> = klines.iter().filter(|kline| kline.start <= to && from <= kline.end).collect();
    touched.iter().for_each(|kline| assert_eq!(kline.quality, "gapped", "{kline:?}"));
    assert!(!touched.is_empty(), "the windows of 5s at least");
}
