//! The way from the exchange to one connection: what is sent arrives in order, later, or never.

use fastrand::Rng;
use klines_domain::time::Millis;

/// Fastest transit.
const FASTEST: Millis = 20;
/// How much longer it can take.
const JITTER: Millis = 60;

/// The state of one connection's way. Each fault lasts until its time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    pub down_until: Millis,
    pub is_half_open: bool,
    pub stalled_until: Millis,
    /// When the last frame arrives: no later one overtakes it.
    last: Millis,
}

impl Network {
    /// Returns when something that is sent now arrives; `None` if it is lost.
    pub fn arrival(&mut self, now: Millis, rng: &mut Rng) -> Option<Millis> {
        if self.is_half_open {
            return None;
        }
        let at = now + FASTEST + rng.i64(0..JITTER);
        self.last = self.last.max(at).max(self.stalled_until);
        Some(self.last)
    }

    /// Forgets what an earlier connection had under way.
    pub const fn reopen(&mut self) {
        (self.last, self.is_half_open) = (0, false);
    }
}
