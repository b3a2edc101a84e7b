//! The setting of a run: when it begins, how the clocks differ, which symbols hardly trade, and which come and go. Most
//! runs have an ordinary one.

use fastrand::Rng;
use klines_domain::time::{DAY, HOUR, MINUTE, Millis, SECOND};

use super::{DeadTopic, HEALED, Kind, Plan, QUIET_START, RestFault, RestKind, Restart};
use crate::clock::Step;

/// How far the local clock is usually ahead of the exchange's.
const AHEAD: Millis = 1_500;
/// The mean times between the matches of a symbol that hardly trades; the last one never does.
const QUIET: [Millis; 4] = [10 * MINUTE, 2 * HOUR, 2 * HOUR, NEVER];
/// A symbol whose matches are this far apart has no trades at all.
pub const NEVER: Millis = 100_000 * DAY;
/// Midnights at which windows of a day, a week or a month end: 2024-01-01 (a Monday), 2024-03-01, 2024-06-03 (a Monday),
/// 2025-01-01, 2026-06-01 (a Monday), 2028-02-29, 2028-03-01.
const MIDNIGHTS: [Millis; 7] = [
    1_704_067_200_000,
    1_709_251_200_000,
    1_717_372_800_000,
    1_735_689_600_000,
    1_780_272_000_000,
    1_835_395_200_000,
    1_835_481_600_000,
];
/// The intervals of such a run, without and with repairs.
const LONG_INTERVALS: [[&[&str]; 3]; 2] = [
    [&["1s", "1D", "1M"], &["1m", "1h", "1W"], &["250ms", "1s", "12h", "1M"]],
    [&["1s", "1m", "1D", "1W"], &["1s", "2m", "1h", "1W", "1M"], &["5s", "1m", "1D", "1M"]],
];
/// The steps of the exchange's clock: small ones are believed at once, others only if several stamps agree.
const STEPS: [std::ops::Range<Millis>; 4] = [500..5_000, 5_000..29_000, 31_000..120_000, 600_000..600_001];
/// A symbol that trades as often as this is certain to have traded in half a minute.
const BUSY_ENOUGH: Millis = 1_500;
/// How much longer a run with a step is.
const AFTER_STEP: Millis = 200 * SECOND;

/// The longest time from the end of a process to the next one.
const LONGEST_RESTART: Millis = 90 * SECOND;
/// The longest time for which a process lives that ends soon, and until the next one.
const SHORT_LIFE: Millis = 40 * SECOND;
/// The longest time that a transaction takes.
const LONGEST_COMMIT: Millis = 400;
/// The longest time that the disk is full.
const LONGEST_FULL: Millis = 60 * SECOND;

/// When a symbol is traded, in true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradingPeriod {
    /// Since when; before that, it is unknown.
    pub listed: Millis,
    /// Until when.
    pub ended: Millis,
    /// The time in which the lists of instruments omit it although it is traded.
    pub omitted: (Millis, Millis),
}

impl TradingPeriod {
    /// A symbol that is traded all the time.
    pub const WHOLE: Self = Self { listed: Millis::MIN, ended: Millis::MAX, omitted: (0, 0) };

    /// Returns whether the symbol is traded.
    pub fn is_traded(&self, now: Millis) -> bool {
        (self.listed..self.ended).contains(&now)
    }

    /// Returns whether the lists of instruments have the symbol.
    pub fn is_shown(&self, now: Millis) -> bool {
        self.is_traded(now) && !(self.omitted.0..self.omitted.1).contains(&now)
    }
}

/// Changes the setting of some plans, by numbers of its own: what goes wrong stays the same.
pub fn draw(plan: &mut Plan) {
    let mut rng = Rng::with_seed(plan.seed ^ 0x5e77_1196);
    plan.ahead = if rng.u8(..) < 32 { rng.i64(-3 * DAY..3 * DAY) } else { AHEAD };
    if rng.u8(..) < 48 {
        begin_before_midnight(plan, &mut rng);
    }
    if rng.u8(..) < 24 {
        step(plan, &mut rng);
    }
    for symbol in 1..plan.gaps.len() {
        match rng.u8(..) {
            0..32 => quiet(plan, symbol, &mut rng),
            32..56 => pass(plan, symbol, &mut rng),
            56..66 if plan.is_repaired => {
                let from = plan.start + rng.i64(0..HEALED);
                let until = (from + rng.i64(SECOND..120 * SECOND)).min(plan.healed);
                plan.rest_faults.push(RestFault { kind: RestKind::Refuse(symbol), from, until });
            }
            _ => {}
        }
    }
    // Where the exchange's clock is put, its minutes are at other times.
    if plan.is_repaired && plan.steps.0.is_empty() && rng.bool() {
        stall_at_ends_of_minutes(plan, &mut rng);
    }
    // Where requests fail, the silence can be noticed too late; where a connection is opened again, the topic too early.
    let is_undisturbed = plan.steps.0.is_empty() && plan.rest_faults.is_empty() && !plan.loses();
    if plan.is_repaired && is_undisturbed && rng.u8(..) < 128 {
        let symbol = rng.usize(0..plan.gaps.len());
        let is_busy = plan.gaps.get(symbol).is_some_and(|gap| *gap <= BUSY_ENOUGH)
            && plan.trading_period(symbol) == TradingPeriod::WHOLE;
        let at = plan.start + rng.i64(20 * SECOND..HEALED - 60 * SECOND);
        plan.dead = is_busy.then_some(DeadTopic { symbol, at });
    }
    if plan.is_repaired && plan.steps.0.is_empty() && plan.dead.is_none() && rng.u8(..) < 96 {
        let at = plan.start + rng.i64(20 * SECOND..HEALED - LONGEST_RESTART);
        let until = at + rng.i64(500..LONGEST_RESTART);
        let (is_crash, slowest) = (rng.bool(), rng.i64(0..LONGEST_COMMIT));
        // Some disks are full when the process ends, and others are not full any more.
        let from = at - rng.i64(0..LONGEST_FULL);
        let full = if rng.u8(..) < 64 { (from, from + rng.i64(SECOND..LONGEST_FULL)) } else { (at, at) };
        plan.restarts.push(Restart { at, until, is_crash, slowest, full });
        end_again(plan, &mut rng);
    }
}

/// Ends the next process, too, in half of the runs, before it has repaired everything.
fn end_again(plan: &mut Plan, rng: &mut Rng) {
    let Some(first) = plan.restarts.last().copied().filter(|_| rng.bool()) else { return };
    let at = first.until + rng.i64(500..SHORT_LIFE);
    let until = at + rng.i64(500..SHORT_LIFE);
    if until < plan.healed {
        let is_crash = rng.bool();
        // Some disks take nothing all the while.
        let full = if rng.u8(..) < 64 { (first.until, until) } else { (at, at) };
        plan.restarts.push(Restart { at, until, is_crash, full, ..first });
    }
}

/// Moves each stall of a connection to the end of the minute in which it begins. So some trades of a minute come after its
/// candle was taken, which is 3 s after its end.
fn stall_at_ends_of_minutes(plan: &mut Plan, rng: &mut Rng) {
    for fault in plan.faults.iter_mut().filter(|fault| fault.kind == Kind::Stall) {
        let length = fault.until - fault.from;
        let from = fault.from - fault.from % MINUTE + MINUTE - rng.i64(0..length);
        if from >= plan.start + QUIET_START && from + length <= plan.healed {
            (fault.from, fault.until) = (from, from + length);
        }
    }
    plan.faults.sort_by_key(|fault| fault.from);
}

/// Moves a run, so that a midnight lies in it.
fn begin_before_midnight(plan: &mut Plan, rng: &mut Rng) {
    let start = rng.choice(MIDNIGHTS).unwrap_or_default() - rng.i64(5 * SECOND..HEALED + 60 * SECOND);
    let by = start - plan.start;
    for time in [&mut plan.start, &mut plan.end, &mut plan.healed] {
        *time += by;
    }
    for fault in &mut plan.faults {
        (fault.from, fault.until) = (fault.from + by, fault.until + by);
    }
    for fault in &mut plan.rest_faults {
        (fault.from, fault.until) = (fault.from + by, fault.until + by);
    }
    let [without, with] = LONG_INTERVALS;
    plan.intervals = rng.choice(if plan.is_repaired { with } else { without }).unwrap_or(&["1s"]);
}

/// Puts the exchange's clock forward or back. Not back where gaps are repaired: of a time that passed twice, recent trades are
/// not in the order of their times, and a candle has other trades than the first time.
fn step(plan: &mut Plan, rng: &mut Rng) {
    let range = rng.choice(STEPS).unwrap_or(500..5_000);
    let by = rng.i64(range);
    let by = if plan.is_repaired || rng.bool() { by } else { -by };
    plan.steps.0.push(Step { at: plan.start + rng.i64(20 * SECOND..HEALED), by });
    plan.end += AFTER_STEP - by.min(0);
}

/// Makes a symbol trade about once an hour, or never.
fn quiet(plan: &mut Plan, symbol: usize, rng: &mut Rng) {
    if let Some(gap) = plan.gaps.get_mut(symbol) {
        *gap = rng.choice(QUIET).unwrap_or(NEVER);
    }
    omit(plan, symbol, rng);
}

/// Lists a symbol while the run lasts, ends it, or leaves it out of lists for a while.
fn pass(plan: &mut Plan, symbol: usize, rng: &mut Rng) {
    let at = plan.start + rng.i64(5 * SECOND..HEALED);
    match (rng.u8(0..3), plan.trading_periods.get_mut(symbol)) {
        (0, Some(period)) => period.listed = at,
        (1, Some(period)) => period.ended = at,
        _ => omit(plan, symbol, rng),
    }
}

fn omit(plan: &mut Plan, symbol: usize, rng: &mut Rng) {
    let from = plan.start + rng.i64(5 * SECOND..HEALED - 60 * SECOND);
    if let Some(period) = plan.trading_periods.get_mut(symbol).filter(|_| rng.bool()) {
        period.omitted = (from, from + rng.i64(SECOND..60 * SECOND));
    }
}
