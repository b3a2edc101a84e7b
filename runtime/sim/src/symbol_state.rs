//! The state of one symbol on the exchange: whether it is listed, its tape and its klines. Publishes nothing.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    history::KlineHistory,
    instrument::Instrument,
    interval::Interval,
    klines::{Klines, Push},
    past::Past,
    trade::Fill,
};

/// The state of one symbol.
#[derive(Debug)]
pub(crate) struct SymbolState {
    pub instrument: Instrument,
    pub listed: bool,
    /// Launch time in the instrument list, in ms.
    pub launched: i64,
    pub tape: VecDeque<Fill>,
    pub klines: Klines,
    /// The klines from before the tape; `None` for a symbol that is listed later.
    past: Option<Arc<Past>>,
}

impl SymbolState {
    /// Creates the state of a symbol whose tape begins at `start`. If `priced`, the last price before that is the
    /// instrument's; otherwise the first kline opens with the first trade.
    pub fn new(instrument: Instrument, start: i64, priced: bool, past: Option<Past>) -> Self {
        let category = instrument.category;
        let klines = if priced { Klines::since(category, start, instrument.price) } else { Klines::new(category) };
        let launched = past.as_ref().map_or(start, Past::first_ms);
        let past = past.map(Arc::new);
        Self { listed: instrument.listed, launched, tape: VecDeque::new(), klines, past, instrument }
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
            self.past = None;
        }
    }

    /// Returns the klines of `interval`, as they are now.
    pub fn history(&self, interval: Interval) -> KlineHistory {
        KlineHistory::new(interval, self.past.clone(), self.klines.windows(interval))
    }

    /// Returns a push whose windows include what was before the tape.
    pub fn complete(&self, push: Push) -> Push {
        let Some(past) = &self.past else { return push };
        let complete = |window| past.complete(push.interval, window);
        Push { closed: push.closed.map(complete), open: complete(push.open), ..push }
    }
}
