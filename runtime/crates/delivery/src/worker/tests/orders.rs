//! What an operator's orders do to a consumer's thread.

use super::*;
use crate::data_dir::DataDir;
use crate::manager::OrderError;
use crate::trusted_work::TrustedWork;

/// One consumer under orders.
struct Stage {
    hub: Hub,
    manager: Manager,
    windows: i64,
    _folder: tempfile::TempDir,
}

impl Stage {
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
fn what_comes_while_it_is_paused_waits_for_it() {
    let consumer = Scripted::default();
    let mut stage = Stage::new(&consumer, OnError::Restart);
    stage.publish();
    stage.eventually(|found| found.delivered == 1);
    stage.order(Order::Pause).unwrap();
    stage.eventually(|found| found.state == State::Paused);
    stage.publish();
    stage.publish();
    // Each order wakes its thread, which has to obey it before it answers, and could take a delivery in between.
    for _ in 0..20 {
        stage.order(Order::Pause).unwrap();
    }
    assert_eq!((consumer.0.lock().unwrap().calls.len(), stage.snapshot().delivered), (1, 1));
    stage.order(Order::Resume).unwrap();
    stage.eventually(|found| found.delivered == 3 && found.state == State::Running);
    assert_eq!(consumer.0.lock().unwrap().instances, 1);
}

#[test]
fn a_new_version_takes_over_between_two_deliveries() {
    let (old, new) = (Scripted::default(), Scripted::default());
    let mut stage = Stage::new(&old, OnError::Restart);
    stage.publish();
    stage.eventually(|found| found.delivered == 1);
    stage.order(Order::Reload(Box::new(new.clone()))).unwrap();
    stage.publish();
    stage.eventually(|found| found.delivered == 2);
    {
        let old = old.0.lock().unwrap();
        assert_eq!((old.calls.len(), old.stops), (1, 1));
    }
    assert_eq!(new.0.lock().unwrap().calls, [(vec![1], 0)]);
    assert_eq!((stage.snapshot().reloads, stage.snapshot().restarts), (1, 0));
}

#[test]
fn a_new_version_that_does_not_start_changes_nothing() {
    let (old, new) = (Scripted::default(), Scripted::default());
    new.0.lock().unwrap().setup = Some(Failure::Fatal("no such table".into()));
    let mut stage = Stage::new(&old, OnError::Restart);
    let refused = stage.order(Order::Reload(Box::new(new))).unwrap_err();
    assert_eq!(refused, OrderError::Refused("the new version does not start: no such table".into()));
    stage.publish();
    stage.eventually(|found| found.delivered == 1 && found.reloads == 0);
    let old = old.0.lock().unwrap();
    assert_eq!((old.stops, old.instances), (0, 1));
}

#[test]
fn a_delivery_that_is_being_retried_goes_to_the_new_version() {
    let (old, new) = (Scripted::new(&[Act::Retry; 100]), Scripted::default());
    let mut stage = Stage::new(&old, OnError::Restart);
    stage.publish();
    stage.eventually(|found| found.state == State::Retrying);
    stage.order(Order::Reload(Box::new(new.clone()))).unwrap();
    stage.eventually(|found| found.delivered == 1);
    assert_eq!(new.0.lock().unwrap().calls, [(vec![0], 0)]);
}

#[test]
fn what_failed_can_be_resumed_and_is_told_what_it_missed() {
    let consumer = Scripted::new(&[Act::Fatal]);
    let mut stage = Stage::new(&consumer, OnError::Restart);
    stage.publish();
    stage.eventually(|found| found.state == State::Failed);
    stage.publish();
    stage.order(Order::Resume).unwrap();
    stage.eventually(|found| found.state == State::Running);
    stage.publish();
    stage.eventually(|found| found.delivered == 1);
    assert_eq!(consumer.0.lock().unwrap().calls[1..], [(vec![2], 2)]);
    let losses = stage.snapshot().losses;
    assert_eq!((losses.of(LossReason::Failed), losses.total()), (2, 2), "one in hand, one while it was down");
}

#[test]
fn skip_sets_aside_at_once_and_never_gives_up() {
    // The fifth crash within two minutes is the end of others.
    let consumer = Scripted::new(&[Act::Crash; 6]);
    let mut stage = Stage::new(&consumer, OnError::Skip);
    (0..7).for_each(|_| stage.publish());
    for crash in 1..=6 {
        stage.eventually(|found| found.set_aside == crash && found.state == State::Backoff);
        // An order ends the pause, which would be of a minute in all.
        stage.order(Order::Resume).unwrap();
    }
    stage.eventually(|found| found.set_aside == 6 && found.delivered == 1 && found.state == State::Running);
    let calls: Vec<(Vec<i64>, u64)> = (0..7).map(|window: i64| (vec![window], window.unsigned_abs())).collect();
    assert_eq!(consumer.0.lock().unwrap().calls, calls, "each counts all that were set aside before it as lost");
}

#[test]
fn stop_means_no_second_instance_until_somebody_says_so() {
    let consumer = Scripted::new(&[Act::Crash]);
    let mut stage = Stage::new(&consumer, OnError::Stop);
    stage.publish();
    stage.eventually(|found| found.state == State::Failed);
    assert_eq!(consumer.0.lock().unwrap().instances, 1);
    stage.order(Order::Resume).unwrap();
    stage.publish();
    stage.eventually(|found| found.delivered == 1);
}

#[test]
fn a_pause_while_setup_asks_again_makes_no_more_instances() {
    let consumer = Scripted::default();
    consumer.0.lock().unwrap().setup = Some(Failure::Retry("not yet".into()));
    let stage = Stage::new(&consumer, OnError::Restart);
    stage.order(Order::Pause).unwrap();
    let before = consumer.0.lock().unwrap().instances;
    assert!(before <= 2, "{before}");
    consumer.0.lock().unwrap().setup = None;
    stage.order(Order::Resume).unwrap();
    stage.eventually(|found| found.state == State::Running);
    assert!(consumer.0.lock().unwrap().instances <= before + 1);
}

#[test]
fn a_version_that_comes_while_another_cannot_start_gives_way_again_if_it_is_worse() {
    let (old, new) = (Scripted::default(), Scripted::default());
    old.0.lock().unwrap().setup = Some(Failure::Retry("not yet".into()));
    new.0.lock().unwrap().setup = Some(Failure::Fatal("no such table".into()));
    let mut stage = Stage::new(&old, OnError::Restart);
    stage.order(Order::Reload(Box::new(new))).unwrap();
    old.0.lock().unwrap().setup = None;
    stage.eventually(|found| found.state == State::Running);
    stage.publish();
    stage.eventually(|found| found.delivered == 1);
    assert_eq!(old.0.lock().unwrap().calls.len(), 1);
}

/// Notes which work its instances are to yield to.
struct Noting(Scripted, Arc<Mutex<Option<Arc<TrustedWork>>>>);

impl Blueprint for Noting {
    fn validate(&mut self) -> Vec<Problem> {
        self.0.validate()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        *self.1.lock().unwrap() = Some(work.clone());
        self.0.instantiate(work)
    }
}

#[test]
fn another_version_yields_to_the_same_work() {
    let stage = Stage::new(&Scripted::default(), OnError::Restart);
    let noted = Arc::<Mutex<Option<Arc<TrustedWork>>>>::default();
    stage.order(Order::Reload(Box::new(Noting(Scripted::default(), noted.clone())))).unwrap();
    assert!(Arc::ptr_eq(noted.lock().unwrap().as_ref().unwrap(), stage.hub.trusted_work()));
}

#[test]
fn an_order_to_a_thread_that_has_panicked_is_answered_at_once() {
    let (folder, hub, scripted) = (tempfile::tempdir().unwrap(), Hub::new(), Scripted::default());
    // On the consumer's thread, outside any call that is guarded.
    scripted.0.lock().unwrap().inline = Some(Arc::new(|| panic!("a bug outside of every call")));
    let spec = spec("it", &scripted, Grouping::UpTo(1));
    let manager = Manager::start(vec![spec], &hub, &DataDir::scratch(folder.path())).unwrap();
    let commander = manager.commander("it").unwrap();
    // The first ones may be obeyed before the panic.
    let refused = (0..1_000_000).find_map(|_| commander.order(Order::Resume).err());
    assert_eq!(refused, Some(OrderError::Ended));
}
