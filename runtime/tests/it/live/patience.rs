//! A silent feed, which only a timeout distinguishes from a quiet market. The one test here uses the default timeouts
//! and takes as long as they are, about a minute and a half.

use bybit_sim::{Activity, Category, Fault, Instrument, Market};

use super::{UNREPAIRED, assert_accounted, journaled, run_at, times};
use crate::metrics::{health, served};
use crate::support::oracle::Oracle;
use crate::support::program::{Said, folder};
use crate::support::received::{Received, assert_sound, last_revisions, received};

/// Counts the complete klines of a category so far.
fn count(said: &Said, category: &str) -> usize {
    received(&said.out).iter().filter(|kline| kline.category == category && kline.is_complete()).count()
}

/// Counts the lines of the log with this message about a category.
fn about(said: &Said, message: &str, category: &str) -> usize {
    said.logged(message).iter().filter(|line| line["category"] == category).count()
}

/// Linear still answers pings but sends no trade; spot sends nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_mute_feed_and_a_stalled_one_are_detected_and_reconnected() {
    let lively = |category, price| {
        let instrument = Instrument::new(category, "BTCUSDT", price, "0.10", "0.001").unwrap();
        instrument.with_activity(Activity::LIVELY)
    };
    let instruments = vec![lively(Category::Linear, "64250.00"), lively(Category::Spot, "64240.00")];
    let sim = journaled(Market::seeded(41, instruments)).await;
    let home = folder(&[("klines.toml", UNREPAIRED)]);
    let run = run_at(&home, &sim, "BTCUSDT,spot:BTCUSDT", "1s,5s").with_one_feed();
    let run = run.with("METRICS_LISTEN", "127.0.0.1:0").start();
    let metrics = served(&run, "serving metrics");
    run.until("klines of both", |said| count(said, "linear") >= 8 && count(said, "spot") >= 8);

    sim.inject(Fault::Mute.on(Category::Linear));
    sim.inject(Fault::Stall.on(Category::Spot));
    let from = sim.now_ms();
    let lost = "connection lost, reconnecting";
    run.until("the stall is noticed", |said| about(said, lost, "spot") == 1);
    let spot_to = sim.now_ms();
    run.until("the silence is noticed", |said| about(said, lost, "linear") == 1);
    let linear_to = sim.now_ms();
    // It is connected again and answers pings, but still sends no trade.
    run.until("/readyz to report it", |_| {
        let (status, body) = health(metrics, "/readyz");
        let feeds = body["feeds"].as_array().unwrap().iter();
        let is_stale = |feed: &serde_json::Value| feed["category"] == "linear" && feed["state"] == "stale";
        status == 503 && feeds.filter(|feed| is_stale(feed)).count() == 1
    });
    sim.heal();
    let both_again = |said: &Said| {
        let last = |category: &str| received(&said.out).iter().rfind(|kline| kline.category == category).cloned();
        let is_past =
            |category, moment| last(category).is_some_and(|kline| kline.is_complete() && kline.start > moment);
        is_past("linear", linear_to + 5_000) && is_past("spot", linear_to + 5_000)
    };
    run.until("klines go on", both_again);
    let said = run.stop().success();
    assert!(times(&said, lost) <= 4, "each change once: {}", said.err);

    let received = received(&said.out);
    assert_sound(&received);
    let findings = Oracle::new(&sim, "1s,5s").check(&received);
    assert!(findings.complete > 0 && findings.doubtful > 0, "{findings:?}");
    for (category, to) in [("linear", linear_to), ("spot", spot_to)] {
        let newest = last_revisions(&received).into_iter().filter(|((of, ..), _)| of == category);
        let newest: Vec<Received> = newest.flat_map(|(_, klines)| klines.into_values()).collect();
        let touched: Vec<&Received> = newest.iter().filter(|kline| kline.start <= to && from <= kline.end).collect();
        touched.iter().for_each(|kline| assert_eq!(kline.quality, "gapped", "{kline:?}"));
        // At least the windows in which the silence began and ended, which have trades.
        assert!(touched.len() >= 2, "{category}: {touched:?}");
    }
    assert_accounted(&said, &["linear", "spot"]);
}
