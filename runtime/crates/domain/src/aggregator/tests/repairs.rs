//! Repairs: gaps are filled with recovered trades and with candles, and each kline is compared with one that is computed
//! from all trades that there were.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decimal::Decimal;
use crate::kline::Kline;
use crate::repair::{Candle, Grain};
use crate::time::{HOUR, MINUTE, SECOND};

/// When coverage begins at the earliest: two whole hours of the day, the week and the month are over.
const BEGIN: Millis = 2 * HOUR + 10 * MINUTE;
/// When the last gap has ended.
const HEALED: Millis = BEGIN + 6 * MINUTE;
/// When everything has been repaired: candles are asked for 3 s after their end.
const END: Millis = HEALED + 2 * MINUTE;
/// How long after its end a candle is asked for.
const SETTLED: Millis = 3 * SECOND;
/// Some fit into a minute, some do not consist of whole minutes, some are open all the time.
const INTERVALS: [&str; 8] = ["500ms", "1s", "90s", "2m", "4m", "1h", "1D", "1M"];

/// All trades of the market: time, price, size; the index is the cross sequence.
type Tape = Vec<(Millis, i64, i64)>;

/// A time for which the feed was down.
#[derive(Clone, Debug)]
struct Outage {
    from: Millis,
    to: Millis,
    /// Whether every third trade of it has been seen all the same.
    leaks: bool,
    /// How far back from its end the recent trades reach.
    reach: Millis,
    /// How long it takes until something is asked.
    delay: Millis,
}

fn outages() -> impl Strategy<Value = Vec<Outage>> {
    let outage = (SECOND..40 * SECOND, 1..70 * SECOND, any::<bool>(), 0..80 * SECOND, 0..90 * SECOND);
    proptest::collection::vec(outage, 0..5).prop_map(|drawn| {
        let mut at = BEGIN + MINUTE;
        let next = |(pause, length, leaks, reach, delay): (Millis, Millis, bool, Millis, Millis)| {
            let (from, to) = (at + 1 + pause, at + pause + length);
            at = to + 1;
            Outage { from, to, leaks, reach, delay }
        };
        let all: Vec<Outage> = drawn.into_iter().map(next).collect();
        all.into_iter().filter(|outage| outage.to < HEALED).collect()
    })
}

fn tape() -> impl Strategy<Value = Tape> {
    let old = proptest::collection::vec((0..BEGIN, 90..110_i64, 1..9_i64), 0..40);
    let new = proptest::collection::vec((BEGIN - MINUTE..END, 90..110_i64, 1..9_i64), 0..400);
    (old, new).prop_map(|(old, new)| {
        let mut all: Tape = old.into_iter().chain(new).collect();
        all.sort_by_key(|trade| trade.0);
        all
    })
}

fn trade_of(tape: &Tape, index: usize) -> Trade {
    let (time, price, size) = tape[index];
    let trade = sample(T0 + time, price, size, TradeId::Number(index as u64 + 1));
    Trade { sequence: index as u64 + 1, ..trade }
}

/// Open, high, low, close, volume, turnover and trades of a window; `None` if nothing has traded by its end.
fn row(tape: &Tape, start: Millis, end: Millis) -> Option<([i64; 6], u64)> {
    let before = tape.iter().rev().find(|trade| trade.0 < start);
    let inside: Vec<_> = tape.iter().filter(|trade| (start..=end).contains(&trade.0)).collect();
    let open = before.or(inside.first().copied())?.1;
    let prices = || inside.iter().map(|trade| trade.1).chain([open]);
    let volume = inside.iter().map(|trade| trade.2).sum();
    let turnover = inside.iter().map(|trade| trade.1 * trade.2).sum();
    let close = inside.last().map_or(open, |trade| trade.1);
    Some(([open, prices().max()?, prices().min()?, close, volume, turnover], inside.len() as u64))
}

fn candle(tape: &Tape, start: Millis, length: Millis) -> Option<Candle> {
    let [open, high, low, close, volume, turnover] = row(tape, start, start + length - 1)?.0;
    let price = |mantissa| Quantity { mantissa, scale: 0 };
    let sum = |sum: i64| Decimal::new(sum.into(), 0);
    let (open, high, low, close) = (price(open), price(high), price(low), price(close));
    Some(Candle { start: T0 + start, open, high, low, close, volume: sum(volume), turnover: sum(turnover) })
}

/// Asks for what is missing, as far as it is to be had at `now`.
fn repair(bench: &mut Bench, tape: &Tape, outages: &[Outage], now: Millis) {
    let gaps = bench.aggregator.gaps(SymbolId(0)).into_iter();
    let gaps: Vec<(Millis, Millis)> = gaps.map(|(from, to)| (from - T0, to - T0)).collect();
    for (from, to) in gaps {
        if let Some(outage) = outages.iter().find(|outage| outage.to >= to && outage.from <= to) {
            if now < outage.to + outage.delay {
                continue;
            }
            let from = from.max(outage.to - outage.reach);
            // Ids are kept for the lateness; later only candles help here.
            if from <= to && now - outage.from < MINUTE {
                let inside = (0..tape.len()).filter(|index| (from..=to).contains(&tape[*index].0));
                let trades: Vec<Trade> = inside.map(|index| trade_of(tape, index)).collect();
                bench.aggregator.recover(SymbolId(0), T0 + from, T0 + to, &trades);
            }
        }
        let this_hour = now - now % HOUR;
        // The candle before tells that the first one opens with a previous close.
        let minutes =
            (from - from % MINUTE - MINUTE..=to).step_by(60_000).filter(|start| start + MINUTE + SETTLED <= now);
        let minutes: Vec<Candle> = minutes
            .filter(|start| *start >= this_hour - MINUTE)
            .filter_map(|start| candle(tape, start, MINUTE))
            .collect();
        let hours = (from - from % HOUR - HOUR..this_hour).step_by(3_600_000);
        let hours: Vec<Candle> = hours.filter_map(|start| candle(tape, start, HOUR)).collect();
        let refused = [(Grain::Hour, &hours, T0 + (from - from % HOUR)), (Grain::Minute, &minutes, T0 + this_hour)]
            .map(|(grain, candles, first)| bench.aggregator.repair(SymbolId(0), grain, first, candles));
        assert_eq!(refused.concat(), []);
    }
}

/// The newest kline of each window, by the length of the interval and its start.
type Newest = BTreeMap<(Millis, Millis), Arc<Kline>>;

/// The intervals from the start of a run on, and each time at which they change.
type Changes = Vec<(Millis, Vec<&'static str>)>;

fn changes() -> impl Strategy<Value = Changes> {
    let some = || proptest::sample::subsequence(INTERVALS.to_vec(), 1..=INTERVALS.len());
    (some(), proptest::collection::vec((BEGIN..END, some()), 1..4)).prop_map(|(first, mut later)| {
        later.sort();
        std::iter::once((0, first)).chain(later).collect()
    })
}

/// Runs the market with its outages and changes of the intervals. Returns the newest klines.
fn run(tape: &Tape, outages: &[Outage], since: Millis, changes: &Changes) -> (Newest, Tally) {
    let mut changes = changes.iter().peekable();
    let (_, first) = changes.next().unwrap();
    let mut bench = Bench::new(first, |settings| settings.is_repaired = true);
    let mut next = tape.partition_point(|trade| trade.0 < since);
    let (mut up, mut asked) = (false, since);
    for now in (since..=END).step_by(250) {
        let down = outages.iter().find(|outage| (outage.from..=outage.to).contains(&now));
        while tape.get(next).is_some_and(|trade| trade.0 <= now) {
            let at = tape[next].0;
            let lost = outages.iter().find(|outage| (outage.from..=outage.to).contains(&at));
            if lost.is_none_or(|outage| outage.leaks && next % 3 == 0) {
                bench.aggregator.apply(&FeedEvent::Trade(trade_of(tape, next)));
            }
            next += 1;
        }
        match (up, down) {
            (true, Some(outage)) => _ = bench.gap(outage.from - 1),
            (false, None) => {
                let ended = outages.iter().rev().find(|outage| outage.to < now);
                bench.watch(ended.map_or(since, |outage| outage.to + 1));
            }
            _ => {
                // An outage between two steps.
                let short = outages.iter().filter(|outage| outage.from > now - 250 && outage.to < now);
                short.for_each(|outage| _ = bench.hole(outage.from - 1, Some(outage.to + 1)));
            }
        }
        up = down.is_none();
        if now >= asked {
            asked = now + SECOND;
            repair(&mut bench, tape, outages, now);
        }
        bench.tick(now);
        while let Some((_, intervals)) = changes.next_if(|(at, _)| *at <= now) {
            bench.intervals(intervals);
        }
    }
    finish(&mut bench.aggregator, &mut bench.out);
    let mut newest = BTreeMap::new();
    for kline in bench.out.iter().flat_map(|batch| &batch.klines) {
        newest.insert((kline.series.interval.nominal_millis(), kline.start - T0.get()), kline.clone());
    }
    (newest, bench.aggregator.tally())
}

fn decimal(value: i64) -> Decimal {
    Decimal::new(value.into(), 0)
}

/// Checks that a kline says nothing wrong. What happened after `last_step` is not known.
fn is_true(kline: &Kline, tape: &Tape, last_step: Millis) -> Result<(), TestCaseError> {
    let (start, end) = (kline.start - T0.get(), kline.end - T0.get());
    let ([open, high, low, close, volume, turnover], trades) =
        row(tape, start, end.min(last_step)).ok_or_else(|| TestCaseError::fail(format!("no price: {kline:?}")))?;
    let prices = [kline.open, kline.high, kline.low, kline.close];
    match kline.quality {
        Quality::Complete | Quality::Repaired => {
            prop_assert_eq!(prices, [open, high, low, close].map(decimal), "{:?}", kline);
            prop_assert_eq!((kline.volume, kline.turnover), (decimal(volume), decimal(turnover)), "{:?}", kline);
            let is_exact = kline.trades == trades || kline.quality == Quality::Repaired;
            prop_assert!(is_exact && kline.trades <= trades, "{:?}", kline);
        }
        Quality::Partial | Quality::Gapped => {
            prop_assert!(kline.volume <= decimal(volume) && kline.trades <= trades, "{:?}", kline);
        }
    }
    Ok(())
}

/// A symbol that trades once a minute: its recent trades may be missing, and its candle shows that nothing else has happened.
#[test]
fn a_candle_whose_trades_were_all_counted_makes_shorter_windows_certain() {
    let (since, traded) = (BEGIN + 10 * SECOND, BEGIN + 30 * SECOND);
    let tape: Tape = vec![(BEGIN - HOUR, 100, 5), (traded, 103, 2), (traded + 400, 104, 1)];
    let known = |counted: usize| {
        let mut bench = Bench::new(&["1s"], |settings| settings.is_repaired = true);
        bench.watch(since);
        for index in 0..counted {
            bench.aggregator.apply(&FeedEvent::Trade(trade_of(&tape, 1 + index)));
        }
        bench.tick(BEGIN + MINUTE + SETTLED);
        bench.emitted();
        let candles: Vec<Candle> =
            [BEGIN - MINUTE, BEGIN].iter().filter_map(|start| candle(&tape, *start, MINUTE)).collect();
        bench.aggregator.repair(SymbolId(0), Grain::Minute, T0 + BEGIN, &candles);
        bench.tick(BEGIN + MINUTE + SETTLED);
        bench.emitted()
    };
    // 20 flat windows before the trade become known, and that the trade has a previous close.
    let all_counted = known(2);
    assert_eq!(all_counted.len(), 21);
    assert_eq!(all_counted.last().unwrap(), &format!("1s@{traded} 100/104/100/104 3 complete r1 #53"));
    assert_eq!(known(1), Vec::<String>::new(), "the other trade of the candle can be anywhere in its minute");
}

#[test]
fn a_minute_that_is_repaired_late_leaves_later_ones_as_they_are_that_are_no_longer_kept() {
    let tape: Tape = (0..20 * MINUTE / SECOND).map(|second| (second * SECOND + 500, 90 + second % 17, 1)).collect();
    let mut bench = Bench::new(&["1m"], |settings| settings.is_repaired = true);
    bench.watch(-MINUTE);
    let (lost, found) = (MINUTE + 30 * SECOND, 2 * MINUTE + 30 * SECOND);
    let mut known = BTreeMap::new();
    for index in 0..tape.len() {
        let at = tape[index].0;
        if at == lost + 500 {
            bench.gap(lost);
        }
        if at == found + 500 {
            bench.watch(found);
        }
        if !(lost..found).contains(&at) {
            bench.aggregator.apply(&FeedEvent::Trade(trade_of(&tape, index)));
        }
        // The newer one of the two minutes is repaired at once, the older one only when later minutes are no longer kept.
        for (start, when) in [(2 * MINUTE, 4 * MINUTE), (MINUTE, 18 * MINUTE)] {
            if at == when + 500 {
                let candles = [start - MINUTE, start].map(|start| candle(&tape, start, MINUTE).unwrap());
                let refused = bench.aggregator.repair(SymbolId(0), Grain::Minute, T0 + start, &candles);
                assert_eq!(refused, []);
            }
        }
        bench.tick(at + 400);
        let batches = std::mem::take(&mut bench.out);
        known.extend(
            batches.iter().flat_map(|batch| &batch.klines).map(|kline| (kline.start - T0.get(), kline.clone())),
        );
    }
    for minute in 0..19 {
        let kline = &known[&(minute * MINUTE)];
        let quality = if (1..=2).contains(&minute) { Quality::Repaired } else { Quality::Complete };
        assert_eq!(kline.quality, if minute == 0 { Quality::Gapped } else { quality }, "minute {minute}");
        is_true(kline, &tape, 20 * MINUTE).unwrap();
    }
}

#[test]
fn windows_of_a_second_wait_for_a_repair_for_fifteen_minutes() {
    for (ends, repaired) in [(14 * MINUTE, vec!["1s", "1s", "1m"]), (16 * MINUTE, vec!["1m"])] {
        let mut bench = Bench::new(&["1s", "1m"], |settings| settings.is_repaired = true);
        // The second of the trade, and the next one, which opens with it.
        bench.watch(-MINUTE).trade(500, 5).gap(1_200).watch(1_800);
        (0..ends / SECOND).for_each(|second| {
            bench.trade(2_000 + second * SECOND, 5).tick(2_900 + second * SECOND);
        });
        bench.emitted();
        let missed = Trade { sequence: 1, ..sample(T0 + 1_500, 9, 1, TradeId::Number(1 << 40)) };
        bench.aggregator.recover(SymbolId(0), T0 + 1_201, T0 + 1_799, &[missed]);
        bench.tick(2_900 + ends);
        let revised: Vec<String> = bench.emitted().into_iter().filter(|line| line.contains("/9/")).collect();
        let intervals: Vec<&str> = revised.iter().map(|line| line.split('@').next().unwrap()).collect();
        assert_eq!(intervals, repaired, "after {ends} ms: {revised:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_window_of_an_interval_that_is_added_says_anything_wrong(
        tape in tape(),
        outages in outages(),
        late in 0..MINUTE,
        changes in changes(),
    ) {
        let since = BEGIN + late;
        let (newest, _) = run(&tape, &outages, since, &changes);
        let last_step = END - (END - since) % 250;
        // A kline that was open when its interval was removed is older.
        let closed = newest.values().filter(|kline| kline.confirm);
        closed.into_iter().try_for_each(|kline| is_true(kline, &tape, last_step))?;
    }

    #[test]
    fn every_window_of_whole_minutes_becomes_right(tape in tape(), outages in outages(), late in 0..MINUTE) {
        let since = BEGIN + late;
        let (newest, tally) = run(&tape, &outages, since, &vec![(0, INTERVALS.to_vec())]);
        let last_step = END - (END - since) % 250;
        newest.values().try_for_each(|kline| is_true(kline, &tape, last_step))?;
        for interval in INTERVALS.map(|text| text.parse::<Interval>().unwrap()) {
            let length = interval.nominal_millis();
            if length % MINUTE != 0 {
                continue;
            }
            let mut start = interval.start_of((T0 + since).get()) - T0.get();
            while interval.next(start + T0.get()) - T0.get() <= END - MINUTE - SETTLED {
                let next = interval.next(start + T0.get()) - T0.get();
                // Before its first trade an instrument has no candles, and no previous close.
                let is_old = tape.first().is_some_and(|trade| trade.0 < start);
                if is_old && row(&tape, start, start + MINUTE - 1).is_some() {
                    let kline = newest.get(&(length, start));
                    let quality = kline.map(|kline| kline.quality);
                    let is_right = matches!(quality, Some(Quality::Complete | Quality::Repaired));
                    prop_assert!(is_right, "{} {}: {:?}", interval, start, kline);
                }
                start = next;
            }
        }
        let down: Millis = outages.iter().map(|outage| outage.to - outage.from + 1).sum();
        prop_assert_eq!(tally.gaps.gap, down);
        // Without a price there is no candle.
        let repaired = if tape.first().is_some_and(|trade| trade.0 < BEGIN) { down } else { tally.gaps.repaired };
        prop_assert_eq!((tally.gaps.repaired, tally.gaps.unknown), (repaired, 0));
        let Tally { received, counted, duplicate, late, rejected, excluded, superseded, .. } = tally;
        prop_assert_eq!(received, counted + duplicate + late + rejected + excluded + superseded);
    }
}
