//! Ends a symbol that is no longer watched, and continues its sequences when it is watched again, under another number.

use super::Aggregator;
use super::coverage::Coverage;
use super::kline_builder::KlineBuilder;
use super::series::Series;
use super::symbol_state::SymbolState;
use crate::kline::Batch;
use crate::symbol::SymbolId;

impl Aggregator {
    /// Ends a symbol, and appends what it still has: the revisions that are due, and, unconfirmed as at the end of a run, its
    /// open windows. Nothing follows: later events about it change nothing, and its last gap is not counted. To be called
    /// when the windows that are over have been closed.
    pub fn leave(&mut self, symbol: SymbolId, out: &mut Vec<Batch>) {
        let known = self.symbols.get_mut(symbol.index()).filter(|symbol_state| !symbol_state.has_left);
        let Some(symbol_state) = known else { return };
        symbol_state.flush_runs(&self.intervals);
        let mut builder = KlineBuilder::new(&self.settings, self.now);
        if std::mem::take(&mut symbol_state.stale) {
            builder.revisions(symbol_state, &self.intervals.all);
        }
        builder.open_windows(symbol_state, &self.intervals.all, true);
        builder.finish_sorted(out);
        symbol_state.coverage.give_up_all();
        self.note_gaps(symbol);
        if let Some(symbol_state) = self.symbols.get_mut(symbol.index()) {
            symbol_state.clear(self.intervals.is_repaired);
        }
    }
}

impl SymbolState {
    /// Removes everything but the names and the sequences of the klines.
    fn clear(&mut self, is_repaired: bool) {
        self.has_left = true;
        self.coverage = Coverage::new(is_repaired);
        for series in &mut self.series {
            *series = Series::continuing(series.sequence);
        }
    }

    /// Continues the sequences of the same symbol, which had left.
    pub(super) fn continue_from(&mut self, left: &Self) {
        for (series, known) in self.series.iter_mut().zip(&left.series) {
            *series = Series::continuing(known.sequence);
        }
        self.sequences.clone_from(&left.sequences);
    }
}
