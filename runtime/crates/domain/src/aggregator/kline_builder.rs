//! Builds klines from windows: the only place where a symbol's integers become decimals again.

use std::sync::Arc;

use super::settings::{Open, Settings};
use super::symbol_state::{IntervalState, SymbolState};
use super::window::{Emitted, Window};
use crate::bucket::Scales;
use crate::decimal::Decimal;
use crate::interval::Interval;
use crate::kline::{Batch, Kline};
use crate::series::SeriesId;
use crate::time::Millis;

/// Collects the klines of one batch.
pub(super) struct KlineBuilder<'a> {
    settings: &'a Settings,
    now: Millis,
    klines: Vec<Arc<Kline>>,
}

impl<'a> KlineBuilder<'a> {
    pub(super) const fn new(settings: &'a Settings, now: Millis) -> Self {
        Self { settings, now, klines: Vec::new() }
    }

    /// Returns the number of klines.
    pub(super) const fn len(&self) -> usize {
        self.klines.len()
    }

    /// Adds the kline of the window of one symbol that an interval closes.
    pub(super) fn closing(
        &mut self,
        symbol_state: &mut SymbolState,
        index: usize,
        state: &IntervalState,
        horizon: Millis,
    ) {
        let SymbolState { ids, scales, coverage, series, .. } = symbol_state;
        let (Some(series), Some(id)) = (series.get_mut(index), ids.get(index)) else { return };
        let subject = Subject { series: *id, scales: *scales, interval: state.interval };
        if let Some((window, sequence)) = series.close(state.start, state.context(coverage, horizon)) {
            self.emit(&subject, window, sequence);
        }
    }

    /// Adds the revisions that are due for one symbol.
    pub(super) fn revisions(&mut self, symbol_state: &mut SymbolState, intervals: &[IntervalState]) {
        let SymbolState { ids, scales, series, .. } = symbol_state;
        for ((series, state), id) in series.iter_mut().zip(intervals).zip(ids) {
            let subject = Subject { series: *id, scales: *scales, interval: state.interval };
            let emit = |window: &Window, sequence| self.emit(&subject, window, sequence);
            series.take_stale((state.interval, state.first_trade_opens), state.emitted_from, emit);
        }
    }

    /// Adds the klines of the open windows of one symbol: those that changed, or with `every` all that have trades.
    pub(super) fn open_windows(&mut self, symbol_state: &mut SymbolState, intervals: &[IntervalState], every: bool) {
        let SymbolState { ids, scales, series, .. } = symbol_state;
        let emitted = series.iter_mut().zip(intervals).zip(ids).filter(|((_, state), _)| state.is_emitted());
        for ((series, state), id) in emitted {
            let subject = Subject { series: *id, scales: *scales, interval: state.interval };
            series.show_open(state.start, every, |window, sequence| self.emit(&subject, window, sequence));
        }
    }

    /// Appends the batch in the order in which klines were added, unless it is empty.
    pub(super) fn finish(self, out: &mut Vec<Batch>) {
        if !self.klines.is_empty() {
            out.push(Batch { klines: self.klines });
        }
    }

    /// Appends one batch with the klines of all builders, in order, unless it is empty.
    pub(super) fn finish_all(builders: impl Iterator<Item = Self>, out: &mut Vec<Batch>) {
        let all = builders.reduce(|mut all, next| {
            all.klines.extend(next.klines);
            all
        });
        if let Some(all) = all {
            all.finish(out);
        }
    }

    /// Appends the batch sorted by end, then interval; symbols keep their order.
    pub(super) fn finish_sorted(mut self, out: &mut Vec<Batch>) {
        self.klines.sort_by_key(|kline| (kline.end, kline.series.interval));
        self.finish(out);
    }

    fn emit(&mut self, subject: &Subject, window: &Window, sequence: u64) {
        let first_trade_opens = self.settings.open == Open::FirstTrade;
        let Some(prices) = window.prices(first_trade_opens) else { return };
        let Subject { series, scales, interval } = *subject;
        let (confirm, revision) = match window.emitted {
            Emitted::Closed { revision } => (true, revision),
            Emitted::Open { .. } | Emitted::Silent => (false, 0),
        };
        let price = |mantissa: i64| Decimal::new(i128::from(mantissa), scales.price);
        let size = |mantissa| Decimal::new(mantissa, scales.size);
        let turnover = |mantissa| Decimal::new(mantissa, scales.turnover(self.settings.category));
        let bucket = &window.bucket;
        self.klines.push(Arc::new(Kline {
            series,
            start: window.start,
            end: interval.next(window.start) - 1,
            open: price(prices.open),
            high: price(prices.high),
            low: price(prices.low),
            close: price(prices.close),
            volume: size(bucket.volume),
            turnover: turnover(bucket.turnover),
            buy_volume: size(bucket.buy_volume),
            buy_turnover: turnover(bucket.buy_turnover),
            price_decimals: scales.price,
            volume_decimals: scales.size,
            trades: bucket.trades,
            last_trade_time: if bucket.is_empty() { 0 } else { bucket.last_trade_time() },
            confirm,
            revision,
            quality: window.kline_quality(first_trade_opens),
            sequence,
            emitted: self.now,
        }));
    }
}

/// The series of a kline.
struct Subject {
    series: SeriesId,
    scales: Scales,
    /// The interval of the series; stored here so that the series key need not be read.
    interval: Interval,
}
