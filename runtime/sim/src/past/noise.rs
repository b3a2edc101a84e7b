//! Numbers that follow from seed, symbol and minute alone: the level of the price, and what one minute adds to it. Integers
//! only, so that every machine computes the same history.

use crate::instrument::{Activity, Instrument};

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
/// Values of the noise lie between -`UNIT` and `UNIT`.
const UNIT: i64 = 1 << 15;

/// What is drawn for one kind of number; every kind has its own noise.
#[derive(Clone, Copy)]
enum Kind {
    Day = 1,
    Hour,
    Minute,
    Trades,
    Anchor,
    Shape,
    Sizes,
}

/// The noise of one symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    key: u64,
    /// The price in ticks.
    ticks: i64,
    /// How many of 65,536 minutes have trades; zero for a symbol that never trades.
    busy: u64,
    /// Largest size of one trade, in steps.
    span: u64,
}

/// What one minute with trades adds to its open and close.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinuteDraw {
    /// Ticks from the higher of open and close to the high.
    pub above: i64,
    /// Ticks from the lower of open and close to the low.
    pub below: i64,
    /// Sizes in steps at the high, at the low and at the close.
    pub sizes: (i64, i64, i64),
}

impl Noise {
    pub fn new(seed: u64, instrument: &Instrument, ticks: i64) -> Self {
        let name = format!("{}:{}", instrument.category, instrument.symbol);
        let key = name.bytes().fold(mix(seed), |key, byte| (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let (busy, span) = match instrument.activity {
            Activity::Still => (0, 1),
            Activity::Matches { every_ms } => {
                let every = u64::from(every_ms.max(1));
                (60_000 * 65_536 / (60_000 + every), (60_000 / every).clamp(1, 10_000) * 40)
            }
        };
        Self { key: mix(key), ticks, busy, span }
    }

    pub fn ticks(&self) -> i64 {
        self.ticks
    }

    pub fn is_still(&self) -> bool {
        self.busy == 0
    }

    /// Returns whether a minute has trades. In every hour at least one has, so that a search for it is short.
    pub fn trades(&self, minute: i64) -> bool {
        let anchor = (self.draw(Kind::Anchor, minute.div_euclid(HOUR)) % 60) as i64;
        minute.rem_euclid(HOUR) == anchor || self.draw(Kind::Trades, minute) & 0xffff < self.busy
    }

    /// Returns the price at the end of a minute in ticks, up to a constant: within a tenth of the price, slow over days
    /// and quick over minutes.
    pub fn level(&self, minute: i64) -> i64 {
        let day = self.reach(25) * self.smooth(Kind::Day, DAY, minute);
        let hour = self.reach(200) * self.smooth(Kind::Hour, HOUR, minute);
        let now = self.reach(4_000).max(1) * i128::from(self.unit(Kind::Minute, minute));
        i64::try_from((day + hour + now).div_euclid(i128::from(UNIT))).unwrap_or(0)
    }

    pub fn minute(&self, minute: i64) -> MinuteDraw {
        let shape = self.draw(Kind::Shape, minute);
        let sizes = self.draw(Kind::Sizes, minute);
        let reach = (self.ticks / 10_000).clamp(1, 1 << 40) as u64;
        // A third of the draws is zero, so that many minutes end at their high or their low.
        let beyond = |bits: u64| ((bits % (reach * 3 / 2 + 2)).saturating_sub(reach / 2 + 1)) as i64;
        let size = |bits: u64| 1 + (bits % self.span) as i64;
        MinuteDraw {
            above: beyond(shape & 0xffff_ffff),
            below: beyond(shape >> 32),
            sizes: (size(sizes & 0xf_ffff), size((sizes >> 20) & 0xf_ffff), size(sizes >> 40)),
        }
    }

    fn reach(&self, part: i64) -> i128 {
        i128::from(self.ticks / part)
    }

    /// Returns noise that is drawn once for `period` minutes, with straight lines in between.
    fn smooth(&self, kind: Kind, period: i64, minute: i64) -> i128 {
        let (cell, along) = (minute.div_euclid(period), minute.rem_euclid(period));
        let (from, to) = (self.unit(kind, cell), self.unit(kind, cell + 1));
        i128::from((from * (period - along) + to * along).div_euclid(period))
    }

    fn unit(&self, kind: Kind, n: i64) -> i64 {
        (self.draw(kind, n) & 0xffff) as i64 - UNIT
    }

    fn draw(&self, kind: Kind, n: i64) -> u64 {
        mix(self.key ^ mix((kind as u64) << 56 ^ n as u64))
    }
}

/// Mixes all bits of a number (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
