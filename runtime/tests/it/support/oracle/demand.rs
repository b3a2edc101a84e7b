//! Decides what the contract demands of one window, given the trades and the frames that were sent.

use bybit_sim::SimTrade;

use super::watch::{Interruption, Watch};
use crate::support::truth::{inside, units};

/// Whether a window has to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Must,
    May,
    Never,
}

/// The window that is asked about.
#[derive(Clone, Copy)]
pub(super) struct Question {
    /// Start and end, both included.
    pub(super) window: (i64, i64),
    /// Whether windows of this length are reported without trades.
    pub(super) is_filled: bool,
    /// The end of the last window that was closed.
    pub(super) horizon: i64,
}

/// What is demanded of a window.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) presence: Presence,
    /// Qualities that it may have, if it is there.
    pub(super) qualities: Vec<&'static str>,
    /// Opens that it may have, if it is complete.
    pub(super) opens: Vec<i128>,
    /// Trades on the tape.
    pub(super) trades: usize,
    /// When the last of its trades was sent.
    pub(super) latest: Option<i64>,
    /// A trade was held back on a connection that goes on: the program cannot know of it.
    pub(super) is_unknowable: bool,
}

impl Demand {
    /// Returns whether `complete` is the only right answer.
    pub(super) fn is_certain(&self) -> bool {
        self.presence == Presence::Must && self.qualities == ["complete"] && !self.is_unknowable
    }
}

/// Whether the last trade before a window is known to be the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Proven,
    Unclear,
    /// It cannot be known because of an interruption.
    Unproven,
    /// No trade was sent before.
    First,
}

/// Returns what is demanded of a window.
pub(super) fn of(tape: &[SimTrade], watch: &Watch, question: Question) -> Demand {
    let Question { window: (start, end), is_filled, horizon } = question;
    let trades: Vec<&SimTrade> = inside(tape, start, end).collect();
    let sent: Vec<(&str, i64)> = trades.iter().filter_map(|trade| Some((&*trade.id, watch.sent(&trade.id)?))).collect();
    let received = sent.iter().filter(|(id, at)| watch.is_received(id) && *at <= horizon).count();
    let (is_sure, has_missed) = (watch.is_sure(start, end), sent.len() < trades.len());
    let is_unknowable = is_sure && has_missed;
    let open = open(tape, watch, start);
    let presence = match () {
        () if is_unknowable => Presence::May,
        () if received > 0 => Presence::Must,
        () if !sent.is_empty() => Presence::May,
        () if !is_filled || open == Open::First || !watch.is_touched(start, end) => Presence::Never,
        () if is_sure && open == Open::Proven => Presence::Must,
        () => Presence::May,
    };
    let qualities = match open {
        _ if !is_sure => uncertain(watch, start, end, has_missed),
        Open::Proven if !has_missed => vec!["complete"],
        Open::Unproven if !has_missed => vec!["gapped"],
        _ => vec!["complete", "gapped"],
    };
    Demand {
        presence,
        qualities,
        opens: opens(tape, &trades, start, open),
        trades: trades.len(),
        latest: sent.into_iter().map(|(_, at)| at).max(),
        is_unknowable,
    }
}

/// Returns the allowed qualities of a window that was not certainly watched from beginning to end.
fn uncertain(watch: &Watch, start: i64, end: i64, has_missed: bool) -> Vec<&'static str> {
    let mut qualities = Vec::new();
    if !has_missed && watch.is_possible(start, end) {
        qualities.push("complete");
    }
    let interruption = watch.interruption(start, end);
    if interruption != Interruption::Certain && watch.begun().is_none_or(|begun| start < begun) {
        qualities.push("partial");
    }
    if interruption != Interruption::None || watch.begins().is_some_and(|begins| begins <= start) {
        qualities.push("gapped");
    }
    qualities
}

fn open(tape: &[SimTrade], watch: &Watch, start: i64) -> Open {
    let before = &tape[..tape.partition_point(|trade| trade.time < start)];
    let Some(sent) = before.iter().rfind(|trade| watch.sent(&trade.id).is_some()) else { return Open::First };
    let is_last = before.last() == Some(sent);
    if is_last && watch.is_sure(sent.time, start - 1) {
        Open::Proven
    } else if watch.is_possible(sent.time, start) {
        Open::Unclear
    } else {
        Open::Unproven
    }
}

/// Returns the allowed opens: the price before the window, and where that need not be known also the first price in it.
fn opens(tape: &[SimTrade], trades: &[&SimTrade], start: i64, open: Open) -> Vec<i128> {
    let before = tape.partition_point(|trade| trade.time < start).checked_sub(1);
    let previous = before.map(|at| units(&tape[at].price));
    let first = trades.first().map(|trade| units(&trade.price));
    previous.into_iter().chain(first.filter(|_| open != Open::Proven)).collect()
}
