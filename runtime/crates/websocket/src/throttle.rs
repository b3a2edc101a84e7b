//! How often something may be done: log-ins that fail, by the network that they come from, and commands of a connection.
//!
//! Time is an argument. Nothing waits: whoever asks is told yes or no, and answers the client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// So many at once, and as many again in each period, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The time that one takes to be allowed again.
    step: Duration,
    /// The time in which all are.
    full: Duration,
}

impl Allowance {
    /// Allows `most` (0 means 1) in `period`, all of them at once if there were none for so long.
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

    /// Whether there is room for one more, for whoever has used all up to `used`.
    fn has_room(self, used: Option<Instant>, now: Instant) -> bool {
        used.is_none_or(|used| used.saturating_duration_since(now) + self.step <= self.full)
    }

    /// What is used up after one more.
    fn spend(self, used: Option<Instant>, now: Instant) -> Instant {
        used.map_or(now, |used| used.max(now)) + self.step
    }
}

/// The commands of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    allowance: Allowance,
    used: Option<Instant>,
}

impl Pace {
    /// Starts with the whole burst.
    #[must_use]
    pub const fn new(allowance: Allowance) -> Self {
        Self { allowance, used: None }
    }

    /// Whether one more is allowed now; if so, it is counted.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_allowed = self.allowance.has_room(self.used, now);
        if is_allowed {
            self.used = Some(self.allowance.spend(self.used, now));
        }
        is_allowed
    }
}

/// Where a client is, as far as one person can be told from another: an IPv4 address, or the first 64 bits of an IPv6
/// one, because whoever has one of these has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// Returns the network of an address. An IPv4 address in IPv6 form is the IPv4 address.
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

/// What became of an attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// The credentials are right.
    Passed(T),
    /// They are wrong, and this has been counted.
    Failed,
    /// Nobody looked at them: too many failed before.
    Refused,
}

/// The failed log-ins of the last minute.
///
/// A network with five is refused, with the right key too; one is forgotten every twelve seconds. While all networks
/// together have more than 600, one failure is enough: networks without any still enter, so that a crowd of guessers
/// locks out nobody but itself. At most 8,192 networks are remembered; of more, the one that would be forgotten first
/// goes.
#[derive(Debug)]
pub struct Attempts {
    networks: HashMap<Network, Instant>,
    all: Option<Instant>,
}

/// Failures that one network may have.
const ONE: u32 = 5;

/// Failures that all networks together may have before each is held to one.
const MOST: u32 = 600;

/// The time in which they may have them.
const PERIOD: Duration = Duration::from_secs(60);

/// Networks that are remembered: about half a MiB.
const NETWORKS: usize = 8_192;

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

impl Attempts {
    /// Starts without a failure.
    #[must_use]
    pub fn new() -> Self {
        Self { networks: HashMap::new(), all: None }
    }

    /// Whether a log-in from there would be refused unseen. Lets a server answer before it does any work.
    #[must_use]
    pub fn is_refused(&self, from: Network, now: Instant) -> bool {
        let used = self.networks.get(&from).copied();
        let is_crowded = !Allowance::new(MOST, PERIOD).has_room(self.all, now);
        let has_failed = used.is_some_and(|used| used > now);
        !Allowance::new(ONE, PERIOD).has_room(used, now) || (is_crowded && has_failed)
    }

    /// Looks at credentials with `check`, unless the network is refused, and counts the failure. One call: attempts
    /// that run side by side do not slip past the limit together.
    pub fn attempt<T>(&mut self, from: Network, now: Instant, check: impl FnOnce() -> Option<T>) -> Attempt<T> {
        if self.is_refused(from, now) {
            return Attempt::Refused;
        }
        if let Some(passed) = check() {
            return Attempt::Passed(passed);
        }
        let used = self.networks.get(&from).copied();
        if used.is_none() && self.networks.len() >= NETWORKS {
            self.make_room(now);
        }
        self.networks.insert(from, Allowance::new(ONE, PERIOD).spend(used, now));
        let all = Allowance::new(MOST, PERIOD);
        if all.has_room(self.all, now) {
            self.all = Some(all.spend(self.all, now));
        }
        Attempt::Failed
    }

    /// Forgets whatever no longer counts, and the nearest to it if all of it does.
    fn make_room(&mut self, now: Instant) {
        self.networks.retain(|_, used| *used > now);
        if self.networks.len() >= NETWORKS {
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
    fn a_connection_has_its_burst_and_then_its_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(Allowance::per_second(10, 3));
        let taken = |pace: &mut Pace, now| (0..9).filter(|_| pace.take(now)).count();
        assert_eq!(taken(&mut pace, start), 3);
        assert_eq!(taken(&mut pace, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut pace, start + Duration::from_millis(200)), 2);
        assert_eq!(taken(&mut pace, start + seconds(60)), 3, "idleness earns no more than the burst");
    }

    #[test]
    fn the_sixth_failure_is_not_even_looked_at() {
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
    fn logging_in_is_never_limited() {
        let (start, mut attempts) = (Instant::now(), Attempts::new());
        for _ in 0..10_000 {
            assert_eq!(attempts.attempt(network("192.0.2.1"), start, || Some(())), Attempt::Passed(()));
        }
    }

    #[test]
    fn neighbours_in_ipv6_are_one_and_ipv4_in_its_clothes_is_ipv4() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("127.0.0.1"), network("127.0.0.2"));
        assert_eq!(network("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_crowd_of_guessers_locks_out_itself_alone() {
        let (start, mut attempts) = (Instant::now(), Attempts::new());
        let guesser = |number: u32| Network::of(IpAddr::V4(number.into()));
        for number in 0..MOST {
            assert_eq!(fail(&mut attempts, guesser(number), start), Attempt::Failed);
        }
        assert_eq!(fail(&mut attempts, guesser(0), start), Attempt::Refused, "one failure is enough now");
        assert_eq!(attempts.attempt(guesser(MOST), start, || Some(())), Attempt::Passed(()));
        assert_eq!(fail(&mut attempts, guesser(0), start + PERIOD), Attempt::Failed, "a minute later all is forgotten");
    }

    #[test]
    fn no_number_of_networks_fills_the_memory() {
        let (start, mut attempts) = (Instant::now(), Attempts::new());
        let most = u32::try_from(NETWORKS).unwrap();
        for number in 0..most + 100 {
            fail(&mut attempts, Network::of(IpAddr::V4(number.into())), start);
        }
        assert_eq!(attempts.networks.len(), NETWORKS);
        fail(&mut attempts, network("192.0.2.1"), start + PERIOD);
        assert_eq!(attempts.networks.len(), 1, "what no longer counts goes at once");
    }
}
