//! The klines that wait in one queue, and their bounds in number and in bytes. Closed klines wait in order. Updates
//! conflate to the newest of a window; for each series, that of the newest window waits, and that of the window before
//! it until it is confirmed. Without threads and locks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use klines_domain::kline::{Batch, Kline};
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;

use super::Grouping;
use crate::call::Batches;
use crate::conflated::Conflated;
use crate::filter::Filter;
use crate::history::Waiting;

/// Bytes that a waiting closed kline is charged: its own size, the counts of its `Arc` and its entry. Queues share
/// klines, but each charges the full size, because it may be the last owner.
pub const KLINE_BYTES: usize = size_of::<Kline>() + ARC_COUNTS + size_of::<Entry>();
/// Bytes that a waiting update is charged: as a closed kline, with its node in the list and its entries in both tables.
pub const UPDATE_BYTES: usize = size_of::<Kline>()
    + ARC_COUNTS
    + size_of::<(Window, Arc<Kline>)>()
    + LINKS
    + 2 * (size_of::<usize>() + size_of::<(SeriesId, OpenWindows)>());
/// Maximum bytes of all klines that wait in one queue, whatever its configuration.
pub const MAX_BYTES: usize = 256 << 20;

const ARC_COUNTS: usize = 2 * size_of::<usize>();
const LINKS: usize = 2 * size_of::<usize>();

/// Minimum number of boundaries that fit.
const BOUNDARIES: usize = 2;

/// The waiting klines of one queue.
#[derive(Debug)]
pub(super) struct KlineBuffer {
    /// Minimum number of closed klines that it holds.
    configured: usize,
    most_bytes: usize,
    /// Closed klines that can arrive at one moment.
    boundary: usize,
    closed: VecDeque<Entry>,
    /// Waiting updates, in the order in which their windows began to wait.
    updates: Conflated<Window, Arc<Kline>>,
    /// The windows of each series whose updates wait.
    windows: HashMap<SeriesId, OpenWindows, foldhash::fast::RandomState>,
}

/// A window of a series, by its start.
type Window = (SeriesId, Millis);

/// A closed kline.
#[derive(Debug)]
struct Entry {
    /// Number of its batch at the hub.
    batch: u64,
    /// When it arrived.
    at: Instant,
    kline: Arc<Kline>,
}

/// The windows of one series whose updates wait, by their start.
#[derive(Clone, Copy, Debug)]
struct OpenWindows {
    newest: Millis,
    /// The window before, which has ended and is in its grace.
    ended: Option<Millis>,
}

impl OpenWindows {
    /// Keeps the windows for which `is_kept` returns true. Returns whether any remains.
    fn keep(&mut self, is_kept: impl Fn(Millis) -> bool) -> bool {
        self.ended = self.ended.filter(|start| is_kept(*start));
        if is_kept(self.newest) {
            return true;
        }
        // The window before becomes the newest.
        self.ended.take().is_some_and(|ended| {
            self.newest = ended;
            true
        })
    }
}

/// The klines of one delivery.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) klines: Vec<Arc<Kline>>,
    /// When the oldest closed kline arrived.
    pub(super) oldest: Option<Instant>,
    pub(super) batches: Batches,
}

impl KlineBuffer {
    /// Builds an empty buffer for `configured` closed klines (at least 1) or two boundaries, whichever is more, within
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

    /// Sets how many closed klines can arrive at one moment. A lower bound does not drop klines that already wait.
    pub(super) fn set_boundary(&mut self, boundary: usize) {
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

    /// Returns the closed klines of a series.
    pub(super) fn waiting(&self, series: SeriesId) -> Waiting {
        let mut waiting = Waiting::default();
        self.closed.iter().filter(|entry| entry.kline.series == series).for_each(|entry| waiting.add(&entry.kline));
        waiting
    }

    /// Returns the maximum number of closed klines that it holds.
    pub(super) fn capacity(&self) -> usize {
        capacity(self.configured, self.boundary, self.most_bytes)
    }

    fn bytes(&self) -> usize {
        self.closed.len() * KLINE_BYTES + self.updates.len() * UPDATE_BYTES
    }

    /// Adds the klines of a batch that pass. Returns how many closed klines were dropped, oldest first, because there
    /// was no room.
    pub(super) fn push(&mut self, number: u64, batch: &Batch, filter: &Filter) -> u64 {
        self.learn_boundary(batch, filter);
        let (before, mut at) = (self.closed.len(), None);
        for kline in batch.klines.iter().filter(|kline| filter.passes(kline)) {
            if kline.confirm {
                // The clock is read once for each batch with closed klines.
                let at = *at.get_or_insert_with(Instant::now);
                self.push_closed(Entry { batch: number, at, kline: kline.clone() });
            } else {
                self.push_update(kline);
            }
        }
        self.drop_excess(self.closed.len() - before)
    }

    /// Raises the boundary if a batch has more closed klines: corrections that one event causes arrive at one moment
    /// too.
    fn learn_boundary(&mut self, batch: &Batch, filter: &Filter) {
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

    /// Drops the updates that a confirmed kline replaces, and gives the others the sequence number after it.
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

    /// Replaces the update of the same window, which keeps its position. An update of another window is added at the
    /// end if the window is one of the two newest of its series.
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

    /// Drops what exceeds the bounds: the oldest closed klines, at most as many as were added, and updates if there are
    /// too many bytes.
    fn drop_excess(&mut self, added: usize) -> u64 {
        let surplus = self.closed.len().saturating_sub(self.capacity()).min(added);
        self.closed.drain(..surplus);
        while self.bytes() > self.most_bytes && self.pop_update().is_some() {}
        surplus as u64
    }

    /// Removes the klines that do not pass.
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

    /// Removes everything. Returns the closed klines.
    pub(super) fn forget(&mut self) -> Vec<Arc<Kline>> {
        self.updates.clear();
        self.windows.clear();
        std::mem::take(&mut self.closed).into_iter().map(|entry| entry.kline).collect()
    }

    /// Takes out the klines of one delivery: closed klines before updates, oldest first.
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
        let last = closed.checked_sub(1).and_then(|last| self.closed.get(last)).map(|entry| entry.batch);
        let goes_on = last.is_some() && self.closed.get(closed).map(|entry| entry.batch) == last;
        let batches =
            last.map(|last| Batches { begun: last + 1, complete: last + u64::from(!goes_on) }).unwrap_or_default();
        let mut klines = Vec::with_capacity(closed + updates);
        klines.extend(self.closed.drain(..closed).map(|entry| entry.kline));
        for _ in 0..updates {
            klines.extend(self.pop_update());
        }
        Taken { klines, oldest, batches }
    }
}

/// Returns how many closed klines a queue holds: `configured` or two boundaries, whichever is more, but never more than
/// fit into `most_bytes`.
pub(super) const fn capacity(configured: usize, boundary: usize, most_bytes: usize) -> usize {
    let (floor, most) = (BOUNDARIES.saturating_mul(boundary), most_bytes / KLINE_BYTES);
    let wanted = if configured > floor { configured } else { floor };
    if wanted < most { wanted } else { most }
}
