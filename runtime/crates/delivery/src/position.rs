//! How far a consumer has received its klines: what is published and not delivered yet waits in its queue, or in the
//! delivery that its last instance did not accept.

use std::sync::{Arc, Mutex, PoisonError};

use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;

use super::history::Waiting;
use super::queue::Queue;

/// The klines of a delivery.
type Klines = Arc<[Arc<Kline>]>;

/// The position of one consumer. Its thread keeps it, and its instances read it in their calls, in which nothing is taken
/// out of the queue.
#[derive(Debug)]
pub struct Position {
    queue: Arc<Queue>,
    /// The klines of a delivery that waits for the next instance.
    undelivered: Mutex<Option<Klines>>,
}

impl Position {
    /// Returns the position of a consumer that receives everything from `queue`.
    #[must_use]
    pub fn new(queue: Arc<Queue>) -> Self {
        Self { queue, undelivered: Mutex::default() }
    }

    /// Sets the klines that were taken out of the queue, but wait for the next instance.
    pub fn set_undelivered(&self, klines: Option<Klines>) {
        *self.undelivered.lock().unwrap_or_else(PoisonError::into_inner) = klines;
    }

    /// Returns the confirmed klines of a series that the consumer has not received yet.
    #[must_use]
    pub fn waiting(&self, series: SeriesId) -> Waiting {
        let mut waiting = self.queue.waiting(series);
        let undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        undelivered
            .iter()
            .flat_map(|klines| klines.iter())
            .filter(|kline| kline.confirm && kline.series == series)
            .for_each(|kline| waiting.add(kline));
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{batch, everything, kline};
    use crate::queue::{Grouping, Popped};

    #[test]
    fn a_kline_waits_until_it_is_with_the_instance() {
        let queue = Arc::new(Queue::new(8, &everything()));
        let position = Position::new(queue.clone());
        let revised = Kline { revision: 1, ..kline("BTCUSDT", "1m", 3, true) };
        let series = revised.series;
        let other = kline("ETHUSDT", "1m", 3, true);
        queue.push(0, &batch([revised.clone(), other, kline("BTCUSDT", "1m", 4, false)]));
        queue.push(1, &batch([kline("BTCUSDT", "1m", 5, true), Kline { revision: 2, ..revised }]));
        let waits = |window: i64, revision| position.waiting(series).has(window * 60_000, revision);
        let is_waiting = || [waits(3, 0), waits(3, 1), waits(3, 2), waits(4, 0), waits(5, 0)];
        assert_eq!(is_waiting(), [false, true, true, false, true]);
        let Popped::Delivery(delivery) = queue.pop(Grouping::UpTo(2)) else { panic!("no delivery") };
        assert_eq!(is_waiting(), [false, false, true, false, true]);
        position.set_undelivered(Some(delivery.klines));
        assert_eq!(is_waiting(), [false, true, true, false, true]);
        position.set_undelivered(None);
        assert_eq!(is_waiting(), [false, false, true, false, true]);
    }
}
