//! Properties that hold for every list of trades, however it is split, shuffled or repeated.

use proptest::prelude::*;

use super::model::{self, Expected};
use super::*;

const UNTIL: ExchangeMillis = T0.saturating_add(70_000);

const INTERVALS: [&str; 6] = ["100ms", "1s", "3s", "5s", "15s", "1m"];

fn settings(open: Open, fill: Fill) -> Settings {
    let intervals = INTERVALS.iter().map(|text| text.parse().unwrap()).collect();
    Settings { open, fill, update_interval: None, ..Settings::new(Category::Linear, intervals) }
}

/// Trades within 50 s, so that all of them are within the lateness of each other. Bursts share a millisecond.
fn trades() -> impl Strategy<Value = Vec<Trade>> {
    let one = (0..50_000i64, 1..400_000i64, 0..5u8, 1..9_000_000i64, 0..5u8, any::<bool>());
    prop::collection::vec(one, 1..120).prop_map(|rows| {
        let mut trades: Vec<Trade> = rows
            .into_iter()
            .enumerate()
            .map(|(index, (at, price, price_scale, size, size_scale, buy))| Trade {
                sequence: index as u64 + 1, // no ties: their order is the order of arrival
                price: Quantity { mantissa: price, scale: price_scale },
                size: Quantity { mantissa: size, scale: size_scale },
                side: if buy { Side::Buy } else { Side::Sell },
                ..sample(T0 + at - at % 7, 0, 0, TradeId::Number(index as u64 + 1))
            })
            .collect();
        trades.sort_by_key(|trade| (trade.time, trade.sequence));
        trades
    })
}

/// Runs messages through an aggregator, with a tick at the maximum time after each, and returns the emitted batches.
fn run(messages: &[Vec<Trade>], settings: &Settings, since: ExchangeMillis) -> (Vec<Batch>, Tally) {
    run_changing(messages, settings, since, &[])
}

/// Does the same with other intervals, each before the message of this number. Returns what is emitted after the last
/// change.
fn run_changing(
    messages: &[Vec<Trade>],
    settings: &Settings,
    since: ExchangeMillis,
    changes: &[(usize, Vec<&str>)],
) -> (Vec<Batch>, Tally) {
    let mut aggregator = Aggregator::new(settings.clone());
    aggregator.add_symbol(&Symbol::new("BTCUSDT").unwrap());
    aggregator.apply(&FeedEvent::Covered { symbols: vec![SymbolId(0)], from: since });
    let mut out = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        for (_, intervals) in changes.iter().filter(|(at, _)| *at == number) {
            let intervals: Vec<Interval> = intervals.iter().map(|text| text.parse().unwrap()).collect();
            aggregator.set_intervals(&intervals, &mut out);
            out.clear();
        }
        for trade in message {
            aggregator.apply(&FeedEvent::Trade(trade.clone()));
        }
        tick_through(&mut aggregator, message.iter().map(|trade| trade.time).max().unwrap_or(since), &mut out);
    }
    tick_through(&mut aggregator, UNTIL, &mut out);
    (out, aggregator.tally())
}

fn cut(trades: &[Trade], sizes: &[usize]) -> Vec<Vec<Trade>> {
    let (mut rest, mut messages) = (trades, Vec::new());
    for size in sizes.iter().cycle() {
        let (message, left) = rest.split_at((*size).min(rest.len()));
        messages.push(message.to_vec());
        rest = left;
        if rest.is_empty() {
            break;
        }
    }
    messages
}

fn choices() -> impl Strategy<Value = Settings> {
    let open = prop_oneof![Just(Open::PreviousClose), Just(Open::FirstTrade)];
    let fill = prop_oneof![Just(Fill::Never), Just(Fill::FromOneSecond), Just(Fill::All)];
    (open, fill).prop_map(|(open, fill)| settings(open, fill))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_into_messages_gives_the_klines_of_the_simple_model(
        trades in trades(),
        sizes in prop::collection::vec(1usize..9, 1..6),
        settings in choices(),
        late_start in 0..20_000i64,
    ) {
        let since = T0 + late_start;
        let watched: Vec<Trade> = trades.into_iter().filter(|trade| trade.time >= since).collect();
        prop_assume!(!watched.is_empty());
        let (emitted, tally) = run(&cut(&watched, &sizes), &settings, since);
        prop_assert_eq!(model::emitted(&emitted), model::klines(&watched, &settings, since, UNTIL));
        prop_assert_eq!(tally.counted, watched.len() as u64);
    }

    #[test]
    fn messages_shuffled_within_the_lateness_give_the_same_final_klines(
        trades in trades(),
        size in 1usize..9,
        settings in choices(),
        seed: u64,
    ) {
        let mut messages = cut(&trades, &[size]);
        let (emitted, _) = run(&messages, &settings, T0);
        shuffle(&mut messages, seed);
        let (shuffled, tally) = run(&messages, &settings, T0);
        prop_assert_eq!(model::emitted(&shuffled), model::emitted(&emitted));
        prop_assert_eq!(tally.counted, trades.len() as u64);
        revisions_count_up(&shuffled)?;
    }

    #[test]
    fn a_kline_of_an_interval_that_was_added_is_complete_only_if_it_is_right(
        trades in trades(),
        size in 1usize..9,
        settings in choices(),
        seed in prop::option::of(any::<u64>()),
        changes in prop::collection::vec((0..40usize, prop::sample::subsequence(INTERVALS.to_vec(), 1..=6)), 1..4),
    ) {
        let mut messages = cut(&trades, &[size]);
        seed.into_iter().for_each(|seed| shuffle(&mut messages, seed));
        let right = model::klines(&trades, &settings, T0, UNTIL);
        let (emitted, tally) = run_changing(&messages, &settings, T0, &changes);
        prop_assert_eq!(tally.counted, trades.len() as u64);
        let mut newest = std::collections::BTreeMap::new();
        for kline in emitted.iter().flat_map(|batch| &batch.klines).filter(|kline| kline.confirm) {
            newest.insert((kline.series.interval, kline.start), kline.clone());
        }
        for (key, kline) in newest.into_iter().filter(|(_, kline)| kline.quality == Quality::Complete) {
            let found = model::emitted(&[Batch { klines: vec![kline.clone()] }]);
            prop_assert_eq!(found.get(&key), right.get(&key), "{:?}", kline);
        }
    }

    #[test]
    fn repeats_change_nothing(trades in trades(), again in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let settings = settings(Open::PreviousClose, Fill::FromOneSecond);
        let (emitted, _) = run(&cut(&trades, &[3]), &settings, T0);
        let mut repeated = cut(&trades, &[3]);
        for index in &again {
            let message = index.get(&repeated).clone();
            repeated.push(message);
        }
        let extra: usize = repeated.iter().map(Vec::len).sum::<usize>() - trades.len();
        let (again, tally) = run(&repeated, &settings, T0);
        prop_assert_eq!(model::emitted(&again), model::emitted(&emitted));
        prop_assert_eq!((tally.counted, tally.duplicate), (trades.len() as u64, extra as u64));
    }

    #[test]
    fn longer_intervals_are_the_merge_of_their_parts(trades in trades(), fill in prop_oneof![Just(Fill::Never), Just(Fill::All)]) {
        let settings = settings(Open::PreviousClose, fill);
        let klines = model::emitted(&run(&cut(&trades, &[4]), &settings, T0).0);
        for (short, long) in [("100ms", "1s"), ("1s", "3s"), ("1s", "5s"), ("5s", "15s"), ("15s", "1m")] {
            let (short, long): (Interval, Interval) = (short.parse().unwrap(), long.parse().unwrap());
            for ((_, start), whole) in klines.iter().filter(|((interval, _), _)| *interval == long) {
                let parts: Vec<&Expected> =
                    klines.range((short, *start)..(short, long.next(*start))).map(|(_, part)| part).collect();
                let decimal = |text: &String| crate::decimal::Decimal::parse(text).unwrap();
                prop_assert_eq!(&whole.prices[0], &parts[0].prices[0]);
                prop_assert_eq!(decimal(&whole.prices[1]), parts.iter().map(|part| decimal(&part.prices[1])).max().unwrap());
                prop_assert_eq!(decimal(&whole.prices[2]), parts.iter().map(|part| decimal(&part.prices[2])).min().unwrap());
                prop_assert_eq!(&whole.prices[3], &parts.last().unwrap().prices[3]);
                prop_assert_eq!(&whole.volume, &parts.iter().map(|part| part.volume.clone()).sum());
                prop_assert_eq!(&whole.turnover, &parts.iter().map(|part| part.turnover.clone()).sum());
                prop_assert_eq!(&whole.buy_volume, &parts.iter().map(|part| part.buy_volume.clone()).sum());
                prop_assert_eq!(whole.trades, parts.iter().map(|part| part.trades).sum::<u64>());
            }
        }
    }
}

/// Checks that the sequence of each series has no gap and that the revisions of each window count up from 0.
pub(super) fn revisions_count_up(batches: &[Batch]) -> Result<(), TestCaseError> {
    let mut sequences = std::collections::BTreeMap::new();
    let mut revisions = std::collections::BTreeMap::new();
    for kline in batches.iter().flat_map(|batch| &batch.klines).filter(|kline| kline.confirm) {
        let sequence = sequences.entry(kline.series.interval).or_insert(0);
        *sequence += 1;
        prop_assert_eq!(kline.sequence, *sequence);
        let next = revisions.entry((kline.series.interval, kline.start)).or_insert(0);
        prop_assert_eq!(kline.revision, *next);
        *next += 1;
    }
    Ok(())
}

fn shuffle(messages: &mut [Vec<Trade>], seed: u64) {
    let mut state = seed | 1;
    for at in (1..messages.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        messages.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
    }
}
