//! The feed against the simulated exchange over real sockets: acknowledgements, refusals, outages, silence, garbage and
//! categories.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod impostors;
mod log;
mod repair;
mod rest;
mod world;

use std::time::Duration;

use bybit_sim::{Activity, Fault, Garbage, Instrument, Limits, Market, Side, Sim, SimConfig};
use klines_bybit::session::Timing;
use klines_domain::symbol::Category;
use world::{LINEAR, World, lively, market};

/// Timeouts short enough for a test, in the ratios of the defaults.
const IMPATIENT: Timing =
    Timing { ping: 200, dead: 1_500, answer: 5_000, silence: 1_000, refused_retry: 300, unexplained_retry: 300 };

/// The default timeouts, except for refused symbols.
const QUICK_RETRY: fn() -> Timing = || Timing { refused_retry: 300, unexplained_retry: 300, ..Timing::default() };

#[tokio::test]
async fn every_trade_arrives_once_and_in_the_exchanges_order() {
    let sim = Sim::start(SimConfig::new(Market::demo(1))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], Timing::default()).await;
    world.until("40 trades of each", |seen| LINEAR.iter().all(|name| seen.trades(Category::Linear, name) >= 40)).await;
    for name in LINEAR {
        world.assert_contiguous(Category::Linear, name);
    }
    let counters = world.stop().await;
    assert_eq!((counters.gaps, counters.rejected, counters.unreadable), (0, 0, 0));
}

#[tokio::test]
async fn spot_topics_are_subscribed_in_frames_of_ten_on_one_connection() {
    let names: Vec<String> = (0..25).map(|n| format!("S{n:02}USDT")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sim = Sim::start(SimConfig::new(market(bybit_sim::Category::Spot, &names))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Spot, &names)], Timing::default()).await;
    world.until("all covered", |seen| seen.covered(Category::Spot) == 25).await;
    let counters = world.sim().counters();
    // Three for the topics, and one for the canary.
    assert_eq!((counters.subscribes, counters.connections), (4, 1));
    world.until("a trade of each", |seen| names.iter().all(|name| seen.trades(Category::Spot, name) > 0)).await;
    world.stop().await;
}

#[tokio::test]
async fn topics_beyond_a_connections_limit_go_to_a_second_one() {
    let names: Vec<String> = (0..500).map(|n| format!("{n:03}{}", "A".repeat(47))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sim = Sim::start(SimConfig::new(market(bybit_sim::Category::Linear, &names))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &names)], Timing::default()).await;
    world.until("all covered", |seen| seen.covered(Category::Linear) == 500).await;
    assert_eq!(world.sim().counters().connections, 2);
    world.stop().await;
}

#[tokio::test]
async fn several_categories_run_side_by_side() {
    let instruments = bybit_sim::Category::ALL.iter().flat_map(|category| lively(*category, &["BTCUSD", "ETHUSD"]));
    let sim = Sim::start(SimConfig::new(Market::seeded(3, instruments.collect()))).await.unwrap();
    let wanted = Category::ALL.map(|category| (category, ["BTCUSD", "ETHUSD"]));
    let wanted: Vec<(Category, &[&str])> = wanted.iter().map(|(category, names)| (*category, &names[..])).collect();
    let mut world = World::start(sim, &wanted, Timing::default()).await;
    let all = |at_least: usize| {
        move |seen: &world::Seen| Category::ALL.iter().all(|category| seen.trades(*category, "BTCUSD") >= at_least)
    };
    world.until("trades of each category", all(10)).await;
    for category in Category::ALL {
        world.assert_contiguous(category, "BTCUSD");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_refused_symbol_leaves_the_others_and_joins_when_it_is_listed() {
    for category in [bybit_sim::Category::Linear, bybit_sim::Category::Spot] {
        let mut instruments = lively(category, &LINEAR);
        let late = Instrument::new(category, "NEWUSDT", "10", "0.1", "1").unwrap();
        instruments.push(late.with_activity(Activity::LIVELY).unlisted());
        let sim = Sim::start(SimConfig::new(Market::seeded(5, instruments))).await.unwrap();
        let own_category = category.as_str().parse().unwrap();
        let names = ["BTCUSDT", "NEWUSDT", "ETHUSDT", "SOLUSDT"];
        let mut world = World::start(sim, &[(own_category, &names)], QUICK_RETRY()).await;
        world.until("the others trade", |seen| LINEAR.iter().all(|name| seen.trades(own_category, name) > 3)).await;
        assert!(!world.seen().is_covered(own_category, "NEWUSDT"));
        world.sim().inject(Fault::List("NEWUSDT".to_owned()));
        world.until("the new one trades", |seen| seen.trades(own_category, "NEWUSDT") > 3).await;
        assert!(world.seen().is_covered(own_category, "NEWUSDT"));
        assert_eq!(world.stop().await.gaps, 0, "no other symbol was interrupted");
    }
}

#[tokio::test]
async fn an_outage_of_the_exchange_is_a_gap_and_the_feed_reconnects() {
    let sim = Sim::start(SimConfig::new(Market::demo(2))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], Timing::default()).await;
    world.until("trades", |seen| seen.trades(Category::Linear, "BTCUSDT") > 5).await;
    world.sim().inject(Fault::Down);
    world.until("a gap of all", |seen| seen.gaps(Category::Linear) == 3 && seen.covered(Category::Linear) == 0).await;
    world.sim().heal();
    let before = world.seen().trades(Category::Linear, "BTCUSDT");
    world.until("trades again", |seen| seen.trades(Category::Linear, "BTCUSDT") > before + 5).await;
    assert_eq!(world.seen().covered(Category::Linear), 3);
    world.assert_no_duplicates();
    world.stop().await;
}

#[tokio::test]
async fn a_feed_started_before_its_exchange_connects_to_it() {
    let sim = Sim::start(SimConfig::new(Market::demo(2))).await.unwrap();
    sim.inject(Fault::Down);
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], Timing::default()).await;
    world::eventually("an attempt failed", || world.failed() > 0).await;
    world.sim().heal();
    world.until("trades", |seen| seen.trades(Category::Linear, "BTCUSDT") > 0).await;
    assert_eq!(world.stop().await.gaps, 0, "a symbol that was never covered has no gap");
}

#[tokio::test]
async fn a_stalled_connection_is_replaced_when_no_pong_comes() {
    let sim = Sim::start(SimConfig::new(Market::demo(4))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], IMPATIENT).await;
    world.until("trades", |seen| seen.trades(Category::Linear, "BTCUSDT") > 5).await;
    world.sim().inject(Fault::Stall);
    world.until("a gap of all", |seen| seen.gaps(Category::Linear) == 3).await;
    world.sim().heal();
    world.until("covered again", |seen| seen.covered(Category::Linear) == 3).await;
    let before = world.seen().trades(Category::Linear, "BTCUSDT");
    world.until("trades again", |seen| seen.trades(Category::Linear, "BTCUSDT") > before).await;
    world.assert_no_duplicates();
    world.stop().await;
}

#[tokio::test]
async fn a_feed_that_is_silent_although_pongs_arrive_is_subscribed_again() {
    let sim = Sim::start(SimConfig::new(market(bybit_sim::Category::Linear, &LINEAR))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], IMPATIENT).await;
    world.until("trades", |seen| seen.trades(Category::Linear, "BTCUSDT") > 20).await;
    world.sim().inject(Fault::Mute);
    world.until("a gap of all", |seen| seen.gaps(Category::Linear) >= 3).await;
    assert!(world.sim().counters().pings > 0);
    world.sim().heal();
    let before = world.seen().trades(Category::Linear, "BTCUSDT");
    world.until("trades again", |seen| seen.trades(Category::Linear, "BTCUSDT") > before).await;
    world.stop().await;
}

#[tokio::test]
async fn garbage_is_skipped_and_counted_and_costs_no_trade() {
    let sim = Sim::start(SimConfig::new(Market::demo(6))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], Timing::default()).await;
    world.until("all covered", |seen| seen.covered(Category::Linear) == 3).await;
    for garbage in [Garbage::NotJson, Garbage::Truncated, Garbage::BadPrice] {
        world.sim().inject(Fault::Garbage(garbage));
    }
    let faulty = |counters: klines_bybit::session::Counters| counters.unreadable + counters.rejected;
    world.until_counted("three frames of garbage", |counters| faulty(counters) >= 3).await;
    world.until("trades", |seen| LINEAR.iter().all(|name| seen.trades(Category::Linear, name) > 10)).await;
    for name in LINEAR {
        world.assert_contiguous(Category::Linear, name);
    }
    let delivered = world.seen().all_trades();
    let (counters, late) = world.stop_and_drain().await;
    assert_eq!(counters.received - counters.rejected, delivered + late, "received = delivered + rejected");
    assert_eq!((counters.gaps, faulty(counters)), (0, 3));
}

#[tokio::test]
async fn a_consumer_that_does_not_read_holds_the_exchange_back_and_loses_nothing() {
    let limits = Limits { queue: 1_000_000, ..Limits::default() };
    let busy = Instrument::new(bybit_sim::Category::Linear, "BTCUSDT", "100", "0.1", "1").unwrap();
    let busy = busy.with_activity(Activity::Matches { every_ms: 1 });
    let config = SimConfig { limits, ..SimConfig::new(Market::seeded(7, vec![busy])) };
    let sim = Sim::start(config).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &["BTCUSDT"])], Timing::default()).await;
    world.until("covered", |seen| seen.covered(Category::Linear) == 1).await;
    // The test receives no message while the market goes on: the channel and then the sockets fill up.
    let goal = world.sim().counters().trades + 3_000;
    world::eventually("the market went on", || world.sim().counters().trades >= goal).await;
    world.until("the backlog", |seen| seen.trades(Category::Linear, "BTCUSDT") >= 3_000).await;
    world.assert_contiguous(Category::Linear, "BTCUSDT");
    assert_eq!(world.stop().await.gaps, 0);
}

#[tokio::test]
async fn a_trade_is_carried_digit_for_digit() {
    let still = Instrument::new(bybit_sim::Category::Linear, "BTCUSDT", "100", "0.10", "0.001").unwrap();
    let market = Market::seeded(8, vec![still.with_activity(Activity::Still)]);
    let sim = Sim::start(SimConfig::new(market)).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &["BTCUSDT"])], Timing::default()).await;
    world.until("covered", |seen| seen.covered(Category::Linear) == 1).await;
    let made = world.sim().trade(bybit_sim::Category::Linear, "BTCUSDT", Side::Sell, "101.30", "0.007").unwrap();
    world.until("the trade", |seen| seen.trades(Category::Linear, "BTCUSDT") == 1).await;
    let got = world.seen().tape(Category::Linear, "BTCUSDT")[0].clone();
    assert_eq!(
        (got.price.to_decimal().to_string(), got.size.to_decimal().to_string()),
        ("101.3".into(), "0.007".into())
    );
    assert_eq!((got.time.get(), got.side), (made.time, klines_domain::trade::Side::Sell));
    world.stop().await;
}

#[tokio::test]
async fn stopping_is_quick_and_no_gap() {
    let sim = Sim::start(SimConfig::new(Market::demo(9))).await.unwrap();
    let mut world = World::start(sim, &[(Category::Linear, &LINEAR)], Timing::default()).await;
    world.until("trades", |seen| seen.trades(Category::Linear, "BTCUSDT") > 0).await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), world.stop()).await.unwrap();
    assert_eq!(stopped.gaps, 0);
}
