//! The state of the run, from the same counters as `/metrics`.

use klines_bybit::driver::Status;
use klines_bybit::feed::Feed;
use klines_delivery::stats::Durations;
use klines_pipeline::CategoryTally;

use super::rows;
use crate::app::admin::protocol::{Delays, FeedStatus, Repairs, RestStatus, RunStatus};
use crate::app::metrics::{cpu_seconds, resident_memory};
use crate::app::observed::{Freshness, Observed};
use crate::app::reload::Reloader;

/// Returns the state of the run.
pub(super) fn status(observed: &Observed, reloader: &Reloader) -> RunStatus {
    let gate = observed.gate.metrics();
    RunStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: observed.clock.now().get(),
        since: observed.since.get(),
        ending: observed.is_ending(),
        intervals: observed.catalog.intervals().iter().map(ToString::to_string).collect(),
        feeds: feeds(observed),
        batches: observed.hub.published(),
        closing: delays(&observed.hub.closing()),
        rest: RestStatus { requests: gate.requests, limited: gate.limited, resumes_in: gate.resumes_in },
        memory: resident_memory(),
        cpu_micros: micros(cpu_seconds()),
        data_bytes: observed.data_dir.bytes(),
        data_limit: observed.data_dir.most(),
        consumers: rows(observed, reloader),
    }
}

/// Returns the number and the sum of durations.
pub(super) fn delays(durations: &Durations) -> Delays {
    Delays { count: durations.count, micros: micros(durations.sum) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no duration is negative or that long")]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

fn feeds(observed: &Observed) -> Vec<FeedStatus> {
    let (feeds, tallies) = (observed.feeds.read(), observed.tallies.read());
    let states = observed.catalog.feeds().borrow().clone();
    let of = |fresh: Freshness| {
        let category = fresh.category;
        let state = states.iter().find(|state| state.category == category);
        let mut found = FeedStatus {
            category: category.to_string(),
            state: state.map_or("down", |state| state.state.as_str()).to_owned(),
            state_since: state.map_or(0, |state| state.since),
            symbols: observed.catalog.count(category),
            connections: fresh.connections,
            open: fresh.open,
            redundancy: fresh.redundancy,
            redundancy_wanted: fresh.redundancy_wanted,
            frame_age: fresh.frame_age,
            trade_age: fresh.trade_age,
            ..FeedStatus::default()
        };
        if let Some(feed) = feeds.iter().find(|feed| feed.category() == category) {
            count_connections(&mut found, feed);
        }
        if let Some(tally) = tallies.iter().find(|tally| tally.category == category) {
            count_trades(&mut found, tally);
        }
        found
    };
    observed.freshness().into_iter().map(of).collect()
}

fn count_connections(found: &mut FeedStatus, feed: &Feed) {
    let counters = feed.counters();
    found.opened = counters.opened;
    found.frames = counters.frames;
    found.connection_gaps = counters.gaps;
    found.failed = feed.connections().iter().map(|status: &Status| status.failed).sum();
}

fn count_trades(found: &mut FeedStatus, CategoryTally { tally, repair, .. }: &CategoryTally) {
    (found.received, found.counted, found.late) = (tally.received, tally.counted, tally.late);
    (found.gap, found.gap_repaired, found.gap_unknown) = (tally.gaps.gap, tally.gaps.repaired, tally.gaps.unknown);
    found.repair = repair.map(|repair| Repairs {
        covered: repair.covered,
        seeded: repair.seeded,
        pending: repair.cases,
        requests: repair.requests,
        failed: repair.failures,
    });
}
