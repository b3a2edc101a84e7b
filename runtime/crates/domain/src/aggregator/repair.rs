//! Repairs gaps: counts trades that were recovered, and takes candles of the exchange for minutes and hours whose trades
//! were not all seen. A window gets the two from disjoint times, never both for one.

use super::Aggregator;
use super::spans::Span;
use super::symbol_state::{Intervals, SymbolState};
use super::window::Carry;
use crate::bucket::Bucket;
use crate::interval::Interval;
use crate::mutants::Mutant;
use crate::repair::{Candle, Grain};
use crate::symbol::{Category, SymbolId};
use crate::time::{ExchangeMillis, HOUR, Millis};
use crate::trade::Trade;

/// How far back flat klines are created after a repair, so that a long gap of a quiet symbol does not cause millions.
const MAX_FLAT: Millis = HOUR;

/// A candle with what it has beyond the trades that were counted.
struct Missing {
    span: Span,
    /// The last price before its start; `None` if it may be the first candle of its instrument, which opens with a trade.
    open: Option<i64>,
    close: i64,
    /// `None` if every trade of its window was counted, or there was none.
    beyond: Option<Bucket>,
}

impl Aggregator {
    /// Returns the symbols whose gaps have changed since the last call, ascending.
    pub fn take_gapped(&mut self) -> Vec<SymbolId> {
        std::mem::take(&mut self.gapped).into_iter().collect()
    }

    /// Returns the gaps of a symbol that are over and neither repaired nor given up, ascending: the first and the last
    /// moment of each. Before the first coverage, the parts of the windows that were open then count as gaps, too.
    #[must_use]
    pub fn gaps(&self, symbol: SymbolId) -> Vec<(ExchangeMillis, ExchangeMillis)> {
        let gaps = self.symbols.get(symbol.index()).into_iter().flat_map(|symbol_state| symbol_state.coverage.gaps());
        gaps.map(|(from, to)| (ExchangeMillis::new(from), ExchangeMillis::new(to))).collect()
    }

    /// Returns since when a symbol has been covered; `None` before that.
    #[must_use]
    pub fn since(&self, symbol: SymbolId) -> Option<ExchangeMillis> {
        self.symbols.get(symbol.index())?.coverage.since().map(ExchangeMillis::new)
    }

    /// Returns since when the feed of a symbol is up; `None` if it is down, or the instrument has ended.
    #[must_use]
    pub fn up_since(&self, symbol: SymbolId) -> Option<ExchangeMillis> {
        self.symbols.get(symbol.index())?.coverage.up_since().map(ExchangeMillis::new)
    }

    /// Returns the first moment of the gap of a symbol that is not over.
    #[must_use]
    pub fn down_from(&self, symbol: SymbolId) -> Option<ExchangeMillis> {
        self.symbols.get(symbol.index())?.coverage.down_from().map(ExchangeMillis::new)
    }

    /// Counts recovered trades for the gaps from `from` to `to`, unless they were seen before. These are all trades of that
    /// time, in order, and if there are earlier ones, all since the first of them. What is not a gap any more, because a
    /// candle was taken for it, stays as it is.
    pub fn recover(&mut self, symbol: SymbolId, from: ExchangeMillis, to: ExchangeMillis, trades: &[Trade]) {
        let Some(symbol_state) = self.symbols.get(symbol.index()) else { return };
        let gaps: Vec<Span> = symbol_state.coverage.wanted_within(from.get(), to.get()).collect();
        // A gap can begin before the ids are known, after a trade that was much too late, or if the exchange's clock was put
        // back. Trades that were counted there cannot be distinguished from others.
        let (known, begun) = (self.seen.known_since(symbol), symbol_state.coverage.begun().unwrap_or(Millis::MIN));
        let is_known = |gap: &Span| gap.0 >= known || gap.1 < begun;
        for (from, to) in gaps.into_iter().filter(is_known) {
            self.count_recovered(symbol, (from, to), trades);
            let before = trades.iter().rev().find(|trade| trade.symbol == symbol && trade.time.get() < from);
            let category = self.settings.category;
            self.change(symbol, |symbol_state, intervals| {
                symbol_state.coverage.fill(from, to);
                // It may be the first price of the symbol that is known at all.
                let first = before.filter(|_| !Mutant::FirstPriceForgotten.is_made());
                let wide = first.map(|trade| symbol_state.scales.widened(trade));
                wide.filter(|wide| *wide != symbol_state.scales).and_then(|wide| symbol_state.widen(wide, category));
                let price = before.and_then(|trade| trade.price.at_scale(symbol_state.scales.price));
                price.into_iter().for_each(|price| symbol_state.coverage.mark(Carry { price, time: from }));
                symbol_state.reconsider(from, intervals);
            });
        }
    }

    /// Counts the trades from `from` to `to`, unless they were seen before: time that a feed has covered since a gap, and of
    /// which these are all trades. A correction of the start of that coverage then leaves the time certain.
    pub fn confirm(&mut self, symbol: SymbolId, from: ExchangeMillis, to: ExchangeMillis, trades: &[Trade]) {
        let span = (from.get(), to.get());
        let is_covered = |symbol_state: &SymbolState| symbol_state.coverage.covers(span.0, span.1);
        // Without their ids, trades that were counted cannot be distinguished from others.
        let is_known = span.0 >= self.seen.known_since(symbol);
        if span.0 <= span.1 && is_known && self.symbols.get(symbol.index()).is_some_and(is_covered) {
            self.count_recovered(symbol, span, trades);
            self.change(symbol, |symbol_state, _| symbol_state.coverage.fill(span.0, span.1));
        }
    }

    /// Takes trades from `from` to `to` of which these are all. If time that counted as covered has some that were not counted,
    /// that time becomes a gap, from the first to the last of them.
    pub fn doubt(&mut self, symbol: SymbolId, from: ExchangeMillis, to: ExchangeMillis, trades: &[Trade]) {
        let Some(symbol_state) = self.symbols.get(symbol.index()) else { return };
        let since = symbol_state.coverage.since().unwrap_or(Millis::MAX);
        // For so long the ids of all trades are known.
        let known = self.read_until.saturating_sub(self.settings.lateness);
        let span = (from.get().max(known).max(since), to.get());
        let is_missing = |trade: &&Trade| {
            let time = trade.time.get();
            trade.symbol == symbol
                && (span.0..=span.1).contains(&time)
                && (!trade.block || self.settings.block_trades)
                && symbol_state.coverage.covers(time, time)
                && !self.seen.knows(symbol, &trade.id, time)
        };
        let missing: Vec<Millis> = trades.iter().filter(is_missing).map(|trade| trade.time.get()).collect();
        if let (Some(first), Some(last)) = (missing.iter().min(), missing.iter().max()) {
            self.miss(symbol, *first, *last);
        }
    }

    fn count_recovered(&mut self, symbol: SymbolId, (from, to): Span, trades: &[Trade]) {
        let inside = |trade: &&Trade| trade.symbol == symbol && (from..=to).contains(&trade.time.get());
        for trade in trades.iter().filter(inside) {
            self.tally.received += 1;
            if trade.block && !self.settings.block_trades {
                self.tally.excluded += 1;
            } else {
                self.count(trade);
            }
        }
    }

    /// Takes candles from `first` on for minutes or hours of which not all trades were seen. An earlier one only shows that
    /// the next one opens with a previous close. Returns the starts of those that cannot be
    /// true together with the trades that were seen, or do not fit into the integers of the symbol; they are not used.
    pub fn repair(
        &mut self,
        symbol: SymbolId,
        grain: Grain,
        first: ExchangeMillis,
        candles: &[Candle],
    ) -> Vec<ExchangeMillis> {
        let (category, mut refused) = (self.settings.category, Vec::new());
        self.change(symbol, |symbol_state, intervals| {
            refused = symbol_state.take_candles(grain, first, candles, (category, intervals));
        });
        refused
    }

    /// Gives up the gaps of a symbol from `from` to `to`: nothing more will be found out about them.
    pub fn give_up(&mut self, symbol: SymbolId, from: ExchangeMillis, to: ExchangeMillis) {
        self.change(symbol, |symbol_state, _| symbol_state.coverage.give_up(from.get(), to.get()));
    }

    /// Applies a change to a symbol, and notes what follows from it.
    fn change(&mut self, symbol: SymbolId, change: impl FnOnce(&mut SymbolState, &Intervals)) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        symbol_state.flush_runs(&self.intervals);
        change(symbol_state, &self.intervals);
        self.stale |= symbol_state.stale;
        self.dirty.note(symbol);
        if self.settings.update_interval.is_some() && !symbol_state.changed {
            symbol_state.changed = true;
            self.changed.push(symbol);
            self.update_at = self.update_at.min(symbol_state.update_at);
        }
        self.note_gaps(symbol);
    }

    /// Notes that the gaps of a symbol may have changed, and adds up what became of them.
    pub(super) fn note_gaps(&mut self, symbol: SymbolId) {
        let Some(symbol_state) = self.symbols.get_mut(symbol.index()) else { return };
        let gaps = symbol_state.coverage.take_tally();
        self.tally.gaps.gap += gaps.gap;
        self.tally.gaps.repaired += gaps.repaired;
        self.tally.gaps.unknown += gaps.unknown;
        if self.intervals.is_repaired {
            let last = symbol_state.last_trade();
            self.seen.keep(symbol, !symbol_state.coverage.is_settled(), self.read_until, last);
            self.gapped.insert(symbol);
        }
    }
}

impl SymbolState {
    /// Judges all windows from `from` on again, and creates the flat ones that are certain now.
    fn reconsider(&mut self, from: Millis, intervals: &Intervals) {
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            let context = state.context(&self.coverage, intervals.horizon);
            self.stale |= series.requalify(from, context);
            self.stale |= series.fill_flat(from, MAX_FLAT, context);
        }
    }

    fn take_candles(
        &mut self,
        grain: Grain,
        first: ExchangeMillis,
        candles: &[Candle],
        (category, intervals): (Category, &Intervals),
    ) -> Vec<ExchangeMillis> {
        for candle in candles {
            // A candle whose numbers do not fit is refused below.
            let wide = self.scales.widened_for(candle, category).filter(|wide| *wide != self.scales);
            wide.and_then(|wide| self.widen(wide, category));
        }
        let mut refused = Vec::new();
        let mut missing: Vec<Missing> = Vec::new();
        let mut before = None;
        for candle in candles {
            let has_before = before.replace(candle.start) == Some(candle.start - grain.millis());
            if candle.start < first {
                continue;
            }
            match self.compare(grain, candle, category, intervals) {
                Ok(Some(found)) => {
                    let is_first = !has_before && !self.has_traded_before(found.span.0);
                    missing.push(Missing { open: found.open.filter(|_| !is_first), ..found });
                }
                Ok(None) => {}
                Err(()) => refused.push(candle.start),
            }
        }
        let Some(first) = missing.first() else { return refused };
        let from = first.span.0;
        self.learn(grain, &missing, intervals);
        self.absorb(&missing, intervals);
        self.reconsider(from, intervals);
        refused
    }

    /// Records which candles are taken, and the prices where a row of them begins and ends, and where the first windows
    /// that have klines begin.
    fn learn(&mut self, grain: Grain, missing: &[Missing], intervals: &Intervals) {
        let since = self.coverage.since().unwrap_or(Millis::MAX);
        let is_first = |start| intervals.all.iter().any(|state| state.interval.start_of(since) == start);
        let mut previous: Option<Carry> = None;
        for Missing { span: (start, end), open, close, beyond } in missing {
            self.coverage.learn(grain, (*start, *end), beyond.is_none());
            if previous.is_none_or(|previous| previous.time != *start) || is_first(*start) {
                previous.into_iter().for_each(|previous| self.coverage.mark(previous));
                open.iter().for_each(|price| self.coverage.mark(Carry { price: *price, time: *start }));
            }
            previous = Some(Carry { price: *close, time: end + 1 });
            self.candles_until = self.candles_until.max(*end);
        }
        previous.into_iter().for_each(|previous| self.coverage.mark(previous));
    }

    /// Returns whether a trade before `time` is known.
    fn has_traded_before(&self, time: Millis) -> bool {
        self.series.first().is_some_and(|series| series.last_before(time).is_some())
            || self.coverage.previous(None, time).0.is_some()
    }

    /// Adds to each window what the candles inside of it have beyond its trades.
    fn absorb(&mut self, missing: &[Missing], intervals: &Intervals) {
        for (series, state) in self.series.iter_mut().zip(&intervals.all) {
            let context = state.context(&self.coverage, intervals.horizon);
            // The candles of one window are added up before the window changes.
            let mut pending: Option<(Millis, Bucket)> = None;
            for (span, beyond) in missing.iter().filter_map(|missing| Some((missing.span, missing.beyond?))) {
                let window = state.interval.start_of(span.0);
                if span.1 >= state.interval.next(window) {
                    continue;
                }
                match &mut pending {
                    Some((start, sum)) if *start == window => sum.join(&beyond),
                    _ => {
                        let full = pending.replace((window, beyond));
                        self.stale |= full.is_some_and(|(_, sum)| series.absorb(&sum, context));
                    }
                }
            }
            self.stale |= pending.is_some_and(|(_, sum)| series.absorb(&sum, context));
        }
    }

    /// Compares a candle with the trades that were counted. Returns `None` if nothing is wanted in its window, and an error
    /// if it cannot be true.
    fn compare(
        &self,
        grain: Grain,
        candle: &Candle,
        category: Category,
        intervals: &Intervals,
    ) -> Result<Option<Missing>, ()> {
        let start = candle.start.get();
        let span = (start, start + grain.millis() - 1);
        let is_known = !self.coverage.wants(span.0, span.1) || self.coverage.has_candle(span.0, span.1);
        // When a gap is over, its trades may still be recovered.
        let is_open = self.coverage.down_from().is_some_and(|from| from <= span.1);
        // Only minutes are known apart from each other.
        let is_both = grain == Grain::Hour && self.coverage.touches(span.0, span.1);
        if is_known || is_open || is_both {
            return Ok(None);
        }
        let counted = match grain {
            Grain::Hour => Some(Bucket::EMPTY),
            Grain::Minute => {
                let minute = intervals.all.iter().position(|state| state.interval == Interval::MINUTE);
                minute.and_then(|minute| self.series.get(minute)?.trades_of(start))
            }
        };
        // If the minute is no longer known apart, its candle cannot be used.
        let Some(counted) = counted else { return Ok(None) };
        let counted = if Mutant::SeenAndCandle.is_made() { Bucket::EMPTY } else { counted };
        let whole = Bucket::of_candle(candle, grain, self.scales, category).ok_or(())?;
        if counted.contradicts(&whole, category) && !Mutant::CandleBelieved.is_made() {
            return Err(());
        }
        let beyond = whole.beyond(&counted);
        let beyond = (beyond.volume > 0).then_some(beyond);
        Ok(Some(Missing { span, open: Some(whole.open), close: whole.close, beyond }))
    }
}
