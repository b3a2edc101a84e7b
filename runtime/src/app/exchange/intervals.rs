//! Passes the intervals that a changed configuration chooses to the server, the queues and the pipeline.

use klines_domain::interval::Interval;
use klines_pipeline::CategoryUpdate;
use tokio::sync::watch;
use tracing::info;

use super::members::Links;

/// Follows the chosen intervals until the run ends. The run has begun with `made`.
pub(super) async fn follow(chosen: watch::Receiver<Vec<Interval>>, made: Vec<Interval>, links: Links) {
    let cancel = links.context.cancel.clone();
    tokio::select! { biased;
        () = cancel.cancelled() => {}
        _ = pass_on(chosen, made, links) => {}
    }
}

/// Returns `None` when the run has ended.
async fn pass_on(mut chosen: watch::Receiver<Vec<Interval>>, mut made: Vec<Interval>, links: Links) -> Option<()> {
    loop {
        let wanted = chosen.borrow_and_update().clone();
        if wanted != made {
            info!(added = beyond(&wanted, &made), removed = beyond(&made, &wanted), "intervals changed");
            // Queues must have their size before the first kline.
            links.catalog.make(&wanted);
            links.sizer.update();
            links.updates.send(CategoryUpdate::Intervals(wanted.clone())).await.ok()?;
            made = wanted;
        }
        chosen.changed().await.ok()?;
    }
}

/// Returns the intervals of `some` that are not in `others`.
fn beyond(some: &[Interval], others: &[Interval]) -> String {
    let beyond = some.iter().filter(|interval| !others.contains(interval));
    beyond.map(ToString::to_string).collect::<Vec<_>>().join(",")
}
