//! Which symbols a boundary has to look at, in memory that is read from end to end: most symbols of a wide market have
//! not traded since the last one, and a look at each would miss the processor's cache.
//!
//! A mark that is not there means that there is nothing; one that is there may be of something already done.

use crate::symbol::SymbolId;

/// Marks of all symbols.
#[derive(Clone, Debug, Default)]
pub(super) struct DirtySet {
    marks: Vec<Marks>,
}

/// Marks of one symbol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// Levels whose run may hold trades.
    pub(super) runs: Levels,
    /// Levels whose series may have a window that is not over.
    pub(super) windows: Levels,
}

/// A set of intervals by their place. Those beyond the 64th are always in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Levels(u64);

impl DirtySet {
    pub(super) fn add_symbol(&mut self) {
        self.marks.push(Marks::default());
    }

    /// Something has come to a symbol, which may reach each of its intervals.
    #[inline]
    pub(super) fn note(&mut self, symbol: SymbolId) {
        if let Some(marks) = self.marks.get_mut(symbol.index()) {
            *marks = Marks { runs: Levels(u64::MAX), windows: Levels(u64::MAX) };
        }
    }

    /// The marks of each symbol, in order.
    pub(super) fn marks(&mut self) -> &mut [Marks] {
        &mut self.marks
    }
}

impl Levels {
    /// Takes the first `count` levels out. Returns whether one of them was in.
    pub(super) const fn take_through(&mut self, count: usize) -> bool {
        if count >= u64::BITS as usize {
            return true;
        }
        let first = (1 << count) - 1;
        let found = self.0 & first != 0;
        self.0 &= !first;
        found
    }

    /// Takes a level out. Returns whether it was in.
    pub(super) const fn take(&mut self, level: usize) -> bool {
        if level >= u64::BITS as usize {
            return true;
        }
        let found = self.0 & (1 << level) != 0;
        self.0 &= !(1 << level);
        found
    }

    /// Puts a level in.
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
    fn what_is_taken_is_gone_and_the_rest_stays() {
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
    fn levels_that_have_no_mark_are_always_looked_at() {
        let mut levels = Levels::default();
        assert!(levels.take_through(64) && levels.take_through(65) && levels.take(64));
    }
}
