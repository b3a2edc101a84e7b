//! The windows of one symbol and interval, ascending by start: the open ones, and recently closed ones that a late
//! trade or a late report of an interruption can still change. Windows without data are left out.

mod derived;
mod earlier;

use std::collections::VecDeque;

pub(super) use self::earlier::Earlier;
use super::coverage::Coverage;
use super::window::{Carry, Emitted, Window};
use crate::bucket::{Bucket, Widening};
use crate::interval::Interval;
use crate::kline::Quality;
use crate::mutants::Mutant;
use crate::time::Millis;

/// Room for this number of windows is not given back: it is about what a series of seconds needs all the time.
const LEAST_ROOM: usize = 128;

/// What a series needs to know besides its own windows.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) interval: Interval,
    pub(super) coverage: &'a Coverage,
    /// Windows that start before this time are closed.
    pub(super) closed_until: Millis,
    /// Whether windows without trades become flat klines.
    pub(super) fill: bool,
    /// Whether klines open with their first trade.
    pub(super) first_trade_opens: bool,
    /// Windows that start before this time have no kline.
    pub(super) emitted_from: Millis,
    /// A window that ends before this time can no longer change.
    pub(super) horizon: Millis,
    /// A window that ends before this time can no longer be repaired.
    pub(super) repairable_from: Millis,
}

/// The windows of one symbol and interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    windows: VecDeque<Window>,
    /// The start of the last window: answers most queries without reading the queue.
    newest: Option<Millis>,
    /// The last trade before the first window.
    before: Option<Carry>,
    /// The start of the latest window that has been removed.
    removed: Option<Millis>,
    /// From this time on, its windows have all trades that were counted; later than the first of them only if the interval
    /// was added in the course of the run.
    known_from: Millis,
    /// The sequence number of the last confirmed kline.
    pub(super) sequence: u64,
    pub(super) earlier: Earlier,
}

impl Series {
    /// Builds a series without windows whose next confirmed kline follows this sequence number.
    pub(super) fn continuing(sequence: u64) -> Self {
        Self { sequence, ..Self::default() }
    }

    /// Continues an empty series after an earlier run.
    pub(super) fn resume(&mut self, sequence: u64, earlier: Earlier) {
        (self.sequence, self.earlier) = (sequence, earlier);
    }

    /// Adds trades that all lie in one window. Returns whether a revision became due.
    pub(super) fn add(&mut self, bucket: &Bucket, context: Context<'_>) -> bool {
        let start = context.interval.start_of(bucket.first.time);
        // Its kline has been emitted, and can no longer be revised.
        if context.interval.next(start) <= context.horizon && self.is_removed(start) {
            return false;
        }
        let at = self.window_index(start, context);
        let Some(window) = self.windows.get_mut(at) else { return false };
        let before = window.last();
        window.bucket.merge(bucket);
        let is_last = at + 1 == self.windows.len() && start >= context.closed_until;
        if is_last {
            return false;
        }
        self.correct(at, before, context)
    }

    /// Recomputes the quality of windows from `from` on after coverage changed. Returns whether a revision became due.
    pub(super) fn requalify(&mut self, from: Millis, context: Context<'_>) -> bool {
        let mut due = false;
        for at in self.index(context.interval.start_of(from))..self.windows.len() {
            let Some(window) = self.windows.get_mut(at) else { break };
            let quality = quality(self.known_from, window.start, context);
            if window.quality != quality {
                window.quality = quality;
                due |= window.mark_stale();
            }
            due |= self.refresh_previous_close(at, context);
        }
        due
    }

    /// Creates the window that contains `time` if it can still emit a kline, so that it records an interruption at that
    /// time.
    pub(super) fn ensure_window(&mut self, time: Millis, context: Context<'_>) {
        let start = context.interval.start_of(time);
        if start >= context.closed_until || context.interval.next(start) > context.horizon {
            self.window_index(start, context);
        }
    }

    /// Closes the window that starts at `start`. Returns it with its sequence number if there is a kline to confirm.
    pub(super) fn close(&mut self, start: Millis, context: Context<'_>) -> Option<(&Window, u64)> {
        let known = self.newest.is_some_and(|newest| newest >= start);
        if !known && !context.fill {
            return None;
        }
        let end = context.interval.next(start) - 1;
        let exists = known && self.find(start).is_some();
        if !exists {
            let is_idle = context.fill && context.coverage.is_idle(start, end);
            if !is_idle || !context.coverage.previous(self.last_before(start), start).1 {
                return None;
            }
        }
        let at = self.window_index(start, context);
        let (sequence, known_from) = (&mut self.sequence, self.known_from);
        let window = self.windows.get_mut(at)?;
        window.quality = quality(known_from, start, context);
        window.emitted = Emitted::Silent;
        let is_known = if window.bucket.is_empty() {
            context.fill && window.is_proven_empty() && context.coverage.is_idle(start, end)
        } else {
            !context.coverage.began_after(end)
        };
        if !is_known || self.earlier.is_final(start) || self.earlier.revision_of(start, end).is_some() {
            return None;
        }
        window.emitted = Emitted::Closed { revision: self.earlier.first_revision(end) };
        *sequence += 1;
        Some((window, *sequence))
    }

    /// Passes each window whose confirmed kline is out of date to `take`, with the number of its revision. Windows that start
    /// before `emitted_from` have no kline.
    pub(super) fn take_stale(
        &mut self,
        (interval, first_trade_opens): (Interval, bool),
        emitted_from: Millis,
        mut take: impl FnMut(&Window, u64),
    ) {
        for window in &mut self.windows {
            let is_stale = std::mem::take(&mut window.stale) && window.start >= emitted_from;
            if !is_stale || self.earlier.is_final(window.start) {
                continue;
            }
            let end = interval.next(window.start) - 1;
            let known = self.earlier.revision_of(window.start, end);
            let revision = match window.emitted {
                Emitted::Closed { revision } => Some(revision),
                Emitted::Open { .. } | Emitted::Silent => known,
            };
            // A kline of an earlier run may have more than is known yet.
            if known.is_some() && revision <= known && !window.is_right(first_trade_opens) {
                window.emitted = Emitted::Closed { revision: revision.unwrap_or_default() };
                continue;
            }
            let step = u32::from(!Mutant::RevisionNotCounted.is_made());
            let revision = revision.map_or_else(|| self.earlier.first_revision(end), |revision| revision + step);
            window.emitted = Emitted::Closed { revision };
            self.sequence += u64::from(!Mutant::SequenceNotCounted.is_made());
            take(window, self.sequence);
        }
    }

    /// Calls `show` with each open window whose trades changed since the last update, or, if `every` is set, with each open
    /// window that has trades.
    pub(super) fn show_open(&mut self, closed_until: Millis, every: bool, mut show: impl FnMut(&Window, u64)) {
        for window in self.windows.range_mut(self.index(closed_until)..) {
            let Emitted::Open { trades } = &mut window.emitted else { continue };
            if !window.bucket.is_empty() && (every || *trades != window.bucket.trades) {
                *trades = window.bucket.trades;
                show(window, self.sequence + 1);
            }
        }
    }

    /// Creates the flat klines from `from` on that were withheld because they could not be proven. Returns whether any are
    /// due. Windows that ended more than `most` ago are left out, so that thousands do not come at once.
    pub(super) fn fill_flat(&mut self, from: Millis, most: Millis, context: Context<'_>) -> bool {
        let Some(since) = context.coverage.since().filter(|_| context.fill) else { return false };
        let mut due = false;
        let from = from
            .max(context.closed_until.saturating_sub(most))
            .max(since)
            .max(context.emitted_from)
            .max(self.earlier.first());
        let mut start = context.interval.start_of(from);
        while start < context.closed_until {
            let next = context.interval.next(start);
            if context.coverage.is_idle(start, next - 1)
                && !self.is_removed(start)
                && !self.earlier.is_final(start)
                && context.coverage.previous(self.last_before(start), start).1
            {
                let at = self.window_index(start, context);
                self.refresh_previous_close(at, context);
                let window = self.windows.get_mut(at).filter(|window| window.is_proven_empty());
                if let Some(window) = window.filter(|window| window.emitted == Emitted::Silent) {
                    due |= !std::mem::replace(&mut window.stale, true);
                }
            }
            start = next;
        }
        due
    }

    /// Adds what a candle has more than the trades that were counted. Returns whether a revision became due.
    pub(super) fn absorb(&mut self, candle: &Bucket, context: Context<'_>) -> bool {
        let start = context.interval.start_of(candle.first.time);
        // A window that ended before coverage began has no kline.
        if !context.coverage.began_by(context.interval.next(start) - 1) || self.is_removed(start) {
            return false;
        }
        let at = self.window_index(start, context);
        let Some(window) = self.windows.get_mut(at) else { return false };
        let before = window.last();
        window.bucket.absorb(candle);
        window.mark_stale() | self.correct(at, before, context)
    }

    /// Returns the trades of the window that starts at `start`, which may be none; `None` if they are no longer known.
    pub(super) fn trades_of(&self, start: Millis) -> Option<Bucket> {
        match self.find(start) {
            Some(window) => Some(window.bucket),
            None => (!self.is_removed(start)).then_some(Bucket::EMPTY),
        }
    }

    /// Returns the time of the last trade of the series.
    pub(super) fn last_trade(&self) -> Option<Millis> {
        self.windows.back().map_or(self.before, Window::last).map(|carry| carry.time)
    }

    /// Removes closed windows before `start` that can no longer change. Returns how many.
    ///
    /// A window that a repair may still change is kept. Of the windows behind it the last one stays and stands for the
    /// others, so that the next window knows its previous close.
    fn forget(&mut self, start: Millis, context: Context<'_>) -> usize {
        let until = start.min(context.closed_until);
        let (mut count, mut at) = (0, 0);
        while let Some(window) = self.windows.get(at).filter(|window| window.start < until) {
            if window.stale || context.interval.next(window.start) > context.horizon {
                break;
            }
            if !context.coverage.is_settled() && is_wanted(window, context) {
                at += 1;
                continue;
            }
            let stands_from = window.stands_from.unwrap_or(window.start);
            if !context.coverage.wants(Millis::MIN, window.start - 1) {
                (self.before, self.removed) = (window.last(), Some(window.start));
                self.windows.remove(at);
                count += 1;
                continue;
            }
            let prior = at.checked_sub(1).and_then(|prior| self.windows.get(prior)?.stands_from);
            if let Some(window) = self.windows.get_mut(at) {
                window.stands_from = Some(prior.unwrap_or(stands_from));
            }
            if prior.is_some() {
                self.windows.remove(at - 1);
                count += 1;
            } else {
                at += 1;
            }
        }
        // After a repair, most of the room would stay empty.
        if count > 0 && self.windows.capacity() > LEAST_ROOM.max(4 * self.windows.len()) {
            self.windows.shrink_to(2 * self.windows.len());
        }
        count
    }

    /// Returns whether the window that starts at `start` was removed, or may have been.
    fn is_removed(&self, start: Millis) -> bool {
        let at = self.index(start);
        match self.windows.get(at) {
            Some(window) if window.start == start => false,
            Some(window) if window.stands_from.is_some_and(|from| from <= start) => true,
            _ => at == 0 && self.removed.is_some_and(|removed| start <= removed),
        }
    }

    /// Returns whether no window starts at `from` or later.
    pub(super) fn is_empty_from(&self, from: Millis) -> bool {
        self.newest.is_none_or(|newest| newest < from)
    }

    /// Returns the series in integers with more decimals; `None` if a price no longer fits.
    pub(super) fn rescaled(&self, by: Widening) -> Option<Self> {
        let windows = self.windows.iter().map(|window| window.rescaled(by)).collect::<Option<_>>()?;
        let before = match self.before {
            Some(carry) => Some(carry.rescaled(by)?),
            None => None,
        };
        Some(Self { windows, before, earlier: self.earlier.clone(), ..*self })
    }

    /// Propagates a change of a window to the opens and flat klines after it. `before` is the close of the window
    /// before the change.
    fn correct(&mut self, at: usize, before: Option<Carry>, context: Context<'_>) -> bool {
        let mut due = false;
        let Some(window) = self.windows.get_mut(at) else { return false };
        let start = window.start;
        let closed = start < context.closed_until;
        if closed {
            due |= match window.emitted {
                // A window that had no kline has one now, which is confirmed late. A window that ended before coverage
                // began stays silent.
                Emitted::Silent | Emitted::Open { .. } => {
                    let watched = context.coverage.began_by(context.interval.next(start) - 1);
                    watched && !std::mem::replace(&mut window.stale, true)
                }
                Emitted::Closed { .. } => window.mark_stale(),
            };
        }
        if window.last() != before {
            due |= self.propagate_close(at, context);
        }
        due
    }

    /// Propagates the close of window `at` to the windows after it, up to and including the next one with trades.
    /// Creates the missing flat windows that are closed.
    fn propagate_close(&mut self, at: usize, context: Context<'_>) -> bool {
        let mut due = false;
        let Some(mut start) = self.windows.get(at).map(|window| window.start) else { return false };
        loop {
            start = context.interval.next(start);
            let next = self.windows.get(self.index(start)).map(|window| window.start);
            let is_over = start < context.closed_until;
            if next != Some(start) {
                // What is no longer kept had its trades, and cannot change any more.
                if self.is_removed(start) {
                    return due;
                }
                let end = context.interval.next(start) - 1;
                let flat = is_over && context.fill && context.coverage.is_idle(start, end);
                if !flat {
                    match next {
                        // No flat window is possible here: continue with the next existing one.
                        Some(later) => start = later,
                        None => return due,
                    }
                }
            }
            let here = self.window_index(start, context);
            due |= self.refresh_previous_close(here, context);
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

    /// Recomputes the previous close of a window. Returns whether a revision became due.
    fn refresh_previous_close(&mut self, at: usize, context: Context<'_>) -> bool {
        let carry = at.checked_sub(1).and_then(|prior| self.windows.get(prior)).map_or(self.before, Window::last);
        let Some(window) =
            self.windows.get_mut(at).filter(|window| !(window.is_judged && Mutant::OpenNotCorrected.is_made()))
        else {
            return false;
        };
        // The window before it has been removed.
        if window.stands_from.is_some() {
            return false;
        }
        let (carry, proven) = context.coverage.previous(carry, window.start);
        window.is_judged = true;
        if (window.carry, window.proven) == (carry, proven) {
            return false;
        }
        let shown = window.carry_as_shown(context.first_trade_opens);
        (window.carry, window.proven) = (carry, proven);
        window.carry_as_shown(context.first_trade_opens) != shown && window.mark_stale()
    }

    /// Returns the index of the window that starts at `start`; creates it if needed.
    fn window_index(&mut self, start: Millis, context: Context<'_>) -> usize {
        let at = self.index(start);
        if self.windows.get(at).is_some_and(|window| window.start == start) {
            return at;
        }
        let at = at - self.forget(start, context);
        let mut window = Window::new(start, quality(self.known_from, start, context));
        if start < context.closed_until {
            window.emitted = Emitted::Silent;
        }
        if at < self.windows.len() {
            self.windows.insert(at, window);
            self.refresh_previous_close(at, context);
            return at;
        }
        // The queue grows at this end and shrinks at the other.
        if self.windows.len() == self.windows.capacity() {
            // There are thousands of series, nearly all with one or two windows: doubling the capacity would waste
            // megabytes.
            self.windows.reserve_exact(1 + self.windows.len() / 4);
        }
        self.windows.push_back(window);
        self.newest = Some(start);
        let at = self.windows.len() - 1;
        self.refresh_previous_close(at, context);
        at
    }

    /// Returns the index of the first window that starts at or after `start`, which is nearly always one of the last.
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

    /// Returns the last trade before `start`.
    pub(super) fn last_before(&self, start: Millis) -> Option<Carry> {
        let prior = self.index(start).checked_sub(1).and_then(|at| self.windows.get(at));
        prior.map_or(self.before, Window::last)
    }
}

/// Returns the quality of the window that starts at `start`, in a series that has all trades from `known_from` on.
fn quality(known_from: Millis, start: Millis, context: Context<'_>) -> Quality {
    let end = context.interval.next(start) - 1;
    if start >= known_from {
        return context.coverage.quality(start, end);
    }
    match context.coverage.quality(known_from.min(end), end) {
        Quality::Complete | Quality::Repaired => Quality::Partial,
        doubtful => doubtful,
    }
}

/// Returns whether a repair may still change a window or its previous close.
fn is_wanted(window: &Window, context: Context<'_>) -> bool {
    let end = context.interval.next(window.start) - 1;
    if end < context.repairable_from {
        return false;
    }
    let is_unproven = || {
        let since = window.carry.map_or(Millis::MIN, |carry| carry.time);
        !window.proven && context.coverage.wants(since, window.start - 1)
    };
    context.coverage.wants(window.start, end) || is_unproven()
}
