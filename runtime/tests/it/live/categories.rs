//! Failures of one category do not affect another one.

use bybit_sim::{Activity, Category, Fault, Instrument, Market, RestFault, Sim, SimConfig};

use super::{FEEDS, JSON, UNREPAIRED, assert_accounted, run_at, times};
use crate::metrics::{ANYWHERE, page, served};
use crate::support::program::{Said, folder};
use crate::support::received::{Received, assert_sound, last_revisions, received};
use crate::support::truth::Truth;

/// Starts an exchange with BTCUSDT on linear and on spot, with several trades a second.
async fn exchange(seed: u64) -> Sim {
    let lively = |category, price| {
        let instrument = Instrument::new(category, "BTCUSDT", price, "0.10", "0.001").unwrap();
        instrument.with_activity(Activity::LIVELY)
    };
    let instruments = vec![lively(Category::Linear, "64250.00"), lively(Category::Spot, "64240.00")];
    Sim::start(SimConfig::new(Market::seeded(seed, instruments))).await.unwrap()
}

/// Counts the klines of a category that are complete in their last revision so far and have trades: a kline that closes
/// in a pause of the market does not yet show that all trades before it have arrived.
fn count(said: &Said, category: &str) -> usize {
    let last = last_revisions(&received(&said.out));
    let of_it = last.iter().filter(|((of, ..), _)| of == category);
    of_it.flat_map(|(_, klines)| klines.values()).filter(|kline| kline.is_complete() && kline.trades > 0).count()
}

#[track_caller]
fn assert_exact(said: &Said, sim: &Sim, categories: &[(Category, &str)]) {
    let received = received(&said.out);
    assert_sound(&received);
    let mut truth = Truth::default();
    categories.iter().for_each(|(category, _)| truth.note(sim, *category, &["BTCUSDT"]));
    assert!(truth.assert_same(&received) > 0);
    let names: Vec<&str> = categories.iter().map(|(_, name)| *name).collect();
    assert_accounted(said, &names);
}

/// With `--load-all` the program needs REST before it can subscribe; REST works for linear and not for spot.
#[tokio::test(flavor = "multi_thread")]
async fn a_category_whose_symbols_cannot_be_loaded_does_not_delay_another() {
    for (seed, first) in [(61, "linear,spot"), (62, "spot,linear")] {
        let (sim, home) = (exchange(seed).await, folder(&[("klines.toml", JSON)]));
        sim.inject(Fault::Rest(RestFault::Blocked).on(Category::Spot));
        let run = run_at(&home, &sim, "", "1s").with("BYBIT_CATEGORY", first).with("BYBIT_LOAD_ALL_SYMBOLS", "true");
        let run = run.start();
        run.until("klines of linear", |said| count(said, "linear") >= 4);
        let said = run.stop().success();
        assert_eq!(count(&said, "spot"), 0, "{first}");
        assert_exact(&said, &sim, &[(Category::Linear, "linear")]);
        let waiting = said.logged("cannot load the symbols, trying again");
        assert_eq!(waiting.len(), 1, "{first}: {}", said.err);
        let cause = waiting[0]["cause"].as_str().unwrap();
        assert!(cause.contains("a country or a network is not served"), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn symbols_that_are_loaded_late_join_the_run() {
    let (sim, home) = (exchange(63).await, folder(&[("klines.toml", JSON)]));
    sim.inject(Fault::Rest(RestFault::Silent).on(Category::Spot));
    let run =
        run_at(&home, &sim, "", "1s").with("BYBIT_CATEGORY", "spot,linear").with("BYBIT_LOAD_ALL_SYMBOLS", "true");
    let run = run.start();
    run.until("klines of linear", |said| count(said, "linear") >= 3);
    assert_eq!(count(&run.said(), "spot"), 0);
    sim.heal();
    run.until("klines of spot", |said| count(said, "spot") >= 3);
    let said = run.stop().success();
    assert_exact(&said, &sim, &[(Category::Linear, "linear"), (Category::Spot, "spot")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_one_category_leaves_the_other_complete() {
    let (sim, home) = (exchange(64).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, "BTCUSDT,spot:BTCUSDT", "1s").start();
    run.until("klines of both", |said| count(said, "linear") >= 2 && count(said, "spot") >= 2);
    sim.inject(Fault::Down.on(Category::Spot));
    let before = count(&run.said(), "linear");
    run.until("spot is missed", |said| times(said, "connection lost, reconnecting") == FEEDS);
    run.until("linear goes on", |said| count(said, "linear") >= before + 3);
    sim.heal();
    let before = count(&run.said(), "spot");
    run.until("spot is back", |said| count(said, "spot") >= before + 2);
    let said = run.stop().success();
    assert_exact(&said, &sim, &[(Category::Linear, "linear"), (Category::Spot, "spot")]);
    // The first kline may have begun before its symbol was watched, or open with a price that is not proven.
    let linear = received(&said.out).into_iter().filter(|kline| kline.category == "linear");
    let settled: Vec<_> = linear.skip_while(|kline| !kline.is_complete()).collect();
    assert!(settled.len() >= 5 && settled.iter().all(Received::is_complete), "{}", said.out);
}

/// Only spot is refused, but the refusal is for the address: all requests stop, and klines go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_too_many_requests_stops_all_requests_and_no_kline() {
    let (sim, home) = (exchange(65).await, folder(&[("klines.toml", JSON)]));
    sim.inject(Fault::Rest(RestFault::TooFrequent).on(Category::Spot));
    // The server needs the instruments of both categories and would request them again after half a minute.
    let run = run_at(&home, &sim, "BTCUSDT,spot:BTCUSDT", "1s").with("ENABLED_CONSUMERS", "console,websocket");
    let run = run.with("WEBSOCKET_PORT", "0").with("WSS_AUTH_USER", "me");
    let run = run.with("WSS_AUTH_KEY", "nOt4-kEy_tHat-aNyone.gu3sses-9f").with("METRICS_LISTEN", ANYWHERE).start();
    let address = served(&run, "serving metrics");
    let refused = "the exchange refuses this address, no REST requests until then";
    run.until("the refusal", |said| times(said, refused) == 1);
    run.until("klines", |said| count(said, "linear") >= 2 && count(said, "spot") >= 2);
    // Requests that were in flight when the refusal came have arrived.
    let (before, klines) = (sim.counters().rest_requests, count(&run.said(), "linear"));
    run.until("klines go on for longer than that", |said| count(said, "linear") >= klines + 33);
    assert_eq!(sim.counters().rest_requests, before, "no request was sent");
    let metrics = page(address);
    assert_eq!(metrics.value("klines_rest_requests_total", &[]).to_string(), before.to_string());
    assert_eq!(metrics.value("klines_rest_bans_total", &[]).to_string(), "1");
    // Ten minutes less the time since the refusal, which is not longer than the timeout of the test.
    let left = metrics.value("klines_rest_ban_remaining_seconds", &[]);
    assert!((300.0..600.0).contains(&left), "{left}");
    let said = run.stop().success();
    assert_exact(&said, &sim, &[(Category::Linear, "linear"), (Category::Spot, "spot")]);
    let refusals = said.logged(refused);
    assert_eq!(refusals.len(), 1, "{}", said.err);
    let resumes = refusals[0]["resumes"].as_str().unwrap();
    assert!(resumes.starts_with("20") && resumes.ends_with('Z'), "{resumes}");
}
