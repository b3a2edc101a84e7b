//! Computes window by window what a run has to report, from the exchange's tape and from the frames that it really
//! sent. Shares no code with the program under test.
//!
//! The edges of the watched time are uncertain by [`SLACK`]: a window there may have either quality. Everywhere else
//! exactly one answer is right.

mod demand;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use bybit_sim::{Category, Sim, SimTrade};

use self::demand::{Demand, Presence, Question};
use self::watch::Watch;
use super::received::{Received, SeriesKey, last_revisions};
use super::truth::{self, Values};

/// How long a busy machine may delay a frame or a process, in ms. A trade that is closer than this to the beginning or
/// the end of a connection may be known or not.
pub const SLACK: i64 = 2_000;
/// Shorter windows without trades are not reported.
const SHORTEST_FILLED: i64 = 1_000;

/// The trades of the exchange, and which of them were sent to the program.
#[derive(Default)]
pub struct Oracle {
    symbols: BTreeMap<(String, String), Symbol>,
    intervals: Vec<String>,
}

#[derive(Default)]
struct Symbol {
    /// The trades, ordered by time and sequence.
    tape: Vec<SimTrade>,
    watch: Watch,
}

/// The number of checked windows of a run, by how they had to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Windows with trades that had to be reported as `complete`.
    pub complete: usize,
    /// Windows without trades that had to be reported as `complete`.
    pub flat: usize,
    /// Windows that had to be reported with another quality.
    pub doubtful: usize,
    /// Windows that had to be absent.
    pub absent: usize,
}

impl Oracle {
    /// Reads the symbols and connections of this exchange, which has to keep a journal.
    pub fn new(sim: &Sim, intervals: &str) -> Self {
        let mut oracle = Self { intervals: intervals.split(',').map(str::to_owned).collect(), ..Self::default() };
        oracle.add(sim);
        oracle
    }

    /// Adds an exchange that was started after the first one and continues its timeline.
    pub fn add(&mut self, sim: &Sim) {
        let journal = sim.journal();
        assert!(!journal.is_empty(), "the exchange keeps no journal, or nobody connected");
        for ((category, name), watch) in watch::read(&journal) {
            let symbol = self.symbols.entry((category.to_string(), name.clone())).or_default();
            symbol.tape.extend(sim.trades(category, &name));
            symbol.tape.sort_by_key(|trade| (trade.time, trade.seq));
            symbol.watch.extend(watch);
        }
    }

    /// Marks a certain interruption: trades between these moments cannot be known, and the program must notice that.
    pub fn interrupt(&mut self, from: i64, to: i64) {
        self.symbols.values_mut().for_each(|symbol| symbol.watch.interrupt(from, to));
    }

    /// Marks a possible interruption: trades between these moments need not be known.
    pub fn doubt(&mut self, from: i64, to: i64) {
        self.symbols.values_mut().for_each(|symbol| symbol.watch.doubt(from, to));
    }

    /// Panics unless exactly the right windows are reported, with the right qualities and sums. Returns their numbers.
    #[track_caller]
    pub fn check(&self, klines: &[Received]) -> Findings {
        let (findings, wrong) = self.compare(klines);
        let shown: Vec<&String> = wrong.iter().take(20).collect();
        assert!(wrong.is_empty(), "{} windows are wrong: {shown:#?}\n{findings:?}", wrong.len());
        findings
    }

    /// Compares the last revisions with what is demanded, and describes each window that is wrong.
    pub fn compare(&self, klines: &[Received]) -> (Findings, Vec<String>) {
        let (mut findings, mut wrong) = (Findings::default(), Vec::new());
        let last = last_revisions(klines);
        for series in last.keys() {
            let (category, symbol, interval) = series;
            if !self.symbols.contains_key(&(category.clone(), symbol.clone())) || !self.intervals.contains(interval) {
                wrong.push(format!("nobody asked for {series:?}"));
            }
        }
        let none = BTreeMap::new();
        for ((category, name), symbol) in &self.symbols {
            let of_category = klines.iter().filter(|kline| kline.category == *category);
            let Some(horizon) = of_category.map(|kline| kline.end).max() else {
                wrong.push(format!("no kline of {category}"));
                continue;
            };
            for interval in &self.intervals {
                let reported = last.get(&(category.clone(), name.clone(), interval.clone())).unwrap_or(&none);
                let judge = Judge { category, symbol, interval, horizon };
                judge.series(reported, &mut findings, &mut wrong);
            }
        }
        (findings, wrong)
    }

    /// Returns the windows that have to be `complete`, up to the horizon of these klines.
    pub fn certain(&self, klines: &[Received]) -> BTreeSet<(SeriesKey, i64)> {
        let mut certain = BTreeSet::new();
        for ((category, name), symbol) in &self.symbols {
            let of_category = klines.iter().filter(|kline| kline.category == *category);
            let horizon = of_category.map(|kline| kline.end).max().unwrap_or(0);
            for interval in &self.intervals {
                let judge = Judge { category, symbol, interval, horizon };
                let sure = judge.windows().filter(|start| judge.demand(*start).is_certain());
                let series = (category.clone(), name.clone(), interval.clone());
                certain.extend(sure.map(|start| (series.clone(), start)));
            }
        }
        certain
    }
}

/// Checks one series up to the end of the last reported window of its category: one tick closes all windows that are
/// due.
#[derive(Clone, Copy)]
struct Judge<'a> {
    category: &'a str,
    symbol: &'a Symbol,
    interval: &'a str,
    horizon: i64,
}

impl Judge<'_> {
    fn length(&self) -> i64 {
        milliseconds(self.interval)
    }

    /// Returns the starts of all windows that have ended, from the first one that the first connection can overlap.
    fn windows(&self) -> impl Iterator<Item = i64> + use<> {
        let (length, horizon) = (self.length(), self.horizon);
        let from = self.symbol.watch.begins().map_or(horizon, |from| from - from.rem_euclid(length));
        (0..).map(move |n| from + n * length).take_while(move |start| start + length - 1 <= horizon)
    }

    fn demand(&self, start: i64) -> Demand {
        let question = Question {
            window: (start, start + self.length() - 1),
            is_filled: self.length() >= SHORTEST_FILLED,
            horizon: self.horizon,
        };
        demand::of(&self.symbol.tape, &self.symbol.watch, question)
    }

    fn series(&self, reported: &BTreeMap<i64, Received>, findings: &mut Findings, wrong: &mut Vec<String>) {
        let expected: BTreeSet<i64> = self.windows().collect();
        for kline in reported.values().filter(|kline| !expected.contains(&kline.start)) {
            wrong.push(format!("not a window that was watched: {kline:?}"));
        }
        for start in expected {
            let demand = self.demand(start);
            findings.count(&demand);
            let problem = match reported.get(&start) {
                None if demand.presence == Presence::Must => Some("missing".to_owned()),
                None => None,
                Some(kline) => self.wrong(kline, &demand),
            };
            if let Some(problem) = problem {
                let Self { category, interval, .. } = self;
                let kline = reported.get(&start);
                wrong.push(format!("{problem}: {category} {interval} {start}: {demand:?}, {kline:?}"));
            }
        }
    }

    fn wrong(&self, kline: &Received, demand: &Demand) -> Option<String> {
        if demand.presence == Presence::Never {
            return Some("must not be there".to_owned());
        }
        if !demand.qualities.contains(&kline.quality.as_str()) {
            return Some("has the wrong quality".to_owned());
        }
        if kline.end != kline.start + self.length() - 1 {
            return Some("ends at the wrong moment".to_owned());
        }
        // What was sent just before the end may not have been read.
        if demand.latest.is_some_and(|at| at + SLACK > self.horizon) {
            return None;
        }
        let category = Category::parse(self.category).unwrap();
        let inside: Vec<&SimTrade> = truth::inside(&self.symbol.tape, kline.start, kline.end).collect();
        if kline.is_complete() && !demand.is_unknowable {
            let opens = demand.opens.iter().map(|open| Values::new(category, &inside, *open));
            let right: Vec<Values> = opens.collect();
            return (!right.contains(&Values::of(kline))).then(|| format!("is not {right:?}"));
        }
        // An incomplete kline still holds exactly the trades that were certainly received.
        let watch = &self.symbol.watch;
        let sent: Vec<&SimTrade> = inside.into_iter().filter(|trade| watch.sent(&trade.id).is_some()).collect();
        let is_sure = sent.iter().all(|trade| watch.is_received(&trade.id));
        let expected = Values::new(category, &sent, 0);
        (is_sure && Values::of(kline).sums() != expected.sums())
            .then(|| format!("does not sum up to {:?}", expected.sums()))
    }
}

impl Findings {
    fn count(&mut self, demand: &Demand) {
        match demand.presence {
            Presence::Must if demand.is_certain() && demand.trades > 0 => self.complete += 1,
            Presence::Must if demand.is_certain() => self.flat += 1,
            Presence::Must => self.doubtful += 1,
            Presence::Never => self.absent += 1,
            Presence::May => {}
        }
    }
}

/// Parses an interval such as `100ms`, `1s`, `5m` or `1h` into ms.
fn milliseconds(interval: &str) -> i64 {
    let at = interval.find(|letter: char| !letter.is_ascii_digit()).unwrap();
    let unit = match &interval[at..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => panic!("{other}"),
    };
    interval[..at].parse::<i64>().unwrap() * unit
}
