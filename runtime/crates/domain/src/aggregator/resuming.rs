//! Continues the klines of earlier runs, or of others: their sequences, the windows that ended while nothing was watched, and
//! those that they could not finish.

use super::Aggregator;
use super::series;
use super::spans::Span;
use super::symbol_state::{Intervals, SymbolState};
use crate::interval::Interval;
use crate::mutants::Mutant;
use crate::symbol::SymbolId;
use crate::time::{ExchangeMillis, Millis};

/// What is known of the klines of a symbol in earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The series that have klines.
    pub series: Vec<EarlierSeries>,
    /// For each crash: a window without a known kline that ends before this time may have had one, so that the revision of
    /// its first kline is greater by one. The greatest possible time stands for the beginning of the next run.
    pub crashes: Vec<ExchangeMillis>,
    /// What is more than this many ms ago is not repaired.
    pub horizon: Millis,
}

/// What is known of one series in earlier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierSeries {
    /// The interval.
    pub interval: Interval,
    /// The sequence number of the last confirmed kline or revision.
    pub sequence: u64,
    /// The first moment after the last window with a kline.
    pub next: ExchangeMillis,
    /// The first and the last moment of each row of windows before that which have no kline, ascending.
    pub missing: Vec<(ExchangeMillis, ExchangeMillis)>,
    /// The windows whose klines may lack trades, ascending, with the revisions of these.
    pub doubtful: Vec<(ExchangeMillis, u32)>,
}

/// What is left to do of earlier runs when a symbol is covered for the first time.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    /// The first and the last moment of what is not finished, and of the time since which nothing was watched any more.
    spans: Vec<Span>,
    horizon: Millis,
}

/// Until when others have published the klines of a symbol that is covered for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others {
    until: Millis,
    horizon: Millis,
}

impl Aggregator {
    /// Continues a symbol after earlier runs, before the first event of the symbol: its sequences go on, windows that have
    /// a kline get no other one unless it may lack trades, and, if gaps are repaired, the time since the first window that is
    /// not finished counts as a gap.
    pub fn resume(&mut self, symbol: SymbolId, earlier: &Earlier) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        symbol_state.sequences = earlier.series.iter().map(|known| (known.interval, known.sequence)).collect();
        let crashes: Vec<Millis> = earlier.crashes.iter().map(|crash| crash.get()).collect();
        for (series, state) in symbol_state.series.iter_mut().zip(&self.intervals.all) {
            let known = earlier.series.iter().find(|known| known.interval == state.interval);
            let sequence = known.filter(|_| !Mutant::SequenceRestarted.is_made()).map_or(0, |known| known.sequence);
            let known = known.filter(|_| !Mutant::EarlierKlineRepeated.is_made());
            let unknown = || series::Earlier::unknown(crashes.clone());
            let earlier = known.map_or_else(unknown, |known| series::Earlier::new(known, crashes.clone()));
            series.resume(sequence, earlier);
        }
        let made =
            earlier.series.iter().filter(|known| self.intervals.all.iter().any(|it| it.interval == known.interval));
        let spans = unfinished(made, |interval| self.settings.fill.applies(interval));
        let unfinished = Unfinished { spans, horizon: earlier.horizon };
        symbol_state.earlier = Some(unfinished).filter(|_| self.intervals.is_repaired);
    }

    /// Takes a symbol over from others, before its first event, who have published the klines of all windows that ended before
    /// `until`, and perhaps those of the ones that ended then: the time since counts as a gap, unless it is longer than
    /// `horizon`. Sequences go on. What is published of a time that has not come yet is not believed.
    pub fn take_over(&mut self, symbol: SymbolId, until: ExchangeMillis, horizon: Millis) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        symbol_state.others = Some(Others { until: until.get(), horizon }).filter(|_| self.intervals.is_repaired);
    }
}

/// Returns what is not finished of the series of a symbol, as far as their klines show: windows that may lack trades or have no
/// kline, and the time since which nothing was watched any more. Windows without trades have klines if `is_filled` says so;
/// otherwise nothing follows from a missing kline.
fn unfinished<'a>(
    series: impl Iterator<Item = &'a EarlierSeries> + Clone,
    is_filled: impl Fn(Interval) -> bool,
) -> Vec<Span> {
    // Of the last boundary, some klines may be known and others not.
    let Some(newest) = series.clone().map(|series| series.next.get()).max() else { return Vec::new() };
    let mut spans = vec![(newest, newest)];
    for EarlierSeries { interval, next, missing, doubtful, .. } in series {
        let window = |start: Millis| (start, interval.next(start) - 1);
        if !Mutant::HoleForgotten.is_made() {
            spans.extend(doubtful.iter().map(|(start, _)| window(start.get())));
        }
        if is_filled(*interval) && !Mutant::HoleForgotten.is_made() {
            spans.extend(missing.iter().map(|(from, to)| (from.get(), to.get())));
        }
        let is_behind = is_filled(*interval) && interval.next(next.get()) <= newest;
        spans.extend(is_behind.then(|| window(next.get())));
    }
    spans
}

impl SymbolState {
    /// Continues what earlier runs have not finished, as a gap until `at`, when the symbol is covered for the first time.
    /// Returns until when everything was watched.
    pub(super) fn resume_watching(&mut self, at: Millis, intervals: &Intervals) -> Option<Millis> {
        if let Some(others) = self.others.take().filter(|others| others.until <= at) {
            self.go_on_behind(others, intervals);
        }
        let unfinished = self.earlier.take().filter(|_| !Mutant::OutageForgotten.is_made());
        let first = unfinished.and_then(|Unfinished { spans, horizon }| {
            // A window that began too long ago and ended later is repaired as if it had been open when nothing was watched.
            let near = |(from, to): Span| [from, to].into_iter().find(|time| *time <= at && at - time < horizon);
            spans.into_iter().filter_map(near).min()
        });
        let watched = first.map(|first| first - 1);
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            series.earlier.begin(first.map_or(Millis::MAX, |first| state.interval.start_of(first)), at);
        }
        watched.inspect(|watched| self.coverage.begin_lost(*watched))
    }

    fn go_on_behind(&mut self, Others { until, horizon }: Others, intervals: &Intervals) {
        let next = |interval: Interval| interval.start_of(until - 1);
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            series.earlier = series::Earlier::until(next(state.interval));
        }
        let newest = intervals.all.iter().map(|state| next(state.interval)).max();
        self.earlier = newest.map(|newest| Unfinished { spans: vec![(newest, newest)], horizon });
    }
}
