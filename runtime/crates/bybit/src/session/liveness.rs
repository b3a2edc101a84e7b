//! Whether a connection is alive: a frame or a pong lately. Whether data flows behind a gateway that answers is the
//! canary's question. Knows no socket; time is an argument.

use klines_domain::time::Millis;

use super::Timing;

/// Watches one connection after another.
#[derive(Debug)]
pub struct Liveness {
    timing: Timing,
    /// When a frame was last read.
    last_read: Millis,
    /// When it had arrived at the latest.
    last_arrival: Millis,
    last_ping: Millis,
}

impl Liveness {
    /// Builds one that knows nothing.
    pub const fn new(timing: Timing) -> Self {
        Self { timing, last_read: 0, last_arrival: 0, last_ping: 0 }
    }

    /// A connection is open.
    pub const fn open(&mut self, now: Millis) {
        self.last_read = now;
        self.last_arrival = now;
        self.last_ping = now;
    }

    /// Something was read, a pong included, that may have arrived at `arrived` already.
    pub fn frame(&mut self, now: Millis, arrived: Millis) {
        self.last_read = self.last_read.max(now);
        self.last_arrival = self.last_arrival.max(arrived);
    }

    /// Returns whether it is time for a ping, and takes it as sent.
    pub const fn ping_due(&mut self, now: Millis) -> bool {
        let is_due = now - self.last_ping >= self.timing.ping;
        if is_due {
            self.last_ping = now;
        }
        is_due
    }

    /// Returns the last moment at which the peer was known to be there.
    pub const fn last_seen(&self) -> Millis {
        self.last_arrival
    }

    /// Returns for how long nothing came at all, if that is too long.
    pub fn dead(&self, now: Millis) -> Option<Millis> {
        let silent = now - self.last_read;
        (silent > self.timing.dead).then_some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_millisecond_more_than_allowed_without_any_frame_is_death() {
        let mut liveness = Liveness::new(Timing::default());
        liveness.open(0);
        liveness.frame(20_000, 20_000);
        assert_eq!(liveness.dead(50_000), None);
        assert_eq!(liveness.dead(50_001), Some(30_001));
    }

    #[test]
    fn what_is_read_late_shows_life_now_and_proves_what_came_before_its_arrival() {
        let mut liveness = Liveness::new(Timing::default());
        liveness.open(0);
        liveness.frame(25_000, 1_000);
        assert_eq!((liveness.last_seen(), liveness.dead(55_000)), (1_000, None));
    }
}
