//! Periods: the time of the blocks of an interval.

use klines_domain::interval::Interval;
use klines_domain::time::{HOUR, Millis};

/// The fewest windows of a period, so that a block is worth its overhead.
const LEAST_WINDOWS: Millis = 60;
/// How long after its end a period is sealed: later revisions are rare.
pub const SEALED_AFTER: Millis = HOUR;

/// Returns the length of the periods of an interval: an hour, or 60 windows if those are longer.
pub fn length(interval: Interval) -> Millis {
    HOUR.max(interval.nominal_millis() * LEAST_WINDOWS)
}

/// Returns the first moment of the period that contains a moment.
pub fn start_of(interval: Interval, at: Millis) -> Millis {
    at - at.rem_euclid(length(interval))
}
