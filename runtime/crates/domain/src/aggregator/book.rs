//! All that is known of one symbol: its scales, its coverage, its series, and the run of trades not yet shared out.
//!
//! Runs are what makes the cost of a trade independent of the number of intervals. Trades that come in order and lie in
//! the same window of every interval are added up once, in the first run. When it ends it goes to the shortest
//! interval's series and into the second run, which ends with the second shortest window, and so on: a series is
//! touched once a window, not once a trade.

use super::coverage::Coverage;
use super::series::{Context, Series};
use crate::bucket::{Bucket, Fill, Scales, Widening};
use crate::interval::Interval;
use crate::series::SeriesId;
use crate::symbol::{Category, Symbol};
use crate::time::Millis;
use crate::trade::Trade;

/// One interval as all symbols share it.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntervalState {
    pub(super) interval: Interval,
    /// Windows without trades become flat klines.
    pub(super) fill: bool,
    /// Klines open with their first trade.
    pub(super) first_trade_opens: bool,
    /// Start of the window that closes next.
    pub(super) start: Millis,
    /// Start of the one after it.
    pub(super) next: Millis,
}

impl IntervalState {
    /// Makes the window that holds `at` the one that closes next.
    pub(super) const fn move_to(&mut self, at: Millis) {
        self.start = self.interval.start_of(at);
        self.next = self.interval.next(self.start);
    }

    /// What a series of this interval needs to know.
    pub(super) const fn context<'a>(&self, coverage: &'a Coverage, horizon: Millis) -> Context<'a> {
        Context {
            interval: self.interval,
            coverage,
            closed_until: self.start,
            fill: self.fill,
            first_trade_opens: self.first_trade_opens,
            horizon,
        }
    }
}

/// The intervals as all symbols share them, shortest first, and how far back windows are kept.
#[derive(Clone, Debug)]
pub(super) struct Intervals {
    pub(super) all: Vec<IntervalState>,
    /// Nothing can change a window that ends before this.
    pub(super) horizon: Millis,
}

/// Trades on their way to the series of one interval and of those longer than it.
#[derive(Clone, Copy, Debug)]
struct Run {
    bucket: Bucket,
    /// It takes trades from here …
    from: Millis,
    /// … to before here.
    until: Millis,
}

impl Run {
    const EMPTY: Self = Self { bucket: Bucket::EMPTY, from: Millis::MAX, until: Millis::MIN };

    /// Begins with some trades, all in the same window of each of these intervals.
    fn begin(bucket: Bucket, intervals: &[IntervalState]) -> Self {
        let time = bucket.first.time;
        let (mut from, mut until) = (Millis::MIN, Millis::MAX);
        for state in intervals {
            let present = state.start <= time && time < state.next;
            let start = if present { state.start } else { state.interval.start_of(time) };
            from = from.max(start);
            until = until.min(if present { state.next } else { state.interval.next(start) });
        }
        Self { bucket, from, until }
    }

    /// Whether trades from `first` to `last` lie in the same windows as those that it has.
    #[inline]
    const fn holds(&self, first: Millis, last: Millis) -> bool {
        self.from <= first && last < self.until && !self.bucket.is_empty()
    }
}

/// One symbol.
#[derive(Clone, Debug)]
pub(super) struct Book {
    /// What its klines carry, one for each of `series`.
    pub(super) ids: Vec<SeriesId>,
    pub(super) scales: Scales,
    pub(super) coverage: Coverage,
    pub(super) series: Vec<Series>,
    /// One for each series: what has not come to it yet.
    runs: Vec<Run>,
    /// Trades came since the last update was shown.
    pub(super) changed: bool,
    /// Earliest time of the next update.
    pub(super) update_at: Millis,
    /// A revision is due.
    pub(super) stale: bool,
}

impl Book {
    pub(super) fn new(category: Category, symbol: &Symbol, intervals: &Intervals) -> Self {
        let ids = intervals.all.iter().map(|state| SeriesId::new(category, symbol.clone(), state.interval));
        let intervals = intervals.all.len();
        Self {
            ids: ids.collect(),
            scales: Scales::default(),
            coverage: Coverage::default(),
            series: vec![Series::default(); intervals],
            runs: vec![Run::EMPTY; intervals],
            changed: false,
            update_at: Millis::MIN,
            stale: false,
        }
    }

    /// Brings a trade into the symbol's integers, widening them if need be. Nothing when it cannot be held.
    #[inline]
    pub(super) fn convert(&mut self, trade: &Trade, category: Category) -> Option<Fill> {
        if self.scales.hold(trade) {
            return Fill::new(trade, self.scales, category);
        }
        // Scales grow only for a trade that then fits.
        let wide = self.scales.widened(trade);
        let fill = Fill::new(trade, wide, category)?;
        self.widen(wide, category)?;
        Some(fill)
    }

    /// Counts a trade. Returns whether it may have begun something: a run, or a window.
    #[inline]
    pub(super) fn add(&mut self, fill: &Fill, intervals: &Intervals) -> bool {
        let Some(run) = self.runs.first_mut() else { return false };
        let place = fill.place();
        if run.holds(place.time, place.time) && place >= run.bucket.last {
            run.bucket.append(fill);
            return false;
        }
        self.pass_on(0, &Bucket::of(fill), intervals);
        true
    }

    /// Shares out to every series what has not come to it yet.
    pub(super) fn share_out(&mut self, intervals: &Intervals) {
        self.share_through(intervals.all.len(), intervals);
    }

    /// Shares out to the first `count` series.
    pub(super) fn share_through(&mut self, count: usize, intervals: &Intervals) {
        for level in 0..count {
            self.end_run(level, intervals);
        }
    }

    /// Applies a change of what is known about the feed, from `from` on.
    pub(super) fn requalify(&mut self, from: Millis, intervals: &Intervals) {
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            let context = state.context(&self.coverage, intervals.horizon);
            series.touch(from, context);
            self.stale |= series.requalify(from, context);
        }
    }

    /// Whether nothing at all is known from `from` on in one of its series.
    pub(super) fn is_dark(&self, index: usize, from: Millis) -> bool {
        let series = self.series.get(index).is_none_or(|series| series.is_dark(from));
        series && self.coverage.is_dark(from) && self.runs.iter().all(|run| run.bucket.is_empty())
    }

    /// Whether one of its series has no window after the one that starts at `start`.
    pub(super) fn is_dark_after(&self, index: usize, start: Millis) -> bool {
        self.series.get(index).is_none_or(|series| series.is_dark(start.saturating_add(1)))
    }

    /// A trade from `from` to `to` is in no kline: its windows, and those whose open depends on it, cannot be called
    /// complete. Returns whether that is news.
    #[cold]
    pub(super) fn miss(&mut self, from: Millis, to: Millis, intervals: &Intervals) -> bool {
        self.mark(from, to, intervals, |coverage| coverage.miss(from, to))
    }

    /// Coverage that was said to begin at `from` began at `at`. Returns whether that is news.
    #[cold]
    pub(super) fn delay(&mut self, from: Millis, at: Millis, intervals: &Intervals) -> bool {
        self.mark(from, at - 1, intervals, |coverage| coverage.delay(from, at))
    }

    /// Marks the windows of a time that turns out not to be covered.
    fn mark(
        &mut self,
        from: Millis,
        to: Millis,
        intervals: &Intervals,
        change: impl FnOnce(&mut Coverage) -> bool,
    ) -> bool {
        self.share_out(intervals);
        self.coverage.forget(intervals.horizon);
        if !change(&mut self.coverage) {
            return false;
        }
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            let context = state.context(&self.coverage, intervals.horizon);
            // The window of `from`, where it is another one, is over before the hole is: coverage remembers the hole for
            // as long as that window is kept.
            series.touch(to, context);
            // Windows that ended before the horizon are as good as forgotten.
            self.stale |= series.requalify(from.max(intervals.horizon), context);
        }
        true
    }

    /// The exchange has not listed the instrument since `at`: it has ended then, unless it has traded after that.
    pub(super) fn end(&mut self, at: Millis, intervals: &Intervals) {
        self.share_out(intervals);
        if self.series.first().and_then(Series::last_trade).is_none_or(|time| time <= at) {
            self.coverage.end(at);
        }
    }

    /// The instrument trades at `time`. If it was believed to have ended before, flat klines that were kept back are due.
    pub(super) fn revive(&mut self, time: Millis, intervals: &Intervals) -> bool {
        let Some(at) = self.coverage.revive(time) else { return false };
        self.share_out(intervals);
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            self.stale |= series.refill(at, state.context(&self.coverage, intervals.horizon));
        }
        true
    }

    #[cold]
    fn widen(&mut self, scales: Scales, category: Category) -> Option<()> {
        let by = Widening::between(self.scales, scales, category);
        // All or nothing: a symbol whose integers cannot grow keeps those it has.
        let rescaled = |run: &Run| Some(Run { bucket: run.bucket.rescaled(by)?, ..*run });
        let runs = self.runs.iter().map(rescaled).collect::<Option<_>>()?;
        let series = self.series.iter().map(|series| series.rescaled(by)).collect::<Option<_>>()?;
        (self.runs, self.series, self.scales) = (runs, series, scales);
        Some(())
    }

    /// Adds trades to a run; one that cannot take them ends first.
    fn pass_on(&mut self, level: usize, bucket: &Bucket, intervals: &Intervals) {
        let (Some(run), Some(states_from)) = (self.runs.get_mut(level), intervals.all.get(level..)) else { return };
        if run.holds(bucket.first.time, bucket.last.time) {
            run.bucket.merge(bucket);
            return;
        }
        self.end_run(level, intervals);
        if let Some(run) = self.runs.get_mut(level) {
            *run = Run::begin(*bucket, states_from);
        }
    }

    /// Gives a run to its series and passes it on to the next one.
    fn end_run(&mut self, level: usize, intervals: &Intervals) {
        let (Some(run), Some(state)) = (self.runs.get_mut(level), intervals.all.get(level)) else { return };
        if run.bucket.is_empty() {
            return;
        }
        let bucket = run.bucket;
        run.bucket.clear();
        if let Some(series) = self.series.get_mut(level) {
            self.stale |= series.add(&bucket, state.context(&self.coverage, intervals.horizon));
        }
        self.pass_on(level + 1, &bucket, intervals);
    }
}
