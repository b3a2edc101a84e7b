//! Tests of consumers that are added, replaced and removed while others run.

use super::*;

/// A manager with one consumer, and what its changes need.
struct Fixture {
    hub: Arc<Hub>,
    manager: Manager,
    data_dir: DataDir,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(consumer: &Scripted) -> Self {
        let (folder, hub) = (tempfile::tempdir().unwrap(), Arc::new(Hub::new()));
        let data_dir = DataDir::scratch(folder.path());
        let manager = Manager::start(vec![named("first", consumer)], &hub, &data_dir).unwrap();
        assert_eq!(manager.started(PATIENCE).len(), 1);
        Self { hub, manager, data_dir, _folder: folder }
    }

    fn publish(&self, window: i64) {
        self.hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
    }

    fn names(&self) -> Vec<String> {
        self.manager.summaries().into_iter().map(|summary| summary.name).collect()
    }
}

fn named(name: &str, consumer: &Scripted) -> Spec {
    Spec { queue: 10_000, ..spec(name, consumer, Grouping::UpTo(1)) }
}

fn windows(consumer: &Scripted) -> Vec<i64> {
    consumer.0.lock().unwrap().calls.iter().flat_map(|(windows, _)| windows.clone()).collect()
}

#[test]
fn an_added_consumer_receives_what_is_published_from_then_on() {
    let [first, second] = [(); 2].map(|()| Scripted::default());
    let fixture = Fixture::new(&first);
    fixture.publish(0);
    let started = fixture.manager.add(named("second", &second), (&fixture.hub, &fixture.data_dir), PATIENCE).unwrap();
    assert_eq!(started.map(|started| (started.name, started.result)), Some(("second".to_owned(), Ok(()))));
    fixture.publish(1);
    assert_eq!(fixture.names(), ["first", "second"]);
    drop(fixture.manager.shutdown(PATIENCE));
    assert_eq!((windows(&first), windows(&second)), (vec![0, 1], vec![1]));
}

#[test]
fn every_batch_reaches_either_the_old_consumer_or_its_replacement_in_order() {
    const WINDOWS: i64 = 5_000;
    let [old, new] = [(); 2].map(|()| Scripted::default());
    let fixture = Fixture::new(&old);
    let publisher = std::thread::spawn({
        let hub = fixture.hub.clone();
        move || (0..WINDOWS).for_each(|window| hub.publish(&batch([kline("BTCUSDT", "1m", window, true)])))
    });
    while windows(&old).is_empty() {
        std::thread::yield_now();
    }
    let place = (&*fixture.hub, &fixture.data_dir);
    let (ended, started) = fixture.manager.replace(named("first", &new), place, PATIENCE).unwrap();
    publisher.join().unwrap();
    let (stats, result) = (ended[0].stats, started.unwrap().result);
    assert_eq!((stats.state, stats.lost(), result), (State::Stopped, 0, Ok(())));
    assert_eq!(old.0.lock().unwrap().stops, 1, "the old one has ended before the new one started");
    assert_eq!(fixture.manager.shutdown(PATIENCE)[0].stats.lost(), 0);
    let all: Vec<i64> = windows(&old).into_iter().chain(windows(&new)).collect();
    assert_eq!(all, (0..WINDOWS).collect::<Vec<_>>());
}

#[test]
fn a_replacement_that_cannot_start_is_reported_and_keeps_its_name() {
    let old = Scripted::default();
    let new = Scripted::default();
    new.0.lock().unwrap().setup = Some(Failure::Fatal("no such table".into()));
    let fixture = Fixture::new(&old);
    let place = (&*fixture.hub, &fixture.data_dir);
    let (_, started) = fixture.manager.replace(named("first", &new), place, PATIENCE).unwrap();
    assert_eq!(started.unwrap().result, Err(Failure::Fatal("no such table".into())));
    assert_eq!(fixture.names(), ["first"]);
    let unknown = fixture.manager.replace(named("third", &new), place, PATIENCE);
    assert_eq!(unknown.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_removed_consumer_delivers_what_waits_and_receives_nothing_more() {
    let [first, second] = [(); 2].map(|()| Scripted::default());
    let fixture = Fixture::new(&first);
    fixture.manager.add(named("second", &second), (&fixture.hub, &fixture.data_dir), PATIENCE).unwrap();
    (0..100).for_each(|window| fixture.publish(window));
    let ended = fixture.manager.remove("first", &fixture.hub, PATIENCE);
    assert_eq!((ended[0].stats.state, ended[0].stats.delivered), (State::Stopped, 100));
    fixture.publish(100);
    assert_eq!((fixture.names(), fixture.hub.queues().len()), (vec!["second".to_owned()], 1));
    assert_eq!(fixture.manager.remove("first", &fixture.hub, PATIENCE), []);
    drop(fixture.manager.shutdown(PATIENCE));
    assert_eq!((windows(&first).len(), windows(&second).len()), (100, 101));
}
