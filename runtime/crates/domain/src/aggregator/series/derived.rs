//! Builds the series of an interval that is added in the course of a run, from the series of a shorter one whose windows,
//! placed side by side, are its windows. What that series no longer knows, the new one lacks.

use super::{Carry, Context, Emitted, Millis, Series, Window, quality};
use crate::interval::Interval;
use crate::repair::Grain;

impl Series {
    /// Returns the time from which on its windows have everything that was counted, and the candles that were taken.
    pub(in crate::aggregator) fn holds_from(&self, context: Context<'_>) -> Millis {
        let Context { interval, coverage, .. } = context;
        let removed = self.removed.map(|start| interval.next(start));
        let standing =
            self.first_kept().and_then(|at| self.windows.get(at)).filter(|window| window.stands_from.is_some());
        let kept = removed.max(standing.map(|window| window.start)).unwrap_or_default().max(self.known_from);
        let traded = self.before.filter(|_| standing.is_none()).map(|carry| carry.time + 1);
        // Windows without trades can have been removed.
        let trades_from = traded.map_or(kept, |traded| traded.min(kept));
        let candles_from = [Grain::Minute, Grain::Hour].into_iter().filter_map(|grain| {
            let end = coverage.candles_end(grain)?;
            // A candle is in the windows that contain it, unless they ended before coverage began.
            let is_inside = grain.interval().tiles(interval);
            if is_inside { coverage.since().map(|since| interval.start_of(since)) } else { Some(end + 1) }
        });
        candles_from.max().map_or(trades_from, |from| from.max(trades_from))
    }

    /// Builds the series of a longer interval from its windows. `own` is its context, `context` that of the new series.
    pub(in crate::aggregator) fn derive(&self, own: Context<'_>, context: Context<'_>) -> Self {
        let mut derived = Self { known_from: self.holds_from(own), ..Self::default() };
        let first = self.first_kept().unwrap_or_default();
        derived.before = match self.windows.get(first) {
            Some(window) if window.stands_from.is_some() => window.carry,
            _ => self.before,
        };
        let interval = context.interval;
        for window in self.windows.range(first..) {
            let start = interval.start_of(window.start);
            if derived.newest != Some(start) {
                derived.push(start, context);
            }
            if let Some(sum) = derived.windows.back_mut() {
                sum.bucket.merge(&window.bucket);
            }
        }
        derived.complete(context);
        derived
    }

    /// Builds a series whose windows get the trades that are still to be counted. `last` is the last one before them.
    pub(in crate::aggregator) fn begin(last: Option<Carry>, context: Context<'_>) -> Self {
        let known_from = last.map_or(0, |last| last.time + 1);
        let mut begun = Self { known_from, before: last, ..Self::default() };
        begun.complete(context);
        begun
    }

    /// Returns the index of the first window since which none is missing in between; `None` if there is no window.
    fn first_kept(&self) -> Option<usize> {
        let standing = self.windows.iter().rposition(|window| window.stands_from.is_some());
        standing.or_else(|| (!self.windows.is_empty()).then_some(0))
    }

    fn push(&mut self, start: Millis, context: Context<'_>) {
        let mut window = Window::new(start, quality(self.known_from, start, context));
        if start < context.closed_until {
            window.emitted = Emitted::Silent;
        }
        self.windows.push_back(window);
        self.newest = Some(start);
    }

    /// Determines the opens, and which windows are missing before the first one.
    fn complete(&mut self, context: Context<'_>) {
        for at in 0..self.windows.len() {
            self.refresh_previous_close(at, context);
        }
        if self.known_from > 0 {
            let first = self.windows.front().map_or(context.closed_until, |window| window.start);
            self.removed = Some(context.interval.start_of(first - 1));
        }
    }
}

impl Grain {
    const fn interval(self) -> Interval {
        match self {
            Self::Minute => Interval::MINUTE,
            Self::Hour => Interval::HOUR,
        }
    }
}
