//! Tests of a consumer's thread, with a scripted native consumer.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::call::CrashKind;
use crate::call::{Problem, Subscription};
use crate::consumer::DeliverInline;
use crate::consumer::Profile;
use crate::data_dir::DataDir;
use crate::fixture::{batch, kline};
use crate::hub::Hub;
use crate::manager::{Manager, Spec, Summary};
use crate::order::Order;
use crate::policy::QUARANTINE_AFTER;
use crate::stats::LossReason;

mod changes;
mod orders;

const PATIENCE: Duration = Duration::from_secs(20);

/// What one of the next calls of `consume` does; calls after all steps succeed.
#[derive(Clone, Copy)]
enum Step {
    Retry,
    Fatal,
    Crash,
    Panic,
}

#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    /// Windows and losses of every call, in order.
    calls: Vec<(Vec<i64>, u64)>,
    instances: usize,
    stops: usize,
    setup: Option<Failure>,
    /// What `inline` returns; `None` for no inline delivery.
    inline: Option<Inline>,
}

type Inline = Arc<dyn Fn() -> Arc<dyn DeliverInline> + Send + Sync>;

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn new(steps: &[Step]) -> Self {
        Self(Arc::new(Mutex::new(Script { steps: steps.iter().copied().collect(), ..Script::default() })))
    }
}

impl Blueprint for Scripted {
    fn validate(&mut self) -> Vec<Problem> {
        Vec::new()
    }

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        self.0.lock().unwrap().instances += 1;
        Ok(Box::new(self.clone()))
    }
}

impl Consumer for Scripted {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        self.0.lock().unwrap().setup.clone().map_or(Ok(Subscription::default()), Err)
    }

    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        let step = {
            let mut script = self.0.lock().unwrap();
            let windows = delivery.klines.iter().map(|kline| kline.start / 60_000).collect();
            script.calls.push((windows, delivery.lost));
            script.steps.pop_front()
        };
        match step {
            None => Ok(Next::Deliver),
            Some(Step::Retry) => Err(Failure::Retry("busy".into())),
            Some(Step::Fatal) => Err(Failure::Fatal("no such table".into())),
            Some(Step::Crash) => Err(Failure::Crashed { kind: CrashKind::Timeout, message: "slow".into() }),
            Some(Step::Panic) => panic!("a bug"),
        }
    }

    fn inline(&self) -> Option<Arc<dyn DeliverInline>> {
        let inline = self.0.lock().unwrap().inline.clone();
        inline.map(|inline| inline())
    }

    fn stop(&mut self) {
        self.0.lock().unwrap().stops += 1;
    }
}

/// The same consumer, marked as untrusted.
struct Untrusted(Scripted);

impl Blueprint for Untrusted {
    fn validate(&mut self) -> Vec<Problem> {
        self.0.validate()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        self.0.instantiate(work)
    }

    fn profile(&self) -> Profile {
        Profile { is_untrusted: true, ..Profile::default() }
    }
}

fn spec(name: &str, consumer: &Scripted, grouping: Grouping) -> Spec {
    Spec {
        name: name.into(),
        blueprint: Box::new(consumer.clone()),
        allowed: Subscription::default(),
        queue: 100,
        grouping,
        on_error: OnError::default(),
        hub: None,
    }
}

/// Publishes three closed klines and ends the run.
fn run(consumers: &[&Scripted], data_dir: &Path) -> Vec<Summary> {
    let hub = Hub::new();
    let specs = (0..).zip(consumers).map(|(n, consumer)| spec(&format!("c{n}"), consumer, Grouping::UpTo(1)));
    let manager = Manager::start(specs.collect(), &hub, &DataDir::scratch(data_dir)).unwrap();
    assert_eq!(manager.started(PATIENCE).len(), consumers.len());
    for window in 0..3 {
        hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
    }
    manager.shutdown(PATIENCE)
}

#[test]
fn waiting_klines_are_delivered_before_the_end() {
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::default());
    let summary = run(&[&consumer], folder.path()).remove(0);
    assert_eq!((summary.stats.state, summary.stats.delivered, summary.stats.lost_at_the_end()), (State::Stopped, 3, 0));
    let script = consumer.0.lock().unwrap();
    assert_eq!(script.calls, [(vec![0], 0), (vec![1], 0), (vec![2], 0)]);
    assert_eq!((script.instances, script.stops), (1, 1));
}

#[test]
fn untrusted_consumers_get_every_batch_last_and_are_listed_in_configured_order() {
    let (folder, hub, consumer) = (tempfile::tempdir().unwrap(), Hub::new(), Scripted::default());
    let trusted = |name: &str| spec(name, &consumer, Grouping::UpTo(1));
    let untrusted = |name: &str| Spec { blueprint: Box::new(Untrusted(consumer.clone())), ..trusted(name) };
    let specs = vec![untrusted("a"), trusted("b"), untrusted("c"), trusted("d")];
    let manager = Manager::start(specs, &hub, &DataDir::scratch(folder.path())).unwrap();
    let views = manager.views();
    let name = |queue: &Arc<Queue>| views.iter().find(|view| Arc::ptr_eq(&view.queue, queue)).unwrap().name.as_str();
    let queues = hub.queues();
    assert_eq!(queues.iter().map(name).collect::<Vec<_>>(), ["b", "d", "a", "c"]);
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    hub.publish(&batch([kline("BTCUSDT", "1m", 0, true)]));
    assert!(manager.shutdown(PATIENCE).iter().all(|summary| summary.stats.delivered == 1));
}

#[test]
fn retry_repeats_the_same_delivery_with_the_same_instance() {
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&[Step::Retry]));
    let summary = run(&[&consumer], folder.path()).remove(0);
    assert_eq!((summary.stats.delivered, summary.stats.retries, summary.stats.crashes()), (3, 1, 0));
    let script = consumer.0.lock().unwrap();
    assert_eq!(script.calls[..2], [(vec![0], 0), (vec![0], 0)]);
    assert_eq!(script.instances, 1);
}

#[test]
fn fatal_stops_that_consumer_alone() {
    let (folder, bad, good) = (tempfile::tempdir().unwrap(), Scripted::new(&[Step::Fatal]), Scripted::default());
    let found = run(&[&bad, &good], folder.path());
    assert_eq!((found[0].stats.state, found[0].stats.delivered), (State::Failed, 0));
    assert_eq!((found[1].stats.state, found[1].stats.delivered), (State::Stopped, 3));
    assert_eq!(bad.0.lock().unwrap().stops, 1, "a failure that leaves the instance usable is followed by stop");
}

#[test]
fn a_crash_costs_one_instance_and_nothing_else() {
    for step in [Step::Crash, Step::Panic] {
        let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&[step]));
        let summary = run(&[&consumer], folder.path()).remove(0);
        assert_eq!((summary.stats.delivered, summary.stats.crashes(), summary.stats.restarts), (3, 1, 1));
        let script = consumer.0.lock().unwrap();
        assert_eq!((script.instances, script.stops), (2, 1));
        assert_eq!(script.calls[..2], [(vec![0], 0), (vec![0], 0)]);
    }
}

#[test]
fn a_delivery_that_crashes_twice_is_set_aside_and_reported_as_lost() {
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&[Step::Crash, Step::Panic]));
    let summary = run(&[&consumer], folder.path()).remove(0);
    assert_eq!((summary.stats.delivered, summary.stats.set_aside, summary.stats.lost_at_the_end()), (2, 1, 0));
    assert_eq!(consumer.0.lock().unwrap().calls, [(vec![0], 0), (vec![0], 0), (vec![1], 1), (vec![2], 0)]);
    let letters = std::fs::read_to_string(folder.path().join("dead-letter/c0.jsonl")).unwrap();
    assert!(letters.contains("panicked: a bug"), "{letters}");
}

#[test]
fn the_fifth_crash_is_a_quarantine() {
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&[Step::Crash; 9]));
    let hub = Hub::new();
    let manager =
        Manager::start(vec![spec("bad", &consumer, Grouping::UpTo(1))], &hub, &DataDir::scratch(folder.path()))
            .unwrap();
    for window in 0..9 {
        hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
    }
    // Closing makes the pauses short.
    let summary = manager.shutdown(PATIENCE).remove(0);
    assert_eq!((summary.stats.state, summary.stats.crashes()), (State::Quarantined, 5));
    assert_eq!((summary.stats.set_aside, summary.stats.lost_at_the_end()), (2, 7));
}

#[test]
fn skip_is_never_quarantined() {
    let crashes = QUARANTINE_AFTER + 2;
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&vec![Step::Crash; crashes]));
    let hub = Hub::new();
    let spec = Spec { on_error: OnError::Skip, ..spec("bad", &consumer, Grouping::UpTo(1)) };
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
    for window in 0..9 {
        hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
    }
    // Closing makes the pauses short.
    let summary = manager.shutdown(3 * PATIENCE).remove(0);
    let (crashes, delivered) = (crashes as u64, 9 - crashes as u64);
    assert_eq!((summary.stats.state, summary.stats.crashes()), (State::Stopped, crashes));
    assert_eq!((summary.stats.set_aside, summary.stats.delivered, summary.stats.lost()), (crashes, delivered, 0));
}

#[test]
fn a_delivery_that_cannot_be_set_aside_is_lost() {
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&[Step::Crash, Step::Crash]));
    // A file is where the folder of dead letters would be.
    std::fs::write(folder.path().join("dead-letter"), "").unwrap();
    let summary = run(&[&consumer], folder.path()).remove(0);
    assert_eq!((summary.stats.delivered, summary.stats.set_aside), (2, 0));
    assert_eq!((summary.stats.losses.of(LossReason::DeadLetter), summary.stats.lost()), (1, 1));
}

#[test]
fn a_failed_start_is_reported_and_the_others_run() {
    let (folder, bad, good) = (tempfile::tempdir().unwrap(), Scripted::default(), Scripted::default());
    bad.0.lock().unwrap().setup = Some(Failure::Fatal("no folder".into()));
    let hub = Hub::new();
    let specs = vec![spec("bad", &bad, Grouping::UpTo(1)), spec("good", &good, Grouping::UpTo(1))];
    let manager = Manager::start(specs, &hub, &DataDir::scratch(folder.path())).unwrap();
    let mut reports = manager.started(PATIENCE);
    reports.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(reports[0].result, Err(Failure::Fatal("no folder".into())));
    assert_eq!(reports[1].result, Ok(()));
    hub.publish(&batch([kline("BTCUSDT", "1m", 0, true)]));
    let found = manager.shutdown(PATIENCE);
    assert_eq!([found[0].stats.delivered, found[1].stats.delivered], [0, 1]);
}

#[test]
fn a_consumer_that_always_retries_is_cancelled_at_the_deadline() {
    let (folder, consumer) = (tempfile::tempdir().unwrap(), Scripted::new(&[Step::Retry; 100]));
    let hub = Hub::new();
    let manager =
        Manager::start(vec![spec("stuck", &consumer, Grouping::Boundary)], &hub, &DataDir::scratch(folder.path()))
            .unwrap();
    assert_eq!(manager.started(PATIENCE).len(), 1);
    hub.publish(&batch([kline("BTCUSDT", "1m", 0, true), kline("BTCUSDT", "5m", 0, false)]));
    let summary = manager.shutdown(Duration::from_millis(50)).remove(0);
    assert_eq!((summary.stats.state, summary.stats.delivered, summary.stats.lost_at_the_end()), (State::Stopped, 0, 1));
    assert_eq!(consumer.0.lock().unwrap().stops, 1);
}

/// Panics in the first inline delivery; takes nothing after that.
#[derive(Default)]
struct PanicOnce(AtomicBool);

impl DeliverInline for PanicOnce {
    fn deliver(&self, _: &Delivery) -> bool {
        assert!(self.0.swap(true, Ordering::Relaxed), "a bug inline");
        false
    }
}

#[test]
fn a_panic_in_an_inline_delivery_is_a_crash_and_costs_no_kline() {
    let (scripted, folder, hub) = (Scripted::default(), tempfile::tempdir().unwrap(), Hub::new());
    let target = Arc::<PanicOnce>::default();
    scripted.0.lock().unwrap().inline = Some(Arc::new(move || target.clone()));
    let spec = Spec { queue: 1_000_000, ..spec("hasty", &scripted, Grouping::UpTo(1)) };
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
    assert_eq!(manager.started(PATIENCE).len(), 1);
    let mut window = 0;
    while manager.summaries()[0].stats.crashes() == 0 {
        hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
        window += 1;
        std::thread::yield_now();
    }
    let summary = manager.shutdown(PATIENCE).remove(0);
    assert_eq!(summary.stats.delivered, u64::try_from(window).unwrap());
    let script = scripted.0.lock().unwrap();
    assert_eq!(script.instances, 2);
    let delivered: Vec<i64> = script.calls.iter().flat_map(|(windows, _)| windows.clone()).collect();
    assert_eq!(delivered, (0..window).collect::<Vec<_>>());
}
