//! The lists of instruments, and what the client learns from them.

use klines_bybit::symbols::{Instrument, Trading};
use klines_domain::decimal::Decimal;
use klines_domain::feed::{FeedEvent, FeedMessage};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::SECOND;

use super::{Event, World};
use crate::market::Tape;

/// Instruments that nobody watches; without them a list that omits a symbol would not be plausible.
const OTHERS: [&str; 6] = ["A1USDT", "A2USDT", "A3USDT", "A4USDT", "A5USDT", "A6USDT"];

impl World<'_> {
    /// Passes a list of instruments on, as the program does.
    pub(super) fn list(&mut self) {
        let wait = self.rng.i64(10 * SECOND..15 * SECOND);
        self.later(wait, Event::List);
        if self.paused.is_some() || self.is_down() {
            return;
        }
        let instrument = |name: &str| {
            let trading = Trading::Open;
            let (tick, quote) = (Decimal::new(1, 2), "USDT".to_owned());
            let symbol = Symbol::new(name).ok()?;
            Some(Instrument { symbol, category: Category::Linear, tick, quote, is_dated: false, trading })
        };
        let is_shown = |(symbol, _): &(usize, &Tape)| self.plan.trading_period(*symbol).is_shown(self.now);
        let shown = self.tapes.iter().enumerate().filter(is_shown).map(|(_, tape)| tape.name.as_str());
        let list: Vec<Instrument> = shown.chain(OTHERS).filter_map(instrument).collect();
        let local = self.local();
        let events = self.process.watch.take(local, &list);
        for event in &events {
            // A symbol that is only omitted goes on, and steps of the clock make the end another time.
            if let FeedEvent::Ended { symbol, at } = event
                && self.plan.steps.0.is_empty()
                && let Some(tape) = self
                    .tapes
                    .get(symbol.index())
                    .filter(|_| self.plan.trading_period(symbol.index()).ended <= self.now)
            {
                self.checker.ended(&tape.name, at.get() - self.plan.ahead);
            }
        }
        if !events.is_empty() {
            self.take(FeedMessage::of_category(Category::Linear, local, events));
        }
    }
}
