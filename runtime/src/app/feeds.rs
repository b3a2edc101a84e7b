//! Determines the state of each category's feed from its connections, and publishes it in the catalog. Opens no
//! connections, and does not consider consumers.

use std::convert::Infallible;
use std::time::Duration;

use klines_delivery::catalog::FeedState;
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

/// Returns the state of a feed.
fn state(feed: &Freshness, stale_after: Duration) -> FeedState {
    let is_fresh = u128::from(feed.frame_age.unsigned_abs()) < stale_after.as_millis();
    if feed.is_idle {
        // A category without symbols misses no trades.
        FeedState::Live
    } else if feed.open == 0 {
        FeedState::Down
    } else if feed.sound == feed.connections && is_fresh {
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

    fn feed(connections: usize, open: usize, sound: usize, frame_age: i64) -> Freshness {
        let category = Category::Linear;
        Freshness { category, frame_age, trade_age: 0, connections, open, sound, is_idle: false }
    }

    #[test]
    fn a_feed_is_live_when_all_connections_are_sound_and_down_when_none_is_open() {
        for (feed, expected) in [
            (feed(2, 2, 2, 29_999), FeedState::Live),
            (feed(2, 2, 2, 30_000), FeedState::Stale),
            (feed(2, 2, 1, 0), FeedState::Stale),
            (feed(2, 1, 1, 0), FeedState::Stale),
            (feed(2, 0, 0, 0), FeedState::Down),
            (feed(0, 0, 0, 0), FeedState::Down),
            (Freshness { is_idle: true, ..feed(0, 0, 0, 90_000) }, FeedState::Live),
        ] {
            assert_eq!(state(&feed, LIMIT), expected, "{feed:?}");
        }
    }
}
