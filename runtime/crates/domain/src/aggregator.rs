//! Trades and ticks in, klines out: all symbols and intervals of one category, in one pass.
//!
//! Pure: the output depends only on the events and ticks given. [`Aggregator::apply`] takes in what happened;
//! [`Aggregator::tick`] says what time it is on the exchange and gives out what is due: revisions, then each boundary
//! that has passed (shorter intervals first), then updates of open windows. It knows no wire format and no consumer.

mod book;
mod coverage;
mod dirty_set;
mod kline_builder;
mod seen;
mod series;
mod settings;
mod tally;
mod window;

#[cfg(test)]
mod tests;

use self::book::{Book, IntervalState, Intervals};
use self::dirty_set::DirtySet;
use self::kline_builder::KlineBuilder;
use self::seen::SeenIds;
pub use self::settings::{Fill, Open, Settings};
pub use self::tally::Tally;
use super::feed::FeedEvent;
use super::kline::Batch;
use super::symbol::{Symbol, SymbolId};
use super::time::{ExchangeMillis, Millis};
use super::trade::Trade;

/// The klines of one category.
pub struct Aggregator {
    settings: Settings,
    intervals: Intervals,
    books: Vec<Book>,
    dirty: DirtySet,
    seen: SeenIds,
    tally: Tally,
    /// Exchange time.
    now: Millis,
    /// What was sent until then has been read: the watermark. Windows close by it.
    read_until: Millis,
    /// Nothing is due before this.
    due_at: Millis,
    /// Some interval's windows that start before this are over.
    closed_until: Millis,
    /// Symbols with trades since their last update.
    changed: Vec<SymbolId>,
    /// When the first of them may be shown.
    update_at: Millis,
    /// A book has a revision due.
    stale: bool,
    /// Revisions are given out from then on.
    revise_at: Millis,
    /// How many books have had their turn in the round of revisions that is under way.
    revised: usize,
    /// At the end of a run, once all that was due has been given out: how many books have shown their open windows.
    flushed: Option<usize>,
    /// The intervals stand at a real time.
    started: bool,
    next_forget: Millis,
}

/// Boundaries further behind than this are skipped if nothing at all is known of their windows.
const DARK: Millis = 60_000;
/// Least pause between two rounds of revisions: a backlog of late trades revises a window once or twice, not once a
/// frame.
const REVISION_PAUSE: Millis = 250;
/// What a step gives out at most: klines, and the last boundary whole.
const STEP: usize = 8_192;
/// What a boundary counts for even if no kline comes of it.
const BOUNDARY: usize = 8;
/// How often memory of ids is given back.
const FORGET_EVERY: Millis = 1_000;

impl Aggregator {
    /// Makes an aggregator without symbols.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut intervals = settings.intervals.clone();
        intervals.sort();
        intervals.dedup();
        let first_trade_opens = settings.open == Open::FirstTrade;
        let state = |interval| IntervalState {
            interval,
            fill: settings.fill.applies(interval),
            first_trade_opens,
            start: 0,
            next: 0,
        };
        Self {
            intervals: Intervals { all: intervals.into_iter().map(state).collect(), horizon: Millis::MIN },
            seen: SeenIds::new(settings.lateness),
            settings,
            books: Vec::new(),
            dirty: DirtySet::default(),
            tally: Tally::default(),
            now: Millis::MIN,
            read_until: Millis::MIN,
            due_at: Millis::MAX,
            closed_until: Millis::MIN,
            changed: Vec::new(),
            update_at: Millis::MAX,
            stale: false,
            revise_at: Millis::MIN,
            revised: 0,
            flushed: None,
            started: false,
            next_forget: Millis::MIN,
        }
    }

    /// Adds a symbol; the first gets number 0, the next 1, as in its [`SymbolTable`](super::symbol::SymbolTable).
    pub fn add_symbol(&mut self, symbol: &Symbol) -> SymbolId {
        let id = SymbolId(u32::try_from(self.books.len()).unwrap_or(u32::MAX));
        self.books.push(Book::new(self.settings.category, symbol, &self.intervals));
        self.dirty.add_symbol();
        id
    }

    /// Takes in one event. What it changes is given out by the next [`tick`](Self::tick).
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
                let delay = |book: &mut Book, intervals: &Intervals| book.delay(from.get(), at.get(), intervals);
                symbols.iter().for_each(|symbol| self.mark(*symbol, delay));
            }
            FeedEvent::Missed { symbol, from, to } => self.miss(*symbol, from.get(), to.get()),
            FeedEvent::Ended { symbol, at } => {
                if let Some(book) = self.books.get_mut(symbol.index()) {
                    book.end(at.get(), &self.intervals);
                }
            }
            FeedEvent::Listed { symbol } => self.revive(*symbol, Millis::MAX),
        }
    }

    /// Counts rows that never became trades.
    pub fn reject(&mut self, rows: u64) {
        self.tally.received += rows;
        self.tally.rejected += rows;
    }

    /// Moves exchange time on to `now`, everything sent until then being read, and appends the batches that this makes
    /// due: after a long pause a part of them, see [`is_behind`](Self::is_behind). Time never steps back.
    #[inline]
    pub fn tick(&mut self, now: ExchangeMillis, out: &mut Vec<Batch>) {
        self.advance(now, now, out);
    }

    /// Moves exchange time on to `now` where only what was sent until `read_until` is known to have been read: updates
    /// and revisions go by the former, the end of a window and lateness by the latter.
    #[inline]
    pub fn advance(&mut self, now: ExchangeMillis, read_until: ExchangeMillis, out: &mut Vec<Batch>) {
        let (now, read_until) = (now.get(), read_until.get());
        self.now = self.now.max(now);
        if read_until > self.read_until {
            self.read_until = read_until;
            self.intervals.horizon = read_until.saturating_sub(self.settings.kept());
        }
        let revises = self.stale && self.now >= self.revise_at;
        let closes = self.read_until >= self.due_at || self.read_until >= self.next_forget;
        if revises || closes || self.now >= self.update_at {
            self.give_out(out);
        }
    }

    /// The exchange time at which a tick will next give something out, as far as is known now: the present while more
    /// is due.
    #[must_use]
    pub fn due_at(&self) -> ExchangeMillis {
        self.closes_at().min(self.shows_at()).max(ExchangeMillis::new(self.now))
    }

    /// The exchange time at which the next window may close.
    #[must_use]
    pub const fn closes_at(&self) -> ExchangeMillis {
        ExchangeMillis::new(self.due_at)
    }

    /// The exchange time at which the next update or revision is due.
    #[must_use]
    pub fn shows_at(&self) -> ExchangeMillis {
        let revise_at = if self.stale { self.revise_at } else { Millis::MAX };
        ExchangeMillis::new(self.update_at.min(revise_at).max(self.now))
    }

    /// Whether more was due at the last tick than it gave out. Ticks at the same time give out the rest, a step each,
    /// so that nobody has to hold all of it at once.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.read_until >= self.due_at || self.revised > 0
    }

    /// No first version of a kline that ends before this comes any more, but of windows that late trades make.
    #[must_use]
    pub const fn closed_before(&self) -> ExchangeMillis {
        ExchangeMillis::new(self.due_at.saturating_sub(self.settings.grace))
    }

    /// Takes a step of the end of a run, after which nothing is applied any more: gives out what is due, and when that is
    /// done every open window that has trades, as it stands, unconfirmed. Those are the windows that time is in, and one
    /// that is over but whose grace is not. Returns whether there is more, as for [`is_behind`](Self::is_behind).
    pub fn finish(&mut self, out: &mut Vec<Batch>) -> bool {
        let Some(mut flushed) = self.flushed else {
            self.revise_at = Millis::MIN;
            self.flushed = self.catch_up(out).then_some(0);
            return true;
        };
        let mut builder = KlineBuilder::new(&self.settings, self.now);
        for book in self.books.iter_mut().skip(flushed) {
            if builder.len() >= STEP {
                break;
            }
            flushed += 1;
            book.share_out(&self.intervals);
            builder.open_windows(book, &self.intervals.all, true);
        }
        builder.finish_sorted(out);
        self.flushed = Some(flushed);
        flushed < self.books.len()
    }

    /// What became of the trades so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether every trade of a symbol is thought to arrive.
    #[must_use]
    pub fn is_covered(&self, symbol: SymbolId) -> bool {
        self.books.get(symbol.index()).is_some_and(|book| book.coverage.is_open())
    }

    /// Until when everything sent has been read, or `None` before the first tick.
    #[must_use]
    pub fn watermark(&self) -> Option<ExchangeMillis> {
        (self.read_until > Millis::MIN).then_some(ExchangeMillis::new(self.read_until))
    }

    #[inline]
    fn trade(&mut self, trade: &Trade) {
        self.tally.received += 1;
        let time = trade.time.get();
        if trade.block && !self.settings.block_trades {
            self.tally.excluded += 1;
            return;
        }
        if time < self.read_until.saturating_sub(self.settings.lateness) {
            return self.late(trade);
        }
        let Some(book) = self.books.get_mut(trade.symbol.index()) else {
            self.tally.rejected += 1;
            return;
        };
        if !self.seen.insert(trade.symbol, &trade.id) {
            self.tally.duplicate += 1;
            return;
        }
        let Some(fill) = book.convert(trade, self.settings.category) else {
            self.tally.rejected += 1;
            return self.miss(trade.symbol, time, time);
        };
        self.tally.counted += 1;
        if !self.started {
            self.start(time);
        }
        let Some(book) = self.books.get_mut(trade.symbol.index()) else { return };
        if book.add(&fill, &self.intervals) {
            self.dirty.note(trade.symbol);
        }
        if self.settings.update_interval.is_some() && !book.changed {
            book.changed = true;
            self.changed.push(trade.symbol);
            self.update_at = self.update_at.min(book.update_at);
        }
        // A trade of a window that is over has to be emitted without waiting for the next boundary, and to reach its
        // window before that is forgotten.
        if time < self.closed_until {
            book.share_out(&self.intervals);
            self.stale |= book.stale;
        }
        if book.coverage.has_ended() {
            self.revive(trade.symbol, time);
        }
    }

    /// A trade from before `lateness`. Its windows that are still open or kept lack it, unless it was counted in time.
    #[cold]
    fn late(&mut self, trade: &Trade) {
        if self.seen.knows(trade.symbol, &trade.id) {
            self.tally.duplicate += 1;
            return;
        }
        self.tally.late += 1;
        self.miss(trade.symbol, trade.time.get(), trade.time.get());
    }

    #[cold]
    fn miss(&mut self, symbol: SymbolId, from: Millis, to: Millis) {
        self.mark(symbol, |book, intervals| book.miss(from, to, intervals));
    }

    fn mark(&mut self, symbol: SymbolId, change: impl FnOnce(&mut Book, &Intervals) -> bool) {
        let Some(book) = self.books.get_mut(symbol.index()) else { return };
        if change(book, &self.intervals) {
            self.dirty.note(symbol);
            self.stale |= book.stale;
        }
    }

    fn cover(&mut self, symbol: SymbolId, at: Millis) {
        if !self.started {
            self.start(at);
        }
        let Some(book) = self.books.get_mut(symbol.index()) else { return };
        book.share_out(&self.intervals);
        book.coverage.forget(self.intervals.horizon);
        if let Some(at) = book.coverage.resume(at) {
            book.requalify(at, &self.intervals);
            self.dirty.note(symbol);
            self.stale |= book.stale;
        }
    }

    fn interrupt(&mut self, symbol: SymbolId, last_seen: Millis) {
        let Some(book) = self.books.get_mut(symbol.index()) else { return };
        book.share_out(&self.intervals);
        if book.coverage.interrupt(last_seen) {
            book.requalify(last_seen, &self.intervals);
            self.dirty.note(symbol);
            self.stale |= book.stale;
        }
    }

    /// An instrument that was said to have ended trades at `time`: it has not ended.
    #[cold]
    fn revive(&mut self, symbol: SymbolId, time: Millis) {
        self.mark(symbol, |book, intervals| book.revive(time, intervals));
    }

    /// Takes a step: what comes later in the order waits until all before it has been given out.
    fn give_out(&mut self, out: &mut Vec<Batch>) {
        if self.catch_up(out) {
            self.updates(out);
        }
    }

    /// Takes a step of what is due but for updates. Returns whether that is all.
    fn catch_up(&mut self, out: &mut Vec<Batch>) -> bool {
        if self.read_until >= self.next_forget {
            self.next_forget = self.read_until + FORGET_EVERY;
            self.seen.advance(self.read_until);
        }
        if self.stale && self.now >= self.revise_at && !self.revisions(out) {
            return false;
        }
        if self.read_until.saturating_sub(self.due_at) > DARK {
            self.skip_darkness();
        }
        let mut room = STEP;
        while self.read_until >= self.due_at {
            if room == 0 {
                return false;
            }
            room = room.saturating_sub(BOUNDARY + self.close_boundary(out));
        }
        true
    }

    /// Takes a step of a round of revisions. Returns whether that ends the round.
    fn revisions(&mut self, out: &mut Vec<Batch>) -> bool {
        let mut builder = KlineBuilder::new(&self.settings, self.now);
        for book in self.books.iter_mut().skip(self.revised) {
            if builder.len() >= STEP {
                builder.finish_sorted(out);
                return false;
            }
            self.revised += 1;
            book.share_out(&self.intervals);
            if std::mem::take(&mut book.stale) {
                builder.revisions(book, &self.intervals.all);
            }
        }
        builder.finish_sorted(out);
        self.revised = 0;
        // Something may have come in between to one that had had its turn.
        self.stale = self.books.iter().any(|book| book.stale);
        self.revise_at = self.now.saturating_add(REVISION_PAUSE);
        true
    }

    /// Closes every window that ends at the next boundary. Returns how many klines come of that.
    fn close_boundary(&mut self, out: &mut Vec<Batch>) -> usize {
        let Some(boundary) = self.intervals.all.iter().map(|state| state.next).min() else {
            self.due_at = Millis::MAX;
            return 0;
        };
        let closing = |state: &IntervalState| state.next == boundary;
        let count = self.intervals.all.iter().rposition(closing).map_or(0, |last| last + 1);
        let Self { books, dirty, intervals, settings, now, .. } = self;
        let closings = intervals.all.iter().enumerate().filter(|(_, state)| closing(state));
        let mut closings: Vec<_> =
            closings.map(|(index, state)| (index, state, KlineBuilder::new(settings, *now))).collect();
        // One symbol after the other: what is known of it is far apart in memory.
        for (book, marks) in books.iter_mut().zip(dirty.marks()) {
            if marks.runs.take_through(count) {
                book.share_through(count, intervals);
            }
            for (index, state, builder) in &mut closings {
                // A window without trades may have to be made.
                if state.fill || marks.windows.take(*index) {
                    builder.closing(book, *index, state, intervals.horizon);
                    if !book.is_dark_after(*index, state.start) {
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

    /// Jumps over boundaries that nobody watched: a machine that slept would otherwise close each of them.
    fn skip_darkness(&mut self) {
        let at = self.read_until - self.settings.grace;
        let books = &self.books;
        for (index, state) in self.intervals.all.iter_mut().enumerate() {
            if books.iter().all(|book| book.is_dark(index, state.start)) {
                state.move_to(at);
            }
        }
        self.schedule();
    }

    /// Puts the intervals at the first windows whose grace is not over at `at`.
    fn start(&mut self, at: Millis) {
        for state in &mut self.intervals.all {
            state.move_to(at.saturating_sub(self.settings.grace));
        }
        self.started = true;
        self.schedule();
    }

    /// Works out when the next boundary is due: at `end + grace`.
    fn schedule(&mut self) {
        let end = self.intervals.all.iter().map(|state| state.next - 1).min();
        self.due_at = end.map_or(Millis::MAX, |end| end.saturating_add(self.settings.grace));
        self.closed_until = self.intervals.all.iter().map(|state| state.start).max().unwrap_or(Millis::MIN);
    }

    /// Shows the open windows of symbols whose turn it is.
    fn updates(&mut self, out: &mut Vec<Batch>) {
        let Some(pause) = self.settings.update_interval else { return };
        let (now, intervals) = (self.now, &self.intervals);
        let mut builder = KlineBuilder::new(&self.settings, now);
        let books = &mut self.books;
        let mut next = Millis::MAX;
        self.changed.retain(|symbol| {
            let Some(book) = books.get_mut(symbol.index()) else { return false };
            if now < book.update_at {
                next = next.min(book.update_at);
                return true;
            }
            book.share_out(intervals);
            book.changed = false;
            book.update_at = now.saturating_add(pause);
            builder.open_windows(book, &intervals.all, false);
            false
        });
        self.update_at = next;
        builder.finish(out);
    }
}
