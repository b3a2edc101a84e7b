//! The market endpoints of the simulated exchange, and the symbols chosen from them.

use std::time::Duration;

use bybit_sim::{Category as SimCategory, Fault, Instrument, Limits, Market, RestFault, Sim, SimConfig};
use klines_bybit::config::{AllSymbols, CategoryConfig, SymbolChoice};
use klines_bybit::connect::Dialer;
use klines_bybit::instruments::{Pace, Watch};
use klines_bybit::rest::{Gate, RestClient, RestError};
use klines_bybit::symbols::{self, Trading};
use klines_domain::feed::FeedEvent;
use klines_domain::symbol::{Category, Symbol, SymbolTable};
use klines_system::clock::LocalClock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::world::eventually;

pub fn client(sim: &Sim) -> RestClient {
    let dialer = Dialer::new(|_| None).unwrap();
    RestClient::new(dialer, Gate::new(LocalClock::start()), sim.rest_url().parse().unwrap())
}

fn listing() -> Market {
    let names = [
        (SimCategory::Linear, "SOLUSDT"),
        (SimCategory::Linear, "BTCUSDT"),
        (SimCategory::Linear, "BTCPERP"),
        (SimCategory::Linear, "BTCUSDT-26DEC25"),
        (SimCategory::Spot, "ETHUSDT"),
        (SimCategory::Inverse, "BTCUSD"),
    ];
    let build = |(category, name)| Instrument::new(category, name, "100", "0.10", "0.001").unwrap();
    Market::seeded(1, names.map(build).to_vec())
}

fn all(category: Category) -> CategoryConfig {
    CategoryConfig { category, symbols: SymbolChoice::All(AllSymbols::default()) }
}

#[tokio::test]
async fn time_and_instruments_are_read() {
    let sim = Sim::start(SimConfig::new(listing())).await.unwrap();
    let rest = client(&sim);
    let before = sim.now_ms();
    let reply = rest.time().await.unwrap();
    assert!((before..=sim.now_ms()).contains(&reply.result.get()));
    assert!((before..=sim.now_ms()).contains(&reply.stamped.get()));
    let mut found = rest.instruments(Category::Linear).await.unwrap().result;
    found.sort_by(|left, right| left.symbol.cmp(&right.symbol));
    let names: Vec<&str> = found.iter().map(|instrument| instrument.symbol.as_str()).collect();
    assert_eq!(names, ["BTCPERP", "BTCUSDT", "BTCUSDT-26DEC25", "SOLUSDT"]);
    assert!(found.iter().all(|instrument| instrument.trading == Trading::Open && instrument.tick.to_string() == "0.1"));
    assert!(found[2].is_dated && !found[1].is_dated);
    sim.stop().await;
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_whole() {
    let build = |n: u32| Instrument::new(SimCategory::Linear, &format!("S{n:04}USDT"), "100", "0.1", "1").unwrap();
    let sim = Sim::start(SimConfig::new(Market::seeded(1, (0..2_100).map(build).collect()))).await.unwrap();
    assert_eq!(client(&sim).instruments(Category::Linear).await.unwrap().result.len(), 2_100);
    assert_eq!(sim.counters().rest_requests, 3);
    sim.stop().await;
}

#[tokio::test]
async fn all_symbols_of_each_category_are_resolved() {
    let sim = Sim::start(SimConfig::new(listing())).await.unwrap();
    let rest = client(&sim);
    let mut names = Vec::new();
    for category in Category::ALL {
        let table = symbols::resolve(&rest, &all(category), &CancellationToken::new()).await.unwrap();
        names.push(table.iter().map(|(_, name)| name.to_string()).collect::<Vec<_>>().join(" "));
    }
    assert_eq!(names, ["BTCUSDT SOLUSDT", "ETHUSDT", "BTCUSD"]);
    sim.stop().await;
}

#[tokio::test]
async fn listed_symbols_need_no_rest_and_all_symbols_wait_for_it() {
    let sim = Sim::start(SimConfig::new(listing())).await.unwrap();
    sim.inject(Fault::Down);
    let rest = client(&sim);
    let listed = SymbolChoice::Listed(vec![Symbol::new("BTCUSDT").unwrap()]);
    let config = CategoryConfig { category: Category::Linear, symbols: listed };
    assert_eq!(symbols::resolve(&rest, &config, &CancellationToken::new()).await.unwrap().len(), 1);

    let waiting = tokio::spawn({
        let rest = rest.clone();
        async move { symbols::resolve(&rest, &all(Category::Linear), &CancellationToken::new()).await }
    });
    assert!(matches!(rest.time().await, Err(RestError::Dial(_) | RestError::Http(_))));
    sim.heal();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 2);
    sim.stop().await;
}

#[tokio::test]
async fn waiting_for_symbols_ends_when_cancelled() {
    let sim = Sim::start(SimConfig::new(listing())).await.unwrap();
    sim.inject(Fault::Down);
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn({
        let (rest, cancel) = (client(&sim), cancel.clone());
        async move { symbols::resolve(&rest, &all(Category::Linear), &cancel).await.is_none() }
    });
    cancel.cancel();
    assert!(waiting.await.unwrap());
    sim.stop().await;
}

/// Waits until `more` further requests have come.
async fn requests(sim: &Sim, more: u64) {
    let goal = sim.counters().rest_requests + more;
    eventually("requests", || sim.counters().rest_requests >= goal).await;
}

#[tokio::test]
async fn lists_that_break_off_end_no_instrument_and_a_delisting_does() {
    let names = ["AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT"];
    let build = |name| Instrument::new(SimCategory::Linear, name, "100", "0.10", "0.001").unwrap();
    let sim = Sim::start(SimConfig::new(Market::seeded(1, names.map(build).to_vec()))).await.unwrap();
    let (mut table, rest) = (SymbolTable::default(), client(&sim));
    let id = table.intern(&Symbol::new("EUSDT").unwrap());
    let (out, mut messages) = mpsc::channel(8);
    // The same ratio as in production, but thousands of times as fast.
    let pace = Pace { usual: Duration::from_millis(20), apart: Duration::from_millis(10), ..Pace::default() };
    let mut watch = Watch::new(Category::Linear, &table, pace);
    let watching = tokio::spawn(async move {
        loop {
            let reply = watch.next(&rest).await;
            for event in watch.take(reply.received, &reply.result) {
                out.send(event).await.unwrap();
            }
        }
    });
    requests(&sim, 2).await;
    // Half of five is two, and the last one is not among them.
    for fault in [RestFault::HalfList, RestFault::EmptyList, RestFault::Failing, RestFault::Unavailable] {
        sim.inject(Fault::Rest(fault).on(SimCategory::Linear));
        requests(&sim, 4).await;
        sim.heal();
        requests(&sim, 2).await;
        assert!(messages.try_recv().is_err(), "{fault:?} ends nothing");
    }
    sim.inject(Fault::Delist("EUSDT".to_owned()));
    let event = messages.recv().await.unwrap();
    assert!(matches!(event, FeedEvent::Ended { symbol, .. } if symbol == id), "{event:?}");
    sim.inject(Fault::List("EUSDT".to_owned()));
    // An end is reported again until it is revoked.
    loop {
        match messages.recv().await.unwrap() {
            FeedEvent::Listed { symbol } if symbol == id => break,
            FeedEvent::Ended { symbol, .. } if symbol == id => {}
            event => panic!("{event:?}"),
        }
    }
    watching.abort();
    sim.stop().await;
}

#[tokio::test]
async fn the_ip_limit_asks_for_ten_minutes() {
    let limits = Limits { requests_per_5_s: 1, ..Limits::default() };
    let sim = Sim::start(SimConfig { limits, ..SimConfig::new(listing()) }).await.unwrap();
    let rest = client(&sim);
    rest.time().await.unwrap();
    let error = rest.time().await.unwrap_err();
    assert_eq!(error.to_string(), "refused with 403: access too frequent");
    assert_eq!(error.wait().unwrap().as_secs(), 600);
    let again = rest.time().await.unwrap_err();
    assert!(matches!(again, RestError::Stopped { .. }), "{again}");
    assert_eq!(sim.counters().rest_requests, 2, "no request was sent");
    sim.stop().await;
}
