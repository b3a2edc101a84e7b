//! Leases as the node that has one sees them. Redis decides by its own clock when a lease is over; the node stops
//! earlier, by durations on its own clock, so that it has stopped before another can take over.

use std::fmt;
use std::time::Duration;

use klines_domain::mutants::Mutant;

/// How often members, holders and workers renew their leases.
pub const BEAT: Duration = Duration::from_secs(1);
/// How long a lease lasts in Redis.
pub const LEASE: Duration = Duration::from_secs(5);
/// The part of a lease that its owner does not use: clocks whose rates differ by up to 10 % cannot make a lease last
/// longer for its owner than for Redis.
const UNUSED: u32 = 10;

/// A fencing token: a number that grows with each grant of a lease. Redis refuses every other one than that of the
/// newest grant, so that an owner which does not know yet that it has lost its lease cannot write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The durations of a cluster; all of its nodes use the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a lease is renewed.
    pub beat: Duration,
    /// How long a lease lasts in Redis.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { beat: BEAT, lease: LEASE }
    }
}

/// A lease that this node believes to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    token: Token,
    until: Duration,
}

impl Lease {
    /// Builds the lease that Redis granted or renewed. It counts from `sent`, when the request left, on the monotonic
    /// clock of this node: Redis cannot have begun to count earlier.
    #[must_use]
    pub fn granted(token: Token, sent: Duration, timing: Timing) -> Self {
        Self { token, until: sent + timing.lease - timing.lease / UNUSED }
    }

    /// Returns the fencing token.
    #[must_use]
    pub const fn token(self) -> Token {
        self.token
    }

    /// Returns the moment on the clock of this node from which on it must not write.
    #[must_use]
    pub const fn until(self) -> Duration {
        self.until
    }

    /// Returns whether the node may act on this lease.
    #[must_use]
    pub fn is_valid(self, now: Duration) -> bool {
        now < self.until || Mutant::LeaseOutlived.is_made()
    }

    /// Returns the newer of this lease and another grant; answers can arrive in any order.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        if (other.token, other.until) > (self.token, self.until) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A node whose clock is up to 10 % slow counts the unused part later than Redis counts the whole lease.
        #[test]
        fn an_owner_stops_before_redis_does_whatever_the_delay_and_the_rate(
            lease in 100u64..60_000, there in 0u64..10_000, percent in 90u64..=110
        ) {
            let timing = Timing { beat: BEAT, lease: Duration::from_millis(lease) };
            let until = Lease::granted(Token(1), Duration::ZERO, timing).until();
            // Real time at which the owner stops, when its clock shows `percent` of real time.
            let stops = until.as_millis() * 100 / u128::from(percent);
            prop_assert!(stops <= u128::from(there + lease));
        }
    }

    #[test]
    fn late_answers_do_not_shorten_or_replace_a_newer_lease() {
        let at = |token, sent| Lease::granted(Token(token), Duration::from_secs(sent), Timing::default());
        assert_eq!(at(2, 0).newer(at(1, 9)), at(2, 0));
        assert_eq!(at(2, 3).newer(at(2, 1)), at(2, 3));
        assert_eq!(at(2, 3).newer(at(3, 1)), at(3, 1));
        assert!(at(1, 0).is_valid(Duration::from_millis(4_499)));
        assert!(!at(1, 0).is_valid(Duration::from_millis(4_500)));
    }
}
