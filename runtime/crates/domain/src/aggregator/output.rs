//! From windows to klines: the one place where a symbol's integers become decimals again.

use std::sync::Arc;

use super::book::{Book, Lane};
use super::settings::{Open, Settings};
use super::window::{Told, Window};
use crate::bucket::Scales;
use crate::decimal::Decimal;
use crate::interval::Interval;
use crate::kline::{Batch, Kline};
use crate::series::SeriesId;
use crate::time::Millis;

/// Collects the klines of one batch.
pub(super) struct Teller<'a> {
    settings: &'a Settings,
    now: Millis,
    klines: Vec<Arc<Kline>>,
}

impl<'a> Teller<'a> {
    pub(super) const fn new(settings: &'a Settings, now: Millis) -> Self {
        Self { settings, now, klines: Vec::new() }
    }

    /// How many klines there are.
    pub(super) const fn len(&self) -> usize {
        self.klines.len()
    }

    /// Tells the end of a lane's present window for one symbol.
    pub(super) fn closing(&mut self, book: &mut Book, index: usize, lane: &Lane, horizon: Millis) {
        let Book { ids, scales, coverage, series, .. } = book;
        let (Some(series), Some(id)) = (series.get_mut(index), ids.get(index)) else { return };
        let subject = Subject { series: *id, scales: *scales, interval: lane.interval };
        if let Some((window, sequence)) = series.close(lane.start, lane.context(coverage, horizon)) {
            self.tell(&subject, window, sequence);
        }
    }

    /// Tells the corrections that are due for one symbol.
    pub(super) fn revisions(&mut self, book: &mut Book, lanes: &[Lane]) {
        let Book { ids, scales, series, .. } = book;
        for ((series, lane), id) in series.iter_mut().zip(lanes).zip(ids) {
            let subject = Subject { series: *id, scales: *scales, interval: lane.interval };
            series.take_stale(|window, sequence| self.tell(&subject, window, sequence));
        }
    }

    /// Tells the open windows of one symbol: those that changed, or every one that has trades.
    pub(super) fn open_windows(&mut self, book: &mut Book, lanes: &[Lane], every: bool) {
        let Book { ids, scales, series, .. } = book;
        for ((series, lane), id) in series.iter_mut().zip(lanes).zip(ids) {
            let subject = Subject { series: *id, scales: *scales, interval: lane.interval };
            series.show_open(lane.start, every, |window, sequence| self.tell(&subject, window, sequence));
        }
    }

    /// Appends the batch in the order of telling, unless it is empty.
    pub(super) fn finish(self, out: &mut Vec<Batch>) {
        if !self.klines.is_empty() {
            out.push(Batch { klines: self.klines });
        }
    }

    /// Appends one batch of all that they have, one after the other, unless it is empty.
    pub(super) fn finish_all(tellers: impl Iterator<Item = Self>, out: &mut Vec<Batch>) {
        let all = tellers.reduce(|mut all, next| {
            all.klines.extend(next.klines);
            all
        });
        if let Some(all) = all {
            all.finish(out);
        }
    }

    /// Appends the batch ordered by end, then interval; symbols stay in their order.
    pub(super) fn finish_sorted(mut self, out: &mut Vec<Batch>) {
        self.klines.sort_by_key(|kline| (kline.end, kline.series.interval));
        self.finish(out);
    }

    fn tell(&mut self, subject: &Subject, window: &Window, sequence: u64) {
        let first_trade_opens = self.settings.open == Open::FirstTrade;
        let Some(prices) = window.prices(first_trade_opens) else { return };
        let Subject { series, scales, interval } = *subject;
        let (confirm, revision) = match window.told {
            Told::Closed { revision } => (true, revision),
            Told::Open { .. } | Told::Silent => (false, 0),
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
            last_trade_time: if bucket.is_empty() { 0 } else { bucket.last.time },
            confirm,
            revision,
            quality: window.kline_quality(first_trade_opens),
            sequence,
            emitted: self.now,
        }));
    }
}

/// Whose kline is told.
struct Subject {
    series: SeriesId,
    scales: Scales,
    /// Its window length, which is at hand here without looking the series up.
    interval: Interval,
}
