//! How often REST may be asked, and when not at all. Pure: time is an argument.

use klines_domain::time::{LocalMillis, Millis, SECOND};

/// Requests a second at most. The exchange allows twice as many for an address, which others may use too.
const MOST: i64 = 60;
/// Requests a second however often the exchange has complained.
const LEAST: i64 = 1;
/// After a complaint a request a second is won back every so often.
const RECOVERY: Millis = 10 * SECOND;
/// Complaints that come together are one: they answer requests that were on their way at the same time.
const TOGETHER: Millis = SECOND;
/// The exchange wants to be left alone for ten minutes by an address that it has refused.
pub(super) const STOP: Millis = 600 * SECOND;

/// Places for requests, one after the other.
#[derive(Debug)]
pub(super) struct Budget {
    /// Requests a second at `rated_at`.
    rate: i64,
    /// When the rate was last changed.
    rated_at: LocalMillis,
    /// The next free place, in microseconds.
    next: i64,
    /// No request before this.
    resumes_at: LocalMillis,
    /// The last refusal ends here.
    stopped_until: LocalMillis,
}

impl Default for Budget {
    fn default() -> Self {
        let never = LocalMillis::new(0);
        Self { rate: MOST, rated_at: never, next: 0, resumes_at: never, stopped_until: never }
    }
}

impl Budget {
    /// Takes the next place; returns how many milliseconds to wait for it. A refusal that comes meanwhile makes the
    /// place worthless: look at [`stopped`](Self::stopped) when it is due.
    pub(super) fn reserve(&mut self, now: LocalMillis) -> Millis {
        self.recover(now);
        let place = self.next.max(now.max(self.resumes_at).get() * 1_000);
        self.next = place + 1_000_000 / self.rate;
        // Rounded up: rather late than early.
        (place + 999).div_euclid(1_000) - now.get()
    }

    /// The exchange complains of too many requests: half as many from now on, and none at all for `wait`.
    pub(super) fn limit(&mut self, now: LocalMillis, wait: Millis) {
        self.recover(now);
        if self.rate == MOST || now - self.rated_at >= TOGETHER {
            self.rate = (self.rate / 2).max(LEAST);
            self.rated_at = now;
        }
        self.resumes_at = self.resumes_at.max(now + wait);
    }

    /// The exchange refuses this address. Returns the time at which it may be asked again, if that is news.
    pub(super) fn stop(&mut self, now: LocalMillis) -> Option<LocalMillis> {
        let is_news = self.stopped(now).is_none();
        self.limit(now, STOP);
        self.stopped_until = now + STOP;
        is_news.then_some(self.stopped_until)
    }

    /// How long the exchange must not be asked at all.
    pub(super) fn stopped(&self, now: LocalMillis) -> Option<Millis> {
        Some(self.stopped_until - now).filter(|left| *left > 0)
    }

    fn recover(&mut self, now: LocalMillis) {
        let won = (now - self.rated_at).div_euclid(RECOVERY);
        if won > 0 && self.rate < MOST {
            self.rate = (self.rate + won).min(MOST);
            self.rated_at += won * RECOVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: LocalMillis = LocalMillis::new(1_767_621_900_000);

    /// Requests that go out within a second from `now` when as many as possible are wanted.
    fn in_a_second(budget: &mut Budget, now: LocalMillis) -> usize {
        (0..1_000).take_while(|_| budget.reserve(now) < SECOND).count()
    }

    #[test]
    fn sixty_requests_a_second_go_out_evenly() {
        let mut budget = Budget::default();
        let waits: Vec<Millis> = (0..5).map(|_| budget.reserve(T0)).collect();
        // Every 16.666 ms, each rounded up.
        assert_eq!(waits, [0, 17, 34, 50, 67]);
        assert_eq!(in_a_second(&mut Budget::default(), T0), 60);
        assert_eq!(budget.reserve(T0 + 10_000), 0, "what was not used is not saved up");
        assert_eq!(budget.reserve(T0 + 10_000), 17);
    }

    #[test]
    fn a_complaint_halves_the_rate_once_and_time_wins_it_back() {
        let mut budget = Budget::default();
        budget.limit(T0, 5_000);
        budget.limit(T0 + 300, 5_000);
        assert_eq!(budget.reserve(T0 + 300), 5_000, "no request for five seconds");
        assert_eq!(in_a_second(&mut budget, T0 + 6_000), 30);
        budget.limit(T0 + 7_000, 5_000);
        assert_eq!(in_a_second(&mut budget, T0 + 14_000), 15);
        // A request a second more every ten seconds: 45 are missing.
        assert_eq!(in_a_second(&mut budget, T0 + 7_000 + 440_000), 15 + 44);
        assert_eq!(in_a_second(&mut budget, T0 + 7_000 + 3_600_000), 60);
        for complaint in 0..20 {
            budget.limit(T0 + 10_000_000 + complaint * 1_000, 0);
        }
        assert_eq!(in_a_second(&mut budget, T0 + 10_019_000), 1, "never none at all");
    }

    #[test]
    fn a_refusal_stops_everybody_for_ten_minutes_and_is_news_once() {
        let mut budget = Budget::default();
        assert_eq!(budget.stopped(T0), None);
        assert_eq!(budget.stop(T0), Some(T0 + 600_000));
        assert_eq!(budget.stop(T0 + 40), None, "the answer to a request that was on its way");
        assert_eq!(budget.stopped(T0 + 600_039), Some(1));
        assert_eq!(budget.stopped(T0 + 600_040), None);
        assert_eq!(budget.reserve(T0 + 1_000), 599_040, "a place is never within the stop");
        assert_eq!(budget.stop(T0 + 600_100), Some(T0 + 1_200_100), "a new refusal is news again");
    }

    #[test]
    fn a_place_taken_before_a_refusal_is_worthless() {
        let mut budget = Budget::default();
        budget.reserve(T0);
        let wait = budget.reserve(T0);
        budget.stop(T0 + 5);
        assert_eq!(budget.stopped(T0 + wait), Some(600_000 + 5 - wait));
    }
}
