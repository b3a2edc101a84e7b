//! The state of one symbol on the exchange: whether it is listed, its tape and its klines. Publishes nothing.

use std::collections::VecDeque;

use crate::{instrument::Instrument, klines::Klines, trade::Fill};

/// The state of one symbol.
#[derive(Debug)]
pub(crate) struct SymbolState {
    pub instrument: Instrument,
    pub listed: bool,
    /// Launch time in the instrument list, in ms.
    pub launched: i64,
    pub tape: VecDeque<Fill>,
    pub klines: Klines,
}

impl SymbolState {
    /// Creates the state of a symbol. If `priced`, the last price before `start` is the instrument's; otherwise the
    /// first kline opens with the first trade.
    pub fn new(instrument: Instrument, start: i64, priced: bool) -> Self {
        let category = instrument.category;
        let klines = if priced { Klines::since(category, start, instrument.price) } else { Klines::new(category) };
        Self { listed: instrument.listed, launched: start, tape: VecDeque::new(), klines, instrument }
    }

    /// Adds fills to the tape, which keeps the last `keep`.
    pub fn record(&mut self, fills: &[Fill], keep: usize) {
        for fill in fills {
            self.klines.apply(fill);
            self.tape.push_back(fill.clone());
        }
        let excess = self.tape.len().saturating_sub(keep);
        self.tape.drain(..excess);
    }

    /// Lists the symbol. The first kline of a new symbol opens with its first trade.
    pub fn list(&mut self, now: i64) {
        if !self.listed {
            self.listed = true;
            self.launched = now;
            self.klines = Klines::new(self.instrument.category);
        }
    }
}
