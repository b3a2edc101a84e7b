//! Tests of an operator's orders.

use super::*;
use crate::data_dir::DataDir;
use crate::manager::OrderError;
use crate::trusted_work::TrustedWork;

/// One consumer to which a test gives orders.
struct Fixture {
    hub: Hub,
    manager: Manager,
    windows: i64,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(consumer: &Scripted, on_error: OnError) -> Self {
        let (folder, hub) = (tempfile::tempdir().unwrap(), Hub::new());
        let spec = Spec { on_error, ..spec("it", consumer, Grouping::UpTo(1)) };
        let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
        assert_eq!(manager.started(PATIENCE).len(), 1);
        Self { hub, manager, windows: 0, _folder: folder }
    }

    fn publish(&mut self) {
        self.hub.publish(&batch([kline("BTCUSDT", "1m", self.windows, true)]));
        self.windows += 1;
    }

    fn order(&self, order: Order) -> Result<(), OrderError> {
        self.manager.commander("it").unwrap().order(order)
    }

    fn snapshot(&self) -> crate::stats::Snapshot {
        self.manager.summaries()[0].stats
    }

    fn eventually(&self, what: impl Fn(crate::stats::Snapshot) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !what(self.snapshot()) {
            assert!(Instant::now() < until, "{:?}", self.snapshot());
            std::thread::yield_now();
        }
    }
}

#[test]
fn klines_published_during_a_pause_wait() {
    let consumer = Scripted::default();
    let mut fixture = Fixture::new(&consumer, OnError::Restart);
    fixture.publish();
    fixture.eventually(|found| found.delivered == 1);
    fixture.order(Order::Pause).unwrap();
    fixture.eventually(|found| found.state == State::Paused);
    fixture.publish();
    fixture.publish();
    // Each order wakes the thread, which executes it before it answers, and could take a delivery in between.
    for _ in 0..20 {
        fixture.order(Order::Pause).unwrap();
    }
    assert_eq!((consumer.0.lock().unwrap().calls.len(), fixture.snapshot().delivered), (1, 1));
    fixture.order(Order::Resume).unwrap();
    fixture.eventually(|found| found.delivered == 3 && found.state == State::Running);
    assert_eq!(consumer.0.lock().unwrap().instances, 1);
}

#[test]
fn a_new_version_replaces_the_old_one_between_two_deliveries() {
    let (old, new) = (Scripted::default(), Scripted::default());
    let mut fixture = Fixture::new(&old, OnError::Restart);
    fixture.publish();
    fixture.eventually(|found| found.delivered == 1);
    fixture.order(Order::Reload(Box::new(new.clone()))).unwrap();
    fixture.publish();
    fixture.eventually(|found| found.delivered == 2);
    {
        let old = old.0.lock().unwrap();
        assert_eq!((old.calls.len(), old.stops), (1, 1));
    }
    assert_eq!(new.0.lock().unwrap().calls, [(vec![1], 0)]);
    assert_eq!((fixture.snapshot().reloads, fixture.snapshot().restarts), (1, 0));
}

#[test]
fn a_new_version_that_does_not_start_changes_nothing() {
    let (old, new) = (Scripted::default(), Scripted::default());
    new.0.lock().unwrap().setup = Some(Failure::Fatal("no such table".into()));
    let mut fixture = Fixture::new(&old, OnError::Restart);
    let refused = fixture.order(Order::Reload(Box::new(new))).unwrap_err();
    assert_eq!(refused, OrderError::Refused("the new version does not start: no such table".into()));
    fixture.publish();
    fixture.eventually(|found| found.delivered == 1 && found.reloads == 0);
    let old = old.0.lock().unwrap();
    assert_eq!((old.stops, old.instances), (0, 1));
}

#[test]
fn a_delivery_that_is_being_retried_goes_to_the_new_version() {
    let (old, new) = (Scripted::new(&[Step::Retry; 100]), Scripted::default());
    let mut fixture = Fixture::new(&old, OnError::Restart);
    fixture.publish();
    fixture.eventually(|found| found.state == State::Retrying);
    fixture.order(Order::Reload(Box::new(new.clone()))).unwrap();
    fixture.eventually(|found| found.delivered == 1);
    assert_eq!(new.0.lock().unwrap().calls, [(vec![0], 0)]);
}

#[test]
fn a_failed_consumer_can_be_resumed_and_gets_its_losses_reported() {
    let consumer = Scripted::new(&[Step::Fatal]);
    let mut fixture = Fixture::new(&consumer, OnError::Restart);
    fixture.publish();
    fixture.eventually(|found| found.state == State::Failed);
    fixture.publish();
    fixture.order(Order::Resume).unwrap();
    fixture.eventually(|found| found.state == State::Running);
    fixture.publish();
    fixture.eventually(|found| found.delivered == 1);
    assert_eq!(consumer.0.lock().unwrap().calls[1..], [(vec![2], 2)]);
    let losses = fixture.snapshot().losses;
    assert_eq!((losses.of(LossReason::Failed), losses.total()), (2, 2), "one in progress, one while it was failed");
}

#[test]
fn skip_sets_aside_after_one_crash_and_never_stops() {
    // Without `skip` the fifth crash within two minutes is a quarantine.
    let consumer = Scripted::new(&[Step::Crash; 6]);
    let mut fixture = Fixture::new(&consumer, OnError::Skip);
    (0..7).for_each(|_| fixture.publish());
    for crash in 1..=6 {
        fixture.eventually(|found| found.set_aside == crash && found.state == State::Backoff);
        // An order ends each pause; together they would last a minute.
        fixture.order(Order::Resume).unwrap();
    }
    fixture.eventually(|found| found.set_aside == 6 && found.delivered == 1 && found.state == State::Running);
    let calls: Vec<(Vec<i64>, u64)> = (0..7).map(|window: i64| (vec![window], window.unsigned_abs())).collect();
    assert_eq!(consumer.0.lock().unwrap().calls, calls, "each counts all that were set aside before it as lost");
}

#[test]
fn stop_creates_no_second_instance_until_it_is_resumed() {
    let consumer = Scripted::new(&[Step::Crash]);
    let mut fixture = Fixture::new(&consumer, OnError::Stop);
    fixture.publish();
    fixture.eventually(|found| found.state == State::Failed);
    assert_eq!(consumer.0.lock().unwrap().instances, 1);
    fixture.order(Order::Resume).unwrap();
    fixture.publish();
    fixture.eventually(|found| found.delivered == 1);
}

#[test]
fn a_pause_while_setup_answers_retry_creates_no_more_instances() {
    let consumer = Scripted::default();
    consumer.0.lock().unwrap().setup = Some(Failure::Retry("not yet".into()));
    let fixture = Fixture::new(&consumer, OnError::Restart);
    fixture.order(Order::Pause).unwrap();
    let before = consumer.0.lock().unwrap().instances;
    assert!(before <= 2, "{before}");
    consumer.0.lock().unwrap().setup = None;
    fixture.order(Order::Resume).unwrap();
    fixture.eventually(|found| found.state == State::Running);
    assert!(consumer.0.lock().unwrap().instances <= before + 1);
}

#[test]
fn a_version_loaded_while_another_cannot_start_is_reverted_if_it_fails() {
    let (old, new) = (Scripted::default(), Scripted::default());
    old.0.lock().unwrap().setup = Some(Failure::Retry("not yet".into()));
    new.0.lock().unwrap().setup = Some(Failure::Fatal("no such table".into()));
    let mut fixture = Fixture::new(&old, OnError::Restart);
    fixture.order(Order::Reload(Box::new(new))).unwrap();
    old.0.lock().unwrap().setup = None;
    fixture.eventually(|found| found.state == State::Running);
    fixture.publish();
    fixture.eventually(|found| found.delivered == 1);
    assert_eq!(old.0.lock().unwrap().calls.len(), 1);
}

/// Records the work that its instances yield to.
struct Recording(Scripted, Arc<Mutex<Option<Arc<TrustedWork>>>>);

impl Blueprint for Recording {
    fn validate(&mut self) -> Vec<Problem> {
        self.0.validate()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        *self.1.lock().unwrap() = Some(work.clone());
        self.0.instantiate(work)
    }
}

#[test]
fn a_new_version_yields_to_the_same_work() {
    let fixture = Fixture::new(&Scripted::default(), OnError::Restart);
    let recorded = Arc::<Mutex<Option<Arc<TrustedWork>>>>::default();
    fixture.order(Order::Reload(Box::new(Recording(Scripted::default(), recorded.clone())))).unwrap();
    assert!(Arc::ptr_eq(recorded.lock().unwrap().as_ref().unwrap(), fixture.hub.trusted_work()));
}

#[test]
fn an_order_to_a_thread_that_has_panicked_is_answered_at_once() {
    let (folder, hub, scripted) = (tempfile::tempdir().unwrap(), Hub::new(), Scripted::default());
    // The panic happens on the consumer's thread, outside any guarded call.
    scripted.0.lock().unwrap().inline = Some(Arc::new(|| panic!("a bug outside of every call")));
    let spec = spec("it", &scripted, Grouping::UpTo(1));
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
    let commander = manager.commander("it").unwrap();
    // The first orders may be executed before the panic.
    let refused = (0..1_000_000).find_map(|_| commander.order(Order::Resume).err());
    assert_eq!(refused, Some(OrderError::Ended));
}
