//! The health of a run. Alive: every set of topics receives frames. Ready: in addition, every feed is live and every
//! consumer accepts klines. Evaluates the observed state only; contains no HTTP.

use std::time::Duration;

use klines_delivery::catalog::{FeedState, FeedStatus};
use klines_delivery::stats::{State, Stats};
use klines_domain::time::Millis;
use serde_json::{Value, json};

use crate::app::observed::{Freshness, Observed};

/// The health status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    /// Klines are made and delivered.
    Ok,
    /// Klines are kept, but some of them cannot be delivered now.
    Degraded,
    /// A feed is not live, a consumer accepts no klines, or the run is ending.
    Unavailable,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The result of a health check.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Health {
    /// Whether the status is not `unavailable`: no trade of the exchange and no kline is missed.
    pub(super) is_available: bool,
    /// The response body; it contains the reasons for a status other than `ok`.
    pub(super) body: Value,
}

/// Checks that every set of topics receives frames from the exchange, on any of its connections.
pub(super) fn alive(observed: &Observed, stale_after: Duration) -> Health {
    let feeds = observed.freshness();
    let reasons = silent(&feeds, stale_after);
    health(observed, &feeds, stale_after, reasons)
}

/// Checks that every feed is live, as published to clients of the stream, that every consumer accepts klines, and that
/// the run is not ending.
pub(super) fn ready(observed: &Observed, stale_after: Duration) -> Health {
    let feeds = observed.freshness();
    let mut reasons = silent(&feeds, stale_after);
    let states = observed.catalog.feeds();
    let now = observed.clock.now().get();
    reasons.extend(states.borrow().iter().filter_map(|feed| feed_reason(feed, now)));
    drop(states);
    reasons.extend(observed.consumers.views().iter().filter_map(|view| consumer_reason(&view.name, &view.stats)));
    if observed.is_ending() {
        reasons.push((Status::Unavailable, "ending".to_owned()));
    }
    health(observed, &feeds, stale_after, reasons)
}

/// A status other than `ok`, with its reason.
type Reason = (Status, String);

/// Returns a reason if the feed is not live, because trades of it may be missing.
fn feed_reason(feed: &FeedStatus, now: Millis) -> Option<Reason> {
    let reason = || format!("{}: {} for {} s", feed.category, feed.state.as_str(), (now - feed.since).max(0) / 1_000);
    (feed.state != FeedState::Live).then(|| (Status::Unavailable, reason()))
}

fn consumer_reason(name: &str, stats: &Stats) -> Option<Reason> {
    let (state, is_full) = (stats.snapshot().state, stats.is_full());
    let reason = format!("{name} is {state}");
    match status(state, is_full) {
        Status::Ok => None,
        status if is_full => Some((status, format!("{reason} and can hold no more klines"))),
        status => Some((status, reason)),
    }
}

/// Returns the status of a consumer. A consumer that retries keeps the klines that it receives, and a paused one waits
/// on purpose: both are `ok`. A disconnected one keeps klines until its buffers are full.
const fn status(state: State, is_full: bool) -> Status {
    match state {
        _ if is_full => Status::Unavailable,
        State::Running | State::Retrying | State::Paused => Status::Ok,
        State::Disconnected => Status::Degraded,
        State::Starting
        | State::Backoff
        | State::Stopped
        | State::Finished
        | State::Failed
        | State::Quarantined
        | State::Abandoned => Status::Unavailable,
    }
}

fn is_fresh(feed: &Freshness, stale_after: Duration) -> bool {
    feed.is_idle || u128::from(feed.frame_age.unsigned_abs()) < stale_after.as_millis()
}

fn silent(feeds: &[Freshness], stale_after: Duration) -> Vec<Reason> {
    let stale = feeds.iter().filter(|feed| !is_fresh(feed, stale_after));
    let reason = |feed: &Freshness| format!("{}: no frame for {} s", feed.category, feed.frame_age / 1_000);
    stale.map(|feed| (Status::Unavailable, reason(feed))).collect()
}

fn health(observed: &Observed, feeds: &[Freshness], stale_after: Duration, reasons: Vec<Reason>) -> Health {
    #[expect(clippy::cast_precision_loss, reason = "a health report needs no more precision")]
    let seconds = |millis: i64| millis as f64 / 1_000.0;
    let states = observed.catalog.feeds().borrow().clone();
    let seeding = observed.seeding();
    let feed = |feed: &Freshness| {
        let seeded = seeding.iter().find(|seeding| seeding.category == feed.category);
        let state = states.iter().find(|state| state.category == feed.category);
        json!({
            "category": feed.category.as_str(),
            "state": state.map(|state| state.state.as_str()),
            "since": state.map(|state| state.since),
            "fresh": is_fresh(feed, stale_after),
            "frame_age_seconds": seconds(feed.frame_age),
            "trade_age_seconds": seconds(feed.trade_age),
            "connections": feed.connections,
            "open": feed.open,
            "redundancy": feed.redundancy,
            "redundancy_wanted": feed.redundancy_wanted,
            "symbols": observed.catalog.count(feed.category),
            "seeded": seeded.map(|seeding| seeding.status.seeded),
        })
    };
    let consumers = observed.consumers.views().into_iter().map(|view| {
        let stats = &view.stats;
        let state = stats.snapshot().state;
        let is_ready = status(state, stats.is_full()) != Status::Unavailable;
        json!({ "name": view.name, "state": state.as_str(), "ready": is_ready })
    });
    let worst = reasons.iter().map(|(status, _)| *status).max().unwrap_or(Status::Ok);
    let body = json!({
        "status": worst.as_str(),
        "reasons": reasons.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(),
        "uptime_seconds": seconds(observed.clock.now() - observed.since),
        "feeds": feeds.iter().map(feed).collect::<Vec<_>>(),
        "consumers": consumers.collect::<Vec<_>>(),
    });
    Health { is_available: worst != Status::Unavailable, body }
}

#[cfg(test)]
mod tests {
    use klines_domain::symbol::Category;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn feed(frame_age: i64, is_idle: bool) -> Freshness {
        let connections = usize::from(!is_idle);
        Freshness {
            category: Category::Linear,
            frame_age,
            trade_age: 0,
            sound_age: None,
            connections,
            open: 0,
            redundancy: 0,
            redundancy_wanted: connections,
            is_idle,
        }
    }

    #[test]
    fn a_silent_feed_is_a_reason_and_one_without_symbols_is_not() {
        assert_eq!(silent(&[feed(29_999, false), feed(90_000, true)], LIMIT), []);
        let reason = "linear: no frame for 31 s".to_owned();
        assert_eq!(silent(&[feed(31_500, false)], LIMIT), [(Status::Unavailable, reason)]);
    }

    #[test]
    fn a_consumer_that_keeps_its_klines_is_ready_and_one_that_drops_them_is_not() {
        for state in State::ALL {
            let expected = match state.as_str() {
                "running" | "retrying" | "paused" => Status::Ok,
                "disconnected" => Status::Degraded,
                _ => Status::Unavailable,
            };
            assert_eq!(status(state, false), expected, "{state}");
            assert_eq!(status(state, true), Status::Unavailable, "{state}");
        }
    }
}
