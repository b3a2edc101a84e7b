//! Records what is known about the trades of a symbol: when its feeds delivered every trade, and what candles of the
//! exchange say about the rest. Derives the quality of a window and the certainty of a previous close from it.

use std::collections::VecDeque;

use super::spans::{OPEN_END, Span, Spans};
use super::tally::GapTally;
use super::window::Carry;
use crate::bucket::Widening;
use crate::kline::Quality;
use crate::mutants::Mutant;
use crate::repair::Grain;
use crate::time::Millis;

/// The maximum number of spans of each kind that are kept. Beyond it the shortest ones no longer count as covered.
const MAX_SPANS: usize = 256;
/// The maximum number of prices from candles that are kept; the oldest ones are dropped.
const MAX_MARKS: usize = 64;

/// What is known about the trades of a symbol. Times are exchange times, both ends of a span inclusive.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// Every trade was seen.
    spans: Spans,
    /// The part of it that was recovered: no later report of a gap makes it uncertain.
    recovered: Spans,
    /// Trades may be missing, and may still be found.
    wanted: Spans,
    candles: Candles,
    /// Whether gaps are wanted.
    is_repaired: bool,
    /// The first moment that was ever covered.
    since: Option<Millis>,
    /// The same without what an earlier run has covered.
    begun: Option<Millis>,
    /// When the instrument ended.
    ended: Option<Millis>,
    /// The earliest time at which coverage can resume after the last interruption.
    not_before: Option<Millis>,
    /// The time since when the feed is up; meaningless while it is down.
    resumed: Millis,
    /// The first moment of the gap that is not over.
    down_from: Option<Millis>,
    tally: GapTally,
}

/// What candles of the exchange say about time that was not covered.
#[derive(Clone, Debug, Default)]
struct Candles {
    /// The windows of candles of a minute.
    minutes: Spans,
    /// The windows of candles of an hour.
    hours: Spans,
    /// The windows of those without a trade that was not counted: here nothing is missing.
    whole: Spans,
    /// Prices at moments: the last one before the time of the mark.
    marks: VecDeque<Carry>,
}

impl Coverage {
    /// Builds the coverage of a symbol without feed. If `is_repaired`, gaps are wanted until they are filled or given up.
    pub(super) fn new(is_repaired: bool) -> Self {
        Self { is_repaired, ..Self::default() }
    }

    /// Begins as if the feed had been lost at `at`: what an earlier run has watched ends there.
    pub(super) fn begin_lost(&mut self, at: Millis) {
        (self.since, self.down_from) = (Some(at), Some(at));
        if self.is_repaired {
            self.wanted.add((at, OPEN_END));
        }
    }

    /// Resumes coverage at `at`. If the feed is up already, this moves the start of coverage to an earlier `at`.
    /// Returns the time from which on coverage changed, which is later if trades were missed meanwhile; `None` if
    /// nothing changed.
    pub(super) fn resume(&mut self, at: Millis) -> Option<Millis> {
        if Mutant::CoverageNotResumed.is_made() && self.since.is_some() {
            return None;
        }
        let at = if Mutant::GapShortened.is_made() { at - 5_000 } else { at };
        let at = self.not_before.map_or(at, |known| known.max(at));
        match self.spans.last() {
            Some((_, OPEN_END)) => {
                // A trade that was missed in the first moment stays missed.
                let first = self.spans.iter().find(|(from, _)| *from >= self.resumed);
                let (from, _) = first.filter(|(from, _)| *from == self.resumed && at < *from)?;
                self.spans.add((at, from - 1));
                self.tally.gap -= self.settle((at, from - 1));
            }
            last => {
                // Time that was covered stays covered, even if the new span is reported to start earlier.
                let from = last.map_or(at, |(_, to)| at.max(to + 1));
                self.spans.add((from, OPEN_END));
                self.wanted.remove((from, OPEN_END));
                let gap = self.down_from.take().map_or(0, |down_from| (from - down_from).max(0));
                self.tally.gap += gap;
                self.tally.unknown += if self.is_repaired { 0 } else { gap };
            }
        }
        self.resumed = at;
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.begun = Some(self.begun.map_or(at, |begun| begun.min(at)));
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
        let parts = self.uncover(from, to);
        for part in &parts {
            self.want(*part);
        }
        self.bound();
        !parts.is_empty()
    }

    /// Corrects a start of coverage that was reported as `from` to `at`. Returns whether the time between was covered
    /// until now.
    pub(super) fn delay(&mut self, from: Millis, at: Millis) -> bool {
        for first in [&mut self.since, &mut self.begun] {
            if *first == Some(from) {
                *first = Some(at);
            }
        }
        self.miss(from, at - 1)
    }

    /// Ends coverage after `last_seen`. Returns whether the feed was up until now.
    pub(super) fn interrupt(&mut self, last_seen: Millis) -> bool {
        let Some((from, _)) = self.spans.last().filter(|(_, to)| *to == OPEN_END) else { return false };
        if Mutant::LossIgnored.is_made() {
            return false;
        }
        // Time that an earlier interruption left uncertain stays uncertain.
        self.not_before = Some(from);
        for (from, to) in self.uncover(last_seen + 1, OPEN_END) {
            if to < OPEN_END {
                self.want((from, to));
                continue;
            }
            // This one is counted when coverage resumes.
            self.down_from = Some(from);
            if self.is_repaired {
                self.wanted.add((from, to));
                self.skip_candles((from, to));
            }
        }
        true
    }

    /// Removes from the coverage what was not recovered. Returns the parts that were covered until now.
    fn uncover(&mut self, from: Millis, to: Millis) -> Vec<Span> {
        let mut parts: Spans = self.spans.within(from, to).collect();
        for span in self.recovered.within(from, to) {
            parts.remove(span);
        }
        let parts: Vec<Span> = parts.iter().collect();
        for part in &parts {
            self.spans.remove(*part);
        }
        parts
    }

    /// Records that the time from `from` to `to` before the first coverage is wanted.
    pub(super) fn want_before(&mut self, from: Millis, to: Millis) {
        if self.is_repaired {
            self.wanted.add((from, to));
        }
    }

    /// Records that every trade from `from` to `to` has been recovered.
    pub(super) fn fill(&mut self, from: Millis, to: Millis) {
        self.spans.add((from, to));
        self.recovered.add((from, to));
        self.tally.repaired += self.settle((from, to));
        self.bound();
    }

    /// Records that nothing more will be found out about the time from `from` to `to`.
    pub(super) fn give_up(&mut self, from: Millis, to: Millis) {
        self.tally.unknown += self.settle((from, to));
    }

    /// Records that nothing more will be found out about any gap that is over.
    pub(super) fn give_up_all(&mut self) {
        let gaps: Vec<Span> = self.gaps().collect();
        gaps.into_iter().for_each(|(from, to)| self.give_up(from, to));
    }

    /// Records a candle with the window `span`; `is_whole` if every trade of it was counted.
    pub(super) fn learn(&mut self, grain: Grain, span: Span, is_whole: bool) {
        let known = match grain {
            Grain::Minute => &mut self.candles.minutes,
            Grain::Hour => &mut self.candles.hours,
        };
        known.add(span);
        if is_whole {
            self.candles.whole.add(span);
        }
        self.tally.repaired += self.settle(span);
    }

    /// Records that `carry` is the last price before its time.
    pub(super) fn mark(&mut self, carry: Carry) {
        let marks = &mut self.candles.marks;
        let at = marks.partition_point(|known| known.time <= carry.time);
        marks.insert(at, carry);
        if marks.len() > MAX_MARKS {
            marks.pop_front();
        }
    }

    /// Returns the prices from candles in integers with more decimals; `None` if one no longer fits.
    pub(super) fn rescaled_marks(&self, by: Widening) -> Option<VecDeque<Carry>> {
        self.candles.marks.iter().map(|mark| mark.rescaled(by)).collect()
    }

    /// Replaces the prices from candles.
    pub(super) fn set_marks(&mut self, marks: VecDeque<Carry>) {
        self.candles.marks = marks;
    }

    /// Takes what has been counted since the last call.
    pub(super) fn take_tally(&mut self) -> GapTally {
        std::mem::take(&mut self.tally)
    }

    /// Returns the gaps that are over and wanted, ascending.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Span> + '_ {
        self.wanted.iter().filter(|(_, to)| *to != OPEN_END)
    }

    /// Returns the first moment of the gap that is not over.
    pub(super) const fn down_from(&self) -> Option<Millis> {
        self.down_from
    }

    /// Returns what is wanted of the time from `from` to `to`, ascending.
    pub(super) fn wanted_within(&self, from: Millis, to: Millis) -> impl Iterator<Item = Span> + '_ {
        self.wanted.within(from, to)
    }

    /// Returns whether a part of the time from `from` to `to` is wanted.
    #[inline]
    pub(super) fn wants(&self, from: Millis, to: Millis) -> bool {
        !self.wanted.is_empty() && self.wanted.touches(from, to)
    }

    /// Returns whether every gap is settled.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Returns whether a part of the time from `from` to `to` was covered.
    pub(super) fn touches(&self, from: Millis, to: Millis) -> bool {
        self.spans.touches(from, to)
    }

    /// Returns whether a candle includes a trade at `time`, or one of those from `time` to `to`.
    pub(super) fn has_candle(&self, time: Millis, to: Millis) -> bool {
        self.candles.minutes.touches(time, to) || self.candles.hours.touches(time, to)
    }

    /// Returns the end of the last candle of this length that was taken.
    pub(super) fn candles_end(&self, grain: Grain) -> Option<Millis> {
        let known = match grain {
            Grain::Minute => &self.candles.minutes,
            Grain::Hour => &self.candles.hours,
        };
        known.last().map(|(_, end)| end)
    }

    /// Marks the instrument as ended at `at`: there are no trades after it. An end that is reported again stays where it was:
    /// flat klines have been withheld since then.
    pub(super) fn end(&mut self, at: Millis) {
        if Mutant::EndIgnored.is_made() {
            return;
        }
        let known = self.ended.filter(|_| !Mutant::EndMoved.is_made());
        self.ended = Some(known.map_or(at, |known| known.min(at)));
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
        self.spans.last().is_some_and(|(_, to)| to == OPEN_END)
    }

    /// Returns since when the feed is up; `None` if it is down, or the instrument has ended.
    pub(super) fn up_since(&self) -> Option<Millis> {
        (self.is_open() && !self.has_ended()).then_some(self.resumed)
    }

    /// Returns the last moment that is covered; `None` if the feed is up, or never was.
    pub(super) fn until(&self) -> Option<Millis> {
        self.spans.last().map(|(_, to)| to).filter(|to| *to != OPEN_END)
    }

    /// Returns whether no moment at `from` or later is covered.
    pub(super) fn is_unwatched_from(&self, from: Millis) -> bool {
        self.spans.last().is_none_or(|(_, to)| to < from)
    }

    /// Returns whether coverage first began at `at` or before.
    pub(super) fn began_by(&self, at: Millis) -> bool {
        self.since.is_some_and(|since| since <= at)
    }

    /// Returns whether coverage first began after `at`.
    pub(super) fn began_after(&self, at: Millis) -> bool {
        self.since.is_some_and(|since| since > at)
    }

    /// Returns whether coverage has never begun.
    pub(super) const fn is_new(&self) -> bool {
        self.since.is_none()
    }

    /// Returns the first moment that was ever covered.
    pub(super) const fn since(&self) -> Option<Millis> {
        self.since
    }

    /// Returns the first moment that was covered in this run.
    pub(super) const fn begun(&self) -> Option<Millis> {
        self.begun
    }

    /// Returns whether every trade from `from` to `to`, both included, was seen.
    #[inline]
    pub(super) fn covers(&self, from: Millis, to: Millis) -> bool {
        self.spans.contains(from, to)
    }

    /// Returns whether a window without trades is known to have had none while the instrument was traded.
    pub(super) fn is_idle(&self, start: Millis, end: Millis) -> bool {
        self.ended.is_none_or(|at| end < at) && (self.covers(start, end) || self.is_explained(start, end))
    }

    /// Returns the last price before `start`, given the last trade that was counted, and whether it is certain.
    pub(super) fn previous(&self, counted: Option<Carry>, start: Millis) -> (Option<Carry>, bool) {
        let proven = counted.is_some_and(|carry| self.proves(carry.time, start));
        if proven || self.candles.marks.is_empty() {
            return (counted, proven);
        }
        let mark = self.candles.marks.iter().rev().find(|mark| mark.time <= start);
        match mark.filter(|mark| counted.is_none_or(|carry| carry.time < mark.time)) {
            Some(mark) => (Some(*mark), self.proves(mark.time, start)),
            None => (counted, false),
        }
    }

    /// Returns the quality of a window from `start` to `end`.
    pub(super) fn quality(&self, start: Millis, end: Millis) -> Quality {
        if self.covers(start, end) {
            return Quality::Complete;
        }
        if self.is_explained(start, end) {
            return Quality::Repaired;
        }
        let is_known = |since| self.covers(since, end) || self.is_explained(since, end);
        let began_inside = |since| since > start && (since > end || is_known(since));
        if self.since.is_none_or(began_inside) { Quality::Partial } else { Quality::Gapped }
    }

    /// Returns whether a trade at `time` is certain to be the last one before `start`.
    fn proves(&self, time: Millis, start: Millis) -> bool {
        if time >= start || self.covers(time, start - 1) {
            return true;
        }
        !self.candles.whole.is_empty() && self.walk(time, start - 1, |at| self.candles.whole.end_at(at))
    }

    /// Returns whether candles explain what the feeds did not cover in the window from `start` to `end`. Only candles
    /// inside the window do, unless every trade of theirs was counted.
    fn is_explained(&self, start: Millis, end: Millis) -> bool {
        let Candles { minutes, hours, whole, .. } = &self.candles;
        if minutes.is_empty() && hours.is_empty() {
            return false;
        }
        self.walk(start, end, |at| {
            let minute = || part_inside(minutes, Grain::Minute, at, (start, end));
            let hour = || part_inside(hours, Grain::Hour, at, (start, end));
            whole.end_at(at).or_else(minute).or_else(hour)
        })
    }

    /// Returns whether each moment from `start` to `end` is covered, or in a span whose end `known` returns.
    fn walk(&self, start: Millis, end: Millis, known: impl Fn(Millis) -> Option<Millis>) -> bool {
        let mut at = start;
        while at <= end {
            let Some(to) = self.spans.end_at(at).or_else(|| known(at)) else { return false };
            if to >= end {
                return true;
            }
            at = to + 1;
        }
        true
    }

    fn want(&mut self, span: Span) {
        // A start of coverage that is corrected leaves no gap before it.
        let length = self.since.map_or(0, |since| (span.1 - span.0.max(since) + 1).max(0));
        self.tally.gap += length;
        if self.is_repaired {
            self.wanted.add(span);
            self.skip_candles(span);
        } else {
            self.tally.unknown += length;
        }
    }

    /// Wants nothing in the windows of candles that were taken: their trades no longer count.
    fn skip_candles(&mut self, (from, to): Span) {
        let Candles { minutes, hours, .. } = &self.candles;
        let known: Vec<Span> = minutes.within(from, to).chain(hours.within(from, to)).collect();
        for span in known {
            self.tally.repaired += self.settle(span);
        }
    }

    /// Removes a span from what is wanted. Returns how much of it was a gap, not time before the first coverage.
    fn settle(&mut self, (from, to): Span) -> Millis {
        let since = self.since.unwrap_or(OPEN_END);
        self.wanted.remove((from, to.min(since - 1)));
        if to < since { 0 } else { self.wanted.remove((from.max(since), to)) }
    }

    /// Limits the number of spans. Removing one can only lower the quality of windows.
    fn bound(&mut self) {
        while self.spans.len() > MAX_SPANS {
            self.spans.drop_shortest();
        }
        while self.recovered.len() > MAX_SPANS {
            self.recovered.drop_shortest();
        }
        while self.wanted.len() > MAX_SPANS {
            let first = self.wanted.iter().next();
            first.into_iter().for_each(|(from, to)| self.give_up(from, to));
        }
    }
}

/// Returns the end of the candles that contain `at` and lie inside of a window; `None` if none does.
fn part_inside(candles: &Spans, grain: Grain, at: Millis, (start, end): Span) -> Option<Millis> {
    let length = grain.millis();
    let to = candles.end_at(at)?.min(end) + 1;
    let to = to - to.rem_euclid(length) - 1;
    (at - at.rem_euclid(length) >= start && to >= at).then_some(to)
}

#[cfg(test)]
mod tests;
