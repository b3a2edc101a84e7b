//! Plays recorded trades on recorded time: each trade or frame advances the clock, without waiting.
//!
//! A recording is covered from its first trade on, except for reported misses. An earlier trade that comes later moves
//! that start back.

use klines_domain::aggregator::{Aggregator, Settings, Tally};
use klines_domain::clock::Observation;
use klines_domain::feed::FeedEvent;
use klines_domain::kline::Batch;
use klines_domain::symbol::{Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, LocalMillis, Millis};
use klines_domain::trade::Trade;

use super::clocks::Clocks;
pub use super::clocks::Source;

/// The maximum delay of a revision after its cause.
const MAX_REVISION_DELAY: Millis = 1_000;

/// Receives batches as they are emitted, so that those of a long pause are never in memory together.
pub trait Outlet {
    /// Takes a batch.
    fn take(&mut self, batch: Batch);

    /// Reports that klines which end before `settled` cannot change any more and that no new ones will be emitted.
    fn settle(&mut self, settled: ExchangeMillis);
}

/// The playback of one category of a recording.
pub struct Playback<O> {
    outlet: O,
    aggregator: Aggregator,
    symbols: SymbolTable,
    clocks: Clocks,
    lateness: Millis,
    /// How long closed windows can be revised, in ms.
    kept: Millis,
    since: Option<ExchangeMillis>,
    /// Whether a miss was reported: the start of coverage no longer moves.
    has_holes: bool,
    out: Vec<Batch>,
}

impl<O: Outlet> Playback<O> {
    /// Builds a playback without symbols.
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

    /// Returns the symbols seen so far.
    #[must_use]
    pub const fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Returns the number of a symbol, which is added if needed and covered from the start of the recording.
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

    /// Reports that trades of these symbols may be missing after `last_seen` and before `until`; `None` until they are
    /// regained.
    pub fn add_hole(&mut self, symbols: Vec<SymbolId>, last_seen: ExchangeMillis, until: Option<ExchangeMillis>) {
        self.has_holes = true;
        self.aggregator.apply(&FeedEvent::Hole { symbols, last_seen, until });
    }

    /// Reports that trades of a symbol from `from` to `to`, both included, may be missing.
    pub fn add_miss(&mut self, symbol: SymbolId, from: ExchangeMillis, to: ExchangeMillis) {
        self.has_holes |= self.aggregator.is_covered(symbol);
        self.aggregator.apply(&FeedEvent::Missed { symbol, from, to });
    }

    /// Reports that all trades of these symbols are present again from `from` on. Advances the clock to `from`.
    pub fn regained(&mut self, symbols: Vec<SymbolId>, from: ExchangeMillis) {
        self.tick(from);
        self.aggregator.apply(&FeedEvent::Covered { symbols, from });
    }

    /// Reports that all trades of a symbol are present from `at` on, but not those before. Advances the clock to `at`.
    pub fn present(&mut self, symbol: &Symbol, at: ExchangeMillis) {
        if let Some(id) = self.symbols.get(symbol.as_str()) {
            return self.regained(vec![id], at);
        }
        self.has_holes = true;
        self.tick(at);
        self.add(symbol, self.since.map(|since| since.max(at)));
    }

    /// Returns the exchange time until which every match had been received over a connection at a recorded local time,
    /// and the latest possible stamp of what was received then; `None` before the first stamp.
    #[must_use]
    pub fn stamped(&self, source: Source, received: LocalMillis) -> Option<(ExchangeMillis, ExchangeMillis)> {
        self.clocks.span(source, received)
    }

    /// Records that a connection of the recording was lost or is up again. A lost connection no longer determines the
    /// time.
    pub fn set_connected(&mut self, source: Source, is_up: bool) {
        self.clocks.set_connected(source, is_up);
    }

    /// Plays one trade, after advancing the clock to its time.
    pub fn trade(&mut self, trade: &Trade) {
        self.advance_to(trade.time);
        self.aggregator.trade(trade);
    }

    /// Advances the clock to the time of a trade that is not played itself.
    pub fn advance_to(&mut self, time: ExchangeMillis) {
        self.begin(time);
        self.tick(time);
    }

    /// Records a frame's stamp and its recorded local time of receipt. Returns whether the stamp was accepted; if not,
    /// the trades of the frame must not be used. A jump of the exchange's clock is a hole.
    pub fn stamp(&mut self, source: Source, received: LocalMillis, stamped: ExchangeMillis) -> bool {
        let (observation, shown) = self.clocks.observe(source, received, stamped);
        if let Some((shown, (_, latest))) = shown.zip(self.clocks.span(source, received)) {
            let symbols: Vec<SymbolId> = self.symbols.iter().map(|(id, _)| id).collect();
            let until = self.now().map_or(latest, |now| latest.max(now + 1));
            self.add_hole(symbols, shown, Some(until));
        }
        observation != Observation::Rejected
    }

    /// Plays one trade of a frame whose receipt advances the clock, see [`Playback::pass`].
    pub fn received(&mut self, trade: &Trade) {
        self.begin(trade.time);
        self.aggregator.trade(trade);
    }

    /// Advances recorded local time.
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
            self.deliver();
            if !self.aggregator.is_behind() {
                break;
            }
        }
    }

    fn deliver(&mut self) {
        if self.out.is_empty() {
            return;
        }
        self.out.drain(..).for_each(|batch| self.outlet.take(batch));
        if let Some(now) = self.aggregator.watermark() {
            self.outlet.settle(self.aggregator.closed_before().min(now - self.kept - MAX_REVISION_DELAY));
        }
    }

    /// Counts rows that are no valid trades.
    pub fn reject(&mut self, rows: u64) {
        self.aggregator.reject(rows);
    }

    /// Returns the exchange time so far; `None` before the first trade.
    #[must_use]
    pub fn now(&self) -> Option<ExchangeMillis> {
        self.aggregator.watermark()
    }

    /// Returns the receiver of the batches.
    pub const fn outlet(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// Ends the recording: emits what is due, then the open windows, unconfirmed.
    pub fn finish(&mut self) {
        while self.aggregator.finish(&mut self.out) {
            self.deliver();
        }
        self.deliver();
    }

    /// Returns how many trades have been received, counted and left out so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.aggregator.tally()
    }

    /// Moves the start of the recording back to a trade, unless it is too late to count.
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

    /// The ends of the klines between two calls of `settle`.
    #[derive(Default)]
    struct Collected {
        ends: Vec<Millis>,
        parts: Vec<(Vec<Millis>, Millis)>,
    }

    impl Outlet for Collected {
        fn take(&mut self, batch: Batch) {
            self.ends.extend(batch.klines.iter().map(|kline| kline.end));
        }

        fn settle(&mut self, settled: ExchangeMillis) {
            self.parts.push((std::mem::take(&mut self.ends), settled.get()));
        }
    }

    #[test]
    fn a_long_pause_is_delivered_in_parts_that_are_settled_one_by_one() {
        let settings = Settings::new(Category::Linear, vec!["1s".parse().unwrap()]);
        let mut playback = Playback::new(Settings { update_interval: None, ..settings }, Collected::default());
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
        playback.advance_to(T0 + 600_079);
        let parts = &playback.outlet().parts;
        assert_eq!(parts.iter().map(|(ends, _)| ends.len()).sum::<usize>(), 300 * 600);
        // A step ends after 8,192 klines, with its last boundary complete.
        assert!(parts.iter().all(|(ends, _)| ends.len() < 8_192 + 300), "{}", parts.len());
        for pair in parts.windows(2) {
            assert!(pair[1].0.iter().all(|end| *end >= pair[0].1), "settled klines stay as they are");
        }
        let held = parts.iter().map(|(ends, settled)| ends.iter().filter(|end| *end >= settled).count());
        assert!(held.take(parts.len() / 2).all(|held| held == 0), "all but the last minute is settled at once");
    }
}
