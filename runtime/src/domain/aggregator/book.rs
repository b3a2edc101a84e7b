//! All that is known of one symbol: its scales, its coverage, its series, and the run of trades not yet shared out.
//!
//! A run is what makes the cost of a trade independent of the number of intervals: trades that come in order and lie
//! in the same window of every interval are added up once, and shared out to the series when the run ends.

use crate::domain::bucket::{Bucket, Fill, Scales, Widening};
use crate::domain::interval::Interval;
use crate::domain::symbol::{Category, Symbol};
use crate::domain::time::Millis;
use crate::domain::trade::Trade;

use super::coverage::Coverage;
use super::series::{Context, Series};

/// One interval as all symbols share it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) interval: Interval,
    /// Windows without trades become flat klines.
    pub(super) fill: bool,
    /// Start of the window that closes next.
    pub(super) start: Millis,
    /// Start of the one after it.
    pub(super) next: Millis,
}

impl Lane {
    /// Makes the window that holds `at` the one that closes next.
    pub(super) const fn move_to(&mut self, at: Millis) {
        self.start = self.interval.start_of(at);
        self.next = self.interval.next(self.start);
    }

    /// What a series of this lane needs to know.
    pub(super) const fn context<'a>(&self, coverage: &'a Coverage) -> Context<'a> {
        Context { interval: self.interval, coverage, closed_until: self.start, fill: self.fill }
    }
}

/// One symbol.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) symbol: Symbol,
    pub(super) scales: Scales,
    pub(super) coverage: Coverage,
    pub(super) series: Vec<Series>,
    run: Bucket,
    /// The run takes trades from here …
    run_from: Millis,
    /// … to before here.
    run_until: Millis,
    /// Trades came since the last update was shown.
    pub(super) changed: bool,
    /// Earliest time of the next update.
    pub(super) update_at: Millis,
    /// A revision is due.
    pub(super) stale: bool,
}

impl Book {
    pub(super) fn new(symbol: Symbol, intervals: usize) -> Self {
        Self {
            symbol,
            scales: Scales::default(),
            coverage: Coverage::default(),
            series: vec![Series::default(); intervals],
            run: Bucket::default(),
            run_from: Millis::MAX,
            run_until: Millis::MIN,
            changed: false,
            update_at: Millis::MIN,
            stale: false,
        }
    }

    /// Brings a trade into the symbol's integers, widening them if need be. Nothing when it cannot be held.
    #[inline]
    pub(super) fn convert(&mut self, trade: &Trade, category: Category) -> Option<Fill> {
        if !self.scales.hold(trade) {
            self.widen(self.scales.widened(trade), category)?;
        }
        Fill::new(trade, self.scales, category)
    }

    /// Counts a trade.
    #[inline]
    pub(super) fn add(&mut self, fill: &Fill, lanes: &[Lane]) {
        let place = fill.place();
        if self.run_from <= place.time && place.time < self.run_until && place >= self.run.last && !self.run.is_empty()
        {
            self.run.append(fill);
        } else {
            self.begin_run(fill, lanes);
        }
    }

    /// Shares the run out to every series.
    pub(super) fn share_out(&mut self, lanes: &[Lane]) {
        if self.run.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.run);
        for (series, lane) in self.series.iter_mut().zip(lanes) {
            self.stale |= series.add(&run, lane.context(&self.coverage));
        }
    }

    /// Applies a change of what is known about the feed, from `from` on.
    pub(super) fn requalify(&mut self, from: Millis, lanes: &[Lane]) {
        for (series, lane) in self.series.iter_mut().zip(lanes) {
            let context = lane.context(&self.coverage);
            series.touch(from, context);
            self.stale |= series.requalify(from, context);
        }
    }

    /// Whether nothing at all is known from `from` on in one of its series.
    pub(super) fn is_dark(&self, index: usize, from: Millis) -> bool {
        let series = self.series.get(index).is_none_or(|series| series.is_dark(from));
        series && self.run.is_empty() && self.coverage.is_dark(from)
    }

    /// Forgets what no late trade can change once the watermark has passed `horizon` by the lateness.
    pub(super) fn forget(&mut self, horizon: Millis, lanes: &[Lane]) {
        self.coverage.forget(horizon);
        for (series, lane) in self.series.iter_mut().zip(lanes) {
            series.forget(horizon, lane.context(&self.coverage));
        }
    }

    #[cold]
    fn widen(&mut self, scales: Scales, category: Category) -> Option<()> {
        let by = Widening::between(self.scales, scales, category);
        // All or nothing: a symbol whose integers cannot grow keeps those it has.
        let run = self.run.rescaled(by)?;
        let series = self.series.iter().map(|series| series.rescaled(by)).collect::<Option<_>>()?;
        (self.run, self.series, self.scales) = (run, series, scales);
        Some(())
    }

    /// Ends the run and begins the next one with a trade that it could not take.
    fn begin_run(&mut self, fill: &Fill, lanes: &[Lane]) {
        self.share_out(lanes);
        let time = fill.place().time;
        (self.run_from, self.run_until) = (Millis::MIN, Millis::MAX);
        for lane in lanes {
            let start = if lane.start <= time && time < lane.next { lane.start } else { lane.interval.start_of(time) };
            let next = if start == lane.start { lane.next } else { lane.interval.next(start) };
            self.run_from = self.run_from.max(start);
            self.run_until = self.run_until.min(next);
        }
        self.run = Bucket::of(fill);
    }
}
