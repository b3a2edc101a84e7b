//! The newest klines of every series, bounded in bytes: the source of snapshots, resumption and the newest klines of
//! REST answers.
//!
//! When the bound is reached, the longest series lose their oldest klines first, so that the minutes of a thousand
//! symbols do not push out the days of one. Does not know clients.

use std::collections::VecDeque;
use std::sync::Arc;

use klines_delivery::epochs::Epochs;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;

use super::outbox::TopicId;
use super::recent::{Base, Recent};

/// The maximum number of klines of one series: the longest page of `/v5/market/kline` and room for revisions.
pub const MAX_KLINES: usize = 1_200;
/// The memory of one kline, bytes: itself, the counts of its `Arc` and its entry in the queue.
const KLINE_BYTES: usize = size_of::<Kline>() + 4 * size_of::<usize>();

/// The newest klines of every series.
#[derive(Debug)]
pub struct Memory {
    series: Vec<Recent<Kline>>,
    klines: usize,
    /// The maximum number of klines of all series.
    most: usize,
    /// The maximum number of klines of one series; falls when the bound is reached.
    longest: usize,
    /// The epochs that this server shares with others; `None` if its sequences are its own.
    epochs: Option<Arc<dyn Epochs>>,
}

impl Memory {
    /// Creates an empty memory of about `bytes`.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self { series: Vec::new(), klines: 0, most: bytes / KLINE_BYTES, longest: MAX_KLINES, epochs: None }
    }

    /// Sets the epochs that this server shares with others, before there are series.
    pub fn share(&mut self, epochs: Option<Arc<dyn Epochs>>) {
        self.epochs = epochs;
    }

    /// Returns whether this server shares its sequences and epochs with others.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.epochs.is_some()
    }

    /// Adds the next series, whose last kline had the sequence `last` in an earlier run; 0 if there was none.
    pub fn add(&mut self, series: SeriesId, last: u64) {
        let base = self.base(series, last);
        self.series.push(Recent::resuming(last, base));
    }

    /// Stores the klines of an earlier run of a series, as [`Recent::keep_earlier`] does; of several shared epochs, those
    /// of the last one.
    pub fn keep_earlier(&mut self, id: TopicId, mut klines: VecDeque<Arc<Kline>>) {
        let base = |kline: &Arc<Kline>| self.base(kline.series, kline.sequence);
        let last = klines.back().map(base);
        let of_last = klines.iter().rev().take_while(|kline| Some(base(kline)) == last).count();
        klines.drain(..klines.len() - of_last);
        let Some(recent) = self.series.get_mut(id.0 as usize) else { return };
        recent.keep_earlier(klines);
        recent.shorten(self.longest);
        self.klines += recent.closed_len();
        while self.klines > self.most && self.longest > 1 {
            self.shorten();
        }
    }

    /// Returns the newest klines of a series.
    #[must_use]
    pub fn recent(&self, id: TopicId) -> Option<&Recent<Kline>> {
        self.series.get(id.0 as usize)
    }

    /// Returns whether this number of klines fits without dropping others.
    #[must_use]
    pub const fn has_room(&self, klines: usize) -> bool {
        self.klines + klines <= self.most
    }

    /// Stores a kline. Returns whether its sequence follows the last one, as [`Recent::keep`] does.
    pub fn keep(&mut self, id: TopicId, kline: &mut Arc<Kline>) -> bool {
        // An update is of the epoch of the last confirmed kline.
        let base = kline.confirm.then(|| self.base(kline.series, kline.sequence));
        let Some(recent) = self.series.get_mut(id.0 as usize) else { return true };
        let is_next = recent.keep(kline, base.unwrap_or(recent.base()));
        if !kline.confirm {
            return is_next;
        }
        self.klines += 1;
        self.klines -= recent.shorten(self.longest);
        while self.klines > self.most && self.longest > 1 {
            self.shorten();
        }
        is_next
    }

    /// Returns what the epoch of a kline begins with.
    fn base(&self, series: SeriesId, sequence: u64) -> Base {
        let Some(epochs) = &self.epochs else { return Base::Own };
        epochs.of(series, sequence).map_or(Base::Unknown, Base::Shared)
    }

    /// Shortens the longest series by an eighth.
    fn shorten(&mut self) {
        let longest = self.series.iter().map(Recent::closed_len).max().unwrap_or_default();
        self.longest = (longest - longest.div_ceil(8)).max(1);
        for recent in &mut self.series {
            self.klines -= recent.shorten(self.longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;
    use klines_domain::time::Millis;

    use super::*;

    const ID: TopicId = TopicId(0);

    fn kline(minute: Millis, sequence: u64, revision: u32) -> Arc<Kline> {
        Arc::new(Kline { sequence, revision, ..fixture::kline("BTCUSDT", "1m", minute, true) })
    }

    fn memory(klines: &[Arc<Kline>]) -> Memory {
        let mut memory = Memory::new(1 << 20);
        memory.add(kline(1, 1, 0).series, 0);
        for kline in klines {
            memory.keep(ID, &mut kline.clone());
        }
        memory
    }

    fn sequences(klines: &[Arc<Kline>]) -> Vec<u64> {
        klines.iter().map(|kline| kline.sequence).collect()
    }

    #[test]
    fn missed_klines_are_returned_completely_or_not_at_all() {
        let memory = memory(&[kline(1, 4, 0), kline(2, 5, 0), kline(3, 6, 0)]);
        let recent = memory.recent(ID).unwrap();
        assert_eq!(recent.since(6).map(|missed| sequences(&missed)), Some(vec![]));
        assert_eq!(recent.since(3).map(|missed| sequences(&missed)), Some(vec![4, 5, 6]));
        assert!(recent.since(2).is_none(), "sequence 4 is the first that is stored");
        assert!(recent.since(7).is_none(), "sequence 7 does not exist yet");
    }

    #[test]
    fn resumption_never_spans_a_hole_in_the_sequence() {
        let mut memory = memory(&[kline(1, 1, 0), kline(2, 2, 0)]);
        assert!(!memory.keep(ID, &mut kline(5, 5, 0)));
        assert!(memory.keep(ID, &mut kline(6, 6, 0)));
        let recent = memory.recent(ID).unwrap();
        assert_eq!(recent.breaks(), 1);
        assert!(recent.since(2).is_none());
        assert_eq!(recent.since(4).map(|missed| sequences(&missed)), Some(vec![5, 6]));
    }

    #[test]
    fn an_update_that_a_revision_overtook_has_the_next_sequence() {
        let mut memory = memory(&[kline(1, 1, 0), kline(1, 2, 1)]);
        let mut update = Arc::new(Kline { confirm: false, ..Kline::clone(&kline(2, 2, 0)) });
        memory.keep(ID, &mut update);
        assert_eq!(update.sequence, 3);
        assert_eq!(memory.recent(ID).unwrap().open().unwrap().sequence, 3);
    }

    #[test]
    fn a_page_holds_the_last_revision_of_each_kline() {
        let memory = memory(&[kline(1, 1, 0), kline(2, 2, 0), kline(1, 3, 1), kline(2, 4, 1), kline(3, 5, 0)]);
        let recent = memory.recent(ID).unwrap();
        assert_eq!(sequences(&recent.newest(10)), [3, 4, 5]);
        assert_eq!(sequences(&recent.newest(2)), [4, 5]);
        let minute = |kline: &Arc<Kline>| kline.start;
        let all = recent.newest(10);
        assert_eq!(sequences(&recent.range(minute(&all[0])..=minute(&all[1]), 1, true)), [3]);
    }

    #[test]
    fn the_longest_series_are_shortened_first() {
        let mut memory = Memory::new(KLINE_BYTES * 100);
        let short = TopicId(1);
        memory.add(kline(1, 1, 0).series, 0);
        memory.add(kline(1, 1, 0).series, 0);
        for sequence in 1..=10 {
            memory.keep(short, &mut kline(sequence.try_into().unwrap(), sequence, 0));
        }
        for sequence in 1..=1_000 {
            memory.keep(ID, &mut kline(sequence.try_into().unwrap(), sequence, 0));
        }
        assert!(memory.klines <= 100);
        assert_eq!(memory.recent(short).unwrap().newest(1_000).len(), 10);
        let long = memory.recent(ID).unwrap().newest(1_000);
        assert!(long.len() > 60, "{}", long.len());
        assert_eq!(long.last().unwrap().sequence, 1_000);
    }
}
