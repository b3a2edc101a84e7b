//! Applies what the feed says about its completeness: coverage that begins or ends, trades that are missing, instruments
//! that trade again.

use super::Aggregator;
use super::symbol_state::{Intervals, SymbolState};
use crate::symbol::SymbolId;
use crate::time::Millis;
use crate::trade::Trade;

impl Aggregator {
    /// Counts a trade that is older than `lateness`. Unless it was counted before, its windows that are open or kept
    /// lack it and are marked.
    #[cold]
    pub(super) fn late(&mut self, trade: &Trade) {
        if self.seen.knows(trade.symbol, &trade.id, trade.time.get()) {
            self.tally.duplicate += 1;
            return;
        }
        self.tally.late += 1;
        self.miss(trade.symbol, trade.time.get(), trade.time.get());
    }

    #[cold]
    pub(super) fn miss(&mut self, symbol: SymbolId, from: Millis, to: Millis) {
        self.mark(symbol, |symbol_state, intervals| symbol_state.miss(from, to, intervals));
    }

    pub(super) fn mark(&mut self, symbol: SymbolId, change: impl FnOnce(&mut SymbolState, &Intervals) -> bool) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        if change(symbol_state, &self.intervals) {
            self.dirty.note(symbol);
            self.stale |= symbol_state.stale;
            self.note_gaps(symbol);
        }
    }

    pub(super) fn cover(&mut self, symbol: SymbolId, at: Millis) {
        if !self.started {
            self.start(at);
        }
        let watched = self.symbols.get_mut(symbol.index()).filter(|symbol_state| !symbol_state.has_left);
        let Some(symbol_state) = watched else { return };
        symbol_state.flush_runs(&self.intervals);
        let is_new = symbol_state.coverage.is_new();
        let watched = if is_new { symbol_state.resume_watching(at, &self.intervals) } else { None };
        if let Some(at) = symbol_state.coverage.resume(at) {
            if is_new {
                // The windows that were open then began before they were watched.
                let first = watched.unwrap_or(at);
                let starts = self.intervals.all.iter().map(|state| state.interval.start_of(first));
                symbol_state.coverage.want_before(starts.min().unwrap_or(first), first - 1);
            }
            symbol_state.requalify(at, &self.intervals);
            self.dirty.note(symbol);
            self.stale |= symbol_state.stale;
            self.note_gaps(symbol);
        }
    }

    pub(super) fn interrupt(&mut self, symbol: SymbolId, last_seen: Millis) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        symbol_state.flush_runs(&self.intervals);
        if symbol_state.coverage.interrupt(last_seen) {
            symbol_state.requalify(last_seen, &self.intervals);
            self.dirty.note(symbol);
            self.stale |= symbol_state.stale;
            self.note_gaps(symbol);
        }
    }

    /// Cancels the end of an instrument that trades at `time` although it was reported as ended.
    #[cold]
    pub(super) fn revive(&mut self, symbol: SymbolId, time: Millis) {
        self.mark(symbol, |symbol_state, intervals| symbol_state.revive(time, intervals));
    }

    /// Counts a trade of a time for which a candle of the exchange has been taken. The windows in which that candle does
    /// not lie lack the trade.
    #[cold]
    pub(super) fn supersede(&mut self, symbol: SymbolId, time: Millis) {
        self.tally.superseded += 1;
        self.miss(symbol, time, time);
    }
}
