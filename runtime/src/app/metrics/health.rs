//! Whether a run is well. Alive: the exchange is heard on every connection. Ready: also every consumer takes klines.
//! Judges what is handed to it; knows no HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::observed::{Freshness, Observed};
use crate::consumer::stats::State;

/// A judgement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Health {
    /// Whether all is well.
    pub(super) is_well: bool,
    /// What is told, with the reasons when it is not.
    pub(super) body: Value,
}

/// Whether the exchange is heard.
pub(super) fn alive(observed: &Observed, stale_after: Duration) -> Health {
    let feeds = observed.freshness();
    let reasons = silent(&feeds, stale_after);
    health(observed, &feeds, stale_after, &reasons)
}

/// Whether the exchange is heard and every consumer works, and the run is not ending.
pub(super) fn ready(observed: &Observed, stale_after: Duration) -> Health {
    let feeds = observed.freshness();
    let mut reasons = silent(&feeds, stale_after);
    let states = observed.consumers.iter().map(|seen| (&seen.view.name, seen.view.stats.snapshot().state));
    reasons.extend(states.filter(|(_, state)| !is_working(*state)).map(|(name, state)| format!("{name} is {state}")));
    if observed.is_ending() {
        reasons.push("ending".to_owned());
    }
    health(observed, &feeds, stale_after, &reasons)
}

/// A consumer that asks for repetitions holds what it gets, and one that is paused does so because it was asked to.
const fn is_working(state: State) -> bool {
    !matches!(state, State::Starting | State::Backoff | State::Stopped | State::Failed | State::Quarantined)
}

fn is_fresh(feed: &Freshness, stale_after: Duration) -> bool {
    feed.is_idle || u128::from(feed.frame_age.unsigned_abs()) < stale_after.as_millis()
}

fn silent(feeds: &[Freshness], stale_after: Duration) -> Vec<String> {
    let stale = feeds.iter().filter(|feed| !is_fresh(feed, stale_after));
    stale.map(|feed| format!("{}: no frame for {} s", feed.category, feed.frame_age / 1_000)).collect()
}

fn health(observed: &Observed, feeds: &[Freshness], stale_after: Duration, reasons: &[String]) -> Health {
    #[expect(clippy::cast_precision_loss, reason = "seconds to look at")]
    let seconds = |millis: i64| millis as f64 / 1_000.0;
    let feed = |feed: &Freshness| {
        json!({
            "category": feed.category.as_str(),
            "fresh": is_fresh(feed, stale_after),
            "frame_age_seconds": seconds(feed.frame_age),
            "trade_age_seconds": seconds(feed.trade_age),
            "connections": feed.connections,
            "open": feed.open,
        })
    };
    let consumers = observed.consumers.iter().map(|seen| {
        let state = seen.view.stats.snapshot().state;
        json!({ "name": seen.view.name, "state": state.as_str(), "ready": is_working(state) })
    });
    let is_well = reasons.is_empty();
    let body = json!({
        "status": if is_well { "ok" } else { "unavailable" },
        "reasons": reasons,
        "uptime_seconds": seconds(observed.clock.now() - observed.since),
        "feeds": feeds.iter().map(feed).collect::<Vec<_>>(),
        "consumers": consumers.collect::<Vec<_>>(),
    });
    Health { is_well, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::symbol::Category;

    const LIMIT: Duration = Duration::from_secs(30);

    fn feed(frame_age: i64, is_idle: bool) -> Freshness {
        let connections = usize::from(!is_idle);
        Freshness { category: Category::Linear, frame_age, trade_age: 0, connections, open: 0, is_idle }
    }

    #[test]
    fn a_silent_feed_is_named_and_one_without_symbols_is_not() {
        assert_eq!(silent(&[feed(29_999, false), feed(90_000, true)], LIMIT), [""; 0]);
        assert_eq!(silent(&[feed(31_500, false)], LIMIT), ["linear: no frame for 31 s"]);
    }

    #[test]
    fn a_consumer_that_asks_again_is_ready_and_one_that_is_gone_is_not() {
        for state in State::ALL {
            let gone = ["starting", "backoff", "stopped", "failed", "quarantined"].contains(&state.as_str());
            assert_eq!(is_working(state), !gone, "{state}");
        }
    }
}
