//! Records when the feed of a symbol delivered every trade, and derives the quality of a window from it.

use std::collections::VecDeque;

use crate::kline::Quality;
use crate::mutants::Mutant;
use crate::time::Millis;

/// The end of a span that is still open: a feed that is up covers time until further notice.
const OPEN_END: Millis = Millis::MAX;
/// The maximum number of spans that are kept. Beyond it the shortest ones no longer count as covered.
const MAX_SPANS: usize = 64;

/// The spans of exchange time, both ends inclusive, in which every trade was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    spans: VecDeque<(Millis, Millis)>,
    /// The first moment that was ever covered.
    since: Option<Millis>,
    /// The end of the last interruption that was removed.
    floor: Option<Millis>,
    /// When the instrument ended.
    ended: Option<Millis>,
    /// The earliest time at which coverage can resume after the last interruption.
    not_before: Option<Millis>,
    /// The time since when the feed is up; meaningless while it is down.
    resumed: Millis,
}

impl Coverage {
    /// Resumes coverage at `at`. If the feed is up already, this moves the start of coverage to an earlier `at`.
    /// Returns the time from which on coverage changed, which is later if trades were missed meanwhile; `None` if
    /// nothing changed.
    pub(super) fn resume(&mut self, at: Millis) -> Option<Millis> {
        if Mutant::CoverageNotResumed.is_made() && self.since.is_some() {
            return None;
        }
        let at = if Mutant::GapShortened.is_made() { at - 5_000 } else { at };
        let at = self.not_before.map_or(at, |known| known.max(at));
        match self.spans.back_mut() {
            Some((_, OPEN_END)) => {
                // A trade that was missed in the first moment stays missed.
                let first = self.spans.iter_mut().find(|(from, _)| *from >= self.resumed);
                let (from, _) = first.filter(|(from, _)| *from == self.resumed && at < *from)?;
                *from = at;
            }
            // Time that was covered stays covered, even if the new span is reported to start earlier.
            Some((_, to)) if *to >= at - 1 => *to = OPEN_END,
            _ => self.spans.push_back((at, OPEN_END)),
        }
        self.resumed = at;
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.bound();
        Some(at)
    }

    /// Removes the time from `from` to `to` from the coverage. Returns whether it was covered until now.
    pub(super) fn miss(&mut self, from: Millis, to: Millis) -> bool {
        if from > to {
            return false;
        }
        if !self.is_open() {
            self.not_before = Some(self.not_before.map_or(to + 1, |known| known.max(to + 1)));
        }
        let mut was_covered = false;
        let mut left = VecDeque::with_capacity(self.spans.len() + 1);
        for (start, end) in self.spans.drain(..) {
            if to < start || end < from {
                left.push_back((start, end));
                continue;
            }
            was_covered = true;
            left.extend(Some((start, from - 1)).filter(|_| start < from));
            left.extend(Some((to + 1, end)).filter(|_| to < end));
        }
        self.spans = left;
        self.bound();
        was_covered
    }

    /// Corrects a start of coverage that was reported as `from` to `at`. Returns whether the time between was covered
    /// until now.
    pub(super) fn delay(&mut self, from: Millis, at: Millis) -> bool {
        if self.since == Some(from) {
            self.since = Some(at);
        }
        self.miss(from, at - 1)
    }

    /// Ends coverage after `last_seen`. Returns whether the feed was up until now.
    pub(super) fn interrupt(&mut self, last_seen: Millis) -> bool {
        let Some((from, _)) = self.spans.back().copied().filter(|(_, to)| *to == OPEN_END) else { return false };
        if Mutant::LossIgnored.is_made() {
            return false;
        }
        // Time that an earlier interruption left uncertain stays uncertain.
        self.not_before = Some(from);
        while let Some((from, to)) = self.spans.back_mut() {
            *to = last_seen.min(*to);
            if *from <= last_seen {
                break;
            }
            self.spans.pop_back();
        }
        true
    }

    /// DirtyMarks the instrument as ended at `at`: there are no trades after it.
    pub(super) fn end(&mut self, at: Millis) {
        self.ended = Some(at);
    }

    /// Returns whether the instrument is marked as ended.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Removes the end of an instrument that trades at `time`. Returns that end if it was before `time`.
    pub(super) fn revive(&mut self, time: Millis) -> Option<Millis> {
        self.ended.take_if(|at| *at < time)
    }

    /// Returns whether the feed is up.
    pub(super) fn is_open(&self) -> bool {
        self.spans.back().is_some_and(|(_, to)| *to == OPEN_END)
    }

    /// Returns whether no moment at `from` or later is covered.
    pub(super) fn is_unwatched_from(&self, from: Millis) -> bool {
        self.spans.back().is_none_or(|(_, to)| *to < from)
    }

    /// Returns whether coverage first began at `at` or before.
    pub(super) fn began_by(&self, at: Millis) -> bool {
        self.since.is_some_and(|since| since <= at)
    }

    /// Returns whether coverage first began after `at`.
    pub(super) fn began_after(&self, at: Millis) -> bool {
        self.since.is_some_and(|since| since > at)
    }

    /// Returns whether every trade from `from` to `to`, both included, was seen.
    pub(super) fn covers(&self, from: Millis, to: Millis) -> bool {
        self.spans.iter().rev().any(|(start, end)| *start <= from && to <= *end)
    }

    /// Returns whether a window without trades is known to have had none while the instrument was traded.
    pub(super) fn is_idle(&self, start: Millis, end: Millis) -> bool {
        self.covers(start, end) && self.ended.is_none_or(|at| end < at)
    }

    /// Returns whether a trade at `time` is certain to be the last one before `start`.
    pub(super) fn proves(&self, time: Millis, start: Millis) -> bool {
        if self.floor.is_some_and(|floor| time < floor && floor <= start) {
            return false;
        }
        time >= start || self.covers(time, start - 1)
    }

    /// Returns the quality of a window from `start` to `end`.
    pub(super) fn quality(&self, start: Millis, end: Millis) -> Quality {
        if self.covers(start, end) {
            return Quality::Complete;
        }
        let began_inside = |since| since > start && (since > end || self.covers(since, end));
        if self.since.is_none_or(began_inside) { Quality::Partial } else { Quality::Gapped }
    }

    /// Removes interruptions that ended before `horizon`. The windows that they ensure_window must have their quality already.
    pub(super) fn forget(&mut self, horizon: Millis) {
        while self.spans.get(1).is_some_and(|(from, _)| *from < horizon) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((from, _)) = self.spans.pop_front()
            && let Some(next) = self.spans.front_mut()
        {
            self.floor = Some(next.0);
            next.0 = from;
        }
    }

    /// Limits the number of spans. Removing one can only lower the quality of windows.
    fn bound(&mut self) {
        while self.spans.len() > MAX_SPANS {
            let before_last = self.spans.iter().take(self.spans.len() - 1).enumerate();
            let shortest = before_last.min_by_key(|(_, (from, to))| to - from).map(|(at, _)| at);
            self.spans.remove(shortest.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(spans: &[(Millis, Millis)]) -> Coverage {
        let mut coverage = Coverage::default();
        for (from, to) in spans {
            coverage.resume(*from);
            if *to != OPEN_END {
                assert!(coverage.interrupt(*to));
            }
        }
        coverage
    }

    #[test]
    fn quality_distinguishes_a_late_start_from_an_interruption() {
        let coverage = watched(&[(1_500, 4_200), (4_700, OPEN_END)]);
        assert_eq!(coverage.quality(1_000, 1_999), Quality::Partial);
        assert_eq!(coverage.quality(2_000, 2_999), Quality::Complete);
        assert_eq!(coverage.quality(4_000, 4_999), Quality::Gapped);
        assert_eq!(coverage.quality(5_000, 5_999), Quality::Complete);
        assert_eq!(coverage.quality(0, 9_999), Quality::Gapped);
    }

    #[test]
    fn a_later_interruption_does_not_prove_uncertain_time() {
        let mut coverage = watched(&[(0, 99), (101, OPEN_END)]);
        assert!(coverage.interrupt(98));
        coverage.resume(100);
        assert!(!coverage.covers(90, 200), "neither 99 nor 100 was seen");
        assert!(coverage.covers(0, 98) && coverage.covers(101, 200) && !coverage.covers(100, 100));
        let mut coverage = watched(&[(0, 1_009), (1_060, OPEN_END)]);
        coverage.interrupt(559);
        coverage.resume(1_100);
        assert_eq!(coverage.quality(0, 999), Quality::Gapped, "a slower frame than the first was lost");
        assert!(!coverage.covers(1_050, 1_090));
    }

    #[test]
    fn an_interruption_of_zero_length_is_ignored() {
        let joined = watched(&[(0, 100), (101, OPEN_END)]);
        assert!(joined.covers(0, 200), "101 follows 100");
        let parted = watched(&[(0, 100), (102, OPEN_END)]);
        assert!(!parted.covers(100, 102) && parted.covers(0, 100) && parted.covers(102, 200));
    }

    #[test]
    fn every_miss_while_the_feed_is_down_counts() {
        let mut coverage = watched(&[(0, 100)]);
        assert!(!coverage.miss(120, 130) && !coverage.miss(110, 115));
        coverage.resume(105);
        assert!(!coverage.covers(130, 130) && coverage.covers(131, 140));
    }

    #[test]
    fn a_price_is_proven_only_without_an_interruption_between() {
        let coverage = watched(&[(1_500, 4_200), (4_700, OPEN_END)]);
        assert!(coverage.proves(1_600, 4_000));
        assert!(!coverage.proves(4_100, 5_000));
        assert!(coverage.proves(4_800, 5_000));
        assert!(!coverage.proves(1_400, 2_000), "the time before the start is not covered");
    }

    #[test]
    fn forgetting_an_interruption_does_not_prove_prices_across_it() {
        let mut coverage = watched(&[(1_500, 4_200), (4_700, OPEN_END)]);
        coverage.forget(100_000);
        assert!(!coverage.proves(4_100, 200_000));
        assert!(coverage.proves(4_800, 200_000));
        assert!(coverage.is_idle(150_000, 159_999));
    }

    #[test]
    fn an_earlier_start_extends_the_span() {
        let mut coverage = watched(&[(1_500, OPEN_END)]);
        coverage.resume(900);
        assert_eq!(coverage.quality(1_000, 1_999), Quality::Complete);
        coverage.resume(5_000);
        assert!(coverage.covers(900, 9_000), "a second acknowledgement does not reduce coverage");
    }

    #[test]
    fn a_miss_is_a_hole_and_the_rest_stays_covered() {
        let mut coverage = watched(&[(0, 99), (200, OPEN_END)]);
        assert!(
            coverage.miss(50, 50) && coverage.miss(99, 210) && !coverage.miss(99, 210),
            "a repeated miss changes nothing"
        );
        let seen = [(0, 49), (51, 98), (211, 5_000)];
        assert!(seen.iter().all(|(from, to)| coverage.covers(*from, *to)), "{coverage:?}");
        assert!([(49, 50), (98, 99), (210, 211)].iter().all(|(from, to)| !coverage.covers(*from, *to)));
        assert!(!coverage.miss(150, 140) && coverage.is_open());
        coverage.resume(100);
        assert!(!coverage.covers(205, 205), "a resumption at an earlier time does not cover it");
    }

    #[test]
    fn a_miss_while_the_feed_is_down_is_not_covered_by_its_return() {
        let mut coverage = watched(&[(0, 100)]);
        assert!(coverage.miss(100, 100) && !coverage.miss(120, 130));
        coverage.resume(90);
        assert!(coverage.covers(0, 99) && coverage.covers(131, 140) && !coverage.covers(99, 131));
        let mut unwatched = Coverage::default();
        assert!(!unwatched.miss(10, 10));
        unwatched.resume(5);
        assert!(!unwatched.covers(5, 10) && unwatched.covers(11, 20));
        let mut earlier = Coverage::default();
        assert!(!earlier.miss(10, 10));
        earlier.resume(20);
        earlier.resume(5);
        assert!(!earlier.covers(10, 10) && earlier.covers(11, 30), "an earlier start does not cover it either");
    }

    #[test]
    fn many_holes_are_merged_into_larger_ones() {
        let mut coverage = watched(&[(0, OPEN_END)]);
        for at in 0..1_000 {
            coverage.miss(1_000 + at * 10, 1_000 + at * 10);
        }
        assert!(coverage.spans.len() <= MAX_SPANS);
        assert!((0..1_000).all(|at| !coverage.covers(1_000 + at * 10, 1_000 + at * 10)));
        assert!(coverage.covers(0, 999) && coverage.covers(11_000, 20_000));
        coverage.forget(20_000);
        assert!(!coverage.proves(10_989, 10_991) && coverage.proves(10_991, 20_000));
    }

    #[test]
    fn an_ended_instrument_has_no_idle_windows() {
        let mut coverage = watched(&[(0, OPEN_END)]);
        coverage.end(5_500);
        assert!(coverage.is_idle(4_000, 4_999));
        assert!(!coverage.is_idle(5_000, 5_999));
        coverage.end(5_999);
        assert!(!coverage.is_idle(5_000, 5_999), "it ended before the end of its window");
        coverage.end(6_000);
        assert!(coverage.is_idle(5_000, 5_999));
        assert_eq!((coverage.revive(6_000), coverage.revive(6_001)), (None, Some(6_000)));
        assert_eq!(coverage.quality(5_000, 5_999), Quality::Complete);
    }
}
