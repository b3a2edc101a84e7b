//! Klines of REST count trades late, and lie about windows that are not settled under a fault.

use std::time::Duration;

use serde_json::{Value, json};

use super::{client::get, quiet_market};
use crate::{Category, Fault, Injection, RestFault, Side, Sim, SimConfig};

const PATH: &str = "/v5/market/kline?category=linear&symbol=ETHUSDT&interval=1";
/// Longer than the test lasts.
const LONG: Duration = Duration::from_secs(40);

async fn rows(sim: &Sim) -> Vec<Value> {
    get(sim, PATH).await.1["result"]["list"].as_array().unwrap().clone()
}

/// Starts an exchange at the beginning of a minute that is `settle` after its trades.
async fn sim(settle: Duration) -> Sim {
    let sim = Sim::start(SimConfig { settle, ..SimConfig::new(quiet_market()) }).await.unwrap();
    leap_to(&sim, 1_000);
    sim
}

/// Moves the clock to this time of the next minute.
fn leap_to(sim: &Sim, ms: i64) {
    let now = sim.now_ms();
    let next = now - now.rem_euclid(60_000) + 60_000 + ms;
    sim.leap(Duration::from_millis((next - now) as u64));
}

fn trade(sim: &Sim, price: &str) -> i64 {
    sim.trade(Category::Linear, "ETHUSDT", Side::Buy, price, "1").unwrap().time
}

/// Returns the row of the minute of `at` without its start.
fn row_of(rows: &[Value], at: i64) -> Vec<&str> {
    let start = (at - at.rem_euclid(60_000)).to_string();
    let row = rows.iter().find(|row| row[0] == json!(start)).unwrap();
    row.as_array().unwrap()[1..].iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_closed_minute_lacks_its_trades_until_it_is_settled() {
    let sim = sim(LONG).await;
    let at = trade(&sim, "1930.00");
    let flat = ["1922.5", "1922.5", "1922.5", "1922.5", "0", "0"];
    assert_eq!(row_of(&rows(&sim).await, at), flat);
    // 38 s after its end: the trade of its first seconds is counted, the one of its last seconds is not.
    leap_to(&sim, 38_000);
    assert_eq!(row_of(&rows(&sim).await, at), ["1922.5", "1930", "1922.5", "1930", "1", "1930"]);

    let late = trade(&sim, "1940.00");
    leap_to(&sim, 1_000);
    let before = rows(&sim).await;
    assert_eq!(row_of(&before, late), ["1930", "1930", "1930", "1930", "0", "0"]);
    // The kline that is open now opens at the close that the answer has, not at a later one.
    assert_eq!(row_of(&before, sim.now_ms()), ["1930", "1930", "1930", "1930", "0", "0"]);
    sim.leap(LONG);
    let after = rows(&sim).await;
    assert_eq!(row_of(&after, late), ["1930", "1940", "1930", "1940", "1", "1940"]);
    assert_eq!(row_of(&after, late + 60_000)[0], "1940");
    let truth = sim.klines(Category::Linear, "ETHUSDT", "1");
    assert!(truth.iter().any(|kline| kline.close == "1940" && kline.volume == "1"));
}

#[tokio::test]
async fn the_truth_does_not_wait_until_a_window_is_settled() {
    let sim = sim(LONG).await;
    let at = trade(&sim, "1930.00");
    let klines = sim.klines(Category::Linear, "ETHUSDT", "1");
    let kline = klines.iter().find(|kline| kline.start <= at && at <= kline.end).unwrap();
    assert_eq!((kline.close.as_str(), kline.volume.as_str()), ("1930", "1"));
    assert!(klines.last().unwrap().end >= at);
}

#[tokio::test]
async fn under_a_fault_unsettled_klines_are_wrong_and_settled_ones_right() {
    let sim = sim(LONG).await;
    let settled = trade(&sim, "1930.00");
    leap_to(&sim, 1_000);
    let mut at = 0;
    for n in 0..6 {
        at = trade(&sim, &format!("194{n}.00"));
    }
    // The trades are counted, but their minute ended less than `LONG` ago.
    leap_to(&sim, 10_000);
    let inject = |fault| {
        sim.heal();
        sim.inject(Injection::from(Fault::Rest(fault)).on(Category::Linear));
    };
    let right = rows(&sim).await;
    assert_eq!(row_of(&right, at), ["1930", "1945", "1930", "1945", "6", "11655"]);

    inject(RestFault::MissingTrades);
    let short = rows(&sim).await;
    assert_eq!(row_of(&short, at), ["1930", "1943", "1930", "1943", "4", "7766"]);
    inject(RestFault::HighBelowLow);
    let inverted = rows(&sim).await;
    assert_eq!(row_of(&inverted, at)[1..3], ["1930", "1945"]);
    assert_eq!(row_of(&inverted, sim.now_ms())[1..3], ["1945", "1945.01"], "an open flat one too");
    inject(RestFault::OutOfOrder);
    let disordered = rows(&sim).await;
    assert_eq!((&disordered[0], &disordered[1]), (&right[1], &right[0]));
    for rows in [&short, &inverted, &disordered] {
        assert_eq!(row_of(rows, settled), row_of(&right, settled));
    }
    sim.heal();
    assert_eq!(row_of(&rows(&sim).await, at), row_of(&right, at));
}
