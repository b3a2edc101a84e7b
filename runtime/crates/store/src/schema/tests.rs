//! A store of schema 1 as it was written by the versions that had it.

use klines_delivery::fixture;
use klines_delivery::history::{Query, Side};
use klines_domain::series::SeriesId;

use super::*;
use crate::file;
use crate::reader::Reader;
use crate::row::Row;
use crate::unfinished::Unfinished;
use crate::writer::{Limits, Writer};

/// The tables of schema 1. They stay here as they were.
const FIRST: &str = "\
PRAGMA application_id = 1263291987; PRAGMA user_version = 1;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, category TEXT NOT NULL, symbol TEXT NOT NULL, interval TEXT NOT NULL,
    UNIQUE (category, symbol, interval)
);
CREATE TABLE log (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    klines INTEGER NOT NULL, sealed INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX blocks_by_time ON blocks (series, first);
CREATE INDEX blocks_unsealed ON blocks (series, first) WHERE sealed = 0;
INSERT INTO meta VALUES ('origin', 'live');
INSERT INTO series VALUES (1, 'linear', 'BTCUSDT', '1m');";

fn rows(windows: std::ops::Range<i64>) -> Rows {
    windows.filter_map(|window| Row::of(&fixture::kline("BTCUSDT", "1m", window, true))).collect()
}

#[test]
fn a_store_of_schema_1_is_upgraded_and_a_copy_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let old = Connection::open(&path).unwrap();
    old.execute_batch(FIRST).unwrap();
    let (first, last) = (rows(0..10), rows(10..12));
    let starts = [first[0].1.start, first[9].1.start];
    let block = crate::block::encode((1, Interval::MINUTE), &first);
    old.execute("INSERT INTO blocks VALUES (1, 1, ?1, ?2, 10, 0, ?3)", params![starts[0], starts[1], block]).unwrap();
    let entry = crate::log::encode(&[(1, (Interval::MINUTE, last.clone()))].into());
    old.execute("INSERT INTO log VALUES (7, ?1)", params![entry]).unwrap();
    drop(old);

    let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
    let left = writer.begin_run(5, DAY).unwrap();
    assert_eq!((left.epoch, left.crashed, left.entry), (5, None, 7));
    let series = SeriesId::of((*fixture::kline("BTCUSDT", "1m", 0, true).series).clone());
    let greatest = first.iter().chain(&last).map(|(_, row)| row.sequence).max().unwrap();
    let next = Interval::MINUTE.next(last[1].1.start);
    assert_eq!(
        left.last,
        [((*series).clone(), crate::run::Last { sequence: greatest, next, unfinished: Unfinished::default() })]
    );
    writer.close().unwrap();

    let all = Query { series: (*series).clone(), from: Millis::MIN, to: Millis::MAX, limit: 99, side: Side::Oldest };
    assert_eq!(Reader::open(&path).unwrap().read(&all).unwrap().len(), 12);
    assert!(crate::check::verify(&path).unwrap().faults.is_empty());
    let copy = copy_of(&path, 1);
    assert_eq!(crate::check::info(&copy).unwrap().schema, 1);
    assert_eq!(Reader::open(&copy).unwrap().read(&all).unwrap().len(), 12, "also what was in the log");
    // A second start changes nothing.
    drop(Writer::open(&path, "live", Limits::none()).unwrap());
    assert_eq!(crate::check::info(&path).unwrap().schema, SCHEMA);
}
