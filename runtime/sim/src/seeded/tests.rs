//! Tests of the seeded market.

use super::*;
use crate::trade::SimTrade;

const START: i64 = 1_786_310_818_000;

fn market(seed: u64) -> Seeded {
    let new = |category, symbol, price, tick, step| Instrument::new(category, symbol, price, tick, step).unwrap();
    Seeded::new(
        seed,
        vec![
            new(Category::Linear, "ETHUSDT", "1922.50", "0.01", "0.01").with_activity(Activity::LIVELY),
            new(Category::Spot, "ETHUSDT", "1923.3", "0.1", "0.00001").with_activity(Activity::LIVELY),
            new(Category::Inverse, "BTCUSD", "64250.0", "0.50", "1"),
            new(Category::Linear, "SLEEPYUSDT", "1.5", "0.1", "1").with_activity(Activity::QUIET),
            new(Category::Linear, "STILLUSDT", "1.5", "0.1", "1").with_activity(Activity::Still),
        ],
    )
}

fn tape(seed: u64, steps: impl IntoIterator<Item = i64>) -> Vec<(Category, String, i64, Vec<SimTrade>)> {
    let mut market = market(seed);
    market.begin(START);
    let mut events = Vec::new();
    for step in steps {
        market.next_events(START + step, &mut events);
    }
    events
        .into_iter()
        .map(|event| match event {
            MarketEvent::Trades { category, symbol, ts, fills } => {
                (category, symbol, ts, fills.iter().map(SimTrade::from).collect())
            }
            MarketEvent::Frame { .. } => unreachable!(),
        })
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_tape_for_any_steps() {
    let whole = tape(7, [600_000]);
    assert_eq!(whole, tape(7, (1..=600_000).step_by(37).chain([600_000])));
    assert_ne!(whole, tape(8, [600_000]));
    assert!(whole.len() > 5_000, "{}", whole.len());
}

#[test]
fn times_and_sequences_never_decrease_and_ids_are_unique() {
    let tape = tape(1, [3_600_000]);
    assert!(tape.is_sorted_by_key(|(.., trades)| trades[0].time));
    for (category, symbol) in
        [(Category::Linear, "ETHUSDT"), (Category::Spot, "ETHUSDT"), (Category::Inverse, "BTCUSD")]
    {
        let matches: Vec<_> = tape.iter().filter(|(c, s, ..)| *c == category && s == symbol).collect();
        let trades: Vec<&SimTrade> = matches.iter().flat_map(|(.., trades)| trades).collect();
        assert!(trades.is_sorted_by_key(|trade| (trade.time, trade.seq)));
        let ids: std::collections::BTreeSet<&str> = trades.iter().map(|trade| trade.id.as_str()).collect();
        assert_eq!(ids.len(), trades.len());
        assert!(matches.iter().any(|(.., trades)| trades.len() > 1), "no match of several fills");
        for (.., trades) in matches {
            assert!(trades.iter().all(|t| (t.time, t.seq) == (trades[0].time, trades[0].seq)));
        }
    }
}

#[test]
fn prices_and_sizes_carry_the_padding_of_tick_and_step() {
    for (category, symbol, _, trades) in tape(3, [600_000]) {
        let (places, step) = match (category, symbol.as_str()) {
            (Category::Spot, _) => (1, 5),
            (Category::Inverse, _) => (2, 0),
            (_, "ETHUSDT") => (2, 2),
            _ => (1, 0),
        };
        for trade in trades {
            let decimals = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            assert_eq!((decimals(&trade.price), decimals(&trade.size)), (places, step), "{trade:?}");
            if category == Category::Inverse {
                assert!(trade.price.ends_with(".00") || trade.price.ends_with(".50"), "{}", trade.price);
            }
        }
    }
}

#[test]
fn there_are_bursts_quiet_minutes_blocks_and_rpi_trades_and_a_still_symbol_never_trades() {
    let tape = tape(5, [7_200_000]);
    let of = |name: &'static str| tape.iter().filter(move |(c, s, ..)| *c == Category::Linear && s == name);
    let times: Vec<i64> = of("ETHUSDT").map(|(.., trades)| trades[0].time).collect();
    assert!(times.windows(5).any(|five| five[4] - five[0] < 40), "no burst");
    let sleepy: Vec<i64> = of("SLEEPYUSDT").map(|(.., trades)| trades[0].time).collect();
    assert!(sleepy.windows(2).any(|two| two[1] - two[0] > 60_000), "no quiet minute");
    assert!(of("ETHUSDT").any(|(.., trades)| trades.iter().any(|t| t.block)), "no block trade");
    assert!(of("ETHUSDT").any(|(.., trades)| trades.iter().any(|t| t.rpi)), "no rpi trade");
    assert_eq!(of("STILLUSDT").count(), 0);
}

#[test]
fn a_market_that_starts_again_does_not_reuse_ids() {
    let ids = |start: i64| {
        let mut market = market(7);
        market.begin(start);
        let mut events = Vec::new();
        market.next_events(start + 60_000, &mut events);
        let mut ids = std::collections::BTreeSet::new();
        for event in events {
            let MarketEvent::Trades { fills, .. } = event else { unreachable!() };
            ids.extend(fills.iter().map(|fill| fill.id.to_string()));
        }
        ids
    };
    assert!(ids(START).is_disjoint(&ids(START + 60_000)));
}

#[test]
fn a_burst_adds_matches_within_a_second_and_a_halt_ends_all() {
    let of = |category, symbol: &str| Instrument::new(category, symbol, "100", "0.1", "0.001").unwrap();
    let calm = |category, symbol: &str| of(category, symbol).with_activity(Activity::Matches { every_ms: 60_000 });
    let still = of(Category::Linear, "STILLUSDT").with_activity(Activity::Still);
    let instruments = vec![calm(Category::Linear, "AUSDT"), still, calm(Category::Spot, "AUSDT")];
    let mut market = Seeded::new(5, instruments);
    let start = market.begin(1_000_000);
    let matches = |market: &mut Seeded, until: i64| {
        let mut events = Vec::new();
        market.next_events(until, &mut events);
        let of = |wanted| {
            events.iter().filter(move |it| matches!(it, MarketEvent::Trades { category, .. } if *category == wanted))
        };
        (of(Category::Linear).count(), of(Category::Spot).count())
    };
    market.burst(500, start, |category| category == Category::Linear);
    let (linear, spot) = matches(&mut market, start + 499);
    assert!((250..260).contains(&linear) && spot < 10, "{linear} {spot}: half of them within half a second");
    let (linear, _) = matches(&mut market, start + 1_000);
    assert!((250..260).contains(&linear), "{linear}");
    market.halt(|category| category == Category::Linear);
    market.burst(0, start, |_| true);
    let (linear, spot) = matches(&mut market, start + 600_000);
    assert!(linear == 0 && spot > 0, "{linear} {spot}: spot goes on");
}
