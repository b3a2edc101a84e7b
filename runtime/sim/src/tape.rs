//! The trades of a market as an iterator on simulated time, without an exchange: for programs that need only the
//! trades. Reads no clock.

use std::time::Duration;

use crate::{
    category::Category,
    market::{Market, MarketEvent},
    trade::SimTrade,
};

/// Market time that is generated at once, in ms.
const STEP: i64 = 1_000;

/// One trade of a tape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapeTrade {
    /// Category of its instrument.
    pub category: Category,
    /// Symbol of its instrument.
    pub symbol: String,
    /// The trade.
    pub trade: SimTrade,
}

/// The trades of a market, in the order in which they happened.
#[derive(Clone, Debug)]
pub struct Tape {
    market: Market,
    now: i64,
    end: i64,
    ready: std::vec::IntoIter<TapeTrade>,
}

impl Market {
    /// Returns the trades of this market from `start` (ms UTC) on for `length`, generated as fast as they are read. A
    /// seeded market gives the same tape for the same seed, instruments and start; its history comes before `start`.
    #[must_use]
    pub fn tape(mut self, start: i64, length: Duration) -> Tape {
        let (now, _) = self.begin(start);
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        Tape { market: self, now, end: now.saturating_add(length), ready: Vec::new().into_iter() }
    }
}

impl Tape {
    /// Generates the next second. Returns `false` at the end.
    fn step(&mut self) -> bool {
        if self.now >= self.end {
            return false;
        }
        // The millisecond at `until` belongs to the next step.
        let until = self.now.saturating_add(STEP).min(self.end);
        let mut events = Vec::new();
        self.market.next_events(until - 1, &mut events);
        self.now = until;
        let mut trades = Vec::new();
        for event in events {
            match event {
                MarketEvent::Trades { category, symbol, fills, .. } => {
                    let trades_of_match = fills.iter().map(SimTrade::from);
                    trades.extend(trades_of_match.map(|trade| TapeTrade { category, symbol: symbol.clone(), trade }));
                }
                MarketEvent::Frame { category, fills, .. } => {
                    trades.extend(fills.iter().map(|(symbol, fill)| TapeTrade {
                        category,
                        symbol: symbol.clone(),
                        trade: fill.into(),
                    }))
                }
            }
        }
        self.ready = trades.into_iter();
        true
    }
}

impl Iterator for Tape {
    type Item = TapeTrade;

    fn next(&mut self) -> Option<TapeTrade> {
        loop {
            if let Some(trade) = self.ready.next() {
                return Some(trade);
            }
            if !self.step() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_is_reproducible_and_ends_after_its_length() {
        let tape = |seed| Market::demo(seed).tape(1_704_067_200_000, Duration::from_secs(60)).collect::<Vec<_>>();
        let trades = tape(3);
        assert!(trades.len() > 100, "{}", trades.len());
        assert_eq!(trades, tape(3));
        assert_ne!(trades, tape(4));
        assert!(trades.iter().all(|trade| trade.trade.time < 1_704_067_260_000));
    }
}
