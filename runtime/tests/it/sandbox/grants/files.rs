//! What files and folders cost: no operation outlasts its call, and no folder takes more than its quota.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use klines_delivery::{CrashKind, Failure};
use klines_system::limits::Limits;
use klines_wasm::grants::Grants;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::super::guest_log::lines;
use super::super::stage::{blueprint, live};
use super::grant;

/// Lets the hostile guest do one thing in a folder that holds `max` bytes; returns how that ended.
fn attack(name: &str, folder: &TempDir, max: u64) -> Result<(), Failure> {
    let dirs = vec![klines_wasm::grants::DirGrant { max, ..grant(folder.path(), "/out", true) }];
    let grants = Grants { dirs, ..Grants::default() };
    let settings = format!(r#"{{"mode":"{name}"}}"#);
    live(&mut blueprint("hostile", name, &settings, Limits::default(), grants), 1).map(drop)
}

/// Without a writer, opening it would wait for ever.
#[test]
fn a_pipe_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    attack("pipe", &folder, 1 << 30).unwrap();
    assert_eq!(lines("pipe"), ["pipe: Unsupported and Unsupported"]);
}

#[test]
fn a_folder_takes_as_much_as_its_quota_and_the_guest_lives_on() {
    const MAX: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("of-somebody-else"), vec![1; 300_000]).unwrap();
    attack("fill", &folder, MAX).unwrap();
    let held: u64 =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum();
    assert!(held <= MAX, "{held}");
    // The last piece that did not fit is one of 64 KiB, and blocks are rounded up.
    assert!(held > MAX - (128 << 10), "{held}");
    let line = lines("fill").pop().unwrap();
    assert!(line.starts_with("filled with ") && !line.ends_with("did it"), "{line}");
}

#[test]
fn a_guest_has_few_listings_at_one_time() {
    let folder = tempfile::tempdir().unwrap();
    match attack("listings", &folder, 1 << 30) {
        Err(Failure::Crashed { kind: CrashKind::Trap, message }) => {
            assert!(message.contains("lists more than 4 folders at one time"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
