//! The plan of a run: its symbols, connections and intervals, and what goes wrong when. All of it comes from the seed.

mod setting;

use std::fmt;

use fastrand::Rng;
use klines_domain::time::{Millis, SECOND};

pub use self::setting::{NEVER, TradingPeriod};
use super::clock::Steps;

/// 2024-01-01T00:00:00Z.
const NEW_YEAR: Millis = 1_704_067_200_000;
/// The length of a run.
const LENGTH: Millis = 300 * SECOND;
/// How much longer a run is in which gaps are repaired: the last ones begin when a silent connection is given up.
const REPAIR: Millis = 120 * SECOND;
/// When the first fault begins at the earliest.
const QUIET_START: Millis = 5 * SECOND;
/// When the last fault has ended.
const HEALED: Millis = 180 * SECOND;
/// The longest time for which frames wait in the network or the process does nothing.
const LONGEST_STALL: Millis = 20 * SECOND;

/// How long after it has ended a frame can still wait to be overtaken.
const OVERTAKEN: Millis = 30 * SECOND;

/// The number of feeds that carry each symbol.
const FEEDS: [usize; 4] = [1, 1, 2, 3];
/// The mean times between the matches of a symbol.
const GAPS: [Millis; 4] = [100, 400, 1_500, 8_000];
/// The same of the first symbol, the busiest one of the exchange, whose silence means that the feed is dead.
const BUSY: [Millis; 2] = [100, 400];
/// The intervals of a run; all divide a minute or are whole minutes.
const INTERVALS: [&[&str]; 4] = [&["1s"], &["1s", "1m"], &["250ms", "5s", "1m"], &["1s", "10s", "1m", "3m"]];

/// The same of a run in which gaps are repaired.
const REPAIRED_INTERVALS: [&[&str]; 4] =
    [&["1s", "1m"], &["500ms", "3m", "1h"], &["5s", "1m", "36m", "1D"], &["1s", "2m", "1h", "1W", "1M"]];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The connection is closed; what is under way is lost.
    Drop,
    /// The connection is closed, and new ones are refused.
    Down,
    /// Nothing arrives on the connection any more, and nobody closes it.
    HalfOpen,
    /// What is sent arrives when the fault ends.
    Stall,
    /// The exchange sends no trades on the connection any more, but answers.
    Mute,
    /// Frames are sent twice.
    Duplicate,
    /// Frames overtake each other.
    Reorder,
    /// The next frame of trades is damaged.
    Damage,
    /// Frames that mean nothing are sent besides.
    Noise,
    /// Requests are not answered.
    NoAnswer,
    /// The process does nothing.
    Pause,
}

/// All kinds.
const KINDS: [Kind; 11] = [
    Kind::Drop,
    Kind::Down,
    Kind::HalfOpen,
    Kind::Stall,
    Kind::Mute,
    Kind::Duplicate,
    Kind::Reorder,
    Kind::Damage,
    Kind::Noise,
    Kind::NoAnswer,
    Kind::Pause,
];

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// On which connection.
    pub connection: usize,
    /// When it begins, in ms of true time.
    pub from: Millis,
    /// When it has ended.
    pub until: Millis,
}

/// What goes wrong with requests to the market endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestKind {
    /// Every other request fails.
    Break,
    /// There were too many requests.
    Limit,
    /// The address is refused for a while.
    Stop,
    /// Candles have less volume than what was traded and seen.
    Lie,
    /// This symbol is refused.
    Refuse(usize),
}

/// All kinds that concern every symbol.
const REST_KINDS: [RestKind; 4] = [RestKind::Break, RestKind::Limit, RestKind::Stop, RestKind::Lie];

/// A time in which requests to the market endpoints go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestFault {
    /// What goes wrong.
    pub kind: RestKind,
    /// When it begins, in ms of true time.
    pub from: Millis,
    /// When it has ended.
    pub until: Millis,
}

/// The plan of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed from which everything is drawn.
    pub seed: u64,
    /// When the run starts, in ms of true time. The exchange's clock shows the same until its first step.
    pub start: Millis,
    /// When it ends.
    pub end: Millis,
    /// When everything works again.
    pub healed: Millis,
    /// The symbols of each connection, by number. Redundant feeds carry the same symbols.
    pub connections: Vec<Vec<usize>>,
    /// The mean time between the matches of each symbol, in ms.
    pub gaps: Vec<Millis>,
    /// The intervals of the klines.
    pub intervals: &'static [&'static str],
    /// What goes wrong, in order of time.
    pub faults: Vec<Fault>,
    /// Whether gaps are repaired.
    pub is_repaired: bool,
    /// How many trades the answer to a request of recent trades has.
    pub recent_trades: usize,
    /// What goes wrong with requests.
    pub rest_faults: Vec<RestFault>,
    /// How far the local clock is ahead of true time.
    pub ahead: Millis,
    /// The steps of the exchange's clock.
    pub steps: Steps,
    /// When each symbol is traded.
    pub trading_periods: Vec<TradingPeriod>,
    /// The topic that brings nothing on any connection from a time on, until it is subscribed to again.
    pub dead: Option<DeadTopic>,
    /// The ends of processes, each with the next one, in order of time.
    pub restarts: Vec<Restart>,
}

/// The process ends, and another one continues with what the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When it ends, in ms of true time.
    pub at: Millis,
    /// When the next one begins.
    pub until: Millis,
    /// Whether it ends without having stored everything.
    pub is_crash: bool,
    /// How long a transaction of the store takes at most.
    pub slowest: Millis,
    /// When the disk is full.
    pub full: (Millis, Millis),
}

impl Restart {
    /// Returns whether the disk is full.
    pub fn is_full(&self, now: Millis) -> bool {
        (self.full.0..self.full.1).contains(&now)
    }
}

/// A topic that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadTopic {
    /// The number of its symbol.
    pub symbol: usize,
    /// When, in ms of true time.
    pub at: Millis,
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let start = NEW_YEAR + rng.i64(0..3 * 86_400_000);
        let symbols = rng.usize(1..=3);
        let sets: Vec<Vec<usize>> = if symbols > 1 && rng.bool() {
            vec![(0..1).collect(), (1..symbols).collect()]
        } else {
            vec![(0..symbols).collect()]
        };
        let feeds = rng.choice(FEEDS).unwrap_or(1);
        let connections: Vec<Vec<usize>> =
            sets.into_iter().flat_map(|symbols| std::iter::repeat_n(symbols, feeds)).collect();
        let gap = |number: usize| {
            let gaps: &[Millis] = if number == 0 { &BUSY } else { &GAPS };
            rng.choice(gaps.iter().copied()).unwrap_or(SECOND)
        };
        let gaps: Vec<Millis> = (0..symbols).map(gap).collect();
        let count = rng.usize(0..=3 + 3 * feeds);
        let mut faults: Vec<Fault> = (0..count).map(|_| fault(&mut rng, start, connections.len())).collect();
        faults.sort_by_key(|fault| fault.from);
        let faults = without_losses_of_overtaken_frames(&without_long_silences(faults));
        let is_repaired = rng.u8(..) < 160;
        let rest_fault = |rng: &mut Rng| {
            let (kind, from) = (rng.choice(REST_KINDS).unwrap_or(RestKind::Break), start + rng.i64(0..HEALED));
            RestFault { kind, from, until: (from + rng.i64(SECOND..60 * SECOND)).min(start + HEALED) }
        };
        let count = if is_repaired && rng.bool() { rng.usize(1..=3) } else { 0 };
        let rest_faults = (0..count).map(|_| rest_fault(&mut rng)).collect();
        let intervals = if is_repaired { &REPAIRED_INTERVALS } else { &INTERVALS };
        let mut plan = Self {
            seed,
            start,
            end: start + LENGTH + if is_repaired { REPAIR } else { 0 },
            healed: start + HEALED,
            connections,
            gaps,
            intervals: rng.choice(intervals.iter().copied()).unwrap_or(&["1s"]),
            faults,
            is_repaired,
            recent_trades: rng.choice([20, 60, 1_000]).unwrap_or(60),
            rest_faults,
            ahead: 0,
            steps: Steps::default(),
            trading_periods: vec![TradingPeriod::WHOLE; symbols],
            dead: None,
            restarts: Vec::new(),
        };
        setting::draw(&mut plan);
        plan
    }

    /// Returns what the exchange's clock shows.
    pub(crate) fn exchange(&self, now: Millis) -> Millis {
        if self.steps.0.is_empty() { now } else { self.steps.exchange(now) }
    }

    /// Returns when something was stamped that was read at `now`.
    pub(crate) fn true_time(&self, stamp: Millis, now: Millis) -> Millis {
        if self.steps.0.is_empty() { stamp } else { self.steps.true_time(stamp, now) }
    }

    /// Returns when a symbol is traded.
    pub(crate) fn trading_period(&self, symbol: usize) -> TradingPeriod {
        self.trading_periods.get(symbol).copied().unwrap_or(TradingPeriod::WHOLE)
    }

    /// Returns whether a connection can lose something.
    pub(crate) fn loses(&self) -> bool {
        self.faults.iter().any(|fault| loses(fault) || fault.kind == Kind::Damage)
    }

    /// Returns whether a connection can be silent at a moment, or has been in the time before, without that being noticed.
    pub(crate) fn is_silent_at(&self, at: Millis, before: Millis) -> bool {
        let is_silent = |fault: &Fault| {
            let until = if matches!(fault.kind, Kind::Mute | Kind::HalfOpen) { Millis::MAX } else { fault.until };
            fault.kind != Kind::Drop && fault.from < at && until > at - before
        };
        self.faults.iter().any(is_silent)
    }

    /// Returns whether requests about a symbol are refused at times.
    pub(crate) fn is_refused(&self, symbol: usize) -> bool {
        self.trading_period(symbol)
            != TradingPeriod { omitted: self.trading_period(symbol).omitted, ..TradingPeriod::WHOLE }
            || self.rest_faults.iter().any(|fault| fault.kind == RestKind::Refuse(symbol))
    }
}

/// Removes the faults that make a connection silent which was silent before. The second silence is noticed after 90 s, and
/// windows that closed more than a minute before keep their klines (ARCHITECTURE, "Aggregator").
fn without_long_silences(faults: Vec<Fault>) -> Vec<Fault> {
    let is_silent = |fault: &Fault| matches!(fault.kind, Kind::Mute | Kind::HalfOpen);
    let mut kept: Vec<Fault> = Vec::new();
    for fault in faults {
        let repeats = |earlier: &Fault| is_silent(earlier) && earlier.connection == fault.connection;
        if !(is_silent(&fault) && kept.iter().any(repeats)) {
            kept.push(fault);
        }
    }
    kept
}

/// Removes the faults by which a frame is lost that another one has overtaken: nothing tells that it was sent.
fn without_losses_of_overtaken_frames(faults: &[Fault]) -> Vec<Fault> {
    let is_lost = |reorder: &Fault| {
        let during = reorder.from..=reorder.until + OVERTAKEN;
        let mut others = faults.iter().filter(|fault| fault.connection == reorder.connection && loses(fault));
        others.any(|fault| during.contains(&fault.from) || (fault.from..=fault.until).contains(&reorder.from))
    };
    let is_kept = |fault: &&Fault| fault.kind != Kind::Reorder || !is_lost(fault);
    faults.iter().filter(is_kept).copied().collect()
}

/// Returns whether a fault loses what is under way.
const fn loses(fault: &Fault) -> bool {
    matches!(fault.kind, Kind::Drop | Kind::Down | Kind::HalfOpen | Kind::Mute | Kind::NoAnswer)
}

fn fault(rng: &mut Rng, start: Millis, connections: usize) -> Fault {
    let kind = rng.choice(KINDS).unwrap_or(Kind::Drop);
    let from = start + rng.i64(QUIET_START..HEALED - 60 * SECOND);
    let length = match kind {
        Kind::Drop | Kind::Damage | Kind::HalfOpen | Kind::Mute => 0,
        Kind::Stall | Kind::Pause => rng.i64(100..LONGEST_STALL),
        _ => rng.i64(100..55 * SECOND),
    };
    Fault { kind, connection: rng.usize(0..connections), from, until: from + length }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, start, connections, gaps, intervals, ahead, .. } = self;
        writeln!(out, "seed {seed}: starts at {start}, intervals {}", intervals.join(" "))?;
        writeln!(out, "connections {connections:?}, mean time between matches {gaps:?} ms")?;
        writeln!(out, "the local clock is {ahead} ms ahead")?;
        for step in &self.steps.0 {
            writeln!(out, "at {:>7} ms {step}", step.at - start)?;
        }
        for (symbol, period) in
            self.trading_periods.iter().enumerate().filter(|(_, period)| **period != TradingPeriod::WHOLE)
        {
            let TradingPeriod { listed, ended, omitted } = period;
            let [listed, ended] = [listed, ended].map(|at| at.saturating_sub(*start));
            writeln!(out, "symbol {symbol} is traded from {listed} to {ended} ms, omitted in lists {omitted:?}")?;
        }
        if self.is_repaired {
            writeln!(out, "gaps are repaired; {} recent trades", self.recent_trades)?;
        }
        if let Some(DeadTopic { symbol, at }) = &self.dead {
            writeln!(out, "at {:>7} ms the topic of symbol {symbol} dies", at - start)?;
        }
        for Restart { at, until, is_crash, slowest, full } in &self.restarts {
            let how = if *is_crash { "crashes" } else { "ends" };
            writeln!(out, "at {:>7} ms for {:>6} ms: the process {how}", at - start, until - at)?;
            let full = [full.0, full.1].map(|at| at.saturating_sub(*start).max(-1));
            writeln!(out, "transactions take up to {slowest} ms; the disk is full from {} to {} ms", full[0], full[1])?;
        }
        for RestFault { kind, from, until } in &self.rest_faults {
            writeln!(out, "at {:>7} ms for {:>6} ms: {kind:?} of requests", from - start, until - from)?;
        }
        for Fault { kind, connection, from, until } in &self.faults {
            writeln!(out, "at {:>7} ms for {:>6} ms: {kind:?} on {connection}", from - start, until - from)?;
        }
        Ok(())
    }
}
