//! Clocks that differ, leap or stand still: the exchange's clock against the machine's.

use std::time::Duration;

use bybit_sim::{Market, Sim, SimConfig};

use super::{DEMO, FEEDS, UNREPAIRED, assert_demo_run, assert_nobody_quarantined, each_complete, pass, run_at, times};
use crate::support::oracle::Oracle;
use crate::support::program::{Running, folder};
use crate::support::received::{assert_sound, complete, received};

const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
const HOUR: i64 = 3_600_000;

async fn demo_ahead(seed: u64, ahead_ms: i64) -> Sim {
    let config = SimConfig { journal: true, ahead_ms, ..SimConfig::new(Market::demo(seed)) };
    Sim::start(config).await.unwrap()
}

/// Waits until each symbol has this number of further complete klines of a second.
#[track_caller]
fn more(run: &Running, seconds: usize) {
    let before = DEMO.map(|symbol| complete(&run.said().out, symbol, "1s"));
    let goal = before.iter().max().unwrap() + seconds;
    run.until("klines go on", |said| each_complete(said, "1s", goal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_clock_that_is_an_hour_off_changes_no_kline() {
    for (seed, ahead) in [(42, HOUR), (43, -HOUR)] {
        let (sim, home) = (demo_ahead(seed, ahead).await, folder(&[("klines.toml", UNREPAIRED)]));
        let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").start();
        run.until("the subscriptions", |said| times(said, "subscribed") == FEEDS);
        let begun = sim.now_ms();
        run.until("klines", |said| each_complete(said, "1s", 6));
        let said = run.stop().success();
        let mut oracle = Oracle::new(&sim, "100ms,1s");
        // The first stamps are not used until five of them agree.
        oracle.doubt(begun, begun);
        assert_demo_run(&said, &oracle);
        assert_eq!(times(&said, "connected"), FEEDS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leap_of_the_exchanges_clock_by_an_hour_is_an_interruption() {
    let (sim, home) = (demo_ahead(44, 0).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, "1s,1m").start();
    run.until("klines", |said| each_complete(said, "1s", 3));
    let from = sim.now_ms();
    sim.leap(Duration::from_secs(3_600));
    let to = sim.now_ms();
    run.until("klines afterwards", |said| {
        let received = received(&said.out);
        DEMO.iter()
            .all(|symbol| received.iter().filter(|kline| kline.symbol == *symbol && kline.start > to).count() >= 5)
    });
    let said = run.stop().success();
    let klines = received(&said.out);
    assert_sound(&klines);
    let mut oracle = Oracle::new(&sim, "1s,1m");
    oracle.interrupt(from, to);
    let findings = oracle.check(&klines);
    assert!(findings.complete > 0 && findings.absent > 3_000, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_for_five_seconds_misses_no_trade() {
    let (sim, home) = (demo_ahead(47, 0).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1s,5s").start();
    run.until("klines", |said| each_complete(said, "1s", 3));
    run.freeze();
    pass(&sim, 5_000).await;
    run.thaw();
    more(&run, 9);
    let said = run.stop().success();
    assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s,5s"));
    assert_eq!(times(&said, "connected"), FEEDS);
    assert_nobody_quarantined(&said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_for_forty_seconds_marks_what_it_does_not_know() {
    let (sim, home) = (demo_ahead(48, 0).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, "1s,5s").start();
    run.until("klines", |said| each_complete(said, "1s", 3));
    let from = sim.now_ms();
    run.freeze();
    pass(&sim, 40_000).await;
    let to = sim.now_ms();
    run.thaw();
    more(&run, 5);
    let said = run.stop().success();
    let klines = received(&said.out);
    assert_sound(&klines);
    assert_nobody_quarantined(&said);
    let mut oracle = Oracle::new(&sim, "1s,5s");
    oracle.doubt(from, to);
    let findings = oracle.check(&klines);
    assert!(findings.complete > 0, "{findings:?}");
    let inside = klines.iter().filter(|kline| from + 2_000 < kline.start && kline.end < to - 2_000);
    // No kline of that time is reported as certain, unless its trades were read afterwards.
    inside.for_each(|kline| assert!(kline.quality == "gapped" || kline.trades > 0, "{kline:?}"));
}
