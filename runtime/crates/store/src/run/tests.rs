//! What a run finds after one that has ended, and after one that has not.

use std::time::Duration;

use klines_delivery::Subscription;
use klines_delivery::fixture::{batch, kline};
use klines_delivery::hub::Hub;
use klines_delivery::queue::Queue;
use klines_domain::time::{HOUR, LocalMillis};
use tempfile::TempDir;

use super::*;
use crate::recorder::{Recorder, Unstored};
use crate::replay::{self, Replay};
use crate::writer::Limits;

const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        file::path_in(self.folder.path())
    }

    fn open(&self) -> Writer {
        Writer::open(&self.path(), "live", Limits::none()).unwrap()
    }

    /// Reads everything after a position that ended at `since` or later, by the number of the minute.
    fn replayed(&self, left: &Left, after: u64, since: Millis) -> Vec<i64> {
        let (mut replay, mut minutes) = (Replay::new(&self.path(), left, after, since), Vec::new());
        loop {
            let klines = replay.read().unwrap();
            if klines.is_empty() {
                return minutes;
            }
            minutes.extend(klines.iter().map(|kline| kline.start / 60_000));
        }
    }
}

fn minute(number: i64) -> Arc<Kline> {
    let sequence = number.unsigned_abs() + 1;
    Arc::new(Kline { sequence, ..kline("BTCUSDT", "1m", number, true) })
}

#[test]
fn a_run_that_has_ended_is_continued_and_one_that_has_crashed_is_not() {
    let bench = Bench::new();
    let mut writer = bench.open();
    let left = writer.begin_run(11, HOUR).unwrap();
    assert_eq!((left.epoch, left.crashed, left.newest()), (11, None, None));
    writer.append(&[minute(0), minute(1)]).unwrap();
    writer.end_run().unwrap();
    writer.close().unwrap();

    let mut writer = bench.open();
    let left = writer.begin_run(22, HOUR).unwrap();
    assert_eq!((left.epoch, left.crashed), (11, None));
    let [(key, last)] = &left.last[..] else { panic!("{left:?}") };
    assert_eq!((key.symbol.as_str(), last.sequence, last.next), ("BTCUSDT", 2, 120_000));
    writer.append(&[minute(2)]).unwrap();
    // Another opens it meanwhile, such as a command that fills it: it is no run.
    drop(writer);
    bench.open().close().unwrap();

    let mut writer = bench.open();
    let left = writer.begin_run(33, HOUR).unwrap();
    assert_eq!((left.epoch, left.crashed), (33, Some(11)));
    assert_eq!(left.last[0].1, Last { sequence: 3, next: 180_000, unfinished: Unfinished::default() });
}

#[test]
fn a_run_without_its_store_is_as_one_that_has_crashed_for_the_next_one() {
    let bench = Bench::new();
    let run = |epoch: u64, number: i64| {
        let mut writer = bench.open();
        let left = writer.begin_run(epoch, HOUR).unwrap();
        writer.append(&[minute(number)]).unwrap();
        writer.end_run().unwrap();
        writer.close().unwrap();
        (left.epoch, left.crashed)
    };
    assert_eq!(run(11, 0), (11, None));
    // It is noted until when nothing was stored, as the disk is full.
    let unstored = Unstored::of(&bench.path());
    assert!(unstored.observer().counters().is_failing);
    unstored.note(150_000);
    drop(unstored);
    assert_eq!(run(22, 3), (22, Some(11)));
    // What was noted of a disk that was full for a while is forgotten when everything is stored.
    let mut writer = bench.open();
    writer.begin_run(33, HOUR).unwrap();
    writer.note_unstored(300_000);
    writer.append(&[minute(4)]).unwrap();
    writer.end_run().unwrap();
    writer.close().unwrap();
    assert_eq!(run(44, 5), (22, None));
}

#[test]
fn what_comes_after_a_position_is_replayed_in_order_from_folds_and_from_the_log() {
    let bench = Bench::new();
    let mut writer = bench.open();
    writer.begin_run(1, HOUR).unwrap();
    // A fold a minute: what is stored after it waits in the log.
    for number in 0..6 {
        writer.append(&[minute(number)]).unwrap();
        writer.maintain(LocalMillis::new(1_000 * 60_000)).unwrap();
    }
    let late = Kline { revision: 1, sequence: 7, ..(*minute(1)).clone() };
    writer.append(&[Arc::new(late)]).unwrap();
    drop(writer);
    let left = bench.open().begin_run(2, HOUR).unwrap();
    assert_eq!(left.entry, 7);
    assert_eq!(bench.replayed(&left, 0, Millis::MIN), [0, 1, 2, 3, 4, 5, 1], "a revision comes after what it follows");
    assert_eq!(bench.replayed(&left, 5, Millis::MIN), [5, 1]);
    assert_eq!(bench.replayed(&left, 6, Millis::MIN), [1]);
    assert_eq!(bench.replayed(&left, 7, Millis::MIN), [0; 0]);
    assert_eq!(bench.replayed(&left, 0, 4 * 60_000), [4, 5], "only windows that ended since");
    assert_eq!(replay::newest(&bench.path(), 1_000).unwrap(), 0);
    let after = replay::newest(&bench.path(), 3).unwrap();
    assert!(bench.replayed(&left, after, Millis::MIN).len() <= 3 && after > 0);
}

#[test]
fn positions_are_those_of_entries_of_which_everything_is_acknowledged() {
    let bench = Bench::new();
    let hub = Hub::new();
    let (recorder, left) = Recorder::start(&bench.path(), "live", Limits::none(), (&hub, 1, HOUR)).unwrap();
    let queue = || Arc::new(Queue::new(1, &Subscription::default()));
    let begin = |consumer| hub.acknowledgements().begin(consumer, queue());
    let (quick, slow, away) = (begin("quick"), begin("slow"), begin("away"));
    quick.catch_up();
    slow.catch_up();
    let observer = recorder.observer();
    // One entry for each, because the next is published when the last is stored.
    for number in 0..4 {
        hub.publish(&batch([kline("BTCUSDT", "1m", number, true)]));
        while observer.counters().stored <= number.unsigned_abs() {
            std::thread::yield_now();
        }
        quick.accept(hub.published(), true);
    }
    slow.accept(2, true);
    slow.accept(3, false);
    recorder.end(PATIENCE);
    let found = bench.open().begin_run(2, HOUR).unwrap();
    assert_eq!((left.entry, found.entry, found.crashed), (0, 4, None));
    let expected = [("quick".to_owned(), 4), ("slow".to_owned(), 2)];
    assert_eq!(found.positions, expected.into(), "a consumer that has not caught up keeps its position");
    drop(away);
}
