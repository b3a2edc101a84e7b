//! Adds intervals in the course of a run, and removes others. What is known of the open windows of a new interval is taken
//! from the series that there are; the klines of one that was removed before continue their sequences.

use super::Aggregator;
use super::STEP_KLINES;
use super::kline_builder::KlineBuilder;
use super::series::Series;
use super::symbol_state::{IntervalState, Intervals, SymbolState};
use crate::interval::Interval;
use crate::kline::Batch;
use crate::series::SeriesId;
use crate::symbol::{Category, SymbolId};
use crate::time::Millis;

impl Aggregator {
    /// Makes klines of these intervals, in any order, and of no others. To be called when nothing is due.
    ///
    /// An interval that is removed emits what it still has: its revisions that are due, and, unconfirmed as at the end of a
    /// run, its open windows. One that is added begins with its open windows.
    pub fn set_intervals(&mut self, intervals: &[Interval], out: &mut Vec<Batch>) {
        let mut wanted = intervals.to_vec();
        wanted.sort();
        wanted.dedup();
        let made: Vec<Interval> =
            self.intervals.all.iter().filter(|state| state.is_emitted()).map(|state| state.interval).collect();
        if wanted == made {
            return;
        }
        self.flush_removed(&wanted, out);
        self.settings.intervals = wanted;
        let intervals = self.intervals_of_settings();
        for (number, symbol_state) in (0..).zip(&mut self.symbols) {
            symbol_state.set_intervals(self.settings.category, &self.intervals, &intervals);
            self.dirty.note(SymbolId(number));
            // The windows of a new interval are shown.
            if self.settings.update_interval.is_some() && !symbol_state.changed && !symbol_state.has_left {
                symbol_state.changed = true;
                self.changed.push(SymbolId(number));
                self.update_at = self.update_at.min(symbol_state.update_at);
            }
        }
        self.intervals = intervals;
        (self.stale, self.revised) = (false, 0);
        if self.started {
            self.schedule();
        }
    }

    /// Appends the revisions that are due, and the open windows of the intervals that are not wanted any more.
    fn flush_removed(&mut self, wanted: &[Interval], out: &mut Vec<Batch>) {
        let is_removed = |state: &IntervalState| !wanted.contains(&state.interval);
        let removed: Vec<IntervalState> = self
            .intervals
            .all
            .iter()
            .map(|state| {
                let emitted_from = if is_removed(state) { state.emitted_from } else { Millis::MAX };
                IntervalState { emitted_from, ..*state }
            })
            .collect();
        let mut builder = KlineBuilder::new(&self.settings, self.now);
        for symbol_state in &mut self.symbols {
            if builder.len() >= STEP_KLINES {
                std::mem::replace(&mut builder, KlineBuilder::new(&self.settings, self.now)).finish_sorted(out);
            }
            symbol_state.flush_runs(&self.intervals);
            if std::mem::take(&mut symbol_state.stale) {
                builder.revisions(symbol_state, &self.intervals.all);
            }
            builder.open_windows(symbol_state, &removed, true);
        }
        builder.finish_sorted(out);
    }

    /// Returns the states of the intervals of the settings: those of known ones go on, others begin with their first window
    /// that is not due.
    fn intervals_of_settings(&self) -> Intervals {
        let mut intervals = Intervals { horizon: self.intervals.horizon, ..Intervals::new(&self.settings) };
        let not_due = self.read_until.saturating_sub(self.settings.grace).saturating_add(1);
        // Nothing has been read before the first tick.
        let not_due = not_due.max(self.closed_until);
        for state in intervals.all.iter_mut().filter(|_| self.started) {
            let known = self.intervals.all.iter().find(|known| known.interval == state.interval);
            match known {
                Some(known) => (state.start, state.next) = (known.start, known.next),
                None => state.move_to(not_due),
            }
            if state.is_emitted() {
                let was_emitted = known.filter(|known| known.is_emitted());
                state.emitted_from = was_emitted.map_or(state.start, |known| known.emitted_from);
            }
        }
        intervals
    }
}

impl SymbolState {
    /// Replaces the series. No run has trades.
    fn set_intervals(&mut self, category: Category, before: &Intervals, after: &Intervals) {
        let Some(symbol) = self.ids.first().map(|id| id.symbol.clone()) else { return };
        for (series, state) in self.series.iter().zip(&before.all) {
            self.sequences.insert(state.interval, series.sequence);
        }
        let series = after.all.iter().map(|state| {
            let known = before.all.iter().position(|known| known.interval == state.interval);
            let series = known.and_then(|at| self.series.get(at)).cloned();
            let mut series = series.unwrap_or_else(|| self.begin(state, before, after.horizon));
            series.sequence = self.sequences.get(&state.interval).copied().unwrap_or_default();
            series
        });
        self.series = series.collect();
        self.ids = after.all.iter().map(|state| SeriesId::new(category, symbol.clone(), state.interval)).collect();
        self.clear_runs();
    }

    /// Builds the series of a new interval from the one that knows most of its windows.
    fn begin(&self, state: &IntervalState, before: &Intervals, horizon: Millis) -> Series {
        let context = state.context(&self.coverage, horizon);
        let known = self.series.iter().zip(&before.all);
        let parts = known.clone().filter(|(_, part)| part.interval.tiles(state.interval));
        let parts = parts.map(|(series, part)| (series, part.context(&self.coverage, horizon)));
        // The last one is the longest.
        let best = parts.rev().min_by_key(|(series, part)| series.holds_from(*part));
        if let Some((series, part)) = best {
            return series.derive(part, context);
        }
        let last = known.filter_map(|(series, _)| series.last_before(Millis::MAX));
        Series::begin(last.max_by_key(|last| last.time), context)
    }
}
