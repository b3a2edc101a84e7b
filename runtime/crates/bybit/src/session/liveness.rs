//! Whether a connection is alive: a frame or a pong lately. Whether data flows behind a gateway that answers is the
//! canary's question. Knows no socket; time is an argument.

use klines_domain::time::{LocalMillis, Millis};

use super::Timing;

/// Watches one connection after another.
#[derive(Debug)]
pub struct Liveness {
    timing: Timing,
    /// When a frame was last read.
    last_read: LocalMillis,
    /// When it had arrived at the latest.
    last_arrival: LocalMillis,
    last_ping: LocalMillis,
}

impl Liveness {
    /// Builds one that knows nothing.
    pub const fn new(timing: Timing) -> Self {
        let never = LocalMillis::new(0);
        Self { timing, last_read: never, last_arrival: never, last_ping: never }
    }

    /// A connection is open.
    pub const fn open(&mut self, now: LocalMillis) {
        self.last_read = now;
        self.last_arrival = now;
        self.last_ping = now;
    }

    /// Something was read, a pong included, that may have arrived at `arrived` already.
    pub fn frame(&mut self, now: LocalMillis, arrived: LocalMillis) {
        self.last_read = self.last_read.max(now);
        self.last_arrival = self.last_arrival.max(arrived);
    }

    /// Returns whether it is time for a ping, and takes it as sent.
    pub fn ping_due(&mut self, now: LocalMillis) -> bool {
        let is_due = now - self.last_ping >= self.timing.ping;
        if is_due {
            self.last_ping = now;
        }
        is_due
    }

    /// Returns the last moment at which the peer was known to be there.
    pub const fn last_seen(&self) -> LocalMillis {
        self.last_arrival
    }

    /// Returns for how long nothing came at all, if that is too long.
    pub fn dead(&self, now: LocalMillis) -> Option<Millis> {
        let silent = now - self.last_read;
        (silent > self.timing.dead).then_some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: Millis) -> LocalMillis {
        LocalMillis::new(millis)
    }

    #[test]
    fn a_millisecond_more_than_allowed_without_any_frame_is_death() {
        let mut liveness = Liveness::new(Timing::default());
        liveness.open(at(0));
        liveness.frame(at(20_000), at(20_000));
        assert_eq!(liveness.dead(at(50_000)), None);
        assert_eq!(liveness.dead(at(50_001)), Some(30_001));
    }

    #[test]
    fn what_is_read_late_shows_life_now_and_proves_what_came_before_its_arrival() {
        let mut liveness = Liveness::new(Timing::default());
        liveness.open(at(0));
        liveness.frame(at(25_000), at(1_000));
        assert_eq!((liveness.last_seen(), liveness.dead(at(55_000))), (at(1_000), None));
    }
}
