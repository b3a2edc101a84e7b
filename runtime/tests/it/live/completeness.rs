//! Asserts that exactly the windows are reported that the exchange's tape and its faults demand, in every category,
//! live and replayed.

use std::path::Path;
use std::time::Duration;

use bybit_sim::{Activity, Category, Fault, Garbage, Instrument, Market, Side, Sim};
use serde_json::Value;

use super::{JSON, UNREPAIRED, assert_accounted, journaled, pass, run_at};
use crate::redis::server::Server;
use crate::support::oracle::{Findings, Oracle};
use crate::support::program::{Running, folder, klines};
use crate::support::received::{Received, assert_sound, last_revisions, received};
use crate::support::recorder::record;

const SYMBOLS: &str = "BTCUSDT,SOLUSDT,spot:ETHUSDT,inverse:BTCUSD,inverse:ETHUSD";
const INTERVALS: &str = "100ms,1s,2s,5s";
const CATEGORIES: [Category; 3] = [Category::Linear, Category::Spot, Category::Inverse];

/// Starts an exchange with a lively symbol of each category, and two symbols that have seconds without a trade.
async fn exchange(seed: u64) -> Sim {
    let one = |category, symbol, price, tick, activity| {
        Instrument::new(category, symbol, price, tick, "0.001").unwrap().with_activity(activity)
    };
    let instruments = vec![
        one(Category::Linear, "BTCUSDT", "64250.00", "0.10", Activity::LIVELY),
        one(Category::Linear, "SOLUSDT", "77.300", "0.010", Activity::CALM),
        one(Category::Spot, "ETHUSDT", "1921.00", "0.01", Activity::LIVELY),
        one(Category::Inverse, "BTCUSD", "64251.00", "0.50", Activity::LIVELY),
        one(Category::Inverse, "ETHUSD", "1922.00", "0.05", Activity::CALM),
    ];
    journaled(Market::seeded(seed, instruments)).await
}

/// Waits until each category has closed a window that begins at `moment` or later.
#[track_caller]
fn reach(run: &Running, moment: i64) {
    run.until("klines of every category", |said| {
        let received = received(&said.out);
        let is_past = |category: &Category| {
            received.iter().any(|kline| kline.category == category.as_str() && kline.start >= moment)
        };
        CATEGORIES.iter().all(is_past)
    });
}

/// Returns the klines that `replay` computes from everything that the exchange has sent.
fn replayed(home: &Path, sim: &Sim) -> Vec<Received> {
    std::fs::write(home.join("frames.jsonl"), record(sim)).unwrap();
    let of = |category: &Category| {
        let arguments = format!("replay frames.jsonl --category {category} --format ndjson --closed-only");
        received(&klines(home, &format!("{arguments} --intervals {INTERVALS}")).run().success().out)
    };
    CATEGORIES.iter().flat_map(of).collect()
}

/// Asserts that the certain windows are the same live and replayed, except for their numbering. Returns their number.
#[track_caller]
fn assert_same(oracle: &Oracle, live: &[Received], replayed: &[Received]) -> usize {
    let (both, live, replayed) = (oracle.certain(live), last_revisions(live), last_revisions(replayed));
    let plain = |kline: Option<&Received>| kline.map(|kline| Received { revision: 0, sequence: 0, ..kline.clone() });
    for (series, start) in &both {
        // A recording ends when the last frame does.
        let Some(again) = replayed.get(series).filter(|klines| klines.keys().any(|other| other >= start)) else {
            continue;
        };
        assert_eq!(plain(again.get(start)), plain(live[series].get(start)), "{series:?} {start}");
    }
    both.len()
}

/// Asserts that the oracle detects each error: a window that is missing, has a lower quality, or was not asked for.
#[track_caller]
fn assert_errors_are_detected(oracle: &Oracle, klines: &[Received]) {
    let certain = oracle.certain(klines);
    let last = last_revisions(klines);
    for (series, start) in certain.iter().step_by(17) {
        let is_it = |kline: &Received| kline.series() == *series && kline.start == *start;
        let without: Vec<Received> = klines.iter().filter(|kline| !is_it(kline)).cloned().collect();
        let problems = oracle.compare(&without).1;
        // The last window of a category may be the one that sets the horizon.
        let is_last = klines
            .iter()
            .all(|kline| kline.category != series.0 || is_it(kline) || kline.end < last[series][start].end);
        assert!(is_last || problems.iter().any(|text| text.starts_with("missing")), "{series:?} {start}: {problems:?}");
        let changed = |change: &dyn Fn(&mut Received)| {
            let mut klines = klines.to_vec();
            klines.iter_mut().filter(|kline| is_it(kline)).for_each(change);
            oracle.compare(&klines).1
        };
        assert_eq!(changed(&|kline| kline.quality = "gapped".to_owned()).len(), 1, "{series:?} {start}");
    }
    let extra = Received { symbol: "BTCUSDT".to_owned(), category: "spot".to_owned(), ..klines[0].clone() };
    let with: Vec<Received> = klines.iter().cloned().chain([extra]).collect();
    assert_eq!(oracle.compare(&with).1.len(), 1, "nobody asked for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watched_window_is_reported_and_no_other() {
    let (sim, home) = (exchange(26).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
    reach(&run, sim.now_ms() + 14_000);
    let said = run.stop().success();
    let live = received(&said.out);
    assert_sound(&live);
    let oracle = Oracle::new(&sim, INTERVALS);
    let Findings { complete, flat, absent, .. } = oracle.check(&live);
    // Of 14 s the first 2 are uncertain, and connecting may have taken some: three symbols trade several times a
    // second, two have no trade in half of their seconds, and no window of 100 ms is reported without a trade.
    assert!(complete > 100 && flat >= 5 && absent > 100, "{complete} {flat} {absent}");
    assert_errors_are_detected(&oracle, &live);
    assert_accounted(&said, &["linear", "spot", "inverse"]);
    let replayed = replayed(home.path(), &sim);
    oracle.check(&replayed);
    assert!(assert_same(&oracle, &live, &replayed) > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_is_right_through_outages_garbage_and_disorder() {
    let (sim, home) = (exchange(27).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).with_one_feed().start();
    reach(&run, sim.now_ms() + 6_000);
    sim.inject(Fault::Drop);
    reach(&run, sim.now_ms() + 6_000);
    for garbage in [Garbage::Truncated, Garbage::BadPrice, Garbage::NotJson] {
        sim.inject(Fault::Garbage(garbage).on(Category::Linear));
    }
    sim.inject(Fault::Reorder(Duration::from_millis(150)));
    sim.inject(Fault::Duplicate);
    pass(&sim, 2_000).await;
    sim.heal();
    sim.inject(Fault::Down);
    pass(&sim, 1_500).await;
    sim.heal();
    reach(&run, sim.now_ms() + 8_000);
    let said = run.stop().success();
    let live = received(&said.out);
    assert_sound(&live);
    let oracle = Oracle::new(&sim, INTERVALS);
    let Findings { complete, doubtful, absent, .. } = oracle.check(&live);
    assert!(complete > 50 && doubtful > 0 && absent > 50, "{complete} {doubtful} {absent}");
    let replayed = replayed(home.path(), &sim);
    oracle.check(&replayed);
    assert!(assert_same(&oracle, &live, &replayed) > 50);
}

/// Spot is cut and stalled repeatedly.
#[tokio::test(flavor = "multi_thread")]
async fn a_category_that_fails_does_not_affect_another() {
    let (sim, home) = (exchange(28).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
    reach(&run, sim.now_ms() + 4_000);
    for _ in 0..4 {
        sim.inject(Fault::Drop.on(Category::Spot));
        pass(&sim, 700).await;
        sim.inject(Fault::Stall.on(Category::Spot).lasting(Duration::from_millis(500)));
        pass(&sim, 800).await;
    }
    reach(&run, sim.now_ms() + 5_000);
    let said = run.stop().success();
    let live = received(&said.out);
    assert_sound(&live);
    let findings = Oracle::new(&sim, INTERVALS).check(&live);
    assert!(findings.complete > 100 && findings.doubtful > 0, "{findings:?}");
    assert_eq!(
        said.logged("connection lost, reconnecting").iter().filter(|line| line["category"] != "spot").count(),
        0
    );
    assert!(live.iter().any(|kline| kline.category == "spot" && kline.quality == "gapped"));
}

/// Starts a market on which only the test trades.
async fn still() -> Sim {
    let still = Instrument::new(Category::Linear, "BTCUSDT", "100", "0.10", "0.001").unwrap();
    journaled(Market::seeded(29, vec![still.with_activity(Activity::Still)])).await
}

/// Runs on a market with two trades of a symbol, 4 s apart. Returns its klines from the window of the first trade on,
/// and the times of the trades.
async fn quiet_run(settings: &str) -> (Vec<Received>, [i64; 2]) {
    let (sim, home) = (still().await, folder(&[("klines.toml", &format!("{settings}\n{JSON}"))]));
    let run = run_at(&home, &sim, "BTCUSDT", "100ms,1s").start();
    run.until("the subscription", |said| !said.logged("subscribed").is_empty());
    // A trade from before the subscription could not be known to be the last one before it.
    pass(&sim, 1_000).await;
    let trade = |price: &str| sim.trade(Category::Linear, "BTCUSDT", Side::Buy, price, "0.010").unwrap().time;
    let first = trade("100.10");
    pass(&sim, 4_000).await;
    let second = trade("99.90");
    // Its frame advances the exchange's clock, so that all earlier windows close.
    run.until("the second trade", |said| {
        received(&said.out).iter().any(|kline| kline.close == "99.9" && kline.interval == "1s")
    });
    let klines = received(&run.stop().success().out);
    assert_sound(&klines);
    (klines.into_iter().filter(|kline| kline.end >= first).collect(), [first, second])
}

/// Returns the starts of the windows of a length between two moments, without the windows that contain these.
fn between([first, second]: [i64; 2], length: i64) -> Vec<i64> {
    let from = first - first.rem_euclid(length) + length;
    let to = second - second.rem_euclid(length);
    (from..to).step_by(usize::try_from(length).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn seconds_without_a_trade_are_flat_at_the_last_close() {
    let (klines, trades) = quiet_run("").await;
    let flat: Vec<&Received> = klines.iter().filter(|kline| kline.trades == 0 && kline.start < trades[1]).collect();
    let starts: Vec<i64> = flat.iter().map(|kline| kline.start).collect();
    assert_eq!(starts, between(trades, 1_000), "each second, and no window of 100 ms");
    for kline in flat {
        let prices = [&kline.open, &kline.high, &kline.low, &kline.close].map(String::as_str);
        assert_eq!((prices, kline.interval.as_str()), (["100.1"; 4], "1s"), "{kline:?}");
        let sums = [&kline.volume, &kline.turnover, &kline.buy_volume, &kline.buy_turnover].map(String::as_str);
        assert_eq!((sums, kline.last_trade_time, kline.quality.as_str()), (["0"; 4], 0, "complete"), "{kline:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_without_a_trade_are_reported_as_configured() {
    let flat = |klines: &[Received], trades: [i64; 2], interval: &str| -> Vec<i64> {
        let flat = klines.iter().filter(|kline| kline.trades == 0 && kline.interval == interval);
        flat.filter(|kline| kline.start < trades[1]).map(|kline| kline.start).collect()
    };
    let (klines, trades) = quiet_run("[klines]\nfill = \"all\"").await;
    assert_eq!(flat(&klines, trades, "100ms"), between(trades, 100));
    assert_eq!(flat(&klines, trades, "1s"), between(trades, 1_000));
    let (klines, trades) = quiet_run("[klines]\nfill = false").await;
    assert!(flat(&klines, trades, "100ms").is_empty() && flat(&klines, trades, "1s").is_empty());
    assert_eq!(klines.len(), 4, "the windows of the two trades: {klines:?}");
}

/// Returns the shortest and the longest grace of a kline in the exchange's time, read from Redis, whose records hold
/// `emitted`.
async fn graces(sim: &Sim, grace: i64) -> [i64; 2] {
    let (server, toml) = (Server::start(), format!("[klines]\ngrace = \"{grace}ms\"\n[redis]\nstream = \"all\"\n"));
    let home = folder(&[("klines.toml", &toml)]);
    let run = run_at(&home, sim, "BTCUSDT,spot:ETHUSDT", "100ms,1s").with("REDIS_URL", &server.url());
    let run = run.with("ENABLED_CONSUMERS", "redis").start();
    let klines = || -> Vec<Value> { server.stream("all").into_iter().filter(|kline| kline["revision"] == 0).collect() };
    run.until("klines", |_| klines().iter().filter(|kline| kline["interval"] == "1s").count() >= 8);
    run.stop().success();
    let time = |kline: &Value, key: &str| kline[key].as_i64().unwrap();
    let graces: Vec<i64> = klines().iter().map(|kline| time(kline, "emitted") - time(kline, "end")).collect();
    [*graces.iter().min().unwrap(), *graces.iter().max().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_closed_when_its_grace_has_passed_and_not_before() {
    let sim = exchange(30).await;
    let (short, long) = (graces(&sim, 80).await, graces(&sim, 700).await);
    assert!(short[0] >= 80 && long[0] >= 700, "{short:?} {long:?}");
    // However busy the machine is, at least one of dozens of windows closed within the longer grace.
    assert!(short[0] < 700, "{short:?}");
}
