//! Whether a connection is alive: a frame or a pong lately. Whether data flows behind a gateway that answers is the
//! canary's question. Knows no socket; time is an argument.

use super::Timing;
use crate::domain::time::Millis;

/// Watches one connection after another.
#[derive(Debug)]
pub struct Liveness {
    timing: Timing,
    last_frame: Millis,
    last_ping: Millis,
}

impl Liveness {
    /// Builds one that knows nothing.
    pub const fn new(timing: Timing) -> Self {
        Self { timing, last_frame: 0, last_ping: 0 }
    }

    /// A connection is open.
    pub const fn open(&mut self, now: Millis) {
        self.last_frame = now;
        self.last_ping = now;
    }

    /// Something arrived, a pong included.
    pub fn frame(&mut self, now: Millis) {
        self.last_frame = self.last_frame.max(now);
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
    pub const fn last_frame(&self) -> Millis {
        self.last_frame
    }

    /// Returns for how long nothing came at all, if that is too long.
    pub fn dead(&self, now: Millis) -> Option<Millis> {
        let silent = now - self.last_frame;
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
        liveness.frame(20_000);
        assert_eq!(liveness.dead(50_000), None);
        assert_eq!(liveness.dead(50_001), Some(30_001));
    }
}
