//! Klines sorted by (end, interval, symbol), the latest version of each.
//!
//! Klines mostly arrive in this order, so they are appended; only revisions and late windows are searched for.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;

/// Klines of one category in the order of the output.
#[derive(Debug, Default)]
pub(super) struct Ordered(VecDeque<Arc<Kline>>);

/// Returns the sort key of a kline, which identifies it within a category.
fn key(kline: &Kline) -> (Millis, Interval, &str) {
    (kline.end, kline.series.interval, kline.series.symbol.as_str())
}

/// Compares two klines by their sort keys.
pub(super) fn order(left: &Kline, right: &Kline) -> Ordering {
    key(left).cmp(&key(right))
}

impl Ordered {
    /// Adds a kline, or replaces its earlier version.
    pub(super) fn insert(&mut self, kline: Arc<Kline>) {
        if self.0.back().is_none_or(|last| order(last, &kline).is_lt()) {
            return self.0.push_back(kline);
        }
        match self.search(&kline) {
            Ok(at) => {
                if let Some(known) = self.0.get_mut(at) {
                    *known = kline;
                }
            }
            Err(at) => self.0.insert(at, kline),
        }
    }

    /// Removes a version of `kline`, if there is one.
    pub(super) fn remove(&mut self, kline: &Kline) {
        if let Ok(at) = self.search(kline) {
            self.0.remove(at);
        }
    }

    /// Removes and returns the first kline if it ends before `time`.
    pub(super) fn pop_before(&mut self, time: Millis) -> Option<Arc<Kline>> {
        if self.0.front()?.end < time { self.0.pop_front() } else { None }
    }

    /// Removes and returns the first kline.
    pub(super) fn pop(&mut self) -> Option<Arc<Kline>> {
        self.0.pop_front()
    }

    fn search(&self, kline: &Kline) -> Result<usize, usize> {
        self.0.binary_search_by(|known| order(known, kline))
    }
}
