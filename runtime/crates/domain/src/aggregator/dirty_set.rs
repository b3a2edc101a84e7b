//! Records which symbols a boundary has to process, in one contiguous array: most symbols of a wide market have not
//! traded since the last boundary, and reading the state of each would miss the processor's cache.
//!
//! Without a mark there is certainly no work; a mark may remain after the work has been done.

use crate::symbol::SymbolId;

/// The marks of all symbols.
#[derive(Clone, Debug, Default)]
pub(super) struct DirtySet {
    marks: Vec<DirtyMarks>,
}

/// The marks of one symbol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DirtyMarks {
    /// The intervals whose run may have trades.
    pub(super) runs: IntervalSet,
    /// The intervals whose series may have a window that is not closed.
    pub(super) windows: IntervalSet,
}

/// A set of intervals, by index. Indices from 64 on are always in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IntervalSet(u64);

impl DirtySet {
    pub(super) fn add_symbol(&mut self) {
        self.marks.push(DirtyMarks::default());
    }

    /// Marks every interval of a symbol.
    #[inline]
    pub(super) fn note(&mut self, symbol: SymbolId) {
        if let Some(marks) = self.marks.get_mut(symbol.index()) {
            *marks = DirtyMarks { runs: IntervalSet(u64::MAX), windows: IntervalSet(u64::MAX) };
        }
    }

    /// Returns the marks of each symbol, in order.
    pub(super) fn marks(&mut self) -> &mut [DirtyMarks] {
        &mut self.marks
    }
}

impl IntervalSet {
    /// Removes the first `count` intervals. Returns whether one of them was in the set.
    pub(super) const fn take_through(&mut self, count: usize) -> bool {
        if count >= u64::BITS as usize {
            return true;
        }
        let first = (1 << count) - 1;
        let found = self.0 & first != 0;
        self.0 &= !first;
        found
    }

    /// Removes an interval. Returns whether it was in the set.
    pub(super) const fn take(&mut self, level: usize) -> bool {
        if level >= u64::BITS as usize {
            return true;
        }
        let found = self.0 & (1 << level) != 0;
        self.0 &= !(1 << level);
        found
    }

    /// Adds an interval.
    pub(super) const fn put(&mut self, level: usize) {
        if level < u64::BITS as usize {
            self.0 |= 1 << level;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_intervals_are_removed_and_the_rest_stays() {
        let mut dirty = DirtySet::default();
        (0..2).for_each(|_| dirty.add_symbol());
        dirty.note(SymbolId(1));
        let [quiet, busy] = dirty.marks() else { panic!() };
        assert!(!quiet.runs.take_through(12) && !quiet.windows.take(0));
        assert!(busy.runs.take_through(3) && !busy.runs.take_through(3) && busy.runs.take_through(4));
        assert!(busy.windows.take(2) && !busy.windows.take(2) && busy.windows.take(63));
        busy.windows.put(2);
        assert!(busy.windows.take(2));
    }

    #[test]
    fn intervals_beyond_the_bits_are_always_in_the_set() {
        let mut levels = IntervalSet::default();
        assert!(levels.take_through(64) && levels.take_through(65) && levels.take(64));
    }
}
