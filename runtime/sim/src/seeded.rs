//! Seeded random walks with bursts, pauses and several fills per match. The same seed, instruments and start give the
//! same tape, however often `next_events` is called. Reads no clock.

mod walk;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use crate::{
    category::Category,
    instrument::{Activity, Instrument},
    market::MarketEvent,
    seeded::walk::Walk,
    trade::{Fill, Side},
};

/// The generator of all instruments.
#[derive(Clone, Debug)]
pub(crate) struct Seeded {
    seed: u64,
    history_ms: i64,
    instruments: Vec<Instrument>,
    walks: Vec<Walk>,
    /// Next match of each walk, earliest first; equal times in the order of the instruments.
    schedule: BinaryHeap<Reverse<(i64, usize)>>,
    /// Further matches, earliest first.
    bursts: VecDeque<(i64, usize)>,
}

impl Seeded {
    pub fn new(seed: u64, instruments: Vec<Instrument>) -> Self {
        let mut unique: Vec<Instrument> = Vec::with_capacity(instruments.len());
        let mut seen = std::collections::BTreeSet::new();
        for instrument in instruments {
            if seen.insert((instrument.category, instrument.symbol.clone())) {
                unique.push(instrument);
            }
        }
        let (walks, schedule, bursts) = (Vec::new(), BinaryHeap::new(), VecDeque::new());
        Self { seed, history_ms: 0, instruments: unique, walks, schedule, bursts }
    }

    pub fn set_history(&mut self, history_ms: i64) {
        self.history_ms = history_ms;
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// Starts the walks so that their history ends at `now`. Returns the time at which the tape begins.
    pub fn begin(&mut self, now: i64) -> i64 {
        let start = now.saturating_sub(self.history_ms);
        self.walks = self.instruments.iter().map(|instrument| Walk::new(self.seed, instrument, start)).collect();
        self.schedule.clear();
        self.bursts.clear();
        for (n, walk) in self.walks.iter_mut().enumerate() {
            if walk.activity() != Activity::Still {
                self.schedule.push(Reverse((start + walk.gap(), n)));
            }
        }
        start
    }

    /// Adds an instrument that begins to trade at `now`, unless there is one of its category and symbol.
    pub fn add(&mut self, instrument: Instrument, now: i64) {
        if self.instruments.iter().any(|it| it.category == instrument.category && it.symbol == instrument.symbol) {
            return;
        }
        let mut walk = Walk::new(self.seed, &instrument, now);
        if walk.activity() != Activity::Still {
            self.schedule.push(Reverse((now + walk.gap(), self.walks.len())));
        }
        self.instruments.push(instrument);
        self.walks.push(walk);
    }

    pub fn next_events(&mut self, now: i64, out: &mut Vec<MarketEvent>) {
        loop {
            let next = self.schedule.peek().map(|Reverse(next)| *next);
            let is_burst = self.bursts.front().is_some_and(|burst| next.is_none_or(|next| *burst <= next));
            let Some((at, n)) = (if is_burst { self.bursts.front().copied() } else { next }) else { break };
            if at > now {
                break;
            }
            let _ = if is_burst { self.bursts.pop_front() } else { self.schedule.pop().map(|Reverse(next)| next) };
            let (Some(walk), Some(instrument)) = (self.walks.get_mut(n), self.instruments.get(n)) else { continue };
            let fills = walk.next_match(at);
            // Real frames have a timestamp 1 to 3 ms after the match.
            let ts = at + walk.stamp_delay();
            if !is_burst {
                self.schedule.push(Reverse((at + walk.gap(), n)));
            }
            out.push(MarketEvent::Trades {
                category: instrument.category,
                symbol: instrument.symbol.clone(),
                ts,
                fills,
            });
        }
    }

    /// Adds `matches` matches in the second after `now`, in turn of the instruments of some categories that trade by
    /// themselves.
    pub fn burst(&mut self, matches: u32, now: i64, covers: impl Fn(Category) -> bool) {
        let trades = |instrument: &Instrument| instrument.activity != Activity::Still && covers(instrument.category);
        let trading: Vec<usize> =
            self.instruments.iter().enumerate().filter(|(_, it)| trades(it)).map(|(n, _)| n).collect();
        let times = (0..i64::from(matches)).map(|at| now + at * 1_000 / i64::from(matches));
        self.bursts.extend(times.zip(trading.into_iter().cycle()));
        self.bursts.make_contiguous().sort_unstable();
    }

    /// Ends all trading of some categories.
    pub fn halt(&mut self, covers: impl Fn(Category) -> bool) {
        let instruments = &self.instruments;
        let goes_on = |n: usize| instruments.get(n).is_some_and(|instrument| !covers(instrument.category));
        self.schedule.retain(|Reverse((_, n))| goes_on(*n));
        self.bursts.retain(|(_, n)| goes_on(*n));
    }

    pub fn postpone(&mut self, ms: i64) {
        self.bursts.iter_mut().for_each(|(at, _)| *at = at.saturating_add(ms));
        let later = |Reverse((at, n)): Reverse<(i64, usize)>| Reverse((at.saturating_add(ms), n));
        self.schedule = std::mem::take(&mut self.schedule).into_iter().map(later).collect();
    }

    pub fn execute(
        &mut self,
        category: Category,
        symbol: &str,
        at: i64,
        side: Side,
        price: &str,
        size: &str,
    ) -> Option<Fill> {
        let n = self.instruments.iter().position(|i| i.category == category && i.symbol == symbol)?;
        self.walks.get_mut(n)?.execute(at, side, price, size)
    }
}

#[cfg(test)]
mod tests;
