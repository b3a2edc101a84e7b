//! The windows of one symbol and interval: those still open, and those closed so lately that a late trade or an
//! interruption that is noticed late can change them. Ascending by start, with holes where nothing is known.

use std::collections::VecDeque;

use super::coverage::Coverage;
use super::window::{Carry, Emitted, Window};
use crate::bucket::{Bucket, Widening};
use crate::interval::Interval;
use crate::time::{MINUTE, Millis};

/// How far back an end that was none is made good: lists are asked for every five minutes.
const REFILLED: Millis = 10 * MINUTE;

/// What a series needs to know beyond its own windows.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) interval: Interval,
    pub(super) coverage: &'a Coverage,
    /// Windows that start before this are over.
    pub(super) closed_until: Millis,
    /// Windows without trades become flat klines.
    pub(super) fill: bool,
    /// Klines open with their first trade.
    pub(super) first_trade_opens: bool,
    /// Nothing can change a window that ends before this.
    pub(super) horizon: Millis,
}

/// The windows of one symbol and interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    windows: VecDeque<Window>,
    /// Start of the last window: what most questions are about, without a look into the queue.
    newest: Option<Millis>,
    /// The last trade before the first window.
    before: Option<Carry>,
    /// The number of the last confirmed kline.
    pub(super) sequence: u64,
}

impl Series {
    /// Adds trades that all lie in one window. Returns whether a revision came due.
    pub(super) fn add(&mut self, bucket: &Bucket, context: Context<'_>) -> bool {
        let start = context.interval.start_of(bucket.first.time);
        let at = self.place(start, context);
        let Some(window) = self.windows.get_mut(at) else { return false };
        let before = window.last();
        window.bucket.merge(bucket);
        let is_last = at + 1 == self.windows.len() && start >= context.closed_until;
        if is_last {
            return false;
        }
        self.correct(at, before, context)
    }

    /// Looks at a window again after what is known about its time has changed. Returns whether a revision came due.
    pub(super) fn requalify(&mut self, from: Millis, context: Context<'_>) -> bool {
        let mut due = false;
        for at in self.index(context.interval.start_of(from))..self.windows.len() {
            let Some(window) = self.windows.get_mut(at) else { break };
            let end = context.interval.next(window.start) - 1;
            let judged = context.coverage.quality(window.start, end);
            // Coverage forgets interruptions of before the horizon, and what they leave in doubt.
            let is_exact = window.start >= context.horizon;
            let quality = if is_exact { judged } else { window.quality.worse(judged) };
            if window.quality != quality {
                window.quality = quality;
                due |= window.outdate();
            }
            due |= self.restate(at, context);
        }
        due
    }

    /// Makes the window that holds `time` exist if anything can still come of it, so that it bears the mark of an
    /// interruption there.
    pub(super) fn touch(&mut self, time: Millis, context: Context<'_>) {
        let start = context.interval.start_of(time);
        if start >= context.closed_until || context.interval.next(start) > context.horizon {
            self.place(start, context);
        }
    }

    /// Ends the window that starts at `start`. Returns it with its number if there is a kline to confirm.
    pub(super) fn close(&mut self, start: Millis, context: Context<'_>) -> Option<(&Window, u64)> {
        let known = self.newest.is_some_and(|newest| newest >= start);
        if !known && !context.fill {
            return None;
        }
        let end = context.interval.next(start) - 1;
        let exists = known && self.find(start).is_some();
        if !exists {
            let idle = context.fill && context.coverage.is_idle(start, end);
            let priced = self.last_before(start).is_some_and(|carry| context.coverage.proves(carry.time, start));
            if !(idle && priced) {
                return None;
            }
        }
        let at = self.place(start, context);
        let sequence = &mut self.sequence;
        let window = self.windows.get_mut(at)?;
        // An interruption that coverage has forgotten still marks the window.
        window.quality = window.quality.worse(context.coverage.quality(start, end));
        window.emitted = Emitted::Silent;
        let is_known = if window.bucket.is_empty() {
            context.fill && window.is_proven_empty() && context.coverage.is_idle(start, end)
        } else {
            !context.coverage.began_after(end)
        };
        if !is_known {
            return None;
        }
        window.emitted = Emitted::Closed { revision: 0 };
        *sequence += 1;
        Some((window, *sequence))
    }

    /// Takes the windows whose confirmed klines are out of date, numbering each as a revision.
    pub(super) fn take_stale(&mut self, mut take: impl FnMut(&Window, u64)) {
        for window in &mut self.windows {
            if std::mem::take(&mut window.stale) {
                if let Emitted::Closed { revision } = &mut window.emitted {
                    *revision += 1;
                } else {
                    window.emitted = Emitted::Closed { revision: 0 };
                }
                self.sequence += 1;
                take(window, self.sequence);
            }
        }
    }

    /// Shows the open windows whose trades changed since they were last shown; all that have trades when `every`.
    pub(super) fn show_open(&mut self, closed_until: Millis, every: bool, mut show: impl FnMut(&Window, u64)) {
        for window in self.windows.range_mut(self.index(closed_until)..) {
            let Emitted::Open { trades } = &mut window.emitted else { continue };
            if !window.bucket.is_empty() && (every || *trades != window.bucket.trades) {
                *trades = window.bucket.trades;
                show(window, self.sequence + 1);
            }
        }
    }

    /// Makes the flat klines from `from` on that an end kept back, which was none. Returns whether any are due. Those
    /// further back than [`REFILLED`] are not made: an exchange whose lists are wrong for longer than that is no reason
    /// to make thousands of klines at once.
    pub(super) fn refill(&mut self, from: Millis, context: Context<'_>) -> bool {
        let mut due = false;
        let from = from.max(context.closed_until.saturating_sub(REFILLED));
        let mut start = context.interval.start_of(from);
        while start < context.closed_until {
            let next = context.interval.next(start);
            let priced = self.last_before(start).is_some_and(|carry| context.coverage.proves(carry.time, start));
            if context.fill && priced && context.coverage.is_idle(start, next - 1) {
                let at = self.place(start, context);
                self.restate(at, context);
                let window = self.windows.get_mut(at).filter(|window| window.bucket.is_empty());
                if let Some(window) = window.filter(|window| window.emitted == Emitted::Silent && window.proven) {
                    due |= !std::mem::replace(&mut window.stale, true);
                }
            }
            start = next;
        }
        due
    }

    /// When the last trade happened that has come here.
    pub(super) fn last_trade(&self) -> Option<Millis> {
        self.windows.back().map_or(self.before, Window::last).map(|carry| carry.time)
    }

    /// Forgets closed windows before `start` that nothing can change any more. Returns how many.
    fn forget(&mut self, start: Millis, context: Context<'_>) -> usize {
        let until = start.min(context.closed_until);
        let mut count = 0;
        while let Some(window) = self.windows.front().filter(|window| window.start < until) {
            if window.stale || context.interval.next(window.start) > context.horizon {
                break;
            }
            self.before = window.last();
            self.windows.pop_front();
            count += 1;
        }
        count
    }

    /// Whether no window at `from` or later exists.
    pub(super) fn is_dark(&self, from: Millis) -> bool {
        self.newest.is_none_or(|newest| newest < from)
    }

    /// Returns the series in integers with more decimals, or nothing when a price no longer fits.
    pub(super) fn rescaled(&self, by: Widening) -> Option<Self> {
        let windows = self.windows.iter().map(|window| window.rescaled(by)).collect::<Option<_>>()?;
        let before = match self.before {
            Some(carry) => Some(Carry { price: by.price(carry.price)?, ..carry }),
            None => None,
        };
        Some(Self { windows, before, ..*self })
    }

    /// Follows a change of a window through the opens and flat klines after it. `before` is what the window handed
    /// on until now.
    fn correct(&mut self, at: usize, before: Option<Carry>, context: Context<'_>) -> bool {
        let mut due = false;
        let Some(window) = self.windows.get_mut(at) else { return false };
        let start = window.start;
        let closed = start < context.closed_until;
        if closed {
            due |= match window.emitted {
                // A window that had nothing to emit has now: its first confirmed kline comes late. But one that was
                // over before anybody watched stays silent.
                Emitted::Silent | Emitted::Open { .. } => {
                    let watched = context.coverage.began_by(context.interval.next(start) - 1);
                    watched && !std::mem::replace(&mut window.stale, true)
                }
                Emitted::Closed { .. } => window.outdate(),
            };
        }
        if window.last() != before {
            due |= self.carry_on(at, context);
        }
        due
    }

    /// Hands the close of window `at` on to those after it, up to and including the next one with trades. Windows
    /// without trades that are over and were not there come to be.
    fn carry_on(&mut self, at: usize, context: Context<'_>) -> bool {
        let mut due = false;
        let Some(mut start) = self.windows.get(at).map(|window| window.start) else { return false };
        loop {
            start = context.interval.next(start);
            let next = self.windows.get(self.index(start)).map(|window| window.start);
            let is_over = start < context.closed_until;
            if next != Some(start) {
                let end = context.interval.next(start) - 1;
                let flat = is_over && context.fill && context.coverage.is_idle(start, end);
                if !flat {
                    match next {
                        // A hole: go on with what comes after it.
                        Some(later) => start = later,
                        None => return due,
                    }
                }
            }
            let here = self.place(start, context);
            due |= self.restate(here, context);
            let Some(window) = self.windows.get_mut(here) else { return due };
            if !window.bucket.is_empty() {
                return due;
            }
            let end = context.interval.next(start) - 1;
            if is_over && window.emitted == Emitted::Silent && window.is_proven_empty() && context.fill {
                due |= context.coverage.is_idle(start, end) && !std::mem::replace(&mut window.stale, true);
            }
        }
    }

    /// Recomputes the previous close of a window. Returns whether a revision came due.
    fn restate(&mut self, at: usize, context: Context<'_>) -> bool {
        let carry = at.checked_sub(1).and_then(|prior| self.windows.get(prior)).map_or(self.before, Window::last);
        let Some(window) = self.windows.get_mut(at) else { return false };
        // A doubt about a price stays, even after the interruption that raised it has been forgotten.
        let is_exact = window.start >= context.horizon;
        let doubted = window.is_judged && window.carry == carry && !window.proven && !is_exact;
        let proven = !doubted && carry.is_some_and(|carry| context.coverage.proves(carry.time, window.start));
        window.is_judged = true;
        if (window.carry, window.proven) == (carry, proven) {
            return false;
        }
        let shown = window.carry_as_shown(context.first_trade_opens);
        (window.carry, window.proven) = (carry, proven);
        window.carry_as_shown(context.first_trade_opens) != shown && window.outdate()
    }

    /// Returns the place of the window that starts at `start`, making it if need be.
    fn place(&mut self, start: Millis, context: Context<'_>) -> usize {
        let at = self.index(start);
        if self.windows.get(at).is_some_and(|window| window.start == start) {
            return at;
        }
        let at = at - self.forget(start, context);
        let end = context.interval.next(start) - 1;
        let mut window = Window::new(start, context.coverage.quality(start, end));
        if start < context.closed_until {
            window.emitted = Emitted::Silent;
        }
        if at < self.windows.len() {
            self.windows.insert(at, window);
            self.restate(at, context);
            return at;
        }
        // The queue grows at this end and shrinks at the other.
        if self.windows.len() == self.windows.capacity() {
            // There are thousands of series, nearly all with one or two windows: doubling would waste megabytes.
            self.windows.reserve_exact(1 + self.windows.len() / 4);
        }
        self.windows.push_back(window);
        self.newest = Some(start);
        let at = self.windows.len() - 1;
        self.restate(at, context);
        at
    }

    /// Returns the place of the first window that starts at or after `start`. Nearly always one of the last.
    fn index(&self, start: Millis) -> usize {
        match self.newest {
            Some(newest) if newest < start => self.windows.len(),
            Some(newest) if newest == start => self.windows.len().saturating_sub(1),
            _ => self.windows.partition_point(|window| window.start < start),
        }
    }

    fn find(&self, start: Millis) -> Option<&Window> {
        self.windows.get(self.index(start)).filter(|window| window.start == start)
    }

    /// The last trade before `start`.
    fn last_before(&self, start: Millis) -> Option<Carry> {
        let prior = self.index(start).checked_sub(1).and_then(|at| self.windows.get(at));
        prior.map_or(self.before, Window::last)
    }
}
