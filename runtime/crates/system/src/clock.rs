//! The source of local time: wall-clock milliseconds at start plus the milliseconds since, including time in which the
//! machine sleeps.
//!
//! The result never goes back and does not jump when the wall clock is set; a sleep appears as a jump forward. Only
//! `app` and the socket drivers read it; all other code receives the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use klines_domain::time::{LocalMillis, Millis};
use rustix::time::{ClockId, clock_gettime};

/// The clock that continues while the machine is suspended.
#[cfg(target_os = "linux")]
const BOOT_CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;

/// The local time of this process; cheap to copy and read.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    /// Wall clock minus boot-time clock at start.
    offset: Millis,
}

impl LocalClock {
    /// Starts the clock at the current time of the wall clock.
    #[must_use]
    pub fn start() -> Self {
        Self { offset: wall() - sleepless() }
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z by the wall clock at start, continued without steps.
    #[must_use]
    pub fn now(&self) -> LocalMillis {
        LocalMillis::new(self.offset + sleepless())
    }
}

fn sleepless() -> Millis {
    let time = clock_gettime(BOOT_CLOCK);
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
