//! The backlog that keeps every kline, in order: in memory while Redis answers, on disk while it does not.
//!
//! What is on disk is older than what is in memory, and goes first. A short interruption does not touch the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use klines_delivery::stats::LossReason;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;

use super::{Backlog, ORDER, Parcel, Tally, Waiting, count};
use crate::journal::Journal;
use crate::spill::{Dropped, Spill};

/// Klines in memory, those on their way included, before more have to wait elsewhere.
pub(super) const MOST_HELD: usize = 16_384;

/// See the module.
pub(crate) struct Ordered {
    spill: Option<Spill>,
    /// The disk did not take the last thing it was given.
    disk_fails: bool,
    /// Newer than all that is on disk.
    held: VecDeque<Vec<Arc<Kline>>>,
    held_klines: usize,
    in_flight: usize,
    /// When the first kline of each parcel on its way was made, oldest first.
    sent: VecDeque<Millis>,
    /// Klines were dropped since Redis took some.
    overflows: bool,
    /// Redis does not take klines.
    down: bool,
    /// And has not for longer than a moment.
    away: bool,
    /// Drops of the spill that are in the tally.
    counted: Dropped,
    journal: Journal,
    tally: Arc<Tally>,
}

impl Ordered {
    pub(crate) fn new(spill: Option<Spill>, journal: Journal, tally: Arc<Tally>) -> Self {
        if let Some(spill) = &spill {
            // What an earlier instance of this run has kept was counted when it was taken.
            let kept = tally.kept.swap(0, ORDER);
            tally.found.fetch_add((spill.waiting() + spill.dropped().total()).saturating_sub(kept), ORDER);
        }
        let mut made = Self {
            spill,
            disk_fails: false,
            held: VecDeque::new(),
            held_klines: 0,
            in_flight: 0,
            sent: VecDeque::new(),
            overflows: false,
            down: true,
            away: false,
            counted: Dropped::default(),
            journal,
            tally,
        };
        made.count_drops();
        made
    }

    fn unread(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::unread)
    }

    /// Whether what comes may go to disk: only behind what is there already, or while Redis is away.
    fn may_stow(&self) -> bool {
        self.spill.is_some() && (self.down || self.unread() > 0)
    }

    /// Puts on disk what should not stay in memory.
    fn settle(&mut self) {
        if self.may_stow() && (self.held_klines > MOST_HELD || (self.down && self.away)) {
            self.stow();
        }
    }

    fn stow(&mut self) {
        let Some(spill) = &mut self.spill else { return };
        while let Some(klines) = self.held.front() {
            match spill.append(klines) {
                Ok(()) => {
                    self.journal.spilling();
                    count(&self.tally.spilled, klines.len());
                    self.held_klines -= klines.len();
                    self.held.pop_front();
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
        self.tally.lose(LossReason::SpillFull, no_room);
        self.tally.lose(LossReason::SpillDamaged, damaged);
        if no_room > 0 {
            self.overflows = true;
            self.journal.dropping(no_room);
        }
        if damaged > 0 {
            self.journal.damaged(damaged);
        }
    }

    fn hold(&mut self, klines: &[Arc<Kline>]) {
        self.in_flight += klines.len();
        self.sent.push_back(made(klines).unwrap_or_default());
    }
}

/// When a batch was made.
fn made(klines: &[Arc<Kline>]) -> Option<Millis> {
    klines.first().map(|kline| kline.emitted)
}

impl Backlog for Ordered {
    type Item = Kline;

    fn admit(&mut self, klines: Vec<Arc<Kline>>) {
        count(&self.tally.taken, klines.len());
        self.held_klines += klines.len();
        self.held.push_back(klines);
        self.settle();
    }

    fn has_room(&self) -> bool {
        (self.may_stow() && !self.disk_fails) || self.held_klines + self.in_flight < MOST_HELD
    }

    fn is_idle(&self) -> bool {
        self.held.is_empty() && self.unread() == 0
    }

    fn next(&mut self) -> Option<Parcel> {
        let read = self.spill.as_mut().filter(|spill| spill.unread() > 0).map(Spill::read);
        match read {
            Some(Ok(Some((klines, mark)))) => {
                let klines: Vec<_> = klines.into_iter().map(Arc::new).collect();
                self.hold(&klines);
                return Some(Parcel { items: klines, mark: Some(mark) });
            }
            // What is newer waits until the disk can be read again, or has lost what it held.
            Some(Err(error)) => {
                self.journal.disk_failed(&error);
                return None;
            }
            Some(Ok(None)) => self.count_drops(),
            None => {}
        }
        let klines = self.held.pop_front()?;
        self.held_klines -= klines.len();
        self.hold(&klines);
        Some(Parcel { items: klines, mark: None })
    }

    fn acknowledged(&mut self, parcel: &Parcel) {
        count(&self.tally.acknowledged, parcel.items.len());
        self.in_flight -= parcel.items.len();
        self.sent.pop_front();
        if let (Some(spill), Some(mark)) = (&mut self.spill, parcel.mark) {
            spill.release(mark);
            if spill.waiting() == 0 {
                self.journal.caught_up();
            }
        }
    }

    fn recall(&mut self, sent: Vec<Parcel>) {
        for parcel in sent.into_iter().rev().filter(|parcel| parcel.mark.is_none()) {
            self.held_klines += parcel.items.len();
            self.held.push_front(parcel.items);
        }
        self.in_flight = 0;
        self.sent.clear();
        self.down = true;
        if let Some(spill) = &mut self.spill {
            spill.rewind();
        }
        self.count_drops();
        self.settle();
    }

    fn away(&mut self) {
        self.away = true;
        self.settle();
    }

    fn back(&mut self) {
        (self.down, self.away, self.overflows) = (false, false, false);
    }

    fn waiting(&self) -> Waiting {
        let on_disk = self.spill.as_ref().filter(|spill| spill.waiting() > 0);
        let unread = on_disk.filter(|spill| spill.unread() > 0).and_then(Spill::oldest);
        let in_memory = || self.held.front().and_then(|klines| made(klines));
        Waiting {
            on_disk: on_disk.map_or(0, Spill::waiting),
            disk_bytes: on_disk.map_or(0, Spill::bytes),
            oldest: self.sent.front().copied().or(unread).or_else(in_memory),
            is_full: self.overflows || !self.has_room(),
        }
    }

    fn conclude(&mut self) {
        self.stow();
        self.tally.lose(LossReason::Shutdown, self.held_klines as u64);
        if self.held_klines > 0 {
            self.journal.lost_at_the_end(self.held_klines);
        }
        self.held.clear();
        self.held_klines = 0;
        let kept = self.spill.as_ref().map_or(0, Spill::waiting);
        self.tally.kept.store(kept, ORDER);
        self.journal.ended(&self.tally.totals());
    }
}
