//! Klines of the past: archives that are downloaded, and what is made of them.

use std::path::Path;
use std::time::Duration;

use bybit_sim::{Activity, Category, Fault, Instrument, Market, RestFault, Sim, SimConfig};

use super::support::program::{Ended, Invocation, folder, klines};

mod fetching;

const DAY: i64 = 86_400_000;

/// Starts an exchange with a symbol in each category and 42 days of history.
async fn exchange(seed: u64) -> Sim {
    let instrument = |category, symbol, price, tick, step| {
        Instrument::new(category, symbol, price, tick, step).unwrap().with_activity(Activity::LIVELY)
    };
    let instruments = vec![
        instrument(Category::Linear, "BTCUSDT", "64250.00", "0.10", "0.001"),
        instrument(Category::Inverse, "BTCUSD", "64250.00", "0.50", "1"),
        instrument(Category::Spot, "ETHUSDT", "1922.50", "0.01", "0.01"),
    ];
    Sim::start(SimConfig::new(Market::seeded(seed, instruments))).await.unwrap()
}

/// Returns the date of a day so many days before today.
fn date(sim: &Sim, ago: i64) -> String {
    let day = (sim.now_ms().div_euclid(DAY) - ago) * DAY;
    jiff::Timestamp::from_millisecond(day).unwrap().strftime("%Y-%m-%d").to_string()
}

fn fetch(home: &Path, sim: &Sim, arguments: &str) -> Invocation {
    klines(home, &format!("fetch {arguments} --url {}", sim.archive_url()))
}

#[track_caller]
fn failed(ended: Ended) -> String {
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    ended.said.err
}
