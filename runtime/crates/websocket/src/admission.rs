//! Limits the number of connections, in total and per client network. Dropping a guard releases its connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::throttle::Network;

/// Counts connections against their limits.
#[derive(Clone, Debug)]
pub struct Admission {
    counts: Arc<Mutex<Counts>>,
    max: usize,
    max_per_address: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    networks: HashMap<Network, usize>,
}

/// A counted connection; dropping it releases the count.
#[derive(Debug)]
pub struct ConnectionGuard {
    counts: Arc<Mutex<Counts>>,
    network: Network,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// The limit of all connections is reached.
    #[error("too many connections")]
    Total,
    /// The limit of connections from one address is reached.
    #[error("too many connections from this address")]
    PerAddress,
}

impl Admission {
    /// Starts with no connections.
    #[must_use]
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self { counts: Arc::default(), max, max_per_address }
    }

    /// Counts a connection from `address`, unless a limit is reached.
    ///
    /// # Errors
    /// [`LimitReached`] if there are too many connections, in total or from the network of `address`.
    pub fn admit(&self, address: IpAddr) -> Result<ConnectionGuard, LimitReached> {
        let network = Network::of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.max {
            return Err(LimitReached::Total);
        }
        let count = counts.networks.entry(network).or_default();
        if *count >= self.max_per_address {
            return Err(LimitReached::PerAddress);
        }
        *count += 1;
        counts.total += 1;
        Ok(ConnectionGuard { counts: self.counts.clone(), network })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(count) = counts.networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_and_released() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let admission = Admission::new(3, 2);
        let first = admission.admit(address("192.0.2.1")).unwrap();
        let _second = admission.admit(address("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(address("192.0.2.1")).unwrap_err(), LimitReached::PerAddress);
        let _third = admission.admit(address("192.0.2.2")).unwrap();
        assert_eq!(admission.admit(address("192.0.2.3")).unwrap_err(), LimitReached::Total);
        drop(first);
        let _fourth = admission.admit(address("192.0.2.1")).unwrap();
    }
}
