//! Builds klines from trades and ticks, for all symbols and intervals of one category in one pass.
//!
//! Pure: the output depends only on the events and ticks. [`Aggregator::apply`] takes an event; [`Aggregator::tick`]
//! advances exchange time and emits what is due: revisions, then the klines of each boundary that has passed (shorter
//! intervals first), then updates of open windows. It knows no wire format and no consumer.

mod changes;
mod coverage;
mod dirty_set;
mod intervals;
mod kline_builder;
mod leaving;
mod repair;
mod resuming;
mod seen;
mod series;
mod settings;
mod spans;
mod symbol_state;
mod tally;
mod window;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::dirty_set::DirtySet;
use self::kline_builder::KlineBuilder;
pub use self::resuming::{Earlier, EarlierSeries};
use self::seen::SeenIds;
pub use self::settings::{Fill, Open, Settings};
use self::symbol_state::{IntervalState, Intervals, SymbolState};
pub use self::tally::{GapTally, Tally};
use super::feed::FeedEvent;
use super::kline::Batch;
use super::mutants::Mutant;
use super::symbol::{Symbol, SymbolId};
use super::time::{ExchangeMillis, Millis};
use super::trade::Trade;

/// Builds the klines of one category.
pub struct Aggregator {
    settings: Settings,
    intervals: Intervals,
    symbols: Vec<SymbolState>,
    dirty: DirtySet,
    seen: SeenIds,
    tally: Tally,
    /// Exchange time.
    now: Millis,
    /// The watermark: everything sent before this time has been read. Windows close by it.
    read_until: Millis,
    /// No window closes before this time.
    due_at: Millis,
    /// The start of the latest window that an interval closes next: a trade before it may belong to a closed window.
    closed_until: Millis,
    /// Symbols with trades since their last update.
    changed: Vec<SymbolId>,
    /// When the first of them may be updated.
    update_at: Millis,
    /// Symbols whose gaps have changed since they were last asked for.
    gapped: BTreeSet<SymbolId>,
    /// Whether a symbol has a revision due.
    stale: bool,
    /// The earliest time of the next round of revisions.
    revise_at: Millis,
    /// How many symbols the current round of revisions has processed.
    revised: usize,
    /// At the end of a run, when everything that was due has been emitted: how many symbols have emitted their open
    /// windows. `None` before that.
    flushed: Option<usize>,
    /// Whether the intervals have been positioned at a real time.
    started: bool,
    next_forget: Millis,
}

/// Boundaries that are further behind than this are skipped if no data exists for their windows.
const SKIP_AFTER: Millis = 60_000;
/// The minimum pause between two rounds of revisions: a backlog of late trades revises a window once or twice, not once
/// a frame.
const MIN_REVISION_PAUSE: Millis = 250;
/// The number of klines after which a step stops; its last boundary is always emitted completely.
const STEP_KLINES: usize = 8_192;
/// The minimum cost of a boundary in a step, in klines, even if it emits none.
const MIN_BOUNDARY_COST: usize = 8;
/// How often old trade ids are removed.
const FORGET_INTERVAL: Millis = 1_000;

impl Aggregator {
    /// Builds an aggregator without symbols.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            intervals: Intervals::new(&settings),
            seen: SeenIds::new(settings.lateness),
            settings,
            symbols: Vec::new(),
            dirty: DirtySet::default(),
            tally: Tally::default(),
            now: Millis::MIN,
            read_until: Millis::MIN,
            due_at: Millis::MAX,
            closed_until: Millis::MIN,
            changed: Vec::new(),
            update_at: Millis::MAX,
            gapped: BTreeSet::new(),
            stale: false,
            revise_at: Millis::MIN,
            revised: 0,
            flushed: None,
            started: false,
            next_forget: Millis::MIN,
        }
    }

    /// Adds a symbol, at any time. The first one gets number 0, the next 1, as in the
    /// [`SymbolTable`](super::symbol::SymbolTable). The klines of a symbol that had left continue its sequences.
    pub fn add_symbol(&mut self, symbol: &Symbol) -> SymbolId {
        let id = SymbolId(u32::try_from(self.symbols.len()).unwrap_or(u32::MAX));
        let mut added = SymbolState::new(self.settings.category, symbol, &self.intervals);
        if let Some(left) = self.symbols.iter().rev().find(|known| known.has_left && known.ids == added.ids) {
            added.continue_from(left);
        }
        self.symbols.push(added);
        self.dirty.add_symbol();
        id
    }

    /// Applies one event. The next [`tick`](Self::tick) emits the klines that it changes.
    pub fn apply(&mut self, event: &FeedEvent<ExchangeMillis>) {
        match event {
            FeedEvent::Trade(trade) => self.trade(trade),
            FeedEvent::Covered { symbols, from } => symbols.iter().for_each(|symbol| self.cover(*symbol, from.get())),
            FeedEvent::Hole { symbols, last_seen, until } => {
                for symbol in symbols {
                    self.interrupt(*symbol, last_seen.get());
                    if let Some(until) = until {
                        self.cover(*symbol, until.get());
                    }
                }
            }
            FeedEvent::Delayed { symbols, from, at } => {
                let delay = |symbol_state: &mut SymbolState, intervals: &Intervals| {
                    symbol_state.delay(from.get(), at.get(), intervals)
                };
                symbols.iter().for_each(|symbol| self.mark(*symbol, delay));
            }
            FeedEvent::Missed { symbol, from, to } => self.miss(*symbol, from.get(), to.get()),
            FeedEvent::Ended { symbol, at } => {
                if let Some(symbol_state) = self.symbols.get_mut(symbol.index()) {
                    symbol_state.end(at.get(), &self.intervals);
                }
            }
            FeedEvent::Listed { symbol } => self.revive(*symbol, Millis::MAX),
        }
    }

    /// Counts rows that were rejected before they became trades.
    pub fn reject(&mut self, rows: u64) {
        self.tally.received += rows;
        self.tally.rejected += rows;
    }

    /// Advances exchange time to `now` when everything sent before `now` has been read, and appends the batches that
    /// are due. After a long pause one tick emits only a part of them, see [`is_behind`](Self::is_behind). Time never
    /// goes back.
    #[inline]
    pub fn tick(&mut self, now: ExchangeMillis, out: &mut Vec<Batch>) {
        self.advance(now, now, out);
    }

    /// Advances exchange time to `now` when only what was sent before `read_until` is known to have been read. Updates
    /// and revisions are due by `now`; closing and lateness are measured by `read_until`.
    #[inline]
    pub fn advance(&mut self, now: ExchangeMillis, read_until: ExchangeMillis, out: &mut Vec<Batch>) {
        let (now, read_until) = (now.get(), read_until.get());
        self.now = self.now.max(now);
        if read_until > self.read_until {
            self.read_until = read_until;
            self.intervals.horizon = read_until.saturating_sub(self.settings.retention());
        }
        let revises = self.stale && self.now >= self.revise_at;
        let closes = self.read_until >= self.due_at || self.read_until >= self.next_forget;
        if revises || closes || self.now >= self.update_at {
            self.emit_due(out);
        }
    }

    /// Returns the exchange time at which a tick will next emit something, as far as is known; the current time while
    /// more is due.
    #[must_use]
    pub fn due_at(&self) -> ExchangeMillis {
        self.closes_at().min(self.shows_at()).max(ExchangeMillis::new(self.now))
    }

    /// Returns the exchange time at which the next window may close.
    #[must_use]
    pub const fn closes_at(&self) -> ExchangeMillis {
        ExchangeMillis::new(self.due_at)
    }

    /// Returns the exchange time at which the next update or revision is due.
    #[must_use]
    pub fn shows_at(&self) -> ExchangeMillis {
        let revise_at = if self.stale { self.revise_at } else { Millis::MAX };
        ExchangeMillis::new(self.update_at.min(revise_at).max(self.now))
    }

    /// Returns whether the last tick left klines that were due. Further ticks at the same time emit them step by step,
    /// so that memory stays bounded.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.read_until >= self.due_at || self.revised > 0
    }

    /// Returns the time before which all windows are closed: a kline that ends earlier is emitted only as a revision,
    /// or for a window that a late trade creates.
    #[must_use]
    pub const fn closed_before(&self) -> ExchangeMillis {
        ExchangeMillis::new(self.due_at.saturating_sub(self.settings.grace))
    }

    /// Performs one step of the end of a run; no event may be applied after it. Emits what is due, and then,
    /// unconfirmed, every open window that has trades: the current windows, and those whose grace is not over. Returns
    /// whether there is more, as [`is_behind`](Self::is_behind) does.
    pub fn finish(&mut self, out: &mut Vec<Batch>) -> bool {
        let Some(mut flushed) = self.flushed else {
            self.revise_at = Millis::MIN;
            self.flushed = self.catch_up(out).then_some(0);
            return true;
        };
        let mut builder = KlineBuilder::new(&self.settings, self.now);
        for symbol_state in self.symbols.iter_mut().skip(flushed) {
            if builder.len() >= STEP_KLINES {
                break;
            }
            flushed += 1;
            symbol_state.flush_runs(&self.intervals);
            builder.open_windows(symbol_state, &self.intervals.all, true);
        }
        builder.finish_sorted(out);
        self.flushed = Some(flushed);
        flushed < self.symbols.len()
    }

    /// Returns how many trades have been received, counted and left out so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Returns whether the feed of a symbol is up, so that all its trades should arrive.
    #[must_use]
    pub fn is_covered(&self, symbol: SymbolId) -> bool {
        self.symbols.get(symbol.index()).is_some_and(|symbol_state| symbol_state.coverage.is_open())
    }

    /// Returns the last moment at which a symbol was covered; `None` if it is covered, or never was.
    #[must_use]
    pub fn covered_until(&self, symbol: SymbolId) -> Option<ExchangeMillis> {
        self.symbols.get(symbol.index())?.coverage.until().map(ExchangeMillis::new)
    }

    /// Returns the time before which everything sent has been read; `None` before the first tick.
    #[must_use]
    pub fn watermark(&self) -> Option<ExchangeMillis> {
        (self.read_until > Millis::MIN).then_some(ExchangeMillis::new(self.read_until))
    }

    /// Applies one trade, as [`apply`](Self::apply) does with [`FeedEvent::Trade`].
    #[inline]
    pub fn trade(&mut self, trade: &Trade) {
        self.tally.received += 1;
        let time = trade.time.get();
        if trade.block && !self.settings.block_trades {
            self.tally.excluded += 1;
            return;
        }
        if time < self.read_until.saturating_sub(self.settings.lateness) {
            return self.late(trade);
        }
        self.count(trade);
    }

    /// Adds a trade to its windows, unless it was added before.
    #[inline]
    fn count(&mut self, trade: &Trade) {
        let time = trade.time.get();
        let watched = self.symbols.get_mut(trade.symbol.index()).filter(|symbol_state| !symbol_state.has_left);
        let Some(symbol_state) = watched else {
            self.tally.rejected += 1;
            return;
        };
        if !self.seen.insert(trade.symbol, &trade.id, time) {
            self.tally.duplicate += 1;
            return;
        }
        if time <= symbol_state.candles_until
            && symbol_state.coverage.has_candle(time, time)
            && !Mutant::SupersededCounted.is_made()
        {
            return self.supersede(trade.symbol, time);
        }
        let Some(fill) = symbol_state.convert(trade, self.settings.category) else {
            self.tally.rejected += 1;
            return self.miss(trade.symbol, time, time);
        };
        self.tally.counted += 1;
        if !self.started {
            self.start(time);
        }
        let Some(symbol_state) = self.symbols.get_mut(trade.symbol.index()) else { return };
        if symbol_state.add(&fill, &self.intervals) {
            self.dirty.note(trade.symbol);
        }
        if self.settings.update_interval.is_some() && !symbol_state.changed {
            symbol_state.changed = true;
            self.changed.push(trade.symbol);
            self.update_at = self.update_at.min(symbol_state.update_at);
        }
        // A trade of a closed window must be emitted before the next boundary, and must reach its window before that is
        // removed.
        if time < self.closed_until {
            symbol_state.flush_runs(&self.intervals);
            self.stale |= symbol_state.stale;
        }
        if symbol_state.coverage.has_ended() {
            self.revive(trade.symbol, time);
        }
    }

    /// Performs one step. Updates wait until everything else that is due has been emitted.
    fn emit_due(&mut self, out: &mut Vec<Batch>) {
        if self.catch_up(out) {
            self.updates(out);
        }
    }

    /// Performs one step of everything that is due except updates. Returns whether all of it has been emitted.
    fn catch_up(&mut self, out: &mut Vec<Batch>) -> bool {
        if self.read_until >= self.next_forget {
            self.next_forget = self.read_until + FORGET_INTERVAL;
            self.seen.advance(self.read_until);
        }
        if self.stale && self.now >= self.revise_at && !self.revisions(out) {
            return false;
        }
        if self.read_until.saturating_sub(self.due_at) > SKIP_AFTER {
            self.skip_unwatched();
        }
        let mut room = STEP_KLINES;
        while self.read_until >= self.due_at {
            if room == 0 {
                return false;
            }
            room = room.saturating_sub(MIN_BOUNDARY_COST + self.close_boundary(out));
        }
        true
    }

    /// Performs one step of a round of revisions. Returns whether the round is complete.
    fn revisions(&mut self, out: &mut Vec<Batch>) -> bool {
        let mut builder = KlineBuilder::new(&self.settings, self.now);
        for symbol_state in self.symbols.iter_mut().skip(self.revised) {
            if builder.len() >= STEP_KLINES {
                builder.finish_sorted(out);
                return false;
            }
            self.revised += 1;
            symbol_state.flush_runs(&self.intervals);
            if std::mem::take(&mut symbol_state.stale) {
                builder.revisions(symbol_state, &self.intervals.all);
            }
        }
        builder.finish_sorted(out);
        self.revised = 0;
        // A symbol that was already processed may have changed since.
        self.stale = self.symbols.iter().any(|symbol_state| symbol_state.stale);
        self.revise_at = self.now.saturating_add(MIN_REVISION_PAUSE);
        true
    }

    /// Closes every window that ends at the next boundary. Returns the number of klines emitted.
    fn close_boundary(&mut self, out: &mut Vec<Batch>) -> usize {
        let Some(boundary) = self.intervals.all.iter().map(|state| state.next).min() else {
            self.due_at = Millis::MAX;
            return 0;
        };
        let closing = |state: &IntervalState| state.next == boundary;
        let count = self.intervals.all.iter().rposition(closing).map_or(0, |last| last + 1);
        let Self { symbols, dirty, intervals, settings, now, .. } = self;
        let closings = intervals.all.iter().enumerate().filter(|(_, state)| closing(state));
        let mut closings: Vec<_> =
            closings.map(|(index, state)| (index, state, KlineBuilder::new(settings, *now))).collect();
        // Symbols are processed one after the other because their states are far apart in memory.
        for (symbol_state, marks) in symbols.iter_mut().zip(dirty.marks()) {
            if marks.runs.take_through(count) {
                symbol_state.flush_runs_through(count, intervals);
            }
            for (index, state, builder) in &mut closings {
                // A flat window may have to be created.
                if state.is_emitted() && (state.fill || marks.windows.take(*index)) {
                    builder.closing(symbol_state, *index, state, intervals.horizon);
                    if !symbol_state.is_empty_after(*index, state.start) {
                        marks.windows.put(*index);
                    }
                }
            }
        }
        let klines = closings.iter().map(|(_, _, builder)| builder.len()).sum();
        KlineBuilder::finish_all(closings.into_iter().map(|(_, _, builder)| builder), out);
        for state in self.intervals.all.iter_mut().filter(|state| closing(state)) {
            state.move_to(boundary);
        }
        self.schedule();
        klines
    }

    /// Skips boundaries without any data: a machine that slept would otherwise close each of them.
    fn skip_unwatched(&mut self) {
        let at = self.read_until - self.settings.grace;
        let symbols = &self.symbols;
        for (index, state) in self.intervals.all.iter_mut().enumerate() {
            if symbols.iter().all(|symbol_state| symbol_state.is_unknown_from(index, state.start)) {
                state.move_to(at);
            }
        }
        self.schedule();
    }

    /// Positions each interval at its first window whose grace is not over at `at`.
    fn start(&mut self, at: Millis) {
        for state in &mut self.intervals.all {
            state.move_to(at.saturating_sub(self.settings.grace));
        }
        self.started = true;
        self.schedule();
    }

    /// Computes when the next boundary is due: at `end + grace`.
    fn schedule(&mut self) {
        let end = self.intervals.all.iter().map(|state| state.next - 1).min();
        self.due_at = end.map_or(Millis::MAX, |end| end.saturating_add(self.settings.grace));
        self.closed_until = self.intervals.all.iter().map(|state| state.start).max().unwrap_or(Millis::MIN);
    }

    /// Emits the open windows of changed symbols whose update is due.
    fn updates(&mut self, out: &mut Vec<Batch>) {
        let Some(pause) = self.settings.update_interval else { return };
        let (now, intervals) = (self.now, &self.intervals);
        let mut builder = KlineBuilder::new(&self.settings, now);
        let symbols = &mut self.symbols;
        let mut next = Millis::MAX;
        self.changed.retain(|symbol| {
            let Some(symbol_state) = symbols.get_mut(symbol.index()) else { return false };
            if now < symbol_state.update_at {
                next = next.min(symbol_state.update_at);
                return true;
            }
            symbol_state.flush_runs(intervals);
            symbol_state.changed = false;
            symbol_state.update_at = now.saturating_add(pause);
            builder.open_windows(symbol_state, &intervals.all, false);
            false
        });
        self.update_at = next;
        builder.finish(out);
    }
}
