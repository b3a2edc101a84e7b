//! The klines that wait in one queue: closed ones in order, in-progress ones conflated to the newest of each series, and
//! one of the window before it while that is over and not confirmed; and the bounds of both, in klines and in bytes. Knows
//! neither threads nor locks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use klines_domain::kline::{Batch, Kline};
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;

use super::Grouping;
use crate::conflated::Conflated;
use crate::filter::Filter;

/// What a closed kline that waits is charged with, in bytes: itself, the counts of its `Arc` and its entry. Queues share
/// klines, and each charges the whole of it: any of them may be the last that holds it.
pub const KLINE_BYTES: usize = size_of::<Kline>() + ARC_COUNTS + size_of::<Entry>();
/// The same for an in-progress kline, with its node in the list and its entries in both tables.
pub const UPDATE_BYTES: usize = size_of::<Kline>()
    + ARC_COUNTS
    + size_of::<(Window, Arc<Kline>)>()
    + LINKS
    + 2 * (size_of::<usize>() + size_of::<(SeriesId, OpenWindows)>());
/// Bytes of all klines that wait in one queue, whatever its configuration.
pub const MOST_BYTES: usize = 256 << 20;

const ARC_COUNTS: usize = 2 * size_of::<usize>();
const LINKS: usize = 2 * size_of::<usize>();

/// Boundaries that fit, at least.
const BOUNDARIES: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct KlineBuffer {
    /// Closed klines that it holds at least.
    configured: usize,
    most_bytes: usize,
    /// Closed klines that can come at one moment.
    boundary: usize,
    closed: VecDeque<Entry>,
    /// Pending updates in the order in which their windows began to wait.
    updates: Conflated<Window, Arc<Kline>>,
    /// Of which windows of a series updates wait.
    windows: HashMap<SeriesId, OpenWindows, foldhash::fast::RandomState>,
}

/// A window of a series, by its start.
type Window = (SeriesId, Millis);

/// A closed kline.
#[derive(Debug)]
struct Entry {
    /// Number of the hub's batch that it came in.
    batch: u64,
    /// When that was.
    at: Instant,
    kline: Arc<Kline>,
}

/// The windows of one series whose updates wait, by their start.
#[derive(Clone, Copy, Debug)]
struct OpenWindows {
    newest: Millis,
    /// The window before, which is over, but in its grace.
    ended: Option<Millis>,
}

impl OpenWindows {
    /// Keeps those that are to be kept. Returns whether any is left.
    fn keep(&mut self, is_kept: impl Fn(Millis) -> bool) -> bool {
        self.ended = self.ended.filter(|start| is_kept(*start));
        if is_kept(self.newest) {
            return true;
        }
        // What was the window before is the newest that is left.
        self.ended.take().is_some_and(|ended| {
            self.newest = ended;
            true
        })
    }
}

/// What is taken out at once.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) klines: Vec<Arc<Kline>>,
    /// When the oldest closed one came.
    pub(super) oldest: Option<Instant>,
}

impl KlineBuffer {
    /// Builds an empty buffer for `configured` closed klines (at least 1), or two boundaries where that is more, within
    /// `most_bytes`.
    pub(super) fn new(configured: usize, most_bytes: usize) -> Self {
        Self {
            configured: configured.max(1),
            most_bytes,
            boundary: 0,
            closed: VecDeque::new(),
            updates: Conflated::default(),
            windows: HashMap::default(),
        }
    }

    /// Says how many closed klines can come at one moment. A bound that falls drops nothing that waits already.
    pub(super) fn expect(&mut self, boundary: usize) {
        self.boundary = boundary;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.updates.is_empty()
    }

    pub(super) fn closed(&self) -> usize {
        self.closed.len()
    }

    pub(super) fn updates(&self) -> usize {
        self.updates.len()
    }

    pub(super) fn boundary(&self) -> usize {
        self.boundary
    }

    /// Closed klines that it holds at most.
    pub(super) fn capacity(&self) -> usize {
        capacity(self.configured, self.boundary, self.most_bytes)
    }

    fn bytes(&self) -> usize {
        self.closed.len() * KLINE_BYTES + self.updates.len() * UPDATE_BYTES
    }

    /// Adds what passes of a batch; returns how many closed klines were dropped for want of room, the oldest first.
    pub(super) fn push(&mut self, number: u64, batch: &Batch, filter: &Filter) -> u64 {
        self.learn(batch, filter);
        let (before, mut at) = (self.closed.len(), None);
        for kline in batch.klines.iter().filter(|kline| filter.passes(kline)) {
            if kline.confirm {
                // One look at the clock a batch, and none for updates.
                let at = *at.get_or_insert_with(Instant::now);
                self.push_closed(Entry { batch: number, at, kline: kline.clone() });
            } else {
                self.push_update(kline);
            }
        }
        self.shrink(self.closed.len() - before)
    }

    /// Takes note of a batch that is larger than any boundary: the corrections that one event causes are a moment's
    /// klines too.
    fn learn(&mut self, batch: &Batch, filter: &Filter) {
        if batch.klines.len() > self.boundary {
            let closed = batch.klines.iter().filter(|kline| kline.confirm && filter.passes(kline)).count();
            self.boundary = self.boundary.max(closed);
        }
    }

    fn push_closed(&mut self, entry: Entry) {
        if !self.updates.is_empty() {
            self.overtake(&entry.kline);
        }
        self.closed.push_back(entry);
    }

    /// Drops the updates that a confirmed kline is newer than, and gives the others the number that the next one will
    /// have.
    fn overtake(&mut self, closed: &Kline) {
        let Self { updates, windows, .. } = self;
        let Some(open) = windows.get_mut(&closed.series) else { return };
        for start in [open.ended, Some(open.newest)].into_iter().flatten() {
            let window = (closed.series, start);
            if start <= closed.start {
                updates.remove(&window);
            } else if let Some(update) = updates.get_mut(&window)
                && update.sequence <= closed.sequence
            {
                Arc::make_mut(update).sequence = closed.sequence + 1;
            }
        }
        if !open.keep(|start| updates.contains_key(&(closed.series, start))) {
            windows.remove(&closed.series);
        }
    }

    /// Puts an update in the place of the one of the same window; of a further window, in the last place, if it is one of
    /// the two newest of its series.
    fn push_update(&mut self, kline: &Arc<Kline>) {
        let Self { updates, windows, .. } = self;
        let (series, start) = (kline.series, kline.start);
        let Some(open) = windows.get_mut(&series) else {
            windows.insert(series, OpenWindows { newest: start, ended: None });
            updates.insert((series, start), kline.clone());
            return;
        };
        let surplus = if start == open.newest || Some(start) == open.ended {
            None
        } else if start > open.newest {
            let newest = std::mem::replace(&mut open.newest, start);
            open.ended.replace(newest)
        } else if open.ended.is_none_or(|ended| start > ended) {
            open.ended.replace(start)
        } else {
            return;
        };
        if let Some(surplus) = surplus {
            updates.remove(&(series, surplus));
        }
        updates.replace((series, start), kline.clone());
    }

    /// Drops what has no room: the oldest closed klines, at most as many as came; and in-progress ones where bytes run
    /// out.
    fn shrink(&mut self, came: usize) -> u64 {
        let surplus = self.closed.len().saturating_sub(self.capacity()).min(came);
        self.closed.drain(..surplus);
        while self.bytes() > self.most_bytes && self.pop_update().is_some() {}
        surplus as u64
    }

    /// Forgets what does not pass.
    pub(super) fn retain(&mut self, filter: &Filter) {
        self.closed.retain(|entry| filter.passes(&entry.kline));
        self.updates.retain(|_, kline| filter.passes(kline));
        let Self { windows, updates, .. } = self;
        windows.retain(|series, open| open.keep(|start| updates.contains_key(&(*series, start))));
    }

    /// Takes out the update that has waited longest.
    fn pop_update(&mut self) -> Option<Arc<Kline>> {
        let ((series, start), kline) = self.updates.pop_front()?;
        if self.windows.get_mut(&series).is_some_and(|open| !open.keep(|other| other != start)) {
            self.windows.remove(&series);
        }
        Some(kline)
    }

    /// Forgets everything; returns the closed klines.
    pub(super) fn forget(&mut self) -> Vec<Arc<Kline>> {
        self.updates.clear();
        self.windows.clear();
        std::mem::take(&mut self.closed).into_iter().map(|entry| entry.kline).collect()
    }

    /// Takes out what one delivery holds: closed klines come before updates, oldest first.
    pub(super) fn take(&mut self, grouping: Grouping) -> Taken {
        let (closed, updates) = match grouping {
            Grouping::UpTo(most) => {
                let closed = self.closed.len().min(most.max(1));
                (closed, self.updates.len().min(most.max(1) - closed))
            }
            Grouping::Boundary => match self.closed.front().map(|entry| entry.batch) {
                Some(batch) => (self.closed.iter().take_while(|entry| entry.batch == batch).count(), 0),
                None => (0, self.updates.len()),
            },
        };
        let oldest = self.closed.front().map(|entry| entry.at);
        let mut klines = Vec::with_capacity(closed + updates);
        klines.extend(self.closed.drain(..closed).map(|entry| entry.kline));
        for _ in 0..updates {
            klines.extend(self.pop_update());
        }
        Taken { klines, oldest }
    }
}

/// Closed klines that a queue holds: `configured`, or two boundaries where that is more, and never more than
/// `most_bytes` allow.
pub(super) const fn capacity(configured: usize, boundary: usize, most_bytes: usize) -> usize {
    let (floor, most) = (BOUNDARIES.saturating_mul(boundary), most_bytes / KLINE_BYTES);
    let wanted = if configured > floor { configured } else { floor };
    if wanted < most { wanted } else { most }
}
