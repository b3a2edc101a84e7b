//! A seeded market as a tape of trades on made-up time, without an exchange around it: for programs that want the
//! trades and nothing else. Reads no clock.

use std::time::Duration;

use crate::{
    category::Category,
    market::{Market, MarketEvent},
    trade::SimTrade,
};

/// Market time that is laid out at once, in ms.
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
    /// Lets this market trade from `start` (ms UTC) on for so long, as fast as it is read. A seeded market gives the
    /// same tape for the same seed, instruments and start; its history comes before `start`.
    #[must_use]
    pub fn tape(mut self, start: i64, length: Duration) -> Tape {
        let (now, _) = self.begin(start);
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        Tape { market: self, now, end: now.saturating_add(length), ready: Vec::new().into_iter() }
    }
}

impl Tape {
    /// Lays out the next second; returns whether there was one.
    fn step(&mut self) -> bool {
        if self.now >= self.end {
            return false;
        }
        // The last millisecond belongs to what comes after.
        let until = self.now.saturating_add(STEP).min(self.end);
        let mut events = Vec::new();
        self.market.next_events(until - 1, &mut events);
        self.now = until;
        let mut trades = Vec::new();
        for event in events {
            match event {
                MarketEvent::Trades { category, symbol, fills, .. } => {
                    let told = fills.iter().map(SimTrade::from);
                    trades.extend(told.map(|trade| TapeTrade { category, symbol: symbol.clone(), trade }));
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
    fn a_tape_is_the_same_every_time_and_ends_where_it_should() {
        let tape = |seed| Market::demo(seed).tape(1_704_067_200_000, Duration::from_secs(60)).collect::<Vec<_>>();
        let trades = tape(3);
        assert!(trades.len() > 100, "{}", trades.len());
        assert_eq!(trades, tape(3));
        assert_ne!(trades, tape(4));
        assert!(trades.iter().all(|trade| trade.trade.time < 1_704_067_260_000));
    }
}
