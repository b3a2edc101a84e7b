//! What is damaged matters only to those who need it, and they learn where it is.

use klines_delivery::fixture::kline;
use klines_domain::time::MINUTE;
use tempfile::TempDir;

use super::*;
use crate::error::StoreError;
use crate::file;
use crate::reader::Reader;
use crate::writer::{Limits, Writer};

/// The first minute of a period.
const FIRST: i64 = 600;

fn minute(number: i64, revision: u32) -> Arc<Kline> {
    Arc::new(Kline { revision, ..kline("BTCUSDT", "1m", FIRST + number, true) })
}

/// Stores 40 minutes of a period, each in a block of its own, and then one block with revisions of two of them. Two more minutes
/// are in the log.
fn store() -> (TempDir, Reader) {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
    for number in 0..40 {
        writer.append(&[minute(number, 0)]).unwrap();
        writer.fold().unwrap();
    }
    writer.append(&[minute(7, 1), minute(37, 1)]).unwrap();
    writer.fold().unwrap();
    writer.append(&[minute(40, 0)]).unwrap();
    writer.append(&[minute(41, 0)]).unwrap();
    (folder, Reader::open(&path).unwrap())
}

fn change(folder: &TempDir, statement: &str) {
    let connection = rusqlite::Connection::open(file::path_in(folder.path())).unwrap();
    assert_eq!(connection.execute(statement, []).unwrap(), 1, "{statement}");
}

/// Makes the bytes of the block of a minute others.
fn damage(folder: &TempDir, number: i64) {
    let start = (FIRST + number) * MINUTE;
    let of = format!("first = {start} AND last = {start}");
    change(folder, &format!("UPDATE blocks SET data = zeroblob(length(data)) WHERE {of}"));
}

/// Returns the minutes and the revisions that a query finds.
fn read(reader: &Reader, limit: usize, side: Side) -> Result<Vec<(i64, u32)>, StoreError> {
    let series = (*minute(0, 0).series).clone();
    let found = reader.read(&Query { series, from: Millis::MIN, to: Millis::MAX, limit, side })?;
    Ok(found.iter().map(|kline| (kline.start / MINUTE - FIRST, kline.revision)).collect())
}

#[test]
fn a_damaged_block_does_not_matter_to_those_who_do_not_need_it() {
    let (folder, reader) = store();
    damage(&folder, 20);
    let expected = |numbers: std::ops::Range<i64>| -> Vec<(i64, u32)> {
        numbers.map(|number| (number, u32::from([7, 37].contains(&number)))).collect()
    };
    assert_eq!(read(&reader, 1, Side::Newest).unwrap(), expected(41..42), "from the log");
    assert_eq!(read(&reader, 21, Side::Newest).unwrap(), expected(21..42));
    assert_eq!(read(&reader, 20, Side::Oldest).unwrap(), expected(0..20));
    for (limit, side) in [(22, Side::Newest), (21, Side::Oldest), (usize::MAX, Side::Newest)] {
        let said = read(&reader, limit, side).unwrap_err().to_string();
        let place = "block 21, linear BTCUSDT 1m from 1970-01-01T10:20:00Z to 1970-01-01T10:20:00Z";
        let expected =
            format!("klines.db is damaged ({place}: its checksum is wrong): `klines store verify` lists all");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_block_that_can_have_a_later_revision_is_needed() {
    let (folder, reader) = store();
    change(&folder, "UPDATE blocks SET data = zeroblob(length(data)) WHERE first < last");
    assert_eq!(read(&reader, 4, Side::Newest).unwrap().len(), 4);
    assert_eq!(read(&reader, 7, Side::Oldest).unwrap().len(), 7);
    for (limit, side) in [(5, Side::Newest), (8, Side::Oldest)] {
        let said = read(&reader, limit, side).unwrap_err().to_string();
        assert!(said.contains("from 1970-01-01T10:07:00Z to 1970-01-01T10:37:00Z: its checksum"), "{said}");
    }
}

#[test]
fn a_damaged_entry_of_the_log_is_named() {
    let (folder, reader) = store();
    change(&folder, "UPDATE log SET data = zeroblob(length(data)) WHERE id = (SELECT max(id) FROM log)");
    let said = read(&reader, 1, Side::Oldest).unwrap_err().to_string();
    assert!(said.contains("klines.db is damaged (entry 43 of the log: its checksum is wrong)"), "{said}");
}
