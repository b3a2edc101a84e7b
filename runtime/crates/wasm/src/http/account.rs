//! Records the HTTP requests of a consumer: counters, requests in progress, and denials that were already reported.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashSet;

/// The most denials that are remembered, so that each is reported once; further denials are only counted.
const MAX_REPORTED: usize = 64;

/// The counters of one consumer's HTTP requests, over all its instances.
#[derive(Debug, Default)]
pub struct HttpCounters {
    requests: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
}

/// The values of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpCounts {
    /// The requests that the component made, including denied ones.
    pub requests: u64,
    /// The requests that no grant covers, or whose host has a prohibited address.
    pub denied: u64,
    /// The requests without a response: no connection, no response in time, or over a limit.
    pub failed: u64,
}

impl HttpCounters {
    /// Returns the values of all counters.
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

/// The requests of one consumer. All its instances share this record, so that a restart does not reset it.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) counters: Arc<HttpCounters>,
    in_progress: Arc<AtomicUsize>,
    reported: Mutex<HashSet<(String, u16, String)>>,
}

/// The slot of one request in progress; it is released when it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Account {
    /// Takes a slot; returns `None` if `most` are taken.
    pub(super) fn slot(&self, most: usize) -> Option<Slot> {
        let slot = Slot(self.in_progress.clone());
        // The slot is counted first; dropping it decrements the count.
        (slot.0.fetch_add(1, Ordering::Relaxed) < most).then_some(slot)
    }

    /// Returns whether this denial is new and has to be reported.
    pub(super) fn is_new(&self, host: &str, port: u16, what: &str) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.len() < MAX_REPORTED && reported.insert((host.to_owned(), port, what.to_owned()))
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
    fn dropped_slots_are_released() {
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
        assert_eq!(reported, MAX_REPORTED - 2);
    }
}
