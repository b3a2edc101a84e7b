//! Whether the first windows of a run are known. Consumers that read klines of the past are started then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Says when the first windows of a run are known, or are not waited for any longer.
#[derive(Debug)]
pub struct Seeded {
    is_known: AtomicBool,
    until: Instant,
}

impl Seeded {
    /// Returns that they are not known yet; they are waited for until `patience` is over.
    #[must_use]
    pub fn within(patience: Duration) -> Self {
        Self { is_known: AtomicBool::new(false), until: Instant::now() + patience }
    }

    /// Notes that they are known.
    pub fn set_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Returns whether they are known, or the wait is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_known.load(Ordering::Relaxed) || Instant::now() >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_ends_when_the_windows_are_known_or_the_patience_is_over() {
        let seeded = Seeded::within(Duration::from_secs(3_600));
        assert!(!seeded.is_over());
        seeded.set_known();
        assert!(seeded.is_over());
        assert!(Seeded::within(Duration::ZERO).is_over());
    }
}
