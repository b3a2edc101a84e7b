//! Chance, and the clocks of nodes.

use std::time::Duration;

/// SplitMix64.
pub(in crate::tests) struct Random(u64);

impl Random {
    pub(in crate::tests) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(in crate::tests) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let state = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    pub(in crate::tests) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The monotonic clock of a node: it began at some time, and does not run at the rate of real time.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) offset: u64,
    /// 1,000 is the rate of real time.
    pub(super) rate: u64,
}

impl Clock {
    pub(super) fn at(self, real: u64) -> Duration {
        Duration::from_micros(self.offset * 1_000 + real * self.rate)
    }
}
