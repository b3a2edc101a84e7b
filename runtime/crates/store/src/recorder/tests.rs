//! A recorder between a real hub and a real file.

use klines_delivery::fixture::{batch, kline};
use klines_delivery::history::{Query, Side};
use klines_domain::time::Millis;

use super::*;
use crate::file;
use crate::reader::Reader;

const PATIENCE: Duration = Duration::from_secs(30);

fn starts(path: &Path) -> Vec<Millis> {
    let series = (*kline("BTCUSDT", "1m", 0, true).series).clone();
    let all = Query { series, from: Millis::MIN, to: Millis::MAX, limit: 1_000, side: Side::Oldest };
    let minutes = |kline: &Arc<klines_domain::kline::Kline>| kline.start / 60_000;
    Reader::open(path).unwrap().read(&all).unwrap().iter().map(minutes).collect()
}

#[test]
fn what_a_hub_publishes_is_stored_when_the_recorder_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    for run in 0..2 {
        let hub = Hub::new();
        let (recorder, _) = Recorder::start(&path, "live", Limits::none(), (&hub, 1, 0)).unwrap();
        let observer = recorder.observer();
        for window in run * 10..run * 10 + 10 {
            hub.publish(&batch([kline("BTCUSDT", "1m", window, true), kline("BTCUSDT", "1m", window + 1, false)]));
        }
        recorder.end(PATIENCE);
        assert_eq!(observer.counters().stored, 10, "only confirmed klines");
        assert_eq!(observer.counters().lost, 0);
    }
    assert_eq!(starts(&path), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_recorder_waits_for_a_disk_that_fails_and_loses_nothing_that_fits_into_its_queue() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let hub = Hub::new();
    let (recorder, _) = Recorder::start(&path, "live", Limits::none(), (&hub, 1, 0)).unwrap();
    let observer = recorder.observer();
    // Another connection holds the lock of SQLite, as a disk would that does not answer.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for window in 0..10 {
        hub.publish(&batch([kline("BTCUSDT", "1m", window, true)]));
    }
    while !observer.counters().is_failing {
        thread::yield_now();
    }
    assert_eq!(observer.counters().stored, 0);
    other.execute_batch("ROLLBACK").unwrap();
    recorder.end(PATIENCE);
    let Counters { stored, lost, is_failing, .. } = observer.counters();
    assert_eq!((stored, lost, is_failing), (10, 0, false));
    assert_eq!(starts(&path), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_store_that_is_taken_away_is_noticed_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let hub = Hub::new();
    let (recorder, _) = Recorder::start(&path, "live", Limits::none(), (&hub, 1, 0)).unwrap();
    let observer = recorder.observer();
    let elsewhere = folder.path().join("elsewhere.db");
    std::fs::rename(&path, &elsewhere).unwrap();
    // Another file in its place is not the store.
    std::fs::copy(&elsewhere, &path).unwrap();
    hub.publish(&batch([kline("BTCUSDT", "1m", 1, true)]));
    while !observer.counters().is_failing {
        thread::yield_now();
    }
    assert_eq!(observer.counters().stored, 0);
    std::fs::rename(&elsewhere, &path).unwrap();
    recorder.end(PATIENCE);
    let Counters { stored, lost, is_failing, .. } = observer.counters();
    assert_eq!((stored, lost, is_failing), (1, 0, false));
    assert_eq!(starts(&path), [1]);
}

#[test]
fn klines_of_another_origin_are_not_read_as_those_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let hub = Hub::new();
    let (recorder, _) = Recorder::start(&path, "live", Limits::none(), (&hub, 1, 0)).unwrap();
    hub.publish(&batch([kline("BTCUSDT", "1m", 1, true)]));
    recorder.end(PATIENCE);
    let series = (*kline("BTCUSDT", "1m", 0, true).series).clone();
    let all = Query { series, from: Millis::MIN, to: Millis::MAX, limit: 10, side: Side::Oldest };
    assert_eq!(Reader::of(&path, "live").read(&all).unwrap().len(), 1);
    assert!(matches!(Reader::of(&path, "simulated").read(&all), Err(StoreError::OtherOrigin { .. })));
}
