//! The backlog that keeps every kline, in order: in memory while Redis answers, on disk while it does not.
//!
//! Klines on disk are older than those in memory, and are sent first. A short interruption does not use the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use klines_delivery::stats::LossReason;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;

use super::{Backlog, Batch, ORDER, Tally, Waiting, count};
use crate::journal::Journal;
use crate::spill::{Dropped, Spill};

/// Klines in memory, those in flight included, from which on more have to wait on disk or in the inbox.
pub(super) const MAX_IN_MEMORY: usize = 16_384;

/// A backlog that keeps every kline, in order.
pub(crate) struct Ordered {
    spill: Option<Spill>,
    /// Whether the last write to disk failed.
    disk_fails: bool,
    /// Klines that wait in memory, all newer than those on disk.
    in_memory: VecDeque<Vec<Arc<Kline>>>,
    klines_in_memory: usize,
    in_flight: usize,
    /// When the first kline of each batch in flight was emitted, oldest first.
    sent: VecDeque<Millis>,
    /// Whether klines were dropped since Redis last took some.
    overflows: bool,
    /// Whether Redis takes no klines.
    down: bool,
    /// Whether Redis has taken none for longer than a moment.
    in_outage: bool,
    /// The drops of the spill that the tally already counts.
    counted: Dropped,
    journal: Journal,
    tally: Arc<Tally>,
}

impl Ordered {
    pub(crate) fn new(spill: Option<Spill>, journal: Journal, tally: Arc<Tally>) -> Self {
        if let Some(spill) = &spill {
            // Klines that an earlier instance of this run kept on disk were counted when they were taken.
            let kept = tally.kept.swap(0, ORDER);
            tally.found.fetch_add((spill.waiting() + spill.dropped().total()).saturating_sub(kept), ORDER);
        }
        let mut backlog = Self {
            spill,
            disk_fails: false,
            in_memory: VecDeque::new(),
            klines_in_memory: 0,
            in_flight: 0,
            sent: VecDeque::new(),
            overflows: false,
            down: true,
            in_outage: false,
            counted: Dropped::default(),
            journal,
            tally,
        };
        backlog.count_drops();
        backlog
    }

    fn unread(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::unread)
    }

    /// Returns whether new klines may go to disk: only after klines that are already there, or while Redis takes none.
    fn may_spill(&self) -> bool {
        self.spill.is_some() && (self.down || self.unread() > 0)
    }

    /// Writes the klines in memory to disk if there are too many of them or there is an outage.
    fn spill_if_needed(&mut self) {
        if self.may_spill() && (self.klines_in_memory > MAX_IN_MEMORY || (self.down && self.in_outage)) {
            self.spill_all();
        }
    }

    fn spill_all(&mut self) {
        let Some(spill) = &mut self.spill else { return };
        while let Some(klines) = self.in_memory.front() {
            match spill.append(klines) {
                Ok(()) => {
                    self.journal.spilling();
                    count(&self.tally.spilled, klines.len());
                    self.klines_in_memory -= klines.len();
                    self.in_memory.pop_front();
                    self.disk_fails = false;
                }
                Err(error) => {
                    self.disk_fails = true;
                    self.journal.disk_failed(&error);
                    break;
                }
            }
        }
        self.count_drops();
    }

    fn count_drops(&mut self) {
        let dropped = self.spill.as_ref().map(Spill::dropped).unwrap_or_default();
        let Dropped { no_room, damaged } = dropped.since(self.counted);
        self.counted = dropped;
        self.tally.count_lost(LossReason::SpillFull, no_room);
        self.tally.count_lost(LossReason::SpillDamaged, damaged);
        if no_room > 0 {
            self.overflows = true;
            self.journal.dropping(no_room);
        }
        if damaged > 0 {
            self.journal.damaged(damaged);
        }
    }

    /// Notes that a batch is in flight.
    fn note_sent(&mut self, klines: &[Arc<Kline>]) {
        self.in_flight += klines.len();
        self.sent.push_back(emitted(klines).unwrap_or_default());
    }
}

/// Returns when the first kline of a batch was emitted.
fn emitted(klines: &[Arc<Kline>]) -> Option<Millis> {
    klines.first().map(|kline| kline.emitted)
}

impl Backlog for Ordered {
    type Item = Kline;

    fn admit(&mut self, klines: Vec<Arc<Kline>>) {
        count(&self.tally.taken, klines.len());
        self.klines_in_memory += klines.len();
        self.in_memory.push_back(klines);
        self.spill_if_needed();
    }

    fn has_room(&self) -> bool {
        (self.may_spill() && !self.disk_fails) || self.klines_in_memory + self.in_flight < MAX_IN_MEMORY
    }

    fn is_idle(&self) -> bool {
        self.in_memory.is_empty() && self.unread() == 0
    }

    fn next(&mut self) -> Option<Batch> {
        let read = self.spill.as_mut().filter(|spill| spill.unread() > 0).map(Spill::read);
        match read {
            Some(Ok(Some((klines, mark)))) => {
                let klines: Vec<_> = klines.into_iter().map(Arc::new).collect();
                self.note_sent(&klines);
                return Some(Batch { items: klines, mark: Some(mark) });
            }
            // Newer klines wait until the disk can be read again, or its klines are counted as damaged.
            Some(Err(error)) => {
                self.journal.disk_failed(&error);
                return None;
            }
            Some(Ok(None)) => self.count_drops(),
            None => {}
        }
        let klines = self.in_memory.pop_front()?;
        self.klines_in_memory -= klines.len();
        self.note_sent(&klines);
        Some(Batch { items: klines, mark: None })
    }

    fn acknowledged(&mut self, batch: &Batch) {
        count(&self.tally.acknowledged, batch.items.len());
        self.in_flight -= batch.items.len();
        self.sent.pop_front();
        if let (Some(spill), Some(mark)) = (&mut self.spill, batch.mark) {
            spill.release(mark);
            if spill.waiting() == 0 {
                self.journal.caught_up();
            }
        }
    }

    fn requeue(&mut self, sent: Vec<Batch>) {
        for batch in sent.into_iter().rev().filter(|batch| batch.mark.is_none()) {
            self.klines_in_memory += batch.items.len();
            self.in_memory.push_front(batch.items);
        }
        self.in_flight = 0;
        self.sent.clear();
        self.down = true;
        if let Some(spill) = &mut self.spill {
            spill.rewind();
        }
        self.count_drops();
        self.spill_if_needed();
    }

    fn on_outage(&mut self) {
        self.in_outage = true;
        self.spill_if_needed();
    }

    fn on_connected(&mut self) {
        (self.down, self.in_outage, self.overflows) = (false, false, false);
    }

    fn waiting(&self) -> Waiting {
        let on_disk = self.spill.as_ref().filter(|spill| spill.waiting() > 0);
        let unread = on_disk.filter(|spill| spill.unread() > 0).and_then(Spill::oldest);
        let in_memory = || self.in_memory.front().and_then(|klines| emitted(klines));
        Waiting {
            on_disk: on_disk.map_or(0, Spill::waiting),
            disk_bytes: on_disk.map_or(0, Spill::bytes),
            oldest: self.sent.front().copied().or(unread).or_else(in_memory),
            is_full: self.overflows || !self.has_room(),
        }
    }

    fn finish(&mut self) {
        self.spill_all();
        self.tally.count_lost(LossReason::Shutdown, self.klines_in_memory as u64);
        if self.klines_in_memory > 0 {
            self.journal.lost_at_the_end(self.klines_in_memory);
        }
        self.in_memory.clear();
        self.klines_in_memory = 0;
        let kept = self.spill.as_ref().map_or(0, Spill::waiting);
        self.tally.kept.store(kept, ORDER);
        self.journal.ended(&self.tally.totals());
    }
}
