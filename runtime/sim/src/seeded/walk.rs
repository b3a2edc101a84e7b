//! The random walk of one instrument: when it trades next, at what price, in how many fills.

use fastrand::Rng;

use crate::{
    amount::Amount,
    category::Category,
    instrument::{Activity, Instrument},
    trade::{Fill, Side, TickDirection, TradeId},
};

/// Sequence numbers follow the time in µs since this instant (2017-07-14), so that they continue after a restart and
/// stay exact in programs that read them as doubles.
const SEQ_EPOCH_MS: i64 = 1_500_000_000_000;
/// Longest pause between two matches, however rarely the symbol trades.
const LONGEST_PAUSE_MS: i64 = 90_000;

/// The random walk of one instrument.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    rng: Rng,
    category: Category,
    activity: Activity,
    tick: Amount,
    step: Amount,
    /// Start price in ticks.
    start: i64,
    /// Current price in ticks.
    price: i64,
    last: Amount,
    direction: TickDirection,
    burst: u32,
    seq: u64,
    /// Last trade id, spot only.
    number: u64,
}

impl Walk {
    pub fn new(seed: u64, instrument: &Instrument, start_ms: i64) -> Self {
        let mut mixed = seed ^ 0x9e37_79b9_7f4a_7c15;
        let name = format!("{}:{}:{start_ms}", instrument.category, instrument.symbol);
        for byte in name.bytes() {
            mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let scale = instrument.price.scale().max(instrument.tick.scale());
        let widen = |amount: Amount| amount.plus(Amount::new(0, scale)).units();
        let ticks = (widen(instrument.price) / widen(instrument.tick).max(1)).max(1);
        let start = i64::try_from(ticks).unwrap_or(i64::MAX / 4);
        Self {
            rng: Rng::with_seed(mixed),
            category: instrument.category,
            activity: instrument.activity,
            tick: instrument.tick,
            step: instrument.step,
            start,
            price: start,
            last: instrument.price,
            direction: TickDirection::ZeroPlus,
            burst: 0,
            seq: 0,
            number: u64::try_from(start_ms).unwrap_or(0).saturating_mul(1_000_000),
        }
    }

    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// Returns the time to the next match in ms: mostly short, sometimes long, as with random arrivals; a few ms in a
    /// burst.
    pub fn gap(&mut self) -> i64 {
        let Activity::Matches { every_ms } = self.activity else { return LONGEST_PAUSE_MS };
        if self.burst > 0 {
            self.burst -= 1;
            return self.rng.i64(0..8);
        }
        let mean = i64::from(every_ms.max(1));
        match self.rng.u32(0..200) {
            0..4 => {
                self.burst = self.rng.u32(4..30);
                self.rng.i64(0..8)
            }
            4 => (mean * self.rng.i64(8..20)).min(LONGEST_PAUSE_MS).max(mean),
            // The product of two uniform draws is mostly near zero and has a long tail, as random arrivals have.
            _ => 1 + self.rng.i64(0..=2 * mean) * self.rng.i64(0..=2 * mean) / mean.max(1),
        }
    }

    pub fn stamp_delay(&mut self) -> i64 {
        self.rng.i64(0..3)
    }

    /// Returns the fills of the match at `at`: one time, one seq, and prices that get worse for the taker.
    pub fn next_match(&mut self, at: i64) -> Vec<Fill> {
        let side = if self.rng.bool() { Side::Buy } else { Side::Sell };
        self.drift();
        let count = match self.rng.u32(0..20_000) {
            0 => self.rng.usize(1_030..1_300),
            1..200 => self.rng.usize(10..60),
            200..8_000 => self.rng.usize(2..7),
            _ => 1,
        };
        let seq = self.next_seq(at);
        let block = count == 1 && self.rng.u32(0..400) == 0;
        let rpi = !block && self.rng.u32(0..12) == 0;
        let mut fills = Vec::with_capacity(count);
        let before = self.price;
        for _ in 0..count {
            let size = self.size(block);
            let price = Amount::new(self.tick.units().saturating_mul(i128::from(self.price)), self.tick.scale());
            fills.push(self.fill(at, seq, price, size, side, block, rpi));
            // A deep match reaches further price levels of the order book; most fills stay on one level.
            if self.rng.u32(0..3) == 0 {
                self.price = match side {
                    Side::Buy => self.price.saturating_add(1),
                    Side::Sell => (self.price - 1).max(1),
                };
            }
        }
        // The order book refills: a third of the move remains.
        self.price = before + (self.price - before) / 3;
        fills
    }

    /// Executes one trade at this price. The walk continues from its own price.
    pub fn execute(&mut self, at: i64, side: Side, price: &str, size: &str) -> Option<Fill> {
        let pad = |text: &str, like: Amount| {
            Amount::parse(text).filter(|a| !a.is_zero()).map(|a| a.plus(Amount::new(0, like.scale())))
        };
        let (price, size) = (pad(price, self.tick)?, pad(size, self.step)?);
        let seq = self.next_seq(at);
        Some(self.fill(at, seq, price, size, side, false, false))
    }

    fn drift(&mut self) {
        let reach = (self.start / 20_000).max(1);
        let step = self.rng.i64(-reach..=reach);
        // When the price is more than a fifth away from its start, it moves back, so that it neither reaches zero nor
        // grows without bound.
        let distance = self.price - self.start;
        let step = if distance.abs() > self.start / 5 { -distance.signum() * step.abs() } else { step };
        self.price = self.price.saturating_add(step).max(1);
    }

    fn size(&mut self, block: bool) -> Amount {
        let steps = match self.rng.u32(0..40) {
            _ if block => self.rng.i128(20_000..80_000),
            0 => self.rng.i128(500..4_000),
            1..8 => self.rng.i128(20..300),
            _ => self.rng.i128(1..20),
        };
        Amount::new(self.step.units().saturating_mul(steps), self.step.scale())
    }

    fn next_seq(&mut self, at: i64) -> u64 {
        let by_time = u64::try_from(at - SEQ_EPOCH_MS).unwrap_or(0).saturating_mul(1_000) + self.rng.u64(0..900);
        self.seq = by_time.max(self.seq + 1);
        self.seq
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of a trade")]
    fn fill(&mut self, time: i64, seq: u64, price: Amount, size: Amount, side: Side, block: bool, rpi: bool) -> Fill {
        self.direction = match (price.compare(self.last), self.direction) {
            (std::cmp::Ordering::Greater, _) => TickDirection::Plus,
            (std::cmp::Ordering::Less, _) => TickDirection::Minus,
            (_, TickDirection::Plus | TickDirection::ZeroPlus) => TickDirection::ZeroPlus,
            _ => TickDirection::ZeroMinus,
        };
        self.last = price;
        let id = match self.category {
            Category::Spot => {
                self.number += 1;
                TradeId::Number(self.number)
            }
            // With the version and variant bits of a name-based UUID, as Bybit's ids have.
            _ => TradeId::Uuid(self.rng.u128(..) & !(0xf000 << 64) & !(0xc000 << 48) | (0x5000 << 64) | (0x8000 << 48)),
        };
        Fill { time, seq, id, price, size, side, direction: self.direction, block, rpi }
    }
}
