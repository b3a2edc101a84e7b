//! The backlog that keeps the newest kline of each series. The number of series bounds it; it needs no other bound and
//! no disk.

use std::sync::Arc;

use hashbrown::HashMap;
use klines_delivery::Conflated;
use klines_delivery::stats::LossReason;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;

use super::{Backlog, Batch, ORDER, Tally, count};
use crate::journal::Journal;

/// Maximum number of klines in one batch.
const BATCH: usize = 64;

/// A backlog that keeps the newest kline of each series.
pub(crate) struct Newest {
    /// The newest kline of each series, sent or not.
    known: HashMap<SeriesId, Arc<Kline>, foldhash::fast::RandomState>,
    /// Those that were not sent, in the order in which their series began to wait.
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
            // The sequence number of a waiting update was taken by this confirmed kline.
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

/// Returns whether a kline replaces the known one of its series: it is of a later window, or a later state of the same
/// window.
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

    fn next(&mut self) -> Option<Batch> {
        let klines: Vec<_> = (0..BATCH).map_while(|_| self.waiting.pop_front()).map(|(_, kline)| kline).collect();
        (!klines.is_empty()).then_some(Batch { items: klines, mark: None })
    }

    fn acknowledged(&mut self, batch: &Batch) {
        count(&self.tally.acknowledged, batch.items.len());
    }

    fn requeue(&mut self, sent: Vec<Batch>) {
        for kline in sent.into_iter().flat_map(|batch| batch.items) {
            let is_newest = self.known.get(&kline.series).is_some_and(|known| Arc::ptr_eq(known, &kline));
            if is_newest && !self.waiting.contains_key(&kline.series) {
                self.waiting.insert(kline.series, kline);
            } else {
                count(&self.tally.overtaken, 1);
            }
        }
    }

    fn on_outage(&mut self) {}

    fn on_connected(&mut self) {}

    fn finish(&mut self) {
        let closed = self.waiting.values().filter(|kline| kline.confirm).count();
        self.tally.count_lost(LossReason::Shutdown, closed as u64);
        self.tally.dropped.fetch_add((self.waiting.len() - closed) as u64, ORDER);
        self.waiting.clear();
        self.journal.ended(&self.tally.totals());
    }
}
