//! A set of moments as spans that are ascending and apart from each other, both ends inclusive.

use std::collections::VecDeque;

use crate::time::Millis;

/// The end of a span that is not over.
pub(super) const OPEN_END: Millis = Millis::MAX;

/// The first and the last moment of a span.
pub(super) type Span = (Millis, Millis);

/// A set of moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(VecDeque<Span>);

impl Spans {
    /// Builds an empty set.
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Adds a span, joining those that it overlaps or touches. Returns how many moments are new.
    pub(super) fn add(&mut self, (mut from, mut to): Span) -> Millis {
        if from > to {
            return 0;
        }
        let first = self.0.partition_point(|(_, end)| end.saturating_add(1) < from);
        let mut last = first;
        let mut known = 0;
        while let Some((start, end)) = self.0.get(last).filter(|(start, _)| *start <= to.saturating_add(1)) {
            known += length((*start, *end));
            (from, to) = (from.min(*start), to.max(*end));
            last += 1;
        }
        self.0.drain(first..last);
        self.0.insert(first, (from, to));
        length((from, to)) - known
    }

    /// Removes a span. Returns how many moments were in the set until now.
    pub(super) fn remove(&mut self, (from, to): Span) -> Millis {
        let first = self.0.partition_point(|(_, end)| *end < from);
        let (mut removed, mut rest) = (0, Vec::new());
        let mut last = first;
        while let Some((start, end)) = self.0.get(last).filter(|(start, _)| *start <= to) {
            removed += length((from.max(*start), to.min(*end)));
            rest.extend(Some((*start, from.saturating_sub(1))).filter(|_| *start < from));
            rest.extend(Some((to.saturating_add(1), *end)).filter(|_| to < *end));
            last += 1;
        }
        self.0.drain(first..last);
        for (offset, part) in rest.into_iter().enumerate() {
            self.0.insert(first + offset, part);
        }
        removed
    }

    /// Returns the end of the span that contains `at`; `None` if `at` is not in the set.
    #[inline]
    pub(super) fn end_at(&self, at: Millis) -> Option<Millis> {
        self.containing(at).map(|(_, end)| end)
    }

    /// Returns whether every moment from `from` to `to` is in the set.
    #[inline]
    pub(super) fn contains(&self, from: Millis, to: Millis) -> bool {
        self.end_at(from).is_some_and(|end| to <= end)
    }

    /// Returns whether a moment from `from` to `to` is in the set.
    pub(super) fn touches(&self, from: Millis, to: Millis) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < from);
        self.0.get(at).is_some_and(|(start, _)| *start <= to)
    }

    /// Returns the parts of the spans that lie between `from` and `to`, ascending.
    pub(super) fn within(&self, from: Millis, to: Millis) -> impl Iterator<Item = Span> + '_ {
        let first = self.0.partition_point(|(_, end)| *end < from);
        let parts = self.0.iter().skip(first).take_while(move |(start, _)| *start <= to);
        parts.map(move |(start, end)| (from.max(*start), to.min(*end)))
    }

    /// Returns the spans, ascending.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.0.iter().copied()
    }

    /// Returns the last span.
    #[inline]
    pub(super) fn last(&self) -> Option<Span> {
        self.0.back().copied()
    }

    /// Returns the number of spans.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the set has no moment.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the shortest span, but not the last one.
    pub(super) fn drop_shortest(&mut self) {
        let before_last = self.0.iter().take(self.0.len().saturating_sub(1)).enumerate();
        let shortest = before_last.min_by_key(|(_, span)| length(**span)).map(|(at, _)| at);
        if let Some(at) = shortest {
            self.0.remove(at);
        }
    }

    /// Returns the span that contains `at`, which is nearly always one of the last.
    #[inline]
    fn containing(&self, at: Millis) -> Option<Span> {
        if let Some(last) = self.0.back().filter(|(start, _)| *start <= at) {
            return Some(*last).filter(|(_, end)| at <= *end);
        }
        let index = self.0.partition_point(|(_, end)| *end < at);
        self.0.get(index).copied().filter(|(start, _)| *start <= at)
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<T: IntoIterator<Item = Span>>(spans: T) -> Self {
        let mut set = Self::default();
        spans.into_iter().for_each(|span| {
            set.add(span);
        });
        set
    }
}

/// Returns the number of moments of a span.
const fn length((from, to): Span) -> Millis {
    to.saturating_sub(from).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_spans_is_a_set_of_moments(
            changes in proptest::collection::vec((any::<bool>(), 0i64..60, 0i64..12), 1..40),
            (from, more) in (0i64..60, 0i64..12),
        ) {
            let (mut spans, mut moments) = (Spans::default(), BTreeSet::new());
            for (is_added, from, more) in changes {
                let before = i64::try_from(moments.len()).unwrap();
                let changed = if is_added { spans.add((from, from + more)) } else { spans.remove((from, from + more)) };
                for at in from..=from + more {
                    if is_added { moments.insert(at); } else { moments.remove(&at); }
                }
                let after = i64::try_from(moments.len()).unwrap();
                prop_assert_eq!(changed, (after - before).abs());
                let listed: Vec<i64> = spans.iter().flat_map(|(from, to)| from..=to).collect();
                prop_assert!(listed.iter().eq(moments.iter()));
                prop_assert!(spans.iter().zip(spans.iter().skip(1)).all(|(one, two)| one.1 + 1 < two.0));
            }
            let inside = (from..=from + more).filter(|at| moments.contains(at)).count();
            prop_assert_eq!(spans.contains(from, from + more), inside == usize::try_from(more + 1).unwrap());
            prop_assert_eq!(spans.touches(from, from + more), inside > 0);
        }
    }

    #[test]
    fn a_span_that_is_not_over_can_be_cut() {
        let mut spans: Spans = [(5, OPEN_END)].into_iter().collect();
        spans.remove((9, OPEN_END));
        assert_eq!(spans.iter().collect::<Vec<_>>(), [(5, 8)]);
        spans.add((8, OPEN_END));
        spans.remove((5, 5));
        assert_eq!(spans.last(), Some((6, OPEN_END)));
    }
}
