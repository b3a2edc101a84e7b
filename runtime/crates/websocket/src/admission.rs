//! How many connections there are, in all and from one address. A place is given back when its guard is dropped.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::throttle::Network;

/// Counts connections against their limits.
#[derive(Clone, Debug)]
pub struct Admission {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_of_one: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    networks: HashMap<Network, usize>,
}

/// A connection's place.
#[derive(Debug)]
pub struct Place {
    counts: Arc<Mutex<Counts>>,
    network: Network,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// No more connections at all.
    #[error("too many connections")]
    All,
    /// No more from that address.
    #[error("too many connections from this address")]
    One,
}

impl Admission {
    /// Starts without a connection.
    #[must_use]
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self { counts: Arc::default(), most, most_of_one }
    }

    /// Takes a place for a connection.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn enter(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let network = Network::of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.most {
            return Err(NoPlace::All);
        }
        let count = counts.networks.entry(network).or_default();
        if *count >= self.most_of_one {
            return Err(NoPlace::One);
        }
        *count += 1;
        counts.all += 1;
        Ok(Place { counts: self.counts.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
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
    fn places_are_counted_and_given_back() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let admission = Admission::new(3, 2);
        let first = admission.enter(address("192.0.2.1")).unwrap();
        let _second = admission.enter(address("192.0.2.1")).unwrap();
        assert_eq!(admission.enter(address("192.0.2.1")).unwrap_err(), NoPlace::One);
        let _third = admission.enter(address("192.0.2.2")).unwrap();
        assert_eq!(admission.enter(address("192.0.2.3")).unwrap_err(), NoPlace::All);
        drop(first);
        let _fourth = admission.enter(address("192.0.2.1")).unwrap();
    }
}
