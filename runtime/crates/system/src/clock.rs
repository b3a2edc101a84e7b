//! Where time enters: wall-clock milliseconds at start plus the milliseconds since, counted while the machine sleeps too.
//!
//! The result never steps back and never jumps when the wall clock is set; a sleep shows as a leap. Nothing below `app`
//! and the socket drivers reads it; everything else is handed the value.

use std::time::{SystemTime, UNIX_EPOCH};

use klines_domain::time::{LocalMillis, Millis};
use rustix::time::{ClockId, clock_gettime};

/// The clock that goes on while the machine is suspended.
#[cfg(target_os = "linux")]
const SLEEPLESS: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SLEEPLESS: ClockId = ClockId::Monotonic;

/// Local time of this process, cheap to copy and read.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    /// Wall clock minus sleepless clock at start.
    offset: Millis,
}

impl LocalClock {
    /// Starts the clock at the wall clock's present time.
    #[must_use]
    pub fn start() -> Self {
        Self { offset: wall() - sleepless() }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z by the wall clock at start, carried on without steps.
    #[must_use]
    pub fn now(&self) -> LocalMillis {
        LocalMillis::new(self.offset + sleepless())
    }
}

fn sleepless() -> Millis {
    let time = clock_gettime(SLEEPLESS);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where the wall clock enters")]
fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_the_wall_clock_and_never_steps_back() {
        let (before, clock) = (wall(), LocalClock::start());
        let first = clock.now();
        assert!((first.get() - before).abs() < 60_000);
        assert!(clock.now() >= first);
    }
}
