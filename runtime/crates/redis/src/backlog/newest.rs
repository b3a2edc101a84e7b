//! The backlog that keeps the newest kline of each series. It is as long as there are series, so that it needs no
//! other bound, and no disk.

use std::sync::Arc;

use hashbrown::HashMap;
use klines_delivery::Conflated;
use klines_delivery::stats::LossReason;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;

use super::{Backlog, ORDER, Parcel, Tally, count};
use crate::journal::Journal;

/// Klines in one parcel.
const PARCEL: usize = 64;

/// See the module.
pub(crate) struct Newest {
    known: HashMap<SeriesId, Arc<Kline>, foldhash::fast::RandomState>,
    /// Of those, the ones that were not sent, in the order in which their series began to wait.
    waiting: Conflated<SeriesId, Arc<Kline>>,
    journal: Journal,
    tally: Arc<Tally>,
}

impl Newest {
    pub(crate) fn new(journal: Journal, tally: Arc<Tally>) -> Self {
        Self { known: HashMap::default(), waiting: Conflated::default(), journal, tally }
    }

    fn take(&mut self, kline: Arc<Kline>) {
        let series = kline.series;
        if let Some(known) = self.known.get_mut(&series)
            && !is_newer(&kline, known)
        {
            // A confirmed kline took the number that a waiting update was to get.
            if let Some(waiting) = self.waiting.get_mut(&series).filter(|_| kline.confirm)
                && !waiting.confirm
                && waiting.sequence <= kline.sequence
            {
                Arc::make_mut(waiting).sequence = kline.sequence + 1;
                *known = waiting.clone();
            }
            count(&self.tally.overtaken, 1);
            return;
        }
        if self.waiting.replace(series, kline.clone()).is_some() {
            count(&self.tally.overtaken, 1);
        }
        self.known.insert(series, kline);
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
        let klines: Vec<_> = (0..PARCEL).map_while(|_| self.waiting.pop_front()).map(|(_, kline)| kline).collect();
        (!klines.is_empty()).then_some(Parcel { items: klines, mark: None })
    }

    fn acknowledged(&mut self, parcel: &Parcel) {
        count(&self.tally.acknowledged, parcel.items.len());
    }

    fn recall(&mut self, sent: Vec<Parcel>) {
        for kline in sent.into_iter().flat_map(|parcel| parcel.items) {
            let is_newest = self.known.get(&kline.series).is_some_and(|known| Arc::ptr_eq(known, &kline));
            if is_newest && !self.waiting.contains_key(&kline.series) {
                self.waiting.insert(kline.series, kline);
            } else {
                count(&self.tally.overtaken, 1);
            }
        }
    }

    fn away(&mut self) {}

    fn back(&mut self) {}

    fn conclude(&mut self) {
        let closed = self.waiting.values().filter(|kline| kline.confirm).count();
        self.tally.lose(LossReason::Shutdown, closed as u64);
        self.tally.dropped.fetch_add((self.waiting.len() - closed) as u64, ORDER);
        self.waiting.clear();
        self.journal.ended(&self.tally.totals());
    }
}
