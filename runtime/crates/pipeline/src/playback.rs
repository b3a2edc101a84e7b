//! Recorded trades on recorded time: each trade or frame moves the clock, and nothing waits.
//!
//! A recording is covered from its first trade on, but for what is said to have been missed. A trade that turns out to
//! be earlier moves that beginning back.

use klines_domain::aggregator::{Aggregator, Settings, Tally};
use klines_domain::clock::Observation;
use klines_domain::feed::FeedEvent;
use klines_domain::kline::Batch;
use klines_domain::symbol::{Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis};
use klines_domain::trade::Trade;

use super::clocks::Clocks;
pub use super::clocks::Source;

/// Revisions can come this much later than what caused them.
const REVISIONS: Millis = 1_000;

/// Where batches go as they come to be, so that nobody holds those of a long pause.
pub trait Outlet {
    /// Takes a batch.
    fn take(&mut self, batch: Batch);

    /// Klines that end before `settled` cannot change any more, and none of them comes.
    fn settle(&mut self, settled: ExchangeMillis);
}

/// One category of a recording, on its way through the aggregator.
pub struct Playback<O> {
    outlet: O,
    aggregator: Aggregator,
    symbols: SymbolTable,
    clocks: Clocks,
    lateness: Millis,
    /// How long closed windows can be revised.
    kept: Millis,
    since: Option<ExchangeMillis>,
    /// Something was missed: the beginning stays where it is.
    has_holes: bool,
    out: Vec<Batch>,
}

impl<O: Outlet> Playback<O> {
    /// Starts with no symbol.
    #[must_use]
    pub fn new(settings: Settings, outlet: O) -> Self {
        Self {
            outlet,
            lateness: settings.lateness,
            kept: settings.retention(),
            aggregator: Aggregator::new(settings),
            symbols: SymbolTable::default(),
            clocks: Clocks::default(),
            since: None,
            has_holes: false,
            out: Vec::new(),
        }
    }

    /// The symbols seen so far.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Returns the number of a symbol, which is watched from the beginning of the recording.
    pub fn symbol(&mut self, symbol: &Symbol) -> SymbolId {
        self.symbols.get(symbol.as_str()).unwrap_or_else(|| self.add(symbol, self.since))
    }

    fn add(&mut self, symbol: &Symbol, since: Option<ExchangeMillis>) -> SymbolId {
        let id = self.symbols.intern(symbol);
        self.aggregator.add_symbol(symbol);
        if let Some(from) = since {
            self.aggregator.apply(&FeedEvent::Covered { symbols: vec![id], from });
        }
        id
    }

    /// Trades of these symbols may be missing after `last_seen` and before `until`: `None` until they are regained.
    pub fn lost(&mut self, symbols: Vec<SymbolId>, last_seen: ExchangeMillis, until: Option<ExchangeMillis>) {
        self.has_holes = true;
        self.aggregator.apply(&FeedEvent::Hole { symbols, last_seen, until });
    }

    /// Trades of a symbol from `from` to `to`, both included, may be missing.
    pub fn missed(&mut self, symbol: SymbolId, from: ExchangeMillis, to: ExchangeMillis) {
        self.has_holes |= self.aggregator.is_covered(symbol);
        self.aggregator.apply(&FeedEvent::Missed { symbol, from, to });
    }

    /// All trades of these symbols are there again from `from` on, which moves the clock.
    pub fn regained(&mut self, symbols: Vec<SymbolId>, from: ExchangeMillis) {
        self.tick(from);
        self.aggregator.apply(&FeedEvent::Covered { symbols, from });
    }

    /// All trades of a symbol are there from `at` on, which moves the clock; not those before.
    pub fn present(&mut self, symbol: &Symbol, at: ExchangeMillis) {
        if let Some(id) = self.symbols.get(symbol.as_str()) {
            return self.regained(vec![id], at);
        }
        self.has_holes = true;
        self.tick(at);
        self.add(symbol, self.since.map(|since| since.max(at)));
    }

    /// Until when every match had been received over a connection at a recorded local time, and the latest that the
    /// exchange can have stamped what came then; `None` before the first stamp.
    #[must_use]
    pub fn stamped(&self, source: Source, received: LocalMillis) -> Option<(ExchangeMillis, ExchangeMillis)> {
        self.clocks.span(source, received)
    }

    /// A connection of the recording was lost, or is there again: a lost one sets the time no longer.
    pub fn set_up(&mut self, source: Source, is_up: bool) {
        self.clocks.set_up(source, is_up);
    }

    /// Plays one trade; its own time moves the clock first.
    pub fn trade(&mut self, trade: &Trade) {
        self.overhear(trade.time);
        self.aggregator.apply(&FeedEvent::Trade(trade.clone()));
    }

    /// Lets time pass to a trade that is not wanted itself: it shows how late it is, and that the recording was on.
    pub fn overhear(&mut self, time: ExchangeMillis) {
        self.begin(time);
        self.tick(time);
    }

    /// Takes note of when a frame was stamped by the exchange and received at a recorded local time. Returns whether
    /// that is believed; the trades of a frame whose stamp is not are not to be used. A leap of the exchange's clock is
    /// a hole.
    pub fn stamp(&mut self, source: Source, received: LocalMillis, stamped: ExchangeMillis) -> bool {
        let (observation, shown) = self.clocks.observe(source, received, stamped);
        if let Some((shown, (_, latest))) = shown.zip(self.clocks.span(source, received)) {
            let symbols: Vec<SymbolId> = self.symbols.iter().map(|(id, _)| id).collect();
            let until = self.now().map_or(latest, |now| latest.max(now + 1));
            self.lost(symbols, shown, Some(until));
        }
        observation != Observation::Rejected
    }

    /// Plays one trade of a frame whose receipt moves the clock, see [`Playback::pass`].
    pub fn received(&mut self, trade: &Trade) {
        self.begin(trade.time);
        self.aggregator.apply(&FeedEvent::Trade(trade.clone()));
    }

    /// Lets recorded local time pass.
    pub fn pass(&mut self, received: LocalMillis) {
        if self.since.is_some()
            && let Some(now) = self.clocks.now(received)
        {
            self.tick(now);
        }
    }

    fn tick(&mut self, now: ExchangeMillis) {
        loop {
            self.aggregator.tick(now, &mut self.out);
            self.hand_on();
            if !self.aggregator.is_behind() {
                break;
            }
        }
    }

    fn hand_on(&mut self) {
        if self.out.is_empty() {
            return;
        }
        self.out.drain(..).for_each(|batch| self.outlet.take(batch));
        if let Some(now) = self.aggregator.watermark() {
            self.outlet.settle(self.aggregator.closed_before().min(now - self.kept - REVISIONS));
        }
    }

    /// Counts rows that are no trades.
    pub fn reject(&mut self, rows: u64) {
        self.aggregator.reject(rows);
    }

    /// The exchange's time so far, if it has begun.
    #[must_use]
    pub fn now(&self) -> Option<ExchangeMillis> {
        self.aggregator.watermark()
    }

    /// Where batches go.
    pub const fn outlet(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// Ends the recording: trades of its last moment are given out, then what is open, unconfirmed.
    pub fn finish(&mut self) {
        while self.aggregator.finish(&mut self.out) {
            self.hand_on();
        }
        self.hand_on();
    }

    /// What became of the trades so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.aggregator.tally()
    }

    /// Moves the beginning of the recording back to a trade, unless it is too late to count.
    pub fn begin(&mut self, time: ExchangeMillis) {
        let late = self.aggregator.watermark().is_some_and(|now| time < now - self.lateness);
        if late || self.since.is_some_and(|since| since <= time || self.has_holes) {
            return;
        }
        self.since = Some(time);
        let symbols = self.symbols.iter().map(|(id, _)| id).collect();
        self.aggregator.apply(&FeedEvent::Covered { symbols, from: time });
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::symbol::Category;
    use klines_domain::trade::{Quantity, Side, TradeId};

    use super::*;

    const T0: ExchangeMillis = ExchangeMillis::new(1_704_067_200_000);

    /// Ends of the klines between two words on what is settled.
    #[derive(Default)]
    struct Parts {
        ends: Vec<Millis>,
        parts: Vec<(Vec<Millis>, Millis)>,
    }

    impl Outlet for Parts {
        fn take(&mut self, batch: Batch) {
            self.ends.extend(batch.klines.iter().map(|kline| kline.end));
        }

        fn settle(&mut self, settled: ExchangeMillis) {
            self.parts.push((std::mem::take(&mut self.ends), settled.get()));
        }
    }

    #[test]
    fn a_long_pause_is_handed_on_in_parts_that_are_settled_one_by_one() {
        let settings = Settings::new(Category::Linear, vec!["1s".parse().unwrap()]);
        let mut playback = Playback::new(Settings { update_interval: None, ..settings }, Parts::default());
        let quantity = Quantity { mantissa: 5, scale: 0 };
        for number in 0..300 {
            let symbol = playback.symbol(&Symbol::new(&format!("S{number}")).unwrap());
            playback.trade(&Trade {
                symbol,
                time: T0,
                sequence: 0,
                price: quantity,
                size: quantity,
                side: Side::Buy,
                block: false,
                id: TradeId::None,
            });
        }
        playback.overhear(T0 + 600_079);
        let parts = &playback.outlet().parts;
        assert_eq!(parts.iter().map(|(ends, _)| ends.len()).sum::<usize>(), 300 * 600);
        // A step is 8,192 klines and the rest of a boundary.
        assert!(parts.iter().all(|(ends, _)| ends.len() < 8_192 + 300), "{}", parts.len());
        for pair in parts.windows(2) {
            assert!(pair[1].0.iter().all(|end| *end >= pair[0].1), "settled klines stay as they are");
        }
        let held = parts.iter().map(|(ends, settled)| ends.iter().filter(|end| *end >= settled).count());
        assert!(held.take(parts.len() / 2).all(|held| held == 0), "all but the last minute is settled at once");
    }
}
