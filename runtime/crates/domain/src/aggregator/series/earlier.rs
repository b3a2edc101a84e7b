//! What earlier runs have done in a series: which windows have a kline that stays, and with which revisions the others go on.

use std::collections::BTreeMap;

use crate::aggregator::EarlierSeries;
use crate::aggregator::spans::Spans;
use crate::mutants::Mutant;
use crate::time::Millis;

/// What earlier runs have done in a series.
#[derive(Clone, Debug, Default)]
pub(in crate::aggregator) struct Earlier {
    /// The first moment after the last window with a kline.
    next: Millis,
    /// Before that: the time of windows without a kline.
    missing: Spans,
    /// Before that: the windows whose klines may lack trades, with the revisions of these.
    doubtful: BTreeMap<Millis, u32>,
    /// For each crash: a window that ends before this time may have had a kline that is not known any more.
    crashes: Vec<Millis>,
}

impl Earlier {
    /// Nothing is known of earlier klines, but some may have been lost.
    pub(in crate::aggregator) const fn unknown(crashes: Vec<Millis>) -> Self {
        Self { next: Millis::MIN, missing: Spans::new(), doubtful: BTreeMap::new(), crashes }
    }

    /// All windows that start before `next` have a kline.
    pub(in crate::aggregator) fn until(next: Millis) -> Self {
        Self { next, ..Self::unknown(Vec::new()) }
    }

    pub(in crate::aggregator) fn new(known: &EarlierSeries, crashes: Vec<Millis>) -> Self {
        let is_kept = !Mutant::HoleForgotten.is_made();
        let missing = known.missing.iter().filter(|_| is_kept).map(|(from, to)| (from.get(), to.get())).collect();
        let doubtful = known.doubtful.iter().filter(|_| is_kept).map(|(start, revision)| (start.get(), *revision));
        Self { next: known.next.get(), missing, doubtful: doubtful.collect(), crashes }
    }

    /// Windows that start before `repaired` keep their klines. The run begins to watch at `at`, until when a run that has stored
    /// nothing may have published.
    pub(in crate::aggregator) fn begin(&mut self, repaired: Millis, at: Millis) {
        self.missing.remove((Millis::MIN, repaired.saturating_sub(1)));
        self.doubtful.retain(|start, _| *start >= repaired);
        self.crashes.iter_mut().filter(|crash| **crash == Millis::MAX).for_each(|crash| *crash = at);
    }

    /// Returns the start of the first window that can get a kline.
    pub(super) fn first(&self) -> Millis {
        let missing = self.missing.iter().next().map(|(from, _)| from);
        let doubtful = self.doubtful.keys().next().copied();
        missing.into_iter().chain(doubtful).fold(self.next, Millis::min)
    }

    /// Returns whether a window has a kline that stays.
    #[inline]
    pub(super) fn is_final(&self, start: Millis) -> bool {
        start < self.next && !self.missing.contains(start, start) && !self.doubtful.contains_key(&start)
    }

    /// Returns the greatest revision that the kline of a window can have; `None` if there is no kline that may lack trades.
    pub(super) fn revision_of(&self, start: Millis, end: Millis) -> Option<u32> {
        self.doubtful.get(&start).map(|revision| revision + self.first_revision(end))
    }

    /// Returns the revision of the first kline of a window that ends at `end`: each one that may have been published and lost
    /// counts as a revision.
    pub(super) fn first_revision(&self, end: Millis) -> u32 {
        let mut lost =
            self.crashes.iter().filter(|lost_before| end < **lost_before && !Mutant::LostKlineNotCounted.is_made());
        if Mutant::CrashNotCounted.is_made() {
            return u32::from(lost.next().is_some());
        }
        u32::try_from(lost.count()).unwrap_or(u32::MAX)
    }
}
