//! Continues the klines of an earlier run: its sequences, and the windows that ended while nothing was watched.

use super::Aggregator;
use super::series;
use super::symbol_state::SymbolState;
use crate::interval::Interval;
use crate::mutants::Mutant;
use crate::symbol::SymbolId;
use crate::time::{ExchangeMillis, Millis};

/// What is known of the klines of a symbol in an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The series that have klines.
    pub series: Vec<EarlierSeries>,
    /// A window without a known kline that ends before this time may have had one: its first kline gets revision 1.
    pub lost_before: ExchangeMillis,
    /// A gap since the last kline that is longer than this many ms is not repaired.
    pub horizon: Millis,
}

/// What is known of one series in an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierSeries {
    /// The interval.
    pub interval: Interval,
    /// The sequence number of the last confirmed kline or revision.
    pub sequence: u64,
    /// The first moment after the last window with a kline.
    pub next: ExchangeMillis,
}

impl Aggregator {
    /// Continues a symbol after an earlier run, before the first event of the symbol: its sequences go on, windows that have
    /// a kline get no other one, and, if gaps are repaired, the time since then counts as a gap.
    pub fn resume(&mut self, symbol: SymbolId, earlier: &Earlier) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        symbol_state.sequences = earlier.series.iter().map(|known| (known.interval, known.sequence)).collect();
        for (series, state) in symbol_state.series.iter_mut().zip(&self.intervals.all) {
            let known = earlier.series.iter().find(|known| known.interval == state.interval);
            let sequence = known.filter(|_| !Mutant::SequenceRestarted.is_made()).map_or(0, |known| known.sequence);
            let known = known.filter(|_| !Mutant::EarlierKlineRepeated.is_made());
            let from = known.map_or(Millis::MIN, |known| known.next.get());
            series.resume(sequence, series::Earlier { from, lost_before: earlier.lost_before.get() });
        }
        let is_made = |known: &&EarlierSeries| {
            let made = self.intervals.all.iter().any(|state| state.interval == known.interval);
            made && self.settings.fill.applies(known.interval)
        };
        let watched = earlier.watched(|known| is_made(&known));
        symbol_state.earlier = watched.map(|until| (until, earlier.horizon)).filter(|_| self.intervals.is_repaired);
    }
}

impl Earlier {
    /// Returns until when the symbol was watched, as far as its klines show. A series of which a whole window is missing before
    /// that shows a gap that was still being repaired: then until its last kline, if `is_filled` says that none of its windows
    /// can be without one.
    pub(super) fn watched(&self, is_filled: impl Fn(&EarlierSeries) -> bool) -> Option<Millis> {
        // Of the last boundary, some klines may be known and others not.
        let newest = self.series.iter().map(|series| series.next.get()).max()?;
        let is_behind = |known: &&EarlierSeries| {
            let next = known.next.get();
            is_filled(known) && newest - next <= self.horizon && known.interval.next(next) <= newest
        };
        let behind = self.series.iter().filter(is_behind).map(|known| known.next.get()).min();
        Some(behind.unwrap_or(newest) - 1)
    }
}

impl SymbolState {
    /// Continues what an earlier run has watched, as a gap until `at`, when the symbol is covered for the first time. Returns
    /// until when it was watched.
    pub(super) fn resume_watching(&mut self, at: Millis) -> Option<Millis> {
        let (until, horizon) = self.earlier.take()?;
        let is_near = until < at && at - until <= horizon && !Mutant::OutageForgotten.is_made();
        is_near.then(|| {
            self.coverage.begin_lost(until);
            until
        })
    }
}
