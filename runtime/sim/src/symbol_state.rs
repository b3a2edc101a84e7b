//! The state of one symbol on the exchange: whether it is listed, its tape and its klines. Publishes nothing.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    history::KlineHistory,
    instrument::Instrument,
    interval::Interval,
    klines::{KEEP, Klines, Push},
    past::{Past, PastTrade},
    trade::Fill,
};

/// The state of one symbol.
#[derive(Debug)]
pub(crate) struct SymbolState {
    pub instrument: Instrument,
    pub listed: bool,
    /// Launch time in the instrument list, in ms.
    pub launched: i64,
    /// When the symbol was delisted, in ms.
    pub delisted: Option<i64>,
    pub tape: VecDeque<Fill>,
    /// Whether old trades were removed from the tape.
    is_cut: bool,
    /// The klines that are pushed, which hold all trades.
    pub klines: Klines,
    /// The klines of the trades that REST has counted; they lack those of `unsettled`.
    settled: Klines,
    unsettled: VecDeque<Fill>,
    /// The klines from before the tape; `None` for a symbol that is listed later.
    past: Option<Arc<Past>>,
    timing: SymbolTiming,
}

/// When the tape of a symbol begins, and how far REST is behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SymbolTiming {
    /// First ms of the tape.
    pub start: i64,
    /// How long REST takes to count a trade in its klines, in ms.
    pub settle: i64,
    /// Number of trades that the tape keeps.
    pub keep: usize,
}

impl SymbolState {
    /// Creates the state of a symbol. If `priced`, the last price before the tape is the instrument's; otherwise the
    /// first kline opens with the first trade.
    pub fn new(instrument: Instrument, timing: SymbolTiming, priced: bool, past: Option<Past>) -> Self {
        let begin = |keep| match Klines::new(instrument.category, keep) {
            klines if priced => klines.since(timing.start, instrument.price),
            klines => klines,
        };
        Self {
            listed: instrument.listed,
            launched: past.as_ref().map_or(timing.start, Past::first_ms),
            delisted: None,
            tape: VecDeque::new(),
            is_cut: false,
            klines: begin(1),
            settled: begin(KEEP),
            unsettled: VecDeque::new(),
            past: past.map(Arc::new),
            timing,
            instrument,
        }
    }

    /// Adds fills to the tape.
    pub fn record(&mut self, fills: &[Fill]) {
        for fill in fills {
            self.klines.apply(fill);
            self.tape.push_back(fill.clone());
            self.unsettled.push_back(fill.clone());
        }
        let excess = self.tape.len().saturating_sub(self.timing.keep);
        self.is_cut |= excess > 0;
        self.tape.drain(..excess);
        if let Some(fill) = fills.last() {
            self.settle(fill.time);
        }
    }

    /// Counts what REST has counted at `now`.
    pub fn settle(&mut self, now: i64) {
        let until = self.settled_until(now);
        while let Some(fill) = self.unsettled.pop_front_if(|fill| fill.time <= until) {
            self.settled.apply(&fill);
        }
        self.settled.roll(until);
    }

    /// Returns the time up to which REST has counted all trades.
    pub fn settled_until(&self, now: i64) -> i64 {
        now.saturating_sub(self.timing.settle)
    }

    /// Returns the time from which on the tape holds every trade.
    pub fn tape_from(&self) -> i64 {
        if self.is_cut { self.tape.front().map_or(i64::MAX, |fill| fill.time + 1) } else { self.timing.start }
    }

    /// Returns the trades from before the tape that are in the minutes from `from` to before `until`.
    pub fn past_trades(&self, from: i64, until: i64) -> Vec<PastTrade> {
        self.past.as_ref().map(|past| past.trades(from, until)).unwrap_or_default()
    }

    /// Lists the symbol. The first kline of a new symbol opens with its first trade.
    pub fn list(&mut self, now: i64) {
        if !self.listed {
            self.listed = true;
            self.launched = now;
            self.delisted = None;
            self.klines = Klines::new(self.instrument.category, 1);
            self.settled = Klines::new(self.instrument.category, KEEP);
            self.unsettled.clear();
            self.past = None;
        }
    }

    /// Delists the symbol.
    pub fn delist(&mut self, now: i64) {
        if self.listed {
            self.listed = false;
            self.delisted = Some(now);
        }
    }

    /// Returns the klines of all trades.
    pub fn history(&self, interval: Interval, now: i64) -> KlineHistory {
        let windows = self.settled.windows(interval, &self.unsettled, now);
        KlineHistory::new(interval, self.past.clone(), windows)
    }

    /// Returns the klines of the trades that REST has counted.
    pub fn settled_history(&self, interval: Interval, now: i64) -> KlineHistory {
        KlineHistory::new(interval, self.past.clone(), self.settled.windows(interval, [], now))
    }

    /// Returns a push whose windows include what was before the tape.
    pub fn complete(&self, push: Push) -> Push {
        let Some(past) = &self.past else { return push };
        let complete = |window| past.complete(push.interval, window);
        Push { closed: push.closed.map(complete), open: complete(push.open), ..push }
    }
}
