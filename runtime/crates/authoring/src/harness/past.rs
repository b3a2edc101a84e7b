//! The klines of the past in a case: those that were there before it, and those that it has delivered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use klines_delivery::history::{History, HistoryError, Query, Side};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;

use crate::case::klines;

/// The newest revision of each window, by its start.
type Windows = BTreeMap<Millis, Arc<Kline>>;

/// The newest revision of each window, by its series and start.
#[derive(Debug, Default)]
pub struct PastKlines(Mutex<BTreeMap<SeriesKey, Windows>>);

impl PastKlines {
    /// Returns those of a file of hand-written klines; none if it cannot be read, which the check of the case reports.
    pub(super) fn of(file: Option<&Path>) -> Self {
        let past = Self::default();
        file.and_then(|file| klines::read(file).ok()).iter().for_each(|klines| past.add(klines));
        past
    }

    /// Adds the confirmed klines of a delivery.
    pub(super) fn add(&self, klines: &[Arc<Kline>]) {
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for kline in klines.iter().filter(|kline| kline.confirm) {
            series.entry((*kline.series).clone()).or_default().insert(kline.start, kline.clone());
        }
    }
}

impl History for PastKlines {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(windows) = series.get(&query.series).filter(|_| query.from <= query.to) else { return Ok(Vec::new()) };
        let found = windows.range(query.from..=query.to).map(|(_, kline)| kline.clone());
        Ok(match query.side {
            Side::Oldest => found.take(query.limit).collect(),
            Side::Newest => {
                let mut klines: Vec<_> = found.rev().take(query.limit).collect();
                klines.reverse();
                klines
            }
        })
    }
}
