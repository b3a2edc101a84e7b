//! A copy of a damaged store is one, and says so.

use std::os::unix::fs::FileExt as _;

use klines_delivery::fixture::kline;
use tempfile::TempDir;

use super::*;
use crate::writer::{Limits, Writer};
use crate::{check, file};

/// Stores an hour of minutes, each in a block of its own.
fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&file::path_in(folder.path()), "live", Limits::none()).unwrap();
    for number in 600..660 {
        writer.append(&[kline("BTCUSDT", "1m", number, true).into()]).unwrap();
        writer.fold().unwrap();
    }
    writer.close().unwrap();
    folder
}

/// Copies the store. Returns what is wrong with it, and with its copy.
fn copied(folder: &TempDir) -> (Vec<String>, Vec<String>) {
    let (path, copy) = (file::path_in(folder.path()), folder.path().join("copy.db"));
    let faults = check::backup(&path, &copy).unwrap();
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("unfinished")));
    (faults, check::verify(&copy).unwrap().faults)
}

#[test]
fn a_copy_of_a_sound_store_has_no_fault() {
    assert_eq!(copied(&store()), (Vec::new(), Vec::new()));
}

#[test]
fn a_store_with_a_damaged_block_is_copied_as_it_is_and_the_block_is_named() {
    let folder = store();
    let connection = Connection::open(file::path_in(folder.path())).unwrap();
    connection.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE id = 7", []).unwrap();
    connection.execute("INSERT INTO meta VALUES ('run', 'ended')", []).unwrap();
    drop(connection);
    let place = "block 7, linear BTCUSDT 1m from 1970-01-01T10:06:00Z to 1970-01-01T10:06:00Z";
    let expected = vec![format!("{place}: its checksum is wrong")];
    assert_eq!(copied(&folder), (expected.clone(), expected));
    let copy = Connection::open(folder.path().join("copy.db")).unwrap();
    let state = file::note(&copy, "run").unwrap();
    assert_eq!(state.as_deref(), Some("open"), "the next run begins another epoch, as after every copy");
}

#[test]
fn a_store_with_a_malformed_page_is_copied_as_it_is_and_each_check_goes_on() {
    let folder = store();
    let path = file::path_in(folder.path());
    let connection = Connection::open(&path).unwrap();
    let find = "SELECT rootpage FROM sqlite_schema WHERE name = 'blocks_by_time'";
    let page: u64 = connection.query_row(find, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned();
    let first = "UPDATE blocks SET data = zeroblob(length(data)) WHERE id = 7";
    connection.execute(first, []).unwrap();
    drop(connection);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 4_096], (page - 1) * 4_096).unwrap();
    let (faults, of_copy) = copied(&folder);
    assert!(faults.iter().any(|fault| fault.contains("block 7, linear BTCUSDT 1m")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains(&format!("page {page}"))), "{faults:?}");
    assert!(faults.iter().all(|fault| !fault.contains('\n') && !fault.starts_with("***")), "{faults:?}");
    assert!(of_copy.iter().any(|fault| fault.contains(&format!("page {page}"))), "{of_copy:?}");
    assert!(of_copy.iter().any(|fault| fault.starts_with("the blocks cannot all be read: ")), "{of_copy:?}");
}
