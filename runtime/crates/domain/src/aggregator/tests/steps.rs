//! Catching up: after a long pause a tick emits only a part of what is due, so that memory stays bounded.

use super::*;
use crate::time::MINUTE;

/// Returns an aggregator with `count` symbols that have a trade each, covered from `T0` on, at one second.
fn symbols(count: u32) -> Aggregator {
    symbols_at(count, &["1s"])
}

fn symbols_at(count: u32, intervals: &[&str]) -> Aggregator {
    let intervals = intervals.iter().map(|text| text.parse().unwrap()).collect();
    let settings = Settings::new(Category::Linear, intervals);
    let mut aggregator = Aggregator::new(Settings { update_interval: None, ..settings });
    let symbols: Vec<_> =
        (0..count).map(|number| aggregator.add_symbol(&Symbol::new(&format!("S{number}")).unwrap())).collect();
    aggregator.apply(&FeedEvent::Covered { symbols: symbols.clone(), from: T0 });
    for symbol in symbols {
        let trade = Trade { symbol, ..sample(T0 + 500, 5, 1, TradeId::Number(1)) };
        aggregator.apply(&FeedEvent::Trade(trade));
    }
    aggregator
}

/// Returns the klines without the time at which they were emitted.
fn klines(batches: &[Batch]) -> Vec<Kline> {
    batches.iter().flat_map(|batch| &batch.klines).map(|kline| Kline { emitted: 0, ..(**kline).clone() }).collect()
}

#[test]
fn ten_minutes_are_caught_up_in_steps_without_loss() {
    const SYMBOLS: u32 = 300;
    let mut steady = symbols(SYMBOLS);
    let mut expected = Vec::new();
    for second in 1..=600 {
        steady.tick(T0 + second * 1_000 + 79, &mut expected);
        assert!(!steady.is_behind());
    }
    let (mut paused, mut caught) = (symbols(SYMBOLS), Vec::new());
    let now = T0 + 10 * MINUTE + 79;
    let mut steps = 0;
    loop {
        let mut out = Vec::new();
        paused.tick(now, &mut out);
        steps += 1;
        // A boundary is never split: the last one may exceed the step.
        assert!(klines(&out).len() < STEP_KLINES + SYMBOLS as usize, "{}", klines(&out).len());
        caught.extend(out);
        if !paused.is_behind() {
            break;
        }
        assert_eq!(paused.due_at(), now, "more is due at once");
        assert_eq!(paused.closed_before().get(), caught.last().unwrap().klines[0].end + 1_000);
    }
    assert!(paused.due_at() > now);
    assert!(steps > 600 * 300 / STEP_KLINES, "{steps}");
    assert_eq!(klines(&caught).len(), 600 * 300);
    assert!(klines(&caught) == klines(&expected));
}

#[test]
fn boundaries_without_klines_count_as_well() {
    let mut bench = Bench::new(&["100ms", "1D"], |_| ());
    bench.watch(0).trade(50, 5);
    // The window of the day prevents the boundaries from being skipped.
    bench.aggregator.tick(T0 + MINUTE, &mut bench.out);
    assert!(!bench.aggregator.is_behind(), "600 boundaries are a step");
    bench.aggregator.tick(T0 + 5 * MINUTE, &mut bench.out);
    assert!(bench.aggregator.is_behind(), "2,400 are not");
    assert_eq!(bench.emitted().len(), 1);
    bench.trade(299_950, 6).tick(5 * MINUTE + 79);
    assert_eq!(
        bench.emitted(),
        ["100ms@299900 5/6/5/6 1 complete r0 #2"],
        "a trade that arrives meanwhile is in its window"
    );
}

#[test]
fn a_round_of_revisions_takes_steps_too() {
    const SYMBOLS: u32 = 300;
    let (mut aggregator, mut out) = (symbols(SYMBOLS), Vec::new());
    // The 59 closed seconds of each symbol are kept.
    let now = T0 + 59_079;
    tick_through(&mut aggregator, now, &mut out);
    assert_eq!(klines(&out).len(), 59 * 300);
    let all: Vec<_> = (0..SYMBOLS).map(SymbolId).collect();
    aggregator.apply(&FeedEvent::Hole { symbols: all, last_seen: T0 + 100, until: None });
    let mut first = Vec::new();
    aggregator.tick(now, &mut first);
    assert!(aggregator.is_behind() && klines(&first).len() < STEP_KLINES + 59);
    // A symbol that the round has processed changes while others still wait.
    aggregator.apply(&FeedEvent::Trade(sample(T0 + 58_500, 7, 1, TradeId::Number(2))));
    let mut rest = Vec::new();
    tick_through(&mut aggregator, now, &mut rest);
    assert_eq!(klines(&first).len() + klines(&rest).len(), 59 * 300);
    assert!(klines(&rest).iter().all(|kline| kline.revision == 1 && kline.quality == Quality::Gapped));
    rest.clear();
    tick_through(&mut aggregator, now + MIN_REVISION_PAUSE, &mut rest);
    assert_eq!(
        rest.iter().flat_map(|batch| &batch.klines).map(line).collect::<Vec<_>>(),
        ["1s@58000 7/7/7/7 1 gapped r2 #119"]
    );
}

/// Adds one trade to each symbol.
fn trade_each(aggregator: &mut Aggregator, count: u32, at: Millis, id: u64) {
    for symbol in (0..count).map(SymbolId) {
        aggregator.apply(&FeedEvent::Trade(Trade { symbol, ..sample(T0 + at, 6, 1, TradeId::Number(id)) }));
    }
}

#[test]
fn the_end_of_a_run_emits_all_that_is_due_in_steps() {
    const SYMBOLS: u32 = 3_000;
    let (mut aggregator, mut before) = (symbols_at(SYMBOLS, &["1s", "1m", "5m", "15m", "1h"]), Vec::new());
    tick_through(&mut aggregator, T0 + 1_079, &mut before);
    // A revision of each first second is due, then eight more seconds, then the open windows of five intervals.
    trade_each(&mut aggregator, SYMBOLS, 600, 2);
    trade_each(&mut aggregator, SYMBOLS, 9_500, 3);
    aggregator.advance(T0 + 9_600, T0 + 9_600, &mut before);
    assert!(aggregator.is_behind());
    let (mut ended, mut is_more) = (Vec::new(), true);
    while is_more {
        let mut out = Vec::new();
        is_more = aggregator.finish(&mut out);
        // A boundary is never split, and the completed round of revisions leaves a whole step for boundaries.
        let most = STEP_KLINES + 2 * SYMBOLS as usize;
        assert!(klines(&out).len() < most, "{} in a step", klines(&out).len());
        ended.extend(klines(&out));
    }
    let all: Vec<_> = klines(&before).into_iter().chain(ended).collect();
    let count = |is_wanted: fn(&Kline) -> bool| all.iter().filter(|kline| is_wanted(kline)).count();
    assert_eq!(count(|kline| kline.confirm && kline.revision == 0), 9 * SYMBOLS as usize);
    assert_eq!(count(|kline| kline.revision == 1), SYMBOLS as usize);
    assert_eq!(count(|kline| !kline.confirm), 5 * SYMBOLS as usize);
    assert!(!aggregator.finish(&mut before), "nothing else is due");
}

#[test]
fn the_end_of_a_run_needs_no_round_of_revisions_and_no_tick() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(1_079);
    bench.trade(600, 5).tick(1_079);
    assert_eq!(bench.emitted().len(), 2, "the next round is due at 1,329");
    bench.trade(700, 5).trade(1_080, 6);
    finish(&mut bench.aggregator, &mut bench.out);
    assert_eq!(bench.emitted(), ["1s@0 5/5/5/5 3 gapped r2 #3", "1s@1000 5/6/5/6 1 complete open #4"]);
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(500, 5).tick(900).trade(950, 7);
    finish(&mut bench.aggregator, &mut bench.out);
    assert_eq!(bench.emitted(), ["1s@0 5/7/5/7 2 gapped open #1"]);
}
