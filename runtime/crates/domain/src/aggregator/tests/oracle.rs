//! A second implementation of the contract: a list of trades, and one mark per millisecond for what was seen. It shares
//! no code with the aggregator, and requires exactly the expected windows with their quality.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LATENESS: Millis = 20_000;
/// How long closed windows can be revised.
const KEPT: Millis = 50_000;
const GRACE: Millis = 80;
/// The maximum length of a history, in milliseconds.
const LENGTH: usize = 150_000;
/// The lengths of the windows; the first is too short to be filled.
const LENGTHS: [Millis; 4] = [500, 1_000, 5_000, 60_000];

/// A step of a history, after some time has passed. Times count backwards from then.
#[derive(Clone, Copy, Debug)]
enum Step {
    Trade {
        back: Millis,
        price: i64,
        size: i64,
    },
    /// Repeats one of the last trades.
    Repeat {
        which: usize,
    },
    Miss {
        back: Millis,
        length: Millis,
    },
    Gap {
        back: Millis,
    },
    Resume,
}

/// A kline by the contract: open, high, low, close, volume, trades, quality.
type Row = (i64, i64, i64, i64, i64, u64, Quality);

struct Oracle {
    open: Open,
    fill: Fill,
    now: Millis,
    /// Time, price and size of the trades, in order of time.
    trades: Vec<(Millis, i64, i64)>,
    /// The phases in which the feed was up: start and end.
    phases: Vec<(Millis, Option<Millis>)>,
    missed: Vec<bool>,
    /// The feed can be up only from this time on.
    not_before: Millis,
    /// For each millisecond, how many before it were not seen.
    unseen: Vec<u32>,
    emitted: BTreeMap<(Millis, Millis), Row>,
}

impl Oracle {
    fn new(now: Millis, open: Open, fill: Fill) -> Self {
        Self {
            open,
            fill,
            now,
            trades: Vec::new(),
            phases: Vec::new(),
            missed: vec![false; LENGTH],
            not_before: 0,
            unseen: Vec::new(),
            emitted: BTreeMap::new(),
        }
    }

    fn horizon(&self) -> Millis {
        self.now - KEPT
    }

    fn is_up(&self) -> bool {
        self.phases.last().is_some_and(|(_, to)| to.is_none())
    }

    fn miss(&mut self, from: Millis, to: Millis) {
        (from.max(0)..=to).for_each(|at| self.missed[usize::try_from(at).unwrap()] = true);
        if !self.is_up() {
            self.not_before = self.not_before.max(to + 1);
        }
    }

    fn resume(&mut self, at: Millis) {
        self.phases.push((at.max(self.not_before), None));
    }

    fn gap(&mut self, last_seen: Millis) {
        self.phases.last_mut().unwrap().1 = Some(last_seen);
    }

    /// Returns whether every trade from `from` to `to` was seen.
    fn saw(&self, from: Millis, to: Millis) -> bool {
        from >= 0 && self.unseen[usize::try_from(from).unwrap()] == self.unseen[usize::try_from(to + 1).unwrap()]
    }

    fn count_unseen(&mut self) {
        let mut unseen = 0;
        self.unseen.clear();
        self.unseen.push(0);
        for (at, missed) in self.missed.iter().enumerate() {
            let at = Millis::try_from(at).unwrap();
            let up = self.phases.iter().any(|(from, to)| *from <= at && to.is_none_or(|to| at <= to));
            unseen += u32::from(*missed || !up);
            self.unseen.push(unseen);
        }
    }

    /// Returns the kline of a window as known now, and whether it may be emitted for the first time.
    fn row(&self, length: Millis, start: Millis) -> Option<(Row, bool)> {
        let end = start + length - 1;
        let inside: Vec<_> = self.trades.iter().filter(|trade| (start..=end).contains(&trade.0)).collect();
        let before = self.trades.iter().rfind(|trade| trade.0 < start);
        let proven = before.filter(|trade| self.saw(trade.0, start - 1)).map(|trade| trade.1);
        let since = self.phases[0].0;
        let mut quality = match () {
            () if self.saw(start, end) => Quality::Complete,
            () if since > start && (since > end || self.saw(since, end)) => Quality::Partial,
            () => Quality::Gapped,
        };
        let opens_before = inside.is_empty() || self.open == Open::PreviousClose;
        if quality == Quality::Complete && opens_before && proven.is_none() {
            quality = Quality::Gapped;
        }
        let Some((first, last)) = inside.first().zip(inside.last()) else {
            let price = before?.1;
            let fills = self.fill == Fill::All || (self.fill == Fill::FromOneSecond && length >= 1_000);
            let known = fills && self.saw(start, end) && proven.is_some();
            return Some(((price, price, price, price, 0, 0, quality), known));
        };
        let open = proven.filter(|_| self.open == Open::PreviousClose).unwrap_or(first.1);
        let prices = || inside.iter().map(|trade| trade.1).chain([open]);
        let volume = inside.iter().map(|trade| trade.2).sum();
        let row = (open, prices().max()?, prices().min()?, last.1, volume, inside.len() as u64, quality);
        Some((row, since <= end))
    }

    /// Records the klines that are due after an event when time has advanced to `now`. Windows that ended before the
    /// horizon at which the event was judged do not change.
    fn tick(&mut self, now: Millis) {
        self.count_unseen();
        let (horizon, before) = (self.horizon(), self.now);
        self.now = now;
        for length in LENGTHS {
            let mut start = 0;
            while start + length - 1 + GRACE <= now {
                let closes = start + length - 1 + GRACE > before;
                if (closes || start + length > horizon)
                    && let Some((row, may_begin)) = self.row(length, start)
                    && (may_begin || self.emitted.contains_key(&(length, start)))
                {
                    self.emitted.insert((length, start), row);
                }
                start += length;
            }
        }
    }
}

/// Applies a history to both implementations.
fn play(first: Millis, steps: &[(Millis, Step)], open: Open, fill: Fill) -> (Oracle, Bench) {
    let mut bench = Bench::new(&["500ms", "1s", "5s", "1m"], |settings| {
        *settings = Settings { open, fill, lateness: LATENESS, grace: GRACE, ..settings.clone() };
    });
    let mut oracle = Oracle::new(first, open, fill);
    bench.watch(first).tick(first);
    oracle.resume(first);
    oracle.tick(first);
    let mut arrived: Vec<(Millis, Trade)> = Vec::new();
    let mut now = first;
    for (after, step) in steps {
        now += after;
        // An event is judged by the time of the last tick.
        match *step {
            Step::Trade { back, price, size } => {
                let time = (now - back).max(0);
                bench.ids += 1;
                let trade = sample(T0 + time, price, size, TradeId::Number(bench.ids));
                bench.aggregator.apply(&FeedEvent::Trade(trade.clone()));
                if time < oracle.now - LATENESS {
                    oracle.miss(time, time);
                } else {
                    let at = oracle.trades.partition_point(|other| other.0 <= time);
                    oracle.trades.insert(at, (time, price, size));
                    arrived.push((now, trade));
                }
            }
            Step::Repeat { which } => {
                let recent: Vec<_> = arrived.iter().filter(|(at, _)| *at >= now - LATENESS).collect();
                if !recent.is_empty() {
                    bench.aggregator.apply(&FeedEvent::Trade(recent[which % recent.len()].1.clone()));
                }
            }
            Step::Miss { back, length } => {
                let from = (now - back).max(0);
                let to = (from + length).min(now.max(from));
                bench.miss(from, to);
                oracle.miss(from, to);
            }
            Step::Gap { back } if oracle.is_up() => {
                let last_seen = (now - back).max(oracle.phases.last().unwrap().0);
                bench.gap(last_seen);
                oracle.gap(last_seen);
            }
            Step::Resume if !oracle.is_up() => {
                bench.watch(now);
                oracle.resume(now);
            }
            Step::Gap { .. } | Step::Resume => {}
        }
        bench.tick(now);
        oracle.tick(now);
    }
    // Everything closes, and what has changed is revised.
    for now in [now + 61_000, now + 62_000] {
        bench.tick(now);
        oracle.tick(now);
    }
    (oracle, bench)
}

/// Returns the last revision of each window.
fn rows(batches: &[Batch]) -> BTreeMap<(Millis, Millis), Row> {
    let whole = |decimal: crate::decimal::Decimal| i64::try_from(decimal.mantissa()).unwrap();
    let klines = batches.iter().flat_map(|batch| &batch.klines).filter(|kline| kline.confirm);
    let row = |kline: &Arc<Kline>| {
        let Kline { open, high, low, close, volume, trades, quality, .. } = **kline;
        let [open, high, low, close, volume] = [open, high, low, close, volume].map(whole);
        (
            (kline.series.interval.nominal_millis(), kline.start - T0.get()),
            (open, high, low, close, volume, trades, quality),
        )
    };
    klines.map(row).collect()
}

fn step() -> impl Strategy<Value = (Millis, Step)> {
    let back = prop_oneof![6 => 0_i64..100, 1 => -500_i64..0, 2 => 0_i64..LATENESS, 1 => LATENESS..LATENESS + 9_000];
    let step = prop_oneof![
        8 => (back.clone(), 1_i64..9, 1_i64..5).prop_map(|(back, price, size)| Step::Trade { back, price, size }),
        2 => any::<usize>().prop_map(|which| Step::Repeat { which }),
        2 => (back, prop_oneof![Just(0_i64), 0_i64..1_500]).prop_map(|(back, length)| Step::Miss { back, length }),
        1 => prop_oneof![3 => 0_i64..6_000, 1 => 0_i64..KEPT - 9_000].prop_map(|back| Step::Gap { back }),
        2 => Just(Step::Resume),
    ];
    (prop_oneof![3 => 0_i64..400, 2 => 0_i64..3_000, 1 => 0_i64..9_000], step)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_window_matches_the_contract(
        first in 0_i64..4_000,
        steps in prop::collection::vec(step(), 1..30),
        open in prop_oneof![Just(Open::PreviousClose), Just(Open::FirstTrade)],
        fill in prop_oneof![Just(Fill::FromOneSecond), Just(Fill::All), Just(Fill::Never)],
    ) {
        prop_assume!(first + steps.iter().map(|(after, _)| after).sum::<Millis>() + 63_000 < 140_000);
        let (oracle, bench) = play(first, &steps, open, fill);
        let emitted = rows(&bench.out);
        for (window, row) in &oracle.emitted {
            prop_assert_eq!(emitted.get(window), Some(row), "{:?}", window);
        }
        for (window, row) in &emitted {
            prop_assert!(oracle.emitted.contains_key(window), "{:?} is not known: {:?}", window, row);
        }
        let Tally { received, counted, duplicate, late, rejected, excluded, superseded, gaps: _ } = bench.aggregator.tally();
        prop_assert_eq!(received, counted + duplicate + late + rejected + excluded + superseded);
        prop_assert_eq!(counted, oracle.trades.len() as u64);
        properties::revisions_count_up(&bench.out)?;
    }
}
