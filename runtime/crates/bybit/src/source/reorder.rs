//! A window that puts items into the order of their times, of which it holds only the newest.

use std::collections::{BTreeMap, VecDeque};

/// Items that wait until no earlier one can come. Items of the same time keep their order.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    /// The items that came in order.
    ordered: VecDeque<(i64, T)>,
    /// The items that came after a later one, by time and number.
    late: BTreeMap<(i64, u64), T>,
    /// How many items were late so far.
    number: u64,
    /// How much earlier than the newest item an item can be and still come into its place.
    span: i64,
    newest: i64,
    /// Whether everything is released, because nothing earlier follows.
    is_draining: bool,
}

impl<T> Reorder<T> {
    pub(super) const fn new(span: i64) -> Self {
        Self { ordered: VecDeque::new(), late: BTreeMap::new(), number: 0, span, newest: i64::MIN, is_draining: false }
    }

    /// Adds an item. One that is earlier than what was released already is the next to be released.
    pub(super) fn push(&mut self, time: i64, item: T) {
        self.newest = self.newest.max(time);
        if self.ordered.back().is_none_or(|(last, _)| *last <= time) {
            self.ordered.push_back((time, item));
        } else {
            self.late.insert((time, self.number), item);
            self.number += 1;
        }
    }

    /// Removes the earliest item, if no earlier one can come.
    pub(super) fn pop(&mut self) -> Option<(i64, T)> {
        let time = self.next_time().filter(|_| self.is_ready())?;
        // Of the same time, those that came in order were first.
        match self.late.first_entry() {
            Some(late) if late.key().0 == time && self.ordered.front().is_none_or(|(first, _)| *first > time) => {
                Some((time, late.remove()))
            }
            _ => self.ordered.pop_front(),
        }
    }

    /// Returns whether no earlier item than the next one can come.
    pub(super) fn is_ready(&self) -> bool {
        self.is_draining || self.next_time().is_some_and(|time| time < self.newest.saturating_sub(self.span))
    }

    /// Returns the time of the next item to be removed.
    pub(super) fn next_time(&self) -> Option<i64> {
        let ordered = self.ordered.front().map(|(time, _)| *time);
        let late = self.late.first_key_value().map(|((time, _), _)| *time);
        ordered.into_iter().chain(late).min()
    }

    /// Returns the items that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &T> {
        self.ordered.iter().map(|(_, item)| item).chain(self.late.values())
    }

    /// Returns the time of the newest item so far.
    pub(super) const fn newest(&self) -> i64 {
        self.newest
    }

    /// Chooses whether every item is released, or only those that no earlier one can precede.
    pub(super) const fn drain(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty() && self.late.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Items that are at most `span` out of order come out as a stable sort orders them.
        #[test]
        fn items_come_out_sorted_and_stable(steps in prop::collection::vec((0i64..4, 0i64..6), 0..200)) {
            let (mut clock, mut items) = (0, Vec::new());
            for (number, (step, back)) in steps.into_iter().enumerate() {
                clock += step;
                items.push((clock - back, number));
            }
            let (mut window, mut out) = (Reorder::new(5), Vec::new());
            for (time, number) in &items {
                window.push(*time, *number);
                out.extend(std::iter::from_fn(|| window.pop()));
            }
            window.drain(true);
            out.extend(std::iter::from_fn(|| window.pop()));
            items.sort_by_key(|(time, _)| *time);
            prop_assert_eq!(out, items);
        }
    }

    #[test]
    fn only_items_within_the_span_wait() {
        let mut window = Reorder::new(10);
        for time in 0..1_000 {
            window.push(time, ());
            while window.pop().is_some() {}
        }
        assert_eq!(window.ordered.len(), 11);
        window.push(3, ());
        assert_eq!(window.pop(), Some((3, ())), "it is too late for its place");
    }
}
