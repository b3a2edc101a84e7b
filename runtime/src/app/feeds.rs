//! Determines the state of each category's feed from its connections, and publishes it in the catalog. Opens no
//! connections, and does not consider consumers.

use std::convert::Infallible;
use std::time::Duration;

use klines_delivery::catalog::FeedState;
use klines_domain::time::Millis;
use tokio::time::{MissedTickBehavior, interval};

use super::observed::{Freshness, Observed};

/// How often the state is determined; connections update their status at the same rate.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Reports the states of the feeds until the run ends; then waits forever.
pub async fn report(observed: &Observed, stale_after: Duration) -> Infallible {
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        checks.tick().await;
        // At the end of a run, connections are closed on purpose, which is not a failure of the feed.
        if observed.is_ending() {
            std::future::pending::<()>().await;
        }
        for feed in observed.freshness() {
            observed.catalog.report(feed.category, state(&feed, stale_after), observed.clock.now().get());
        }
    }
}

/// Returns the state of a feed. It is live while every set of topics has at least one sound connection with frames: one
/// of several redundant connections may be down.
fn state(feed: &Freshness, stale_after: Duration) -> FeedState {
    let is_recent = |age: Millis| u128::from(age.unsigned_abs()) < stale_after.as_millis();
    if feed.is_idle {
        // A category without symbols misses no trades.
        FeedState::Live
    } else if feed.open == 0 {
        FeedState::Down
    } else if feed.sound_age.is_some_and(is_recent) {
        FeedState::Live
    } else {
        FeedState::Stale
    }
}

#[cfg(test)]
mod tests {
    use klines_domain::symbol::Category;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn feed(open: usize, sound_age: Option<Millis>) -> Freshness {
        Freshness {
            category: Category::Linear,
            frame_age: 0,
            trade_age: 0,
            sound_age,
            connections: 2,
            open,
            redundancy: usize::from(sound_age.is_some()),
            redundancy_wanted: 2,
            is_idle: false,
        }
    }

    #[test]
    fn a_feed_is_live_with_a_sound_connection_for_every_set_and_down_when_none_is_open() {
        for (feed, expected) in [
            (feed(2, Some(29_999)), FeedState::Live),
            (feed(2, Some(30_000)), FeedState::Stale),
            (feed(1, Some(0)), FeedState::Live),
            (feed(2, None), FeedState::Stale),
            (feed(1, None), FeedState::Stale),
            (feed(0, None), FeedState::Down),
            (Freshness { is_idle: true, frame_age: 90_000, ..feed(0, None) }, FeedState::Live),
        ] {
            assert_eq!(state(&feed, LIMIT), expected, "{feed:?}");
        }
    }
}
