//! Whatever a component does, its neighbour misses no kline.

use std::time::Duration;

use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec, Summary};
use klines_delivery::policy::OnError;
use klines_delivery::queue::{DEFAULT_CAPACITY, Grouping};
use klines_delivery::stats::State;
use klines_delivery::{Blueprint, Subscription};
use klines_domain::kline::Batch;
use klines_system::limits::Limits;

use super::fixtures::{delivery, hostile, tight};
use super::guest_log::lines;

const PATIENCE: Duration = Duration::from_secs(60);
const KLINES: i64 = 500;

fn spec(name: &str, blueprint: impl Blueprint) -> Spec {
    Spec {
        name: name.into(),
        blueprint: Box::new(blueprint),
        allowed: Subscription::default(),
        queue: DEFAULT_CAPACITY,
        grouping: Grouping::UpTo(64),
        on_error: OnError::default(),
        hub: None,
    }
}

/// Runs a hostile component and a neighbour that counts klines. Returns both summaries.
fn run_with_neighbour(name: &str, mode: &str) -> (Summary, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let good = format!("neighbour-{name}");
    let hub = Hub::new();
    // It logs one line per call, and a call may have only one kline: no line may be suppressed.
    let counting = Limits { log_lines: u32::MAX, ..tight() };
    let specs =
        vec![spec(name, hostile(name, mode, tight())), spec(&good, hostile(&good, r#"{"mode":"count"}"#, counting))];
    let manager = Manager::start(specs, &hub, &DataDir::scratch(folder.path())).unwrap();
    assert_eq!(manager.started(PATIENCE).len(), 2);
    for window in 0..KLINES {
        hub.publish(&Batch { klines: delivery(window).klines.to_vec() });
    }
    let mut found = manager.shutdown(PATIENCE);
    let (bad, good_summary) = (found.remove(0), found.remove(0));
    // The counts of the host, and then the count that the guest logged: either could be wrong alone.
    let stats = &good_summary.stats;
    assert_eq!((stats.state, stats.delivered, stats.crashes(), stats.lost()), (State::Stopped, 500, 0, 0), "{name}");
    let last = lines(&good).into_iter().rev().find(|line| line.starts_with("klines"));
    assert_eq!(last.as_deref(), Some("klines 500 lost 0"), "{name}");
    (bad, good_summary)
}

#[test]
fn a_hostile_component_harms_nobody_else() {
    for (name, mode) in [
        ("looping", r#"{"mode":"loop"}"#),
        ("taking-memory", r#"{"mode":"memory"}"#),
        ("trapping-third", r#"{"mode":"trap","after":3}"#),
        ("looping-setup", r#"{"mode":"loop-setup"}"#),
    ] {
        let (bad, _) = run_with_neighbour(name, mode);
        assert!(bad.stats.crashes() > 0 || bad.stats.state == State::Failed, "{name}: {bad:?}");
    }
}

#[test]
fn a_component_that_asks_again_gets_the_same_batch_in_the_same_instance() {
    let (bad, _) = run_with_neighbour("asking", r#"{"mode":"retry","after":2}"#);
    assert_eq!((bad.stats.state, bad.stats.delivered), (State::Stopped, 500));
    assert_eq!((bad.stats.retries, bad.stats.crashes(), bad.stats.restarts), (2, 0, 0));
}
