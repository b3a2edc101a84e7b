//! The backlog that keeps the newest kline of each series. It is as long as there are series, so that it needs no
//! other bound, and no disk.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use klines_delivery::stats::LossReason;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;

use super::{Backlog, ORDER, Parcel, Tally, count};
use crate::journal::Journal;

/// Klines in one parcel.
const PARCEL: usize = 64;

/// See the module.
pub(crate) struct Newest {
    known: HashMap<SeriesId, Value, foldhash::fast::RandomState>,
    /// Series whose newest kline was not sent, in the order in which they began to wait.
    waiting: VecDeque<SeriesId>,
    journal: Journal,
    tally: Arc<Tally>,
}

struct Value {
    kline: Arc<Kline>,
    waits: bool,
}

impl Newest {
    pub(crate) fn new(journal: Journal, tally: Arc<Tally>) -> Self {
        Self { known: HashMap::default(), waiting: VecDeque::new(), journal, tally }
    }

    fn take(&mut self, kline: Arc<Kline>) {
        let series = kline.series;
        let Some(value) = self.known.get_mut(&series) else {
            self.waiting.push_back(series);
            self.known.insert(series, Value { kline, waits: true });
            return;
        };
        if !is_newer(&kline, &value.kline) {
            // A confirmed kline took the number that a waiting update was to get.
            if kline.confirm && !value.kline.confirm && value.waits && value.kline.sequence <= kline.sequence {
                Arc::make_mut(&mut value.kline).sequence = kline.sequence + 1;
            }
            count(&self.tally.overtaken, 1);
            return;
        }
        if value.waits {
            count(&self.tally.overtaken, 1);
        } else {
            self.waiting.push_back(series);
        }
        *value = Value { kline, waits: true };
    }
}

/// Whether a kline stands for more than the one that is known: of a later window, or told later of the same.
fn is_newer(kline: &Kline, known: &Kline) -> bool {
    kline.start > known.start || (kline.start == known.start && (kline.confirm || !known.confirm))
}

impl Backlog for Newest {
    type Item = Kline;

    fn admit(&mut self, klines: Vec<Arc<Kline>>) {
        count(&self.tally.taken, klines.len());
        klines.into_iter().for_each(|kline| self.take(kline));
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    fn next(&mut self) -> Option<Parcel> {
        let most = self.waiting.len().min(PARCEL);
        let mut klines = Vec::with_capacity(most);
        for series in self.waiting.drain(..most) {
            if let Some(value) = self.known.get_mut(&series) {
                value.waits = false;
                klines.push(value.kline.clone());
            }
        }
        (!klines.is_empty()).then_some(Parcel { items: klines, mark: None })
    }

    fn acknowledged(&mut self, parcel: &Parcel) {
        count(&self.tally.acknowledged, parcel.items.len());
    }

    fn recall(&mut self, sent: Vec<Parcel>) {
        for kline in sent.into_iter().flat_map(|parcel| parcel.items) {
            let series = kline.series;
            match self.known.get_mut(&series) {
                Some(value) if !value.waits && Arc::ptr_eq(&value.kline, &kline) => {
                    value.waits = true;
                    self.waiting.push_back(series);
                }
                _ => count(&self.tally.overtaken, 1),
            }
        }
    }

    fn away(&mut self) {}

    fn back(&mut self) {}

    fn conclude(&mut self) {
        let waiting: Vec<_> = self.waiting.drain(..).filter_map(|series| self.known.get(&series)).collect();
        let closed = waiting.iter().filter(|value| value.kline.confirm).count();
        self.tally.lose(LossReason::Shutdown, closed as u64);
        self.tally.dropped.fetch_add((waiting.len() - closed) as u64, ORDER);
        self.journal.ended(&self.tally.totals());
    }
}
