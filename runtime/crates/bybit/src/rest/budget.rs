//! The rate of REST requests, and when none are allowed. Pure: time is an argument.

use klines_domain::time::{LocalMillis, Millis, SECOND};

/// Maximum requests a second. The exchange allows twice as many for an IP address, which other programs may use too.
const MAX_RATE: i64 = 60;
/// Minimum requests a second, however often the exchange has reported too many.
const MIN_RATE: i64 = 1;
/// Time after which the rate rises again by one request a second.
const RECOVERY: Millis = 10 * SECOND;
/// Reports of too many requests within this time count once: they answer requests that were sent at the same time.
const SAME_REPORT: Millis = SECOND;
/// Bybit requires a pause of ten minutes from an IP address that it has refused.
pub(super) const STOP: Millis = 600 * SECOND;

/// Assigns times to requests.
#[derive(Debug)]
pub(super) struct Budget {
    /// Requests a second at `rated_at`.
    rate: i64,
    /// When the rate was last changed.
    rated_at: LocalMillis,
    /// The next free slot, in microseconds.
    next_slot: i64,
    /// Earliest time of the next request.
    resumes_at: LocalMillis,
    /// When the last refusal of the address ends.
    stopped_until: LocalMillis,
}

impl Default for Budget {
    fn default() -> Self {
        let never = LocalMillis::new(0);
        Self { rate: MAX_RATE, rated_at: never, next_slot: 0, resumes_at: never, stopped_until: never }
    }
}

impl Budget {
    /// Reserves the next slot. Returns the milliseconds to wait for it. A refusal during the wait invalidates the slot,
    /// so check [`stopped`](Self::stopped) when it is due.
    pub(super) fn reserve(&mut self, now: LocalMillis) -> Millis {
        self.recover(now);
        let slot = self.next_slot.max(now.max(self.resumes_at).get() * 1_000);
        self.next_slot = slot + 1_000_000 / self.rate;
        // Rounded up, so that no request is early.
        (slot + 999).div_euclid(1_000) - now.get()
    }

    /// Handles a report of too many requests: halves the rate and allows no request for `wait`.
    pub(super) fn limit(&mut self, now: LocalMillis, wait: Millis) {
        self.recover(now);
        if self.rate == MAX_RATE || now - self.rated_at >= SAME_REPORT {
            self.rate = (self.rate / 2).max(MIN_RATE);
            self.rated_at = now;
        }
        self.resumes_at = self.resumes_at.max(now + wait);
    }

    /// Handles a refusal of this IP address. Returns the end of the refusal, or `None` if one was already active.
    pub(super) fn stop(&mut self, now: LocalMillis) -> Option<LocalMillis> {
        let is_new = self.stopped(now).is_none();
        self.limit(now, STOP);
        self.stopped_until = now + STOP;
        is_new.then_some(self.stopped_until)
    }

    /// Returns how long no request is allowed because of a refusal, or `None` if there is none.
    pub(super) fn stopped(&self, now: LocalMillis) -> Option<Millis> {
        Some(self.stopped_until - now).filter(|left| *left > 0)
    }

    fn recover(&mut self, now: LocalMillis) {
        let regained = (now - self.rated_at).div_euclid(RECOVERY);
        if regained > 0 && self.rate < MAX_RATE {
            self.rate = (self.rate + regained).min(MAX_RATE);
            self.rated_at += regained * RECOVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: LocalMillis = LocalMillis::new(1_767_621_900_000);

    /// Returns how many requests can be sent within a second from `now`.
    fn in_a_second(budget: &mut Budget, now: LocalMillis) -> usize {
        (0..1_000).take_while(|_| budget.reserve(now) < SECOND).count()
    }

    #[test]
    fn sixty_requests_a_second_are_spaced_evenly() {
        let mut budget = Budget::default();
        let waits: Vec<Millis> = (0..5).map(|_| budget.reserve(T0)).collect();
        // Every 16.666 ms, each rounded up.
        assert_eq!(waits, [0, 17, 34, 50, 67]);
        assert_eq!(in_a_second(&mut Budget::default(), T0), 60);
        assert_eq!(budget.reserve(T0 + 10_000), 0, "unused slots are not saved up");
        assert_eq!(budget.reserve(T0 + 10_000), 17);
    }

    #[test]
    fn a_report_of_too_many_requests_halves_the_rate_once_and_it_recovers() {
        let mut budget = Budget::default();
        budget.limit(T0, 5_000);
        budget.limit(T0 + 300, 5_000);
        assert_eq!(budget.reserve(T0 + 300), 5_000, "no request for five seconds");
        assert_eq!(in_a_second(&mut budget, T0 + 6_000), 30);
        budget.limit(T0 + 7_000, 5_000);
        assert_eq!(in_a_second(&mut budget, T0 + 14_000), 15);
        // One more request a second every ten seconds; 45 are missing.
        assert_eq!(in_a_second(&mut budget, T0 + 7_000 + 440_000), 15 + 44);
        assert_eq!(in_a_second(&mut budget, T0 + 7_000 + 3_600_000), 60);
        for report in 0..20 {
            budget.limit(T0 + 10_000_000 + report * 1_000, 0);
        }
        assert_eq!(in_a_second(&mut budget, T0 + 10_019_000), 1, "the rate is never zero");
    }

    #[test]
    fn a_refusal_stops_all_requests_for_ten_minutes_and_is_reported_once() {
        let mut budget = Budget::default();
        assert_eq!(budget.stopped(T0), None);
        assert_eq!(budget.stop(T0), Some(T0 + 600_000));
        assert_eq!(budget.stop(T0 + 40), None, "the answer to an earlier request");
        assert_eq!(budget.stopped(T0 + 600_039), Some(1));
        assert_eq!(budget.stopped(T0 + 600_040), None);
        assert_eq!(budget.reserve(T0 + 1_000), 599_040, "a slot is never within the stop");
        assert_eq!(budget.stop(T0 + 600_100), Some(T0 + 1_200_100), "a new refusal is reported again");
    }

    #[test]
    fn a_refusal_invalidates_reserved_slots() {
        let mut budget = Budget::default();
        budget.reserve(T0);
        let wait = budget.reserve(T0);
        budget.stop(T0 + 5);
        assert_eq!(budget.stopped(T0 + wait), Some(600_000 + 5 - wait));
    }
}
