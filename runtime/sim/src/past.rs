//! The klines of one symbol from before its tape begins: computed on demand from seed, symbol and minute, and never kept,
//! so that hundreds of symbols with months of history need no memory. Every window is composed of its minutes. Knows no
//! trades of the tape.

mod noise;

use std::sync::OnceLock;

use self::noise::Noise;
use crate::{
    amount::Amount,
    category::Category,
    instrument::{Activity, Instrument},
    interval::{Interval, MINUTE_MS},
    klines::Window,
};

/// The past of one symbol. It ends with the minute before the one in which the tape begins, at the instrument's price.
#[derive(Debug)]
pub(crate) struct Past {
    category: Category,
    /// The last close of the past, at the scale of all its prices.
    price: Amount,
    tick: Amount,
    step: Amount,
    noise: Noise,
    /// First and last minute, as numbers since the epoch; `end` is exclusive.
    first: i64,
    end: i64,
    /// Level of the noise that belongs to `price`.
    anchor: i64,
    /// The part of the window of each interval that contains the end of the past.
    heads: [OnceLock<Option<Window>>; Interval::ALL.len()],
}

/// Sums over minutes. Prices are ticks above [`Past::price`], `volume` is in steps, and `turnover` has the scale of the
/// symbol's turnovers.
#[derive(Clone, Copy, Debug)]
struct Sums {
    open: i64,
    high: i64,
    low: i64,
    close: i64,
    volume: i128,
    turnover: i128,
}

/// A trade of the past.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PastTrade {
    pub time: i64,
    pub price: Amount,
    pub size: Amount,
}

impl Past {
    /// Creates the past of `instrument` from the minute of `first_ms` to the minute of `end_ms`. Returns `None` if it
    /// has no whole minute.
    pub fn new(seed: u64, instrument: &Instrument, first_ms: i64, end_ms: i64) -> Option<Self> {
        let (first, end) = (first_ms.div_euclid(MINUTE_MS), end_ms.div_euclid(MINUTE_MS));
        if first >= end {
            return None;
        }
        let price = instrument.price.plus(Amount::new(0, instrument.tick.scale()));
        let tick = instrument.tick.plus(Amount::new(0, price.scale()));
        let ticks = i64::try_from(price.units() / tick.units().max(1)).unwrap_or(i64::MAX / 4).max(1);
        let mut past = Self {
            category: instrument.category,
            price,
            tick,
            step: instrument.step,
            noise: Noise::new(seed, instrument, ticks),
            first,
            end,
            anchor: 0,
            heads: Default::default(),
        };
        past.anchor =
            if instrument.activity == Activity::Still { 0 } else { past.noise.level(past.traded_before(end)) };
        Some(past)
    }

    /// Returns the first ms of the past.
    pub fn first_ms(&self) -> i64 {
        self.first * MINUTE_MS
    }

    /// Returns the first ms after the past.
    pub fn end_ms(&self) -> i64 {
        self.end * MINUTE_MS
    }

    /// Returns the kline of the window of `interval` that begins at `start`, without what comes after the past. Returns
    /// `None` if the window has no minute in the past.
    pub fn window(&self, interval: Interval, start: i64) -> Option<Window> {
        let after = interval.after(start);
        let from = start.div_euclid(MINUTE_MS).max(self.first);
        let sums = self.compose(from, after.div_euclid(MINUTE_MS).min(self.end))?;
        let price = |ticks: i64| Amount::new(self.units(ticks), self.price.scale());
        Some(Window {
            start,
            end: after - 1,
            open: price(sums.open),
            high: price(sums.high),
            low: price(sums.low),
            close: price(sums.close),
            volume: Amount::new(sums.volume.saturating_mul(self.step.units()), self.step.scale()),
            turnover: Amount::new(sums.turnover, self.turnover_scale()),
        })
    }

    /// Adds the past to a window that contains its end; returns other windows unchanged.
    pub fn complete(&self, interval: Interval, window: Window) -> Window {
        let touches = window.start < self.end_ms() && self.end_ms() <= window.end;
        let place = Interval::ALL.iter().position(|other| *other == interval);
        let head = place.filter(|_| touches).and_then(|place| self.heads.get(place));
        match head.and_then(|head| *head.get_or_init(|| self.window(interval, window.start))) {
            Some(head) => head.followed_by(&window),
            None => window,
        }
    }

    /// Returns the sums of the minutes from `from` to before `until`.
    fn compose(&self, from: i64, until: i64) -> Option<Sums> {
        if from >= until {
            return None;
        }
        let mut close = self.close_before(from);
        let mut sums: Option<Sums> = None;
        for minute in from..until {
            let row = self.minute(minute, close);
            close = row.close;
            sums = Some(sums.map_or(row, |sums| sums.followed_by(&row)));
        }
        sums
    }

    /// Returns one minute: three trades, at its highest, lowest and last price.
    fn minute(&self, minute: i64, open: i64) -> Sums {
        let flat = Sums { open, high: open, low: open, close: open, volume: 0, turnover: 0 };
        if !self.traded(minute) {
            return flat;
        }
        let close = self.close_of(minute);
        let draw = self.noise.minute(minute);
        let high = open.max(close).saturating_add(draw.above);
        let low = self.at_least_one_tick(open.min(close).saturating_sub(draw.below));
        let trades = [(high, draw.sizes.0), (low, draw.sizes.1), (close, draw.sizes.2)];
        Sums {
            open,
            high,
            low,
            close,
            volume: trades.iter().map(|(_, steps)| i128::from(*steps)).sum(),
            turnover: trades.iter().fold(0, |sum, (price, steps)| self.turnover(*price, *steps).saturating_add(sum)),
        }
    }

    /// Returns the trades of the minutes that begin from `from` to before `until`, oldest first. Their sums are those of the
    /// windows.
    pub fn trades(&self, from: i64, until: i64) -> Vec<PastTrade> {
        let ceiling = |ms: i64| ms.div_euclid(MINUTE_MS) + i64::from(ms.rem_euclid(MINUTE_MS) > 0);
        let (first, end) = (ceiling(from).max(self.first), ceiling(until).min(self.end));
        let mut close = self.close_before(first);
        let mut trades = Vec::new();
        for minute in first..end {
            let row = self.minute(minute, close);
            close = row.close;
            if !self.traded(minute) {
                continue;
            }
            let (high, low, last) = self.noise.minute(minute).sizes;
            let parts = [(10_000, row.high, high), (25_000, row.low, low), (40_000, row.close, last)];
            trades.extend(parts.map(|(offset, ticks, steps)| PastTrade {
                time: minute * MINUTE_MS + offset,
                price: Amount::new(self.units(ticks), self.price.scale()),
                size: Amount::new(self.step.units().saturating_mul(i128::from(steps)), self.step.scale()),
            }));
        }
        trades
    }

    /// Returns the close of the minute before `minute`. The first minute of all opens at its own last price.
    fn close_before(&self, minute: i64) -> i64 {
        if self.noise.is_still() {
            return 0;
        }
        if minute <= self.first { self.close_of(self.first) } else { self.close_of(self.traded_before(minute)) }
    }

    /// Returns the last minute with trades before `minute`. One minute of every hour trades, and the first of all.
    fn traded_before(&self, minute: i64) -> i64 {
        (self.first..minute).rev().find(|minute| self.traded(*minute)).unwrap_or(self.first)
    }

    fn traded(&self, minute: i64) -> bool {
        !self.noise.is_still() && (minute == self.first || self.noise.trades(minute))
    }

    fn close_of(&self, traded: i64) -> i64 {
        self.at_least_one_tick(self.noise.level(traded) - self.anchor)
    }

    fn at_least_one_tick(&self, ticks: i64) -> i64 {
        ticks.max(1 - self.noise.ticks())
    }

    fn units(&self, ticks: i64) -> i128 {
        self.price.units() + self.tick.units().saturating_mul(i128::from(ticks))
    }

    fn turnover(&self, ticks: i64, steps: i64) -> i128 {
        let size = self.step.units().saturating_mul(i128::from(steps));
        match self.category {
            Category::Linear | Category::Spot => self.units(ticks).saturating_mul(size),
            Category::Inverse => {
                let price = Amount::new(self.units(ticks), self.price.scale());
                Amount::new(size, self.step.scale()).divided_by(price).units()
            }
        }
    }

    fn turnover_scale(&self) -> u32 {
        match self.category {
            Category::Linear | Category::Spot => self.price.scale() + self.step.scale(),
            Category::Inverse => Amount::QUOTIENT_SCALE,
        }
    }
}

impl Sums {
    fn followed_by(self, later: &Self) -> Self {
        Self {
            open: self.open,
            high: self.high.max(later.high),
            low: self.low.min(later.low),
            close: later.close,
            volume: self.volume + later.volume,
            turnover: self.turnover.saturating_add(later.turnover),
        }
    }
}

#[cfg(test)]
mod tests;
