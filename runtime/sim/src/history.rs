//! The klines of one symbol at one interval: those from before its tape, which are computed here, then those of its trades.
//! Selects the rows that a query asks for. Needs no lock.

use std::sync::Arc;

use crate::{interval::Interval, klines::Window, past::Past};

/// The klines of one symbol at one interval.
#[derive(Clone, Debug)]
pub(crate) struct KlineHistory {
    interval: Interval,
    past: Option<Arc<Past>>,
    /// Windows of the tape, oldest first, the open one last.
    windows: Vec<Window>,
}

/// Which rows a query asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KlineQuery {
    /// Selects the window that contains it, and later ones.
    pub start: Option<i64>,
    /// Is compared with the start of a window, inclusive.
    pub end: Option<i64>,
    /// Maximum number of rows: the oldest ones for `start` alone, otherwise the newest ones.
    pub limit: usize,
}

impl KlineHistory {
    /// Joins the windows of the tape, of which the first may have begun before it, to the past.
    pub fn new(interval: Interval, past: Option<Arc<Past>>, mut windows: Vec<Window>) -> Self {
        if let (Some(past), Some(first)) = (&past, windows.first_mut()) {
            *first = past.complete(interval, *first);
        }
        Self { interval, past, windows }
    }

    /// Returns the rows of a query, oldest first.
    pub fn select(&self, query: KlineQuery) -> Vec<Window> {
        let KlineQuery { start, end, limit } = query;
        let wanted = |it: &&Window| start.is_none_or(|at| it.end >= at) && end.is_none_or(|at| it.start <= at);
        let of_tape = || self.windows.iter().filter(wanted).copied();
        if let (Some(start), None) = (start, end) {
            let mut rows = self.past_from(start, limit);
            rows.extend(of_tape());
            rows.truncate(limit);
            return rows;
        }
        let of_tape: Vec<Window> = of_tape().collect();
        let missing = limit.saturating_sub(of_tape.len());
        let mut rows = self.past_until(end.unwrap_or(i64::MAX), start.unwrap_or(i64::MIN), missing);
        rows.extend(of_tape.iter().skip(of_tape.len().saturating_sub(limit)));
        rows
    }

    /// Returns at most `limit` windows that lie wholly in the past, from the one that contains `start` on.
    fn past_from(&self, start: i64, limit: usize) -> Vec<Window> {
        let Some(past) = &self.past else { return Vec::new() };
        let first = self.interval.start_of(start.max(past.first_ms()));
        let starts = std::iter::successors(Some(first), |start| Some(self.interval.after(*start)));
        let starts = starts.take_while(|start| self.interval.after(*start) <= past.end_ms()).take(limit);
        starts.filter_map(|start| past.window(self.interval, start)).collect()
    }

    /// Returns the newest `limit` windows that lie wholly in the past, begin at `end` at the latest and end at `start` at
    /// the earliest, oldest first.
    fn past_until(&self, end: i64, start: i64, limit: usize) -> Vec<Window> {
        let Some(past) = &self.past else { return Vec::new() };
        let interval = self.interval;
        let newest = interval.before(interval.start_of(past.end_ms()));
        let newest = if end < newest { interval.start_of(end) } else { newest };
        let oldest = interval.start_of(start.max(past.first_ms()));
        let starts = std::iter::successors(Some(newest), |start| Some(interval.before(*start)));
        let starts = starts.take_while(|start| *start >= oldest).take(limit);
        let mut rows: Vec<Window> = starts.filter_map(|start| past.window(interval, start)).collect();
        rows.reverse();
        rows
    }
}
