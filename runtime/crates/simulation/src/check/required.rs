//! Which windows have to be there and right.

use klines_domain::time::{MINUTE, Millis, SECOND};

use super::{RECOVERY, STARTING};
use crate::market::TapeTrade;
use crate::oracle;
use crate::oracle::windows::Windows;
use crate::plan::{Fault, Kind, Plan};

/// Returns the starts of the windows that must be right: those of whole minutes, and if the recent trades reach back to
/// every gap, all others. They end after the start, and the faults of the feed and of the requests were over for long
/// enough when the run ended.
pub fn knowable(plan: &Plan, tape: &[TapeTrade], windows: Windows, is_reached: bool) -> Vec<Millis> {
    let mut starts = Vec::new();
    let is_filled = windows.is_filled();
    if !windows.is_whole() && !is_reached {
        return starts;
    }
    let mut start = windows.start_of(plan.start + STARTING);
    let end = plan.exchange(plan.healed + RECOVERY).min(plan.exchange(plan.end) - RECOVERY);
    while windows.next(start) <= end {
        let is_traded = || oracle::row(tape, start, windows.next(start) - 1).is_some_and(|row| row.trades > 0);
        if tape.first().is_some_and(|trade| trade.time < start) && (is_filled || is_traded()) {
            starts.push(start);
        }
        start = windows.next(start);
    }
    starts
}

/// Returns whether one answer has all trades since the beginning of a window.
pub fn reaches(plan: &Plan, tape: &[TapeTrade], start: Millis) -> bool {
    tape.len() - tape.partition_point(|trade| trade.time < start) < plan.recent_trades
}

/// Returns whether one answer has all trades of the run, and nothing can make it useless.
pub fn recent_trades_reach(plan: &Plan, tape: &[TapeTrade]) -> bool {
    let first = tape.partition_point(|trade| trade.time < plan.start);
    let holds_back = |fault: &Fault| matches!(fault.kind, Kind::Stall | Kind::Pause);
    tape.len() - first < plan.recent_trades
        && plan.steps.0.is_empty()
        && plan.rest_faults.is_empty()
        && !plan.faults.iter().any(holds_back)
}

/// Returns the starts of the windows that must be complete: everything in them was delivered, and so was a trade before
/// them, with which they open.
pub fn demand(spans: &[(Millis, Millis)], tape: &[TapeTrade], windows: Windows) -> Vec<Millis> {
    let mut starts = Vec::new();
    let is_filled = windows.is_filled();
    for (from, to) in spans {
        let Some(before) = tape.get(tape.partition_point(|trade| trade.time < *from)) else { continue };
        let mut start = windows.next(windows.start_of(before.time));
        while windows.next(start) - 1 < *to {
            let end = windows.next(start) - 1;
            let is_traded = || oracle::row(tape, start, end).is_some_and(|row| row.trades > 0);
            if is_filled || is_traded() {
                starts.push(start);
            }
            start = windows.next(start);
        }
    }
    starts
}

/// Returns whether trades of a window shorter than a minute can have come after the candle of their minute was taken.
pub fn may_be_superseded(plan: &Plan, windows: Windows, start: Millis) -> bool {
    let minute = start - start % MINUTE;
    let holds_back = |fault: &&Fault| matches!(fault.kind, Kind::Stall | Kind::Pause);
    let mut late = plan.faults.iter().filter(holds_back);
    let is_near = |fault: &Fault| fault.from < minute + MINUTE + SECOND && fault.until > minute + MINUTE;
    // Where the exchange's clock is put, its minutes are at other times.
    plan.is_repaired && !windows.is_whole() && late.any(|fault| !plan.steps.0.is_empty() || is_near(fault))
}
