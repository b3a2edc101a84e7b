//! The steps of the exchange's clock. All plans and events go by true time; the exchange stamps by its own clock.

use std::fmt;

use klines_domain::time::{Millis, SECOND};

/// How long before and after a step nothing is demanded: for a minute the fastest and the slowest frame of the last minute
/// belong to the time before it, a small step corrects starts of coverage that are up to a minute old, and frames can wait
/// in the network meanwhile.
const UNSETTLED: Millis = 100 * SECOND;
/// Trades that are older are dropped if their windows are closed.
const LATENESS: Millis = 60 * SECOND;
/// How far the client's clock can be ahead of the last stamp before the step when the first ones after it are believed.
const READ: Millis = 10 * SECOND;

/// A step of the exchange's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it is made, in true time.
    pub at: Millis,
    /// How far the clock is put forward, or back if it is negative.
    pub by: Millis,
}

/// The exchange's clock: true time until the first step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(pub Vec<Step>);

impl Steps {
    /// Returns what the exchange's clock shows.
    pub fn exchange(&self, now: Millis) -> Millis {
        now + self.0.iter().filter(|step| step.at <= now).map(|step| step.by).sum::<Millis>()
    }

    /// Returns when something was stamped that was read at `now`: of several times, the last one.
    pub fn true_time(&self, stamp: Millis, now: Millis) -> Millis {
        let mut until = now;
        for step in self.0.iter().rev().filter(|step| step.at <= now) {
            let at = stamp - (self.exchange(step.at) - step.at);
            if (step.at..=until).contains(&at) {
                return at;
            }
            until = step.at - 1;
        }
        stamp
    }

    /// Returns the spans of the exchange's time that a span of true time was: one between two steps each. After a step back one
    /// begins where the clock is past what it showed before: trades of the time between may be of the first time.
    pub fn spans(&self, (from, to): (Millis, Millis)) -> impl Iterator<Item = (Millis, Millis)> + '_ {
        let starts = std::iter::once(from).chain(self.0.iter().map(|step| step.at));
        let ends = self.0.iter().map(|step| step.at - 1).chain([to]);
        let cut = move |(start, end): (Millis, Millis)| (start.max(from), end.min(to));
        let spans = starts.zip(ends).map(cut).filter(|(start, end)| start < end);
        let shown = |at: Millis| self.0.iter().filter(|step| step.at <= at).map(|step| self.around(step).0).max();
        let since = move |start: Millis| self.exchange(start).max(shown(start).unwrap_or(Millis::MIN));
        spans.map(move |(start, end)| (since(start), self.exchange(end))).filter(|(start, end)| start < end)
    }

    /// Returns whether a window from `start` to `end` of the exchange's time is so near to a step that it need not be
    /// complete.
    pub fn unsettles(&self, start: Millis, end: Millis) -> bool {
        self.0.iter().any(|step| {
            let (before, after) = self.around(step);
            start <= before.max(after) + UNSETTLED && end >= before.min(after) - UNSETTLED
        })
    }

    /// Returns whether the exchange's time of a window passed a second time. From its time alone, a trade does not show in
    /// which of the two passes it was matched.
    pub fn repeats(&self, start: Millis, end: Millis) -> bool {
        let back = self.0.iter().filter(|step| step.by < 0);
        back.map(|step| self.around(step))
            .any(|(before, after)| start <= before + UNSETTLED && end >= after - UNSETTLED)
    }

    /// Returns the time of the step after which trades in a window that ends at `end` came too late: what is called complete
    /// then has the trades of before. "Older: dropped" is the contract for late trades; only klines that are open or can
    /// still be revised say that they lack something.
    pub fn is_final_at(&self, end: Millis) -> Option<Millis> {
        let is_over = |step: &&Step| step.by < -LATENESS && end < self.around(step).0 - LATENESS + READ;
        self.0.iter().find(is_over).map(|step| step.at)
    }

    /// Returns whether a part of a window passed twice. If the feed lost something the second time, that cannot be known: what
    /// was seen is known by the time of its trades, and all of that time had been seen. A small step back looks like
    /// frames that are late.
    pub fn passes_twice(&self, start: Millis, end: Millis) -> bool {
        let back = self.0.iter().filter(|step| step.by < 0);
        back.map(|step| self.around(step)).any(|(before, after)| start <= before && end >= after)
    }

    /// Returns what the clock shows before and after a step.
    fn around(&self, step: &Step) -> (Millis, Millis) {
        let after = self.exchange(step.at);
        (after - step.by, after)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the exchange's clock is put {:+} ms", self.by)
    }
}
