//! Limits of the exchange and the counters that tests read. Other modules enforce the limits.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Limits of the simulated exchange. The defaults are Bybit's, except for `queue` and `tape`, which Bybit does not
/// publish.
#[derive(Clone, Debug)]
pub struct Limits {
    /// New stream connections in any 5 minutes, all categories together. Default 500; above it the answer is 403.
    pub connections_per_5_min: usize,
    /// Stream connections open at the same time in each category. Default 1,000; above it the answer is 403.
    pub connections: usize,
    /// A connection that sends nothing for this long is cut without a close frame. Default 10 min.
    pub idle: Duration,
    /// Characters of all topics of one connection. Default 21,000.
    pub args_chars: usize,
    /// Topics in one spot request. Default 10.
    pub spot_args: usize,
    /// REST requests in any 5 seconds. Default 600; above it the answer is 403.
    pub requests_per_5_s: usize,
    /// How long every REST request is refused after one too many; Bybit asks to wait for 10 minutes. Default zero: only
    /// until the rate is below the limit again.
    pub requests_ban: Duration,
    /// REST requests in any second; above it the answer is `retCode` 10006 with the headers of a rate limit. Default
    /// `None`: Bybit documents no such limit for market data.
    pub visits_per_s: Option<usize>,
    /// Frames that wait for one connection; one more cuts the connection. Default 8,192.
    pub queue: usize,
    /// Trades kept for each symbol; older ones are discarded. `recent-trade` answers with 1,000 of them at most, on spot
    /// with 60. Default 100,000.
    pub tape: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_5_min: 500,
            connections: 1_000,
            idle: Duration::from_secs(600),
            args_chars: 21_000,
            spot_args: 10,
            requests_per_5_s: 600,
            requests_ban: Duration::ZERO,
            visits_per_s: None,
            queue: 8_192,
            tape: 100_000,
        }
    }
}

/// Admits at most `limit` events in any `span`; keeps the times of the last admissions.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limit: usize,
    span: Duration,
    times: VecDeque<Instant>,
}

impl RateLimit {
    pub fn new(limit: usize, span: Duration) -> Self {
        Self { limit, span, times: VecDeque::new() }
    }

    /// Returns whether one more event is allowed now, and counts it if so.
    pub fn admit(&mut self, now: Instant) -> bool {
        while self.times.front().is_some_and(|first| now.duration_since(*first) >= self.span) {
            self.times.pop_front();
        }
        let allowed = self.times.len() < self.limit;
        if allowed {
            self.times.push_back(now);
        }
        allowed
    }

    /// Returns the time until the oldest event is no longer counted.
    fn reset_after(&self, now: Instant) -> Duration {
        self.times.front().map_or(Duration::ZERO, |first| (*first + self.span).saturating_duration_since(now))
    }
}

/// Whether a REST request is within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// Above the limit of an IP address.
    TooFrequent,
    /// Above the limit of a second, which is reset after this time.
    TooManyVisits {
        limit: usize,
        reset: Duration,
    },
}

/// The limits on REST requests. All clients count as one address.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    requests: RateLimit,
    ban: Duration,
    banned_until: Option<Instant>,
    visits: Option<RateLimit>,
}

impl RequestLimits {
    pub fn new(limits: &Limits) -> Self {
        Self {
            requests: RateLimit::new(limits.requests_per_5_s, Duration::from_secs(5)),
            ban: limits.requests_ban,
            banned_until: None,
            visits: limits.visits_per_s.map(|visits| RateLimit::new(visits, Duration::from_secs(1))),
        }
    }

    /// Counts a request and returns whether it is admitted.
    pub fn admit(&mut self, now: Instant) -> Admission {
        if self.banned_until.is_some_and(|until| now < until) {
            return Admission::TooFrequent;
        }
        if !self.requests.admit(now) {
            self.banned_until = Some(now + self.ban);
            return Admission::TooFrequent;
        }
        let Some(visits) = &mut self.visits else { return Admission::Admitted };
        if visits.admit(now) {
            return Admission::Admitted;
        }
        Admission::TooManyVisits { limit: visits.limit, reset: visits.reset_after(now) }
    }
}

/// Counters of the exchange since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Stream connections admitted.
    pub connections: u64,
    /// Stream connections open now.
    pub open: u64,
    /// Stream connections refused by a limit.
    pub refused: u64,
    /// Subscribe requests, refused ones included.
    pub subscribes: u64,
    /// Unsubscribe requests.
    pub unsubscribes: u64,
    /// Pings in JSON.
    pub pings: u64,
    /// Text frames written to sockets: data, acks and pongs.
    pub frames_sent: u64,
    /// Connections cut because their queue was full.
    pub cut_slow: u64,
    /// Connections cut because they sent nothing for too long.
    pub cut_idle: u64,
    /// REST requests, refused ones included.
    pub rest_requests: u64,
    /// Requests for archives of days that have one, refused ones included.
    pub archive_requests: u64,
    /// Trades that happened on the market.
    pub trades: u64,
}

/// The same counters as atomics, incremented by many tasks.
#[derive(Debug, Default)]
pub(crate) struct AtomicCounters {
    pub connections: AtomicU64,
    pub open: AtomicU64,
    pub refused: AtomicU64,
    pub subscribes: AtomicU64,
    pub unsubscribes: AtomicU64,
    pub pings: AtomicU64,
    pub frames_sent: AtomicU64,
    pub cut_slow: AtomicU64,
    pub cut_idle: AtomicU64,
    pub rest_requests: AtomicU64,
    pub archive_requests: AtomicU64,
    pub trades: AtomicU64,
}

/// Increments a counter by one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl AtomicCounters {
    pub fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            connections: read(&self.connections),
            open: read(&self.open),
            refused: read(&self.refused),
            subscribes: read(&self.subscribes),
            unsubscribes: read(&self.unsubscribes),
            pings: read(&self.pings),
            frames_sent: read(&self.frames_sent),
            cut_slow: read(&self.cut_slow),
            cut_idle: read(&self.cut_idle),
            rest_requests: read(&self.rest_requests),
            archive_requests: read(&self.archive_requests),
            trades: read(&self.trades),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_admits_its_limit_in_any_span() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = RateLimit::new(2, Duration::from_secs(300));
        assert!(rate.admit(at(0)));
        assert!(rate.admit(at(100)));
        assert!(!rate.admit(at(299)));
        assert!(rate.admit(at(300)));
        assert!(!rate.admit(at(399)));
    }
    #[test]
    fn one_request_too_many_is_followed_by_a_ban() {
        let limits = Limits { requests_per_5_s: 1, requests_ban: Duration::from_secs(600), ..Limits::default() };
        let mut limits = RequestLimits::new(&limits);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limits.admit(at(0)), Admission::Admitted);
        assert_eq!(limits.admit(at(1)), Admission::TooFrequent);
        assert_eq!(limits.admit(at(600)), Admission::TooFrequent);
        assert_eq!(limits.admit(at(601)), Admission::Admitted);
    }

    #[test]
    fn too_many_visits_say_when_the_limit_is_reset() {
        let mut limits = RequestLimits::new(&Limits { visits_per_s: Some(1), ..Limits::default() });
        let start = Instant::now();
        assert_eq!(limits.admit(start), Admission::Admitted);
        let reset = Duration::from_millis(600);
        let refused = Admission::TooManyVisits { limit: 1, reset };
        assert_eq!(limits.admit(start + Duration::from_millis(400)), refused);
        assert_eq!(limits.admit(start + Duration::from_millis(1_000)), Admission::Admitted);
    }
}
