//! Checks whether a connection is alive, by its last frame or pong. Whether data still arrives from a gateway that
//! answers pings is checked by the canary. Knows no socket; time is an argument.

use klines_domain::time::{LocalMillis, Millis};

use super::Timing;

/// Watches successive connections.
#[derive(Debug)]
pub struct Liveness {
    timing: Timing,
    /// When a frame was last read.
    last_read: LocalMillis,
    /// Arrival time of the last frame; earlier than `last_read` after a stall.
    last_arrival: LocalMillis,
    last_ping: LocalMillis,
}

impl Liveness {
    /// Creates a watch without a connection.
    pub const fn new(timing: Timing) -> Self {
        let never = LocalMillis::new(0);
        Self { timing, last_read: never, last_arrival: never, last_ping: never }
    }

    /// Handles an opened connection.
    pub const fn open(&mut self, now: LocalMillis) {
        self.last_read = now;
        self.last_arrival = now;
        self.last_ping = now;
    }

    /// Handles a frame or pong that is read at `now` and may have arrived at `arrived` already.
    pub fn frame(&mut self, now: LocalMillis, arrived: LocalMillis) {
        self.last_read = self.last_read.max(now);
        self.last_arrival = self.last_arrival.max(arrived);
    }

    /// Returns whether a ping is due, and counts it as sent if so.
    pub fn ping_due(&mut self, now: LocalMillis) -> bool {
        let is_due = now - self.last_ping >= self.timing.ping;
        if is_due {
            self.last_ping = now;
        }
        is_due
    }

    /// Returns the last time at which the peer was known to be alive.
    pub const fn last_seen(&self) -> LocalMillis {
        self.last_arrival
    }

    /// Returns how long nothing at all was read, if that is too long.
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
    fn a_connection_is_dead_a_millisecond_after_the_timeout() {
        let mut liveness = Liveness::new(Timing::default());
        liveness.open(at(0));
        liveness.frame(at(20_000), at(20_000));
        assert_eq!(liveness.dead(at(50_000)), None);
        assert_eq!(liveness.dead(at(50_001)), Some(30_001));
    }

    #[test]
    fn a_frame_read_late_resets_the_timeout_but_proves_only_its_arrival_time() {
        let mut liveness = Liveness::new(Timing::default());
        liveness.open(at(0));
        liveness.frame(at(25_000), at(1_000));
        assert_eq!((liveness.last_seen(), liveness.dead(at(55_000))), (at(1_000), None));
    }
}
