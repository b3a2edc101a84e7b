//! One instrument on the floor: whether it is listed, its tape and its klines. Publishes nothing.

use std::collections::VecDeque;

use crate::{instrument::Instrument, klines::Klines, trade::Fill};

#[derive(Debug)]
pub(crate) struct Book {
    pub instrument: Instrument,
    pub listed: bool,
    /// Launch time that the instrument list shows, ms.
    pub launched: i64,
    pub tape: VecDeque<Fill>,
    pub klines: Klines,
}

impl Book {
    /// A book whose last price before `start` is the instrument's, if `priced`; else it opens with its first trade.
    pub fn new(instrument: Instrument, start: i64, priced: bool) -> Self {
        let category = instrument.category;
        let klines = if priced { Klines::since(category, start, instrument.price) } else { Klines::new(category) };
        Self { listed: instrument.listed, launched: start, tape: VecDeque::new(), klines, instrument }
    }

    /// Puts fills on the tape, which keeps the last `keep`.
    pub fn record(&mut self, fills: &[Fill], keep: usize) {
        for fill in fills {
            self.klines.apply(fill);
            self.tape.push_back(fill.clone());
        }
        let excess = self.tape.len().saturating_sub(keep);
        self.tape.drain(..excess);
    }

    /// Begins to trade: a newcomer's first kline opens with its first trade.
    pub fn list(&mut self, now: i64) {
        if !self.listed {
            self.listed = true;
            self.launched = now;
            self.klines = Klines::new(self.instrument.category);
        }
    }
}
