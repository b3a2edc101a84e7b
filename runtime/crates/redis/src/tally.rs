//! Counters and gauges of each output: what happened to its klines, and whether it is connected. Any thread may read
//! them at any time. Only counts; decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

use klines_delivery::stats::{LossCounters, LossReason, Losses};
use klines_domain::time::Millis;

use crate::settings::{PUBLISH, STREAM, Settings};

/// Stored as the oldest kline's time when no kline waits.
const NONE: Millis = Millis::MIN;

/// Whether Redis takes what an output sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// No attempt has ended yet.
    #[default]
    New,
    /// Redis takes klines.
    Up,
    /// No connection, or Redis answers with errors.
    Down,
}

/// The counters and gauges of one output.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) taken: AtomicU64,
    pub(super) found: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) spilled: AtomicU64,
    pub(super) overtaken: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) kept: AtomicU64,
    /// Closed klines among those dropped.
    losses: LossCounters,
    /// Klines in the inbox of the output's writer.
    inbox: AtomicU64,
    on_disk: AtomicU64,
    disk_bytes: AtomicU64,
    oldest: AtomicI64,
    link: AtomicU8,
    is_full: AtomicBool,
}

/// A [`Tally`] at one moment, in klines or values. Invariant at the end of a run:
/// `taken + found = acknowledged + overtaken + dropped + kept`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Taken by the output.
    pub taken: u64,
    /// Left on disk by an earlier run.
    pub found: u64,
    /// Acknowledged by Redis.
    pub acknowledged: u64,
    /// Those of `taken` that were written to disk.
    pub spilled: u64,
    /// Last values or provisional values that a newer one replaced before they were sent, or that were in flight when
    /// the connection was lost.
    pub overtaken: u64,
    /// Dropped because there was no room for them, no disk, or no time at the end of the run.
    pub dropped: u64,
    /// Left on disk for the next run.
    pub kept: u64,
}

/// What waits for Redis in one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Klines on disk.
    pub(super) on_disk: u64,
    /// Bytes of those klines.
    pub(super) disk_bytes: u64,
    /// When the oldest kline that Redis has not acknowledged was made, by the exchange's clock.
    pub(super) oldest: Option<Millis>,
    /// Whether there is no more room, so that klines are dropped.
    pub(super) is_full: bool,
}

// Each counter is independent: no code depends on the order in which two of them change.
pub(super) const ORDER: Ordering = Ordering::Relaxed;

impl Tally {
    /// Returns all counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            taken: self.taken.load(ORDER),
            found: self.found.load(ORDER),
            acknowledged: self.acknowledged.load(ORDER),
            spilled: self.spilled.load(ORDER),
            overtaken: self.overtaken.load(ORDER),
            dropped: self.dropped.load(ORDER),
            kept: self.kept.load(ORDER),
        }
    }

    /// Returns the closed klines that were dropped.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses.read()
    }

    /// Returns whether Redis takes what is sent.
    #[must_use]
    pub fn link(&self) -> Link {
        [Link::New, Link::Up, Link::Down]
            .into_iter()
            .find(|link| *link as u8 == self.link.load(ORDER))
            .unwrap_or_default()
    }

    /// Returns the klines that Redis has not acknowledged and that are in memory.
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        // What leaves the inbox has been counted as taken before, so that nothing that waits is missing in the sum.
        let inbox = self.inbox.load(Ordering::Acquire);
        let Totals { taken, found, acknowledged, overtaken, dropped, .. } = self.totals();
        // The counters change while they are read one after the other, so the difference could be negative.
        let all = (taken + found + inbox).saturating_sub(acknowledged + overtaken + dropped);
        all.saturating_sub(self.on_disk())
    }

    /// Returns the klines that Redis has not acknowledged and that are on disk.
    #[must_use]
    pub fn on_disk(&self) -> u64 {
        self.on_disk.load(ORDER)
    }

    /// Returns the bytes that klines take on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(ORDER)
    }

    /// Returns when the oldest kline that Redis has not acknowledged was made; `None` when nothing waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        let waits = self.in_memory() + self.on_disk() > 0;
        Some(self.oldest.load(ORDER)).filter(|oldest| waits && *oldest != NONE)
    }

    /// Returns whether klines are dropped because there is no more room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(ORDER)
    }

    pub(super) fn set_link(&self, link: Link) {
        self.link.store(link as u8, ORDER);
    }

    pub(super) fn enqueued(&self, items: usize) {
        count(&self.inbox, items);
    }

    pub(super) fn dequeued(&self, items: usize) {
        self.inbox.fetch_sub(items as u64, Ordering::Release);
    }

    /// Counts dropped closed klines.
    pub(super) fn count_lost(&self, reason: LossReason, klines: u64) {
        self.dropped.fetch_add(klines, ORDER);
        self.losses.add(reason, klines);
    }

    pub(super) fn set_waiting(&self, waiting: Waiting) {
        self.on_disk.store(waiting.on_disk, ORDER);
        self.disk_bytes.store(waiting.disk_bytes, ORDER);
        self.oldest.store(waiting.oldest.unwrap_or(NONE), ORDER);
        self.is_full.store(waiting.is_full, ORDER);
    }
}

pub(super) fn count(counter: &AtomicU64, klines: usize) {
    counter.fetch_add(klines as u64, ORDER);
}

/// The tallies of all outputs. A new instance continues the counters of the one before.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// The output that publishes klines.
    pub publish: Arc<Tally>,
    /// The output that appends klines to streams.
    pub stream: Arc<Tally>,
    /// The output that sets last values.
    pub last_value: Arc<Tally>,
    /// The output that publishes values of consumers.
    pub values: Arc<Tally>,
    /// Which of the four outputs are enabled.
    enabled: [bool; 4],
}

impl Tallies {
    pub(super) fn new(settings: &Settings) -> Self {
        let enabled = [settings.publish, settings.stream.is_some(), settings.last_value.is_some(), settings.values];
        Self { enabled, ..Self::default() }
    }

    /// Returns the tally of an output that keeps every kline.
    pub(super) fn of(&self, output: &str) -> &Arc<Tally> {
        if output == PUBLISH { &self.publish } else { &self.stream }
    }

    /// Returns the enabled outputs, with their names.
    pub fn enabled(&self) -> impl Iterator<Item = (&'static str, &Tally)> {
        let all: [(&'static str, &Tally); 4] = [
            (PUBLISH, &self.publish),
            (STREAM, &self.stream),
            ("last_value", &self.last_value),
            ("values", &self.values),
        ];
        all.into_iter().zip(self.enabled).filter(|(_, is_on)| *is_on).map(|(output, _)| output)
    }

    /// Returns the outputs that every closed kline goes to. If there is none, the output of last values, which keeps
    /// one kline of each series.
    fn counted(&self) -> impl Iterator<Item = &Tally> {
        let [publish, stream, ..] = self.enabled;
        let is_counted =
            move |name: &str| if publish || stream { [PUBLISH, STREAM].contains(&name) } else { name == "last_value" };
        self.enabled().filter(move |(name, _)| is_counted(name)).map(|(_, tally)| tally)
    }

    /// Returns the klines that Redis has acknowledged, once for each output.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.counted().map(|tally| tally.totals().acknowledged).sum()
    }

    /// Returns the closed klines that were dropped, once for each output.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let mut all = Losses::default();
        self.counted().for_each(|tally| all.merge(&tally.losses()));
        all
    }

    /// Returns the klines that wait in memory, once for each output.
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        self.counted().map(Tally::in_memory).sum()
    }

    /// Returns the klines that wait on disk, once for each output.
    #[must_use]
    pub fn on_disk(&self) -> u64 {
        self.counted().map(Tally::on_disk).sum()
    }

    /// Returns whether Redis takes nothing from at least one output.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.enabled().any(|(_, tally)| tally.link() == Link::Down)
    }

    /// Returns whether at least one output is disconnected and has no more room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.counted().any(|tally| tally.link() == Link::Down && tally.is_full())
    }
}
