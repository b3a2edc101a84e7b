//! Holds the state of one symbol: its scales, its coverage, its series, and the runs of trades that are not yet in a
//! series.
//!
//! Runs make the cost of a trade independent of the number of intervals. Consecutive trades that lie in the same window
//! of every interval are added up once, in the first run. When that run ends it is added to the series of the shortest
//! interval and to the second run, which ends with the second shortest window, and so on: a series is updated once per
//! window, not once per trade.

use std::collections::BTreeMap;

use super::coverage::Coverage;
use super::resuming::{Others, Unfinished};
use super::series::{Context, Series};
use super::settings::{Open, Settings};
use crate::bucket::{Bucket, Fill, Scales, Widening};
use crate::interval::Interval;
use crate::series::SeriesId;
use crate::symbol::{Category, Symbol};
use crate::time::{MINUTE, Millis};
use crate::trade::Trade;

/// How far back flat klines are created when the end of an instrument is cancelled: instrument lists are requested
/// every five minutes.
const MAX_REVIVED: Millis = 10 * MINUTE;

/// How much longer windows of a minute and more are kept if gaps are repaired: a feed that stays silent after a reconnect is
/// noticed late, and a candle can take the place of the trades of a minute only while that minute is known apart.
const REPAIRED_LATER: Millis = 10 * MINUTE;

/// For how long windows of less than a minute wait for a repair: there are 86,400 of a second in a day, and the recent trades
/// of a busy symbol reach back for minutes.
const SECONDS_REPAIRED: Millis = 15 * MINUTE;

/// The state of one interval, shared by all symbols.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntervalState {
    pub(super) interval: Interval,
    /// The start of the first window whose klines are emitted: later than the first trades if the interval was added in
    /// the course of a run, `MAX` if none are. Minutes are counted in any case: a repair replaces minutes.
    pub(super) emitted_from: Millis,
    /// Whether windows without trades become flat klines.
    pub(super) fill: bool,
    /// Whether klines open with their first trade.
    pub(super) first_trade_opens: bool,
    /// How much longer than usual its closed windows are kept, in ms.
    pub(super) kept: Millis,
    /// How long its closed windows wait for a repair, in ms.
    pub(super) repairable: Millis,
    /// The start of the window that closes next.
    pub(super) start: Millis,
    /// The start of the window after it.
    pub(super) next: Millis,
}

impl IntervalState {
    /// Makes the window that contains `at` the one that closes next.
    pub(super) const fn move_to(&mut self, at: Millis) {
        self.start = self.interval.start_of(at);
        self.next = self.interval.next(self.start);
    }

    /// Returns whether klines of this interval are emitted.
    pub(super) const fn is_emitted(&self) -> bool {
        self.emitted_from < Millis::MAX
    }

    /// Returns the context of a series of this interval.
    pub(super) const fn context<'a>(&self, coverage: &'a Coverage, horizon: Millis) -> Context<'a> {
        Context {
            interval: self.interval,
            coverage,
            closed_until: self.start,
            fill: self.fill,
            first_trade_opens: self.first_trade_opens,
            emitted_from: self.emitted_from,
            horizon: horizon.saturating_sub(self.kept),
            repairable_from: self.start.saturating_sub(self.repairable),
        }
    }
}

/// The states of all intervals, shortest first, and how long windows are kept.
#[derive(Clone, Debug)]
pub(super) struct Intervals {
    pub(super) all: Vec<IntervalState>,
    /// A window that ends before this time can no longer change, unless a repair changes it.
    pub(super) horizon: Millis,
    /// Whether gaps are repaired.
    pub(super) is_repaired: bool,
}

impl Intervals {
    /// Returns the intervals of the settings, and the minute besides if gaps are repaired.
    pub(super) fn new(settings: &Settings) -> Self {
        let mut all = settings.intervals.clone();
        all.extend(settings.is_repaired.then_some(Interval::MINUTE));
        all.sort();
        all.dedup();
        let state = |interval| {
            let is_emitted = settings.intervals.contains(&interval);
            IntervalState {
                interval,
                emitted_from: if is_emitted { Millis::MIN } else { Millis::MAX },
                fill: is_emitted && settings.fill.applies(interval),
                first_trade_opens: settings.open == Open::FirstTrade,
                kept: if settings.is_repaired && interval >= Interval::MINUTE { REPAIRED_LATER } else { 0 },
                repairable: if interval < Interval::MINUTE { SECONDS_REPAIRED } else { Millis::MAX },
                start: 0,
                next: 0,
            }
        };
        Self { all: all.into_iter().map(state).collect(), horizon: Millis::MIN, is_repaired: settings.is_repaired }
    }
}

/// Trades that are not yet in the series of one interval and of those longer than it.
#[derive(Clone, Copy, Debug)]
struct Run {
    bucket: Bucket,
    /// Takes trades from this time on …
    from: Millis,
    /// … and before this time.
    until: Millis,
}

impl Run {
    const EMPTY: Self = Self { bucket: Bucket::EMPTY, from: Millis::MAX, until: Millis::MIN };

    /// Starts a run with trades that lie in the same window of each of these intervals.
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

    /// Returns whether trades from `first` to `last` lie in the same windows as the trades of the run.
    #[inline]
    const fn holds(&self, first: Millis, last: Millis) -> bool {
        self.from <= first && last < self.until && !self.bucket.is_empty()
    }
}

/// The state of one symbol.
#[derive(Clone, Debug)]
pub(super) struct SymbolState {
    /// The series ids of its klines, one for each of `series`.
    pub(super) ids: Vec<SeriesId>,
    pub(super) scales: Scales,
    pub(super) coverage: Coverage,
    pub(super) series: Vec<Series>,
    /// The trades that are not yet in a series, one run for each of `series`.
    runs: Vec<Run>,
    /// Whether trades arrived since the last update.
    pub(super) changed: bool,
    /// Earliest time of the next update.
    pub(super) update_at: Millis,
    /// Whether a revision is due.
    pub(super) stale: bool,
    /// The end of the last candle of the exchange that was taken; later trades are not in one.
    pub(super) candles_until: Millis,
    /// Whether the symbol is no longer watched.
    pub(super) has_left: bool,
    /// The sequence numbers of the last klines of all intervals that there were before the last change of intervals.
    pub(super) sequences: BTreeMap<Interval, u64>,
    /// What earlier runs have not finished; `None` if there was none, or the symbol has been covered since.
    pub(super) earlier: Option<Unfinished>,
    /// What others have published until it is covered; `None` if they have not, or it has been covered since.
    pub(super) others: Option<Others>,
}

impl SymbolState {
    pub(super) fn new(category: Category, symbol: &Symbol, intervals: &Intervals) -> Self {
        let ids = intervals.all.iter().map(|state| SeriesId::new(category, symbol.clone(), state.interval));
        let count = intervals.all.len();
        Self {
            ids: ids.collect(),
            scales: Scales::default(),
            coverage: Coverage::new(intervals.is_repaired),
            series: vec![Series::default(); count],
            runs: vec![Run::EMPTY; count],
            changed: false,
            update_at: Millis::MIN,
            stale: false,
            candles_until: Millis::MIN,
            has_left: false,
            sequences: BTreeMap::new(),
            earlier: None,
            others: None,
        }
    }

    /// Converts a trade into the symbol's integers, with more decimals if needed. Returns `None` if its numbers do not
    /// fit.
    #[inline]
    pub(super) fn convert(&mut self, trade: &Trade, category: Category) -> Option<Fill> {
        if self.scales.hold(trade) {
            return Fill::new(trade, self.scales, category);
        }
        // The scales grow only if the trade then fits.
        let wide = self.scales.widened(trade);
        let fill = Fill::new(trade, wide, category)?;
        self.widen(wide, category)?;
        Some(fill)
    }

    /// Adds a trade. Returns whether it may have started a run or a window.
    #[inline]
    pub(super) fn add(&mut self, fill: &Fill, intervals: &Intervals) -> bool {
        let Some(run) = self.runs.first_mut() else { return false };
        let order = fill.order();
        if run.holds(order.time, order.time) && order >= run.bucket.last {
            run.bucket.append(fill);
            return false;
        }
        self.pass_on(0, &Bucket::of(fill), intervals);
        true
    }

    /// Begins new runs, one for each of `series`, without those that there were.
    pub(super) fn clear_runs(&mut self) {
        self.runs = vec![Run::EMPTY; self.series.len()];
    }

    /// Adds the trades of all runs to their series.
    pub(super) fn flush_runs(&mut self, intervals: &Intervals) {
        self.flush_runs_through(intervals.all.len(), intervals);
    }

    /// Adds the trades of the first `count` runs to their series.
    pub(super) fn flush_runs_through(&mut self, count: usize, intervals: &Intervals) {
        for level in 0..count {
            self.end_run(level, intervals);
        }
    }

    /// Recomputes the quality of windows after a change of coverage from `from` on.
    pub(super) fn requalify(&mut self, from: Millis, intervals: &Intervals) {
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            let context = state.context(&self.coverage, intervals.horizon);
            series.ensure_window(from, context);
            self.stale |= series.requalify(from, context);
        }
    }

    /// Returns whether neither a series nor the coverage has data from `from` on, and no run has trades.
    pub(super) fn is_unknown_from(&self, index: usize, from: Millis) -> bool {
        let series = self.series.get(index).is_none_or(|series| series.is_empty_from(from));
        series && self.coverage.is_unwatched_from(from) && self.runs.iter().all(|run| run.bucket.is_empty())
    }

    /// Returns whether one of its series has no window after the one that starts at `start`.
    pub(super) fn is_empty_after(&self, index: usize, start: Millis) -> bool {
        self.series.get(index).is_none_or(|series| series.is_empty_from(start.saturating_add(1)))
    }

    /// Marks a trade between `from` and `to` as missing: its windows, and those whose open depends on it, are not
    /// complete. Returns whether this changes the coverage.
    #[cold]
    pub(super) fn miss(&mut self, from: Millis, to: Millis, intervals: &Intervals) -> bool {
        self.mark(from, to, intervals, |coverage| coverage.miss(from, to))
    }

    /// Corrects a start of coverage that was reported as `from` to `at`. Returns whether this changes the coverage.
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
        self.flush_runs(intervals);
        if !change(&mut self.coverage) {
            return false;
        }
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            let context = state.context(&self.coverage, intervals.horizon);
            // If `from` lies in another window, that one closes before the hole ends, and the coverage keeps the hole
            // as long as the series keeps the window.
            series.ensure_window(to, context);
            // Windows that ended before the horizon can no longer change.
            self.stale |= series.requalify(from.max(context.horizon), context);
        }
        true
    }

    /// Returns the time of the last trade that was counted.
    pub(super) fn last_trade(&self) -> Option<Millis> {
        let runs = self.runs.iter().filter(|run| !run.bucket.is_empty()).map(|run| run.bucket.last.time).max();
        runs.max(self.series.first().and_then(Series::last_trade))
    }

    /// Marks the instrument as ended at `at`, since when the exchange has not listed it, unless it has traded after
    /// that.
    pub(super) fn end(&mut self, at: Millis, intervals: &Intervals) {
        self.flush_runs(intervals);
        if self.series.first().and_then(Series::last_trade).is_none_or(|time| time <= at) {
            self.coverage.end(at);
        }
    }

    /// Marks the instrument as trading at `time`. If it had been marked as ended before, the flat klines that were
    /// withheld become due. Returns whether it had been.
    pub(super) fn revive(&mut self, time: Millis, intervals: &Intervals) -> bool {
        let Some(at) = self.coverage.revive(time) else { return false };
        self.flush_runs(intervals);
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            self.stale |= series.fill_flat(at, MAX_REVIVED, state.context(&self.coverage, intervals.horizon));
        }
        true
    }

    #[cold]
    pub(super) fn widen(&mut self, scales: Scales, category: Category) -> Option<()> {
        let by = Widening::between(self.scales, scales, category);
        // Either everything is rescaled or nothing: a symbol whose integers cannot grow keeps its scales.
        let rescaled = |run: &Run| Some(Run { bucket: run.bucket.rescaled(by)?, ..*run });
        let runs = self.runs.iter().map(rescaled).collect::<Option<_>>()?;
        let series = self.series.iter().map(|series| series.rescaled(by)).collect::<Option<_>>()?;
        let marks = self.coverage.rescaled_marks(by)?;
        self.coverage.set_marks(marks);
        (self.runs, self.series, self.scales) = (runs, series, scales);
        Some(())
    }

    /// Adds trades to a run. If they do not belong to it, the run ends first.
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

    /// Ends a run: adds its trades to its series and to the next run.
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
