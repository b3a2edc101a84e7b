//! Tests of the backlogs.

use std::path::Path;

use klines_delivery::data_dir::DataDir;
use klines_delivery::fixture;

use super::ordered::MAX_IN_MEMORY;
use super::*;
use crate::journal::Journal;
use crate::spill::Spill;
use crate::tally::Totals;

fn journal() -> Journal {
    Journal::new("redis", "test", "nowhere")
}

fn ordered(folder: Option<&Path>) -> (Ordered, Arc<Tally>) {
    let tally = Arc::new(Tally::default());
    let spill = folder.map(|folder| Spill::open(folder, 1 << 20, &DataDir::scratch(folder)).unwrap().0);
    (Ordered::new(spill, journal(), tally.clone()), tally)
}

fn window(window: i64) -> Vec<Arc<Kline>> {
    vec![Arc::new(fixture::kline("BTCUSDT", "1m", window, true))]
}

fn admit(backlog: &mut impl Backlog<Item = Kline>, windows: std::ops::Range<i64>) {
    windows.for_each(|number| backlog.admit(window(number)));
}

/// Takes up to `max` batches.
fn take(backlog: &mut impl Backlog<Item = Kline>, max: usize) -> Vec<Batch> {
    std::iter::from_fn(|| backlog.next()).take(max).collect()
}

fn numbers(batches: &[Batch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| &batch.items).map(|kline| kline.start / 60_000).collect()
}

#[track_caller]
fn assert_accounted(tally: &Tally) {
    let Totals { taken, found, acknowledged, overtaken, dropped, kept, .. } = tally.totals();
    assert_eq!(taken + found, acknowledged + overtaken + dropped + kept, "{:?}", tally.totals());
}

#[test]
fn a_short_interruption_keeps_order_without_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backlog, tally) = ordered(Some(folder.path()));
    backlog.on_connected();
    admit(&mut backlog, 0..5);
    let mut sent = take(&mut backlog, 3);
    backlog.acknowledged(&sent.remove(0));
    backlog.requeue(sent);
    admit(&mut backlog, 5..7);
    backlog.on_connected();
    let sent = take(&mut backlog, 100);
    assert_eq!(numbers(&sent), [1, 2, 3, 4, 5, 6]);
    sent.iter().for_each(|batch| backlog.acknowledged(batch));
    backlog.finish();
    assert_eq!((tally.totals().acknowledged, tally.totals().spilled), (7, 0));
    assert_accounted(&tally);
}

#[test]
fn a_long_absence_goes_to_disk_and_comes_back_in_order_however_often_redis_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backlog, tally) = ordered(Some(folder.path()));
    backlog.on_connected();
    admit(&mut backlog, 0..4);
    let sent = take(&mut backlog, 2);
    backlog.requeue(sent);
    backlog.on_outage();
    admit(&mut backlog, 4..8);
    assert_eq!(tally.totals().spilled, 8);
    backlog.on_connected();
    // A part is acknowledged, new klines arrive meanwhile, and the connection is lost again with klines of both kinds
    // in flight.
    let mut sent = take(&mut backlog, 8);
    admit(&mut backlog, 8..10);
    sent.extend(take(&mut backlog, 1));
    assert_eq!(numbers(&sent), (0..9).collect::<Vec<_>>());
    sent.drain(..3).for_each(|batch| backlog.acknowledged(&batch));
    backlog.requeue(sent);
    backlog.on_connected();
    let sent = take(&mut backlog, 100);
    assert_eq!(numbers(&sent), (3..10).collect::<Vec<_>>());
    sent.iter().for_each(|batch| backlog.acknowledged(batch));
    assert!(backlog.is_idle());
    backlog.finish();
    assert_eq!(tally.totals().acknowledged, 10);
    assert_accounted(&tally);
}

#[test]
fn klines_not_acknowledged_at_the_end_are_found_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut backlog, tally) = ordered(Some(folder.path()));
    backlog.on_connected();
    admit(&mut backlog, 0..3);
    let sent = take(&mut backlog, 2);
    backlog.requeue(sent);
    backlog.finish();
    assert_eq!(tally.totals().kept, 3);
    assert_accounted(&tally);
    drop(backlog);
    let (mut backlog, tally) = ordered(Some(folder.path()));
    admit(&mut backlog, 3..4);
    assert_eq!(numbers(&take(&mut backlog, 9)), [0, 1, 2, 3]);
    assert_eq!(tally.totals().found, 3);
}

#[test]
fn without_a_disk_it_takes_only_what_it_can_hold() {
    let (mut backlog, tally) = ordered(None);
    let mut given = 0;
    while backlog.has_room() {
        backlog.admit(window(given));
        given += 1;
    }
    assert_eq!(given, i64::try_from(MAX_IN_MEMORY).unwrap());
    backlog.finish();
    assert_eq!(tally.totals().dropped, MAX_IN_MEMORY as u64);
    assert_accounted(&tally);
}

#[test]
fn only_the_newest_of_a_series_is_sent_and_none_comes_after_a_newer_one() {
    let mut backlog = Newest::new(journal(), Arc::default());
    let kline = |window, confirm| Arc::new(fixture::kline("BTCUSDT", "1m", window, confirm));
    backlog.admit(vec![kline(1, false), kline(1, true), kline(1, false), kline(2, false)]);
    backlog.admit(vec![Arc::new(fixture::kline("ETHUSDT", "1m", 7, false))]);
    let first = take(&mut backlog, 9);
    assert_eq!(numbers(&first), [2, 7]);
    // While those are in flight a newer one arrives and is sent too; then the connection is lost.
    backlog.admit(vec![kline(3, false)]);
    let second = take(&mut backlog, 9);
    assert_eq!(numbers(&second), [3]);
    backlog.requeue(first.into_iter().chain(second).collect());
    backlog.admit(vec![kline(2, true)]);
    let mut left = numbers(&take(&mut backlog, 9));
    left.sort_unstable();
    assert_eq!(left, [3, 7]);
}

#[test]
fn a_waiting_update_gets_the_number_after_a_confirmed_kline_that_it_overtook() {
    let tally = Arc::new(Tally::default());
    let mut backlog = Newest::new(journal(), tally.clone());
    let numbered = |window, confirm, sequence| {
        vec![Arc::new(Kline { sequence, ..fixture::kline("BTCUSDT", "1m", window, confirm) })]
    };
    backlog.admit(numbered(5, false, 7));
    backlog.admit(numbered(4, true, 7));
    let sent = take(&mut backlog, 9);
    assert_eq!(sent[0].items.iter().map(|kline| (kline.start / 60_000, kline.sequence)).collect::<Vec<_>>(), [(5, 8)]);
    backlog.acknowledged(&sent[0]);
    assert_accounted(&tally);
}
