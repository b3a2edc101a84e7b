//! The requests of a repair against the simulated exchange: its trades are those of the stream, its candles those of
//! its own klines, and what is wrong is no answer.

use std::time::Duration;

use bybit_sim::{Category as SimCategory, Fault, Limits, RestFault, Sim, SimConfig};
use klines_bybit::repair::answer;
use klines_bybit::rest::RestClient;
use klines_bybit::session::Timing;
use klines_domain::decimal::Decimal;
use klines_domain::repair::{Answer, Candle, Failure, Found, Grain, MAX_CANDLES, Request};
use klines_domain::symbol::{Category, Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, MINUTE};
use klines_domain::trade::Trade;

use super::rest::client;
use super::world::{World, lively, market};

const NAMES: [&str; 2] = ["BTCUSD", "ETHUSD"];

fn table(names: &[&str]) -> SymbolTable {
    let mut table = SymbolTable::default();
    names.iter().for_each(|name| {
        table.intern(&Symbol::new(name).unwrap());
    });
    table
}

fn found_trades(answer: Answer) -> Vec<Trade> {
    match answer.result {
        Ok(Found::Trades(trades)) => trades,
        other => panic!("{other:?}"),
    }
}

fn found_candles(answer: Answer) -> Vec<Candle> {
    match answer.result {
        Ok(Found::Candles(candles)) => candles,
        other => panic!("{other:?}"),
    }
}

/// Asks for the minutes that start in the last `span` ms.
async fn minutes(rest: &RestClient, sim: &Sim, span: i64) -> Answer {
    let to = sim.now_ms() / MINUTE * MINUTE;
    let (from, to) = (ExchangeMillis::new(to - span), ExchangeMillis::new(to));
    let request = Request::Candles { symbol: SymbolId(0), grain: Grain::Minute, from, to };
    answer(rest, Category::Linear, &table(&["BTCUSDT"]), request).await
}

#[tokio::test]
async fn recent_trades_equal_those_of_the_stream_in_every_field() {
    let instruments = SimCategory::ALL.iter().flat_map(|category| lively(*category, &NAMES));
    let market = bybit_sim::Market::seeded(8, instruments.collect());
    let sim = Sim::start(SimConfig::new(market)).await.unwrap();
    let rest = client(&sim);
    let wanted = Category::ALL.map(|category| (category, &NAMES[..]));
    let mut world = World::start(sim, &wanted, Timing::default()).await;
    let symbols = table(&NAMES);
    for category in Category::ALL {
        world.until("trades", |seen| seen.trades(category, "ETHUSD") >= 30).await;
        let request = Request::RecentTrades { symbol: symbols.get("ETHUSD").unwrap() };
        let recent = found_trades(answer(&rest, category, &symbols, request).await);
        let newest = recent.last().unwrap().clone();
        world.until("the newest", |seen| seen.tape(category, "ETHUSD").contains(&newest)).await;
        let streamed = world.seen().tape(category, "ETHUSD");
        let until = streamed.iter().position(|trade| *trade == newest).unwrap() + 1;
        let common = until.min(recent.len());
        assert!(common >= 30, "{category}: {common}");
        assert_eq!(streamed[until - common..until], recent[recent.len() - common..], "{category}");
        assert!(category != Category::Spot || recent.len() <= 60);
    }
    world.stop().await;
}

#[tokio::test]
async fn candles_equal_the_exchanges_klines() {
    let sim = Sim::start(SimConfig::new(market(SimCategory::Linear, &["BTCUSDT"]))).await.unwrap();
    let (rest, symbols) = (client(&sim), table(&["BTCUSDT"]));
    for (grain, code) in [(Grain::Minute, "1"), (Grain::Hour, "60")] {
        let truth = sim.klines(SimCategory::Linear, "BTCUSDT", code);
        let [from, to] = [&truth[0], truth.last().unwrap()].map(|kline| ExchangeMillis::new(kline.start));
        let request = Request::Candles { symbol: SymbolId(0), grain, from, to };
        let found = found_candles(answer(&rest, Category::Linear, &symbols, request).await);
        assert!(found.len() >= MAX_CANDLES - 1, "{}", found.len());
        for (candle, kline) in found.iter().zip(&truth) {
            assert_eq!(candle.start.get(), kline.start);
            let prices = [candle.open, candle.high, candle.low, candle.close].map(|price| price.to_decimal());
            let exact = |text: &String| Decimal::parse(text).unwrap();
            assert_eq!(prices, [&kline.open, &kline.high, &kline.low, &kline.close].map(exact));
            assert_eq!([candle.volume, candle.turnover], [&kline.volume, &kline.turnover].map(exact));
        }
        let end = found.last().unwrap().start + grain.millis();
        assert!(end.get() <= sim.now_ms(), "the open one is left out");
    }
    sim.stop().await;
}

#[tokio::test]
async fn candles_that_contradict_themselves_are_no_answer() {
    // The last ten minutes are not settled, so that faults concern candles that are over.
    let market = market(SimCategory::Linear, &["BTCUSDT"]);
    let sim = Sim::start(SimConfig { settle: Duration::from_secs(600), ..SimConfig::new(market) }).await.unwrap();
    let rest = client(&sim);
    let later = Err(Failure::Later { wait: 0 });
    for fault in [RestFault::HighBelowLow, RestFault::OutOfOrder, RestFault::Garbage, RestFault::Truncated] {
        sim.inject(Fault::Rest(fault));
        assert_eq!(minutes(&rest, &sim, 30 * MINUTE).await.result, later, "{fault:?}");
        sim.heal();
        assert!(found_candles(minutes(&rest, &sim, 30 * MINUTE).await).len() >= 29);
    }
    sim.stop().await;
}

#[tokio::test]
async fn an_answer_says_whether_the_request_may_succeed_later() {
    let sim = Sim::start(SimConfig::new(market(SimCategory::Linear, &["BTCUSDT"]))).await.unwrap();
    let rest = client(&sim);
    let symbols = table(&["BTCUSDT", "NONEUSDT"]);
    for symbol in [SymbolId(1), SymbolId(2)] {
        let from = ExchangeMillis::new(0);
        for request in
            [Request::RecentTrades { symbol }, Request::Candles { symbol, grain: Grain::Hour, from, to: from }]
        {
            let refused = answer(&rest, Category::Linear, &symbols, request).await;
            assert_eq!(refused, Answer { request, result: Err(Failure::Refused) }, "not listed, and not in the table");
        }
    }
    for (fault, wait) in [
        (RestFault::Failing, 0),
        (RestFault::TimedOut, 0),
        (RestFault::Unavailable, 0),
        (RestFault::Reset, 0),
        (RestFault::Limited, 5_000),
        (RestFault::TooFrequent, 600_000),
    ] {
        // Each with a gate of its own: a limit stops the requests of all callers.
        let rest = client(&sim);
        sim.inject(Fault::Rest(fault));
        assert_eq!(minutes(&rest, &sim, 0).await.result, Err(Failure::Later { wait }), "{fault:?}");
        sim.heal();
    }
    sim.stop().await;
}

#[tokio::test]
async fn a_request_that_is_not_sent_says_when_it_may_be() {
    let limits = Limits { requests_per_5_s: 0, ..Limits::default() };
    let config = SimConfig { limits, ..SimConfig::new(market(SimCategory::Linear, &["BTCUSDT"])) };
    let sim = Sim::start(config).await.unwrap();
    let rest = client(&sim);
    assert_eq!(minutes(&rest, &sim, 0).await.result, Err(Failure::Later { wait: 600_000 }));
    let Err(Failure::Later { wait }) = minutes(&rest, &sim, 0).await.result else { panic!("an answer") };
    assert!((590_000..=600_000).contains(&wait), "{wait}");
    assert_eq!(sim.counters().rest_requests, 1);
    sim.stop().await;
}
