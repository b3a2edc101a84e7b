//! Where time enters: wall-clock milliseconds at start plus monotonic milliseconds since.
//!
//! The result never steps back and never jumps when the wall clock is set. Nothing below `app` and the socket
//! drivers reads it; everything else is handed the value.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Millis;

/// Local time of this process, cheap to copy and read.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    wall_at_start: Millis,
    started: Instant,
}

impl LocalClock {
    /// Starts the clock at the wall clock's present time.
    #[must_use]
    pub fn start() -> Self {
        Self { wall_at_start: wall(), started: Instant::now() }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z by the wall clock at start, carried on monotonically.
    #[must_use]
    pub fn now(&self) -> Millis {
        let elapsed = Millis::try_from(self.started.elapsed().as_millis()).unwrap_or(Millis::MAX);
        self.wall_at_start.saturating_add(elapsed)
    }

    /// How far the wall clock has moved away from this one: a suspended machine or a clock that was set.
    #[must_use]
    pub fn wall_lead(&self) -> Millis {
        wall() - self.now()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where the wall clock enters")]
fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
