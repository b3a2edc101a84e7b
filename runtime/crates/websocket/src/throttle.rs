//! Rate limits: of failed log-ins, by the network that they come from, and of the commands of a connection.
//!
//! Time is an argument. Nothing waits: the caller learns whether something is allowed, and answers the client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// A rate with a burst: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time in which one event is allowed again.
    step: Duration,
    /// The time in which the whole burst is allowed again.
    full: Duration,
}

impl RateLimit {
    /// Allows `most` (0 means 1) in `period`, all of them at once if there were none for one period.
    #[must_use]
    pub fn new(most: u32, period: Duration) -> Self {
        let step = period / most.max(1);
        Self { step, full: step * most.max(1) }
    }

    /// Allows `per_second` (0 means 1) in the long run, and `burst` (0 means 1) at once.
    #[must_use]
    pub fn per_second(per_second: u32, burst: u32) -> Self {
        let step = Duration::from_secs(1) / per_second.max(1);
        Self { step, full: step * burst.max(1) }
    }

    /// Returns whether one more is allowed, where the allowance is used up to the time `used`.
    fn has_room(self, used: Option<Instant>, now: Instant) -> bool {
        used.is_none_or(|used| used.saturating_duration_since(now) + self.step <= self.full)
    }

    /// Returns the time up to which the allowance is used after one more.
    fn spend(self, used: Option<Instant>, now: Instant) -> Instant {
        used.map_or(now, |used| used.max(now)) + self.step
    }
}

/// Limits the commands of one connection.
#[derive(Clone, Copy, Debug)]
pub struct RateLimiter {
    limit: RateLimit,
    used: Option<Instant>,
}

impl RateLimiter {
    /// Starts with the whole burst.
    #[must_use]
    pub const fn new(limit: RateLimit) -> Self {
        Self { limit, used: None }
    }

    /// Returns whether one more is allowed now; if so, counts it.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_allowed = self.limit.has_room(self.used, now);
        if is_allowed {
            self.used = Some(self.limit.spend(self.used, now));
        }
        is_allowed
    }
}

/// The network of a client: an IPv4 address, or the first 64 bits of an IPv6 address, because a host can use every
/// address in its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// Returns the network of an address. An IPv4-mapped IPv6 address counts as the IPv4 address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        const HOST: u128 = u64::MAX as u128;
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !HOST)),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(out, "{address}"),
            IpAddr::V6(address) => write!(out, "{address}/64"),
        }
    }
}

/// The result of an attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// The credentials are right.
    Passed(T),
    /// The credentials are wrong; the failure has been counted.
    Failed,
    /// The credentials were not checked, because too many attempts failed before.
    Refused,
}

/// The failed log-ins of the last minute.
///
/// A network with five failures is refused, even with a valid key; one failure is forgotten every twelve seconds. While
/// all networks together have 600, a network with one failure is refused. Networks without failures can still log in,
/// so that many guessing networks lock out only themselves. At most 8,192 networks are stored; beyond that, the one
/// whose failures expire first is dropped.
#[derive(Debug)]
pub struct Attempts {
    networks: HashMap<Network, Instant>,
    all: Option<Instant>,
}

/// The number of failures after which a network is refused.
const MAX_FAILURES_PER_NETWORK: u32 = 5;

/// The number of failures of all networks together after which a network with one failure is refused.
const MAX_FAILURES: u32 = 600;

/// The period of both limits.
const PERIOD: Duration = Duration::from_secs(60);

/// The maximum number of networks that are stored: about half a MiB.
const MAX_NETWORKS: usize = 8_192;

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

impl Attempts {
    /// Starts with no failures.
    #[must_use]
    pub fn new() -> Self {
        Self { networks: HashMap::new(), all: None }
    }

    /// Returns whether a log-in from a network is refused without a check of its credentials.
    #[must_use]
    pub fn is_refused(&self, from: Network, now: Instant) -> bool {
        let used = self.networks.get(&from).copied();
        let is_crowded = !RateLimit::new(MAX_FAILURES, PERIOD).has_room(self.all, now);
        let has_failed = used.is_some_and(|used| used > now);
        !RateLimit::new(MAX_FAILURES_PER_NETWORK, PERIOD).has_room(used, now) || (is_crowded && has_failed)
    }

    /// Checks credentials with `check`, unless the network is refused, and counts a failure. This is one call so that
    /// concurrent attempts cannot exceed the limit.
    pub fn attempt<T>(&mut self, from: Network, now: Instant, check: impl FnOnce() -> Option<T>) -> Attempt<T> {
        if self.is_refused(from, now) {
            return Attempt::Refused;
        }
        if let Some(passed) = check() {
            return Attempt::Passed(passed);
        }
        let used = self.networks.get(&from).copied();
        if used.is_none() && self.networks.len() >= MAX_NETWORKS {
            self.make_room(now);
        }
        self.networks.insert(from, RateLimit::new(MAX_FAILURES_PER_NETWORK, PERIOD).spend(used, now));
        let all = RateLimit::new(MAX_FAILURES, PERIOD);
        if all.has_room(self.all, now) {
            self.all = Some(all.spend(self.all, now));
        }
        Attempt::Failed
    }

    /// Drops the networks whose failures have expired, or the one whose failures expire first if there are none.
    fn make_room(&mut self, now: Instant) {
        self.networks.retain(|_, used| *used > now);
        if self.networks.len() >= MAX_NETWORKS {
            let first = self.networks.iter().min_by_key(|(_, used)| **used).map(|(network, _)| *network);
            first.map(|network| self.networks.remove(&network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(attempts: &mut Attempts, from: Network, now: Instant) -> Attempt<()> {
        attempts.attempt(from, now, || None)
    }

    #[test]
    fn a_connection_has_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(RateLimit::per_second(10, 3));
        let taken = |limiter: &mut RateLimiter, now| (0..9).filter(|_| limiter.take(now)).count();
        assert_eq!(taken(&mut limiter, start), 3);
        assert_eq!(taken(&mut limiter, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut limiter, start + Duration::from_millis(200)), 2);
        assert_eq!(taken(&mut limiter, start + seconds(60)), 3, "an idle connection gains no more than the burst");
    }

    #[test]
    fn the_attempt_after_five_failures_is_not_checked() {
        let (start, here) = (Instant::now(), network("192.0.2.1"));
        let mut attempts = Attempts::new();
        for _ in 0..5 {
            assert_eq!(fail(&mut attempts, here, start), Attempt::Failed);
        }
        for _ in 0..1_000 {
            assert_eq!(attempts.attempt(here, start, || Some("the right key")), Attempt::Refused);
        }
        assert_eq!(attempts.attempt(network("192.0.2.2"), start, || Some(2)), Attempt::Passed(2));
        assert!(attempts.is_refused(here, start + seconds(11)));
        assert_eq!(attempts.attempt(here, start + seconds(12), || Some(1)), Attempt::Passed(1));
        assert_eq!(fail(&mut attempts, here, start + seconds(12)), Attempt::Failed);
        assert_eq!(fail(&mut attempts, here, start + seconds(12)), Attempt::Refused);
    }

    #[test]
    fn successful_logins_are_not_limited() {
        let (start, mut attempts) = (Instant::now(), Attempts::new());
        for _ in 0..10_000 {
            assert_eq!(attempts.attempt(network("192.0.2.1"), start, || Some(())), Attempt::Passed(()));
        }
    }

    #[test]
    fn an_ipv6_network_is_64_bits_and_a_mapped_ipv4_address_is_ipv4() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("127.0.0.1"), network("127.0.0.2"));
        assert_eq!(network("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn many_guessing_networks_lock_out_only_themselves() {
        let (start, mut attempts) = (Instant::now(), Attempts::new());
        let guesser = |number: u32| Network::of(IpAddr::V4(number.into()));
        for number in 0..MAX_FAILURES {
            assert_eq!(fail(&mut attempts, guesser(number), start), Attempt::Failed);
        }
        assert_eq!(fail(&mut attempts, guesser(0), start), Attempt::Refused, "one failure is enough now");
        assert_eq!(attempts.attempt(guesser(MAX_FAILURES), start, || Some(())), Attempt::Passed(()));
        assert_eq!(
            fail(&mut attempts, guesser(0), start + PERIOD),
            Attempt::Failed,
            "a minute later all failures have expired"
        );
    }

    #[test]
    fn the_number_of_stored_networks_is_bounded() {
        let (start, mut attempts) = (Instant::now(), Attempts::new());
        let most = u32::try_from(MAX_NETWORKS).unwrap();
        for number in 0..most + 100 {
            fail(&mut attempts, Network::of(IpAddr::V4(number.into())), start);
        }
        assert_eq!(attempts.networks.len(), MAX_NETWORKS);
        fail(&mut attempts, network("192.0.2.1"), start + PERIOD);
        assert_eq!(attempts.networks.len(), 1, "expired failures are dropped");
    }
}
