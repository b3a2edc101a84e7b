//! What a consumer's requests add up to: counters, requests under way, and which denials were reported.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashSet;

/// Denials that are remembered, so that each is reported once; further ones are only counted.
const MOST_REPORTED: usize = 64;

/// Counters of one consumer's HTTP, over all its instances.
#[derive(Debug, Default)]
pub struct HttpCounters {
    requests: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
}

/// What the counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// Requests that the component made, denied ones included.
    pub requests: u64,
    /// Requests that no grant covers, or whose host has an address that it may not have.
    pub denied: u64,
    /// Requests without a response: no connection, no answer in time, over a limit.
    pub failed: u64,
}

impl HttpCounters {
    /// Reads all.
    #[must_use]
    pub fn read(&self) -> HttpCounts {
        let [requests, denied, failed] =
            [&self.requests, &self.denied, &self.failed].map(|counter| counter.load(Ordering::Relaxed));
        HttpCounts { requests, denied, failed }
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shared by all instances of one consumer: a restart renews nothing.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) counters: Arc<HttpCounters>,
    under_way: Arc<AtomicUsize>,
    reported: Mutex<HashSet<(String, u16, String)>>,
}

/// One request under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Account {
    /// Takes a slot, if fewer than `most` are taken.
    pub(super) fn slot(&self, most: usize) -> Option<Slot> {
        let slot = Slot(self.under_way.clone());
        // Counted first: dropping the slot takes it back.
        (slot.0.fetch_add(1, Ordering::Relaxed) < most).then_some(slot)
    }

    /// Whether this denial is new and is to be reported.
    pub(super) fn is_new(&self, host: &str, port: u16, what: &str) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.len() < MOST_REPORTED && reported.insert((host.to_owned(), port, what.to_owned()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_back() {
        let account = Account::default();
        let held: Vec<_> = (0..2).map(|_| account.slot(2).unwrap()).collect();
        assert!(account.slot(2).is_none() && account.slot(2).is_none());
        drop(held);
        assert!(account.slot(2).is_some());
    }

    #[test]
    fn each_denial_is_reported_once_and_not_for_ever() {
        let account = Account::default();
        assert!(account.is_new("a", 1, "GET") && !account.is_new("a", 1, "GET") && account.is_new("a", 1, "PUT"));
        let reported = (0..1_000).filter(|port| account.is_new("b", *port, "GET")).count();
        assert_eq!(reported, MOST_REPORTED - 2);
    }
}
