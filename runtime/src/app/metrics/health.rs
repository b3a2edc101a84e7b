//! Whether a run is well. Alive: the exchange is heard on every connection. Ready: also every consumer takes klines.
//! Judges what is handed to it; knows no HTTP.

use std::time::Duration;

use klines_delivery::catalog::{FeedState, FeedStatus};
use klines_delivery::stats::{State, Stats};
use klines_domain::time::Millis;
use serde_json::{Value, json};

use crate::app::observed::{Freshness, Observed};

/// How well a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    /// All is well.
    Ok,
    /// Klines are kept, and some of them cannot be delivered now.
    Degraded,
    /// The exchange is not heard, or a consumer takes no klines.
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

/// A judgement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Health {
    /// Whether no kline and nothing of the exchange is missed.
    pub(super) is_available: bool,
    /// What is answered, with the reasons when it is not.
    pub(super) body: Value,
}

/// Whether the exchange is heard.
pub(super) fn alive(observed: &Observed, stale_after: Duration) -> Health {
    let feeds = observed.freshness();
    let reasons = silent(&feeds, stale_after);
    health(observed, &feeds, stale_after, reasons)
}

/// Whether every feed is live, as clients of the stream are told, every consumer works, and the run is not ending.
pub(super) fn ready(observed: &Observed, stale_after: Duration) -> Health {
    let feeds = observed.freshness();
    let mut reasons = silent(&feeds, stale_after);
    let states = observed.catalog.feeds();
    let now = observed.clock.now().get();
    reasons.extend(states.borrow().iter().filter_map(|feed| judge_feed(feed, now)));
    drop(states);
    reasons.extend(observed.consumers.iter().filter_map(|seen| judge(&seen.view.name, &seen.view.stats)));
    if observed.is_ending() {
        reasons.push((Status::Unavailable, "ending".to_owned()));
    }
    health(observed, &feeds, stale_after, reasons)
}

/// A status that is not `ok`, with its reason.
type Reason = (Status, String);

/// Of a feed that is not live trades may be missing.
fn judge_feed(feed: &FeedStatus, now: Millis) -> Option<Reason> {
    let reason = || format!("{}: {} for {} s", feed.category, feed.state.as_str(), (now - feed.since).max(0) / 1_000);
    (feed.state != FeedState::Live).then(|| (Status::Unavailable, reason()))
}

fn judge(name: &str, stats: &Stats) -> Option<Reason> {
    let (state, is_full) = (stats.snapshot().state, stats.is_full());
    let reason = format!("{name} is {state}");
    match status(state, is_full) {
        Status::Ok => None,
        status if is_full => Some((status, format!("{reason} and can hold no more klines"))),
        status => Some((status, reason)),
    }
}

/// A consumer that asks for repetitions holds what it gets, and one that is paused does so because it was asked to. One
/// that is disconnected holds what it gets until it is full.
const fn status(state: State, is_full: bool) -> Status {
    match state {
        _ if is_full => Status::Unavailable,
        State::Running | State::Retrying | State::Paused => Status::Ok,
        State::Disconnected => Status::Degraded,
        State::Starting | State::Backoff | State::Stopped | State::Failed | State::Quarantined | State::Abandoned => {
            Status::Unavailable
        }
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
    #[expect(clippy::cast_precision_loss, reason = "seconds to look at")]
    let seconds = |millis: i64| millis as f64 / 1_000.0;
    let states = observed.catalog.feeds().borrow().clone();
    let feed = |feed: &Freshness| {
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
        })
    };
    let consumers = observed.consumers.iter().map(|seen| {
        let stats = &seen.view.stats;
        let state = stats.snapshot().state;
        let is_ready = status(state, stats.is_full()) != Status::Unavailable;
        json!({ "name": seen.view.name, "state": state.as_str(), "ready": is_ready })
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
        Freshness { category: Category::Linear, frame_age, trade_age: 0, connections, open: 0, sound: 0, is_idle }
    }

    #[test]
    fn a_silent_feed_is_named_and_one_without_symbols_is_not() {
        assert_eq!(silent(&[feed(29_999, false), feed(90_000, true)], LIMIT), []);
        let reason = "linear: no frame for 31 s".to_owned();
        assert_eq!(silent(&[feed(31_500, false)], LIMIT), [(Status::Unavailable, reason)]);
    }

    #[test]
    fn a_consumer_that_holds_its_klines_is_ready_and_one_that_drops_them_is_not() {
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
