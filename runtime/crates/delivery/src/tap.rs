//! Taps: what a run publishes, for people who look on. A tap holds a bounded number of bytes; when its reader is slower
//! than the run, the oldest are dropped and counted. Publishing never waits for a reader, and without taps costs one load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use klines_domain::kline::{Batch, Kline};
use tokio::sync::Notify;

use crate::emit::Point;
use crate::queue::KLINE_BYTES;
use crate::topic::Selection;

/// Maximum bytes that wait in one tap: some 20,000 klines. When it is full, the oldest is dropped.
const MAX_BYTES: usize = 8 << 20;
/// Maximum number of klines and values that are taken out at a time.
const AT_A_TIME: usize = 1_000;

/// The taps of a run; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Taps(Arc<Opened>);

#[derive(Debug, Default)]
struct Opened {
    /// Their number, which is read without the lock.
    count: AtomicUsize,
    taps: Mutex<Vec<Arc<Shared>>>,
}

/// One tap. Dropping it closes it.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    taps: Taps,
}

/// A kline or a value.
#[derive(Clone, Debug)]
pub enum Tapped {
    /// A kline.
    Kline(Arc<Kline>),
    /// A published value.
    Value(Arc<Point>),
}

/// What was taken out of a tap.
#[derive(Debug, Default)]
pub struct Taken {
    /// Klines and values that were dropped before the first one.
    pub missed: u64,
    /// Klines and values, in the order in which they were published.
    pub found: Vec<Tapped>,
}

#[derive(Debug)]
struct Shared {
    selection: Selection,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    found: VecDeque<Tapped>,
    bytes: usize,
    missed: u64,
}

impl Taps {
    /// Opens a tap, which receives what is published from now on.
    #[must_use]
    pub fn open(&self, selection: Selection) -> Tap {
        let shared = Arc::new(Shared { selection, waiting: Mutex::default(), changed: Notify::new() });
        self.change(|taps| taps.push(shared.clone()));
        Tap { shared, taps: self.clone() }
    }

    /// Returns whether there is a tap.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Adds the klines of a batch to every tap that has chosen them.
    pub(crate) fn klines(&self, batch: &Batch) {
        self.each(|tap| {
            let chosen = batch.klines.iter().filter(|kline| tap.selection.has(kline));
            tap.add(chosen.cloned().map(Tapped::Kline));
        });
    }

    /// Adds values to every tap that has chosen them.
    pub(crate) fn values(&self, points: &[Arc<Point>]) {
        self.each(|tap| {
            let chosen = points.iter().filter(|point| tap.selection.has_value(point));
            tap.add(chosen.cloned().map(Tapped::Value));
        });
    }

    fn each(&self, add: impl FnMut(&Arc<Shared>)) {
        if self.is_read() {
            self.lock().iter().for_each(add);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Shared>>)) {
        let mut taps = self.lock();
        change(&mut taps);
        self.0.count.store(taps.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.0.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    /// Waits until there is something, and takes out at most a thousand klines and values.
    pub async fn next(&self) -> Taken {
        loop {
            let taken = self.take();
            if taken.missed > 0 || !taken.found.is_empty() {
                return taken;
            }
            // A change since `take` is kept for this.
            self.shared.changed.notified().await;
        }
    }

    fn take(&self) -> Taken {
        let mut waiting = self.shared.lock();
        let count = waiting.found.len().min(AT_A_TIME);
        let found: Vec<Tapped> = waiting.found.drain(..count).collect();
        waiting.bytes -= found.iter().map(Tapped::weight).sum::<usize>();
        Taken { missed: std::mem::take(&mut waiting.missed), found }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.taps.change(|taps| taps.retain(|tap| !Arc::ptr_eq(tap, &self.shared)));
    }
}

impl Shared {
    fn add(&self, chosen: impl Iterator<Item = Tapped>) {
        let mut chosen = chosen.peekable();
        if chosen.peek().is_none() {
            return;
        }
        let mut waiting = self.lock();
        for one in chosen {
            waiting.bytes += one.weight();
            waiting.found.push_back(one);
            while waiting.bytes > MAX_BYTES && waiting.found.len() > 1 {
                let Some(oldest) = waiting.found.pop_front() else { break };
                waiting.bytes -= oldest.weight();
                waiting.missed += 1;
            }
        }
        drop(waiting);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tapped {
    /// Returns about how many bytes it takes. Klines are shared, but a tap may be their last owner.
    fn weight(&self) -> usize {
        match self {
            Self::Kline(_) => KLINE_BYTES,
            Self::Value(point) => point.weight(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{batch, kline, point};

    fn publish(taps: &Taps, windows: std::ops::Range<i64>) {
        windows.for_each(|window| taps.klines(&batch([kline("BTCUSDT", "1m", window, true)])));
    }

    fn numbers(taken: &Taken) -> Vec<u64> {
        let number = |found: &Tapped| match found {
            Tapped::Kline(kline) => kline.sequence,
            Tapped::Value(point) => point.sequence,
        };
        taken.found.iter().map(number).collect()
    }

    #[tokio::test]
    async fn a_tap_gets_what_is_published_while_it_is_open() {
        let taps = Taps::default();
        publish(&taps, 0..2);
        assert!(!taps.is_read());
        let tap = taps.open(Selection::default());
        publish(&taps, 2..4);
        taps.values(&[Arc::new(point("mine", "rsi", 3, true, "1"))]);
        taps.klines(&batch([kline("BTCUSDT", "1m", 4, false)]));
        let taken = tap.next().await;
        assert_eq!((taken.missed, numbers(&taken)), (0, vec![3, 4, 0]));
        drop(tap);
        assert!(!taps.is_read());
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_misses_the_oldest_and_their_number_is_known() {
        let (taps, room) = (Taps::default(), MAX_BYTES / KLINE_BYTES);
        let tap = taps.open(Selection::default());
        let all = i64::try_from(room).unwrap() + 700;
        publish(&taps, 0..all);
        let first = tap.next().await;
        assert_eq!((first.missed, numbers(&first)[0]), (700, 701));
        let mut read = first.found.len();
        while read < room {
            let taken = tap.next().await;
            assert_eq!(taken.missed, 0);
            read += taken.found.len();
        }
        assert_eq!(read, room);
        publish(&taps, all..all + 1);
        assert_eq!(tap.next().await.found.len(), 1, "it has room again");
    }
}
