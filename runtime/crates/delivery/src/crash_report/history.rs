//! The last deliveries that an instance has accepted: a crash may depend on them, not only on the delivery in progress.

use std::collections::VecDeque;

use klines_domain::count::counted;
use klines_domain::kline::Kline;

use crate::call::Delivery;

/// Maximum number of deliveries that are kept.
pub const MAX_DELIVERIES: usize = 16;
/// Maximum bytes of klines that are kept. Klines are shared with other owners, but charged in full.
const MAX_BYTES: usize = 1 << 20;
/// Bytes that a kline is charged in addition to its own size: its symbol and its entry in the list.
const OVERHEAD: usize = 64;

/// The accepted deliveries of one instance, oldest first. Bounded by number and by bytes.
#[derive(Debug)]
pub struct History {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    /// Whether it contains every delivery that the instance has accepted.
    is_whole: bool,
    most_bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { deliveries: VecDeque::new(), bytes: 0, is_whole: true, most_bytes: MAX_BYTES }
    }
}

impl History {
    /// Removes all deliveries, because an instance starts.
    pub fn begin(&mut self) {
        *self = Self { most_bytes: self.most_bytes, ..Self::default() };
    }

    /// Adds an accepted delivery and removes the oldest ones that exceed the bounds.
    pub fn push(&mut self, delivery: &Delivery) {
        self.bytes += charge(delivery);
        self.deliveries.push_back(delivery.clone());
        while self.deliveries.len() > MAX_DELIVERIES || self.bytes > self.most_bytes {
            let Some(oldest) = self.deliveries.pop_front() else { break };
            self.bytes -= charge(&oldest);
            self.is_whole = false;
        }
    }

    /// Returns the deliveries, oldest first.
    pub fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter()
    }

    /// Returns how far back the history goes, as text.
    #[must_use]
    pub fn extent(&self) -> String {
        if self.is_whole { WHOLE.to_owned() } else { format!("last {}", counted(self.deliveries.len(), "batch")) }
    }
}

/// What [`History::extent`] returns when no delivery is missing.
pub const WHOLE: &str = "from the start";

fn charge(delivery: &Delivery) -> usize {
    delivery.klines.len() * (size_of::<Kline>() + OVERHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::kline;

    fn delivery(klines: i64) -> Delivery {
        let klines = (0..klines).map(|window| kline("BTCUSDT", "1m", window, true).into());
        Delivery { klines: klines.collect(), ..Delivery::default() }
    }

    #[test]
    fn the_latest_deliveries_are_kept_and_the_extent_is_reported() {
        let mut history = History::default();
        (0..16).for_each(|klines| history.push(&delivery(klines)));
        assert_eq!((history.extent().as_str(), history.deliveries().count()), (WHOLE, 16));
        history.push(&delivery(99));
        assert_eq!(history.extent(), "last 16 batches");
        let kept: Vec<usize> = history.deliveries().map(|delivery| delivery.klines.len()).collect();
        assert_eq!((kept.first(), kept.last()), (Some(&1), Some(&99)));
        history.begin();
        assert_eq!((history.extent().as_str(), history.deliveries().count()), (WHOLE, 0));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut history = History { most_bytes: charge(&delivery(10)), ..History::default() };
        (0..5).for_each(|_| history.push(&delivery(4)));
        assert_eq!((history.extent().as_str(), history.bytes), ("last 2 batches", charge(&delivery(8))));
        history.push(&delivery(11));
        assert_eq!((history.extent().as_str(), history.bytes), ("last 0 batches", 0));
    }
}
