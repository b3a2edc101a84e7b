//! How each category's feed stands, in one word: worked out here from its connections, told to everybody through the
//! catalog. Connects to nothing, and does not judge consumers.

use std::convert::Infallible;
use std::time::Duration;

use klines_delivery::catalog::FeedState;
use tokio::time::{MissedTickBehavior, interval};

use super::observed::{Freshness, Observed};

/// How often the connections are looked at, which is how often they say how they stand.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Reports how the feeds stand until the run comes to its end; then as good as never returns.
pub async fn report(observed: &Observed, stale_after: Duration) -> Infallible {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        // At the end connections are closed on purpose, which is told otherwise.
        if observed.is_ending() {
            std::future::pending::<()>().await;
        }
        for feed in observed.freshness() {
            observed.catalog.report(feed.category, state(&feed, stale_after), observed.clock.now().get());
        }
    }
}

/// How a feed stands.
fn state(feed: &Freshness, stale_after: Duration) -> FeedState {
    let is_fresh = u128::from(feed.frame_age.unsigned_abs()) < stale_after.as_millis();
    if feed.is_idle {
        // Nothing is missing where there is nothing to hear.
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
    fn a_feed_is_live_when_all_of_it_is_and_down_when_none_of_it() {
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
