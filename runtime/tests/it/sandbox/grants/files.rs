//! The cost of files and folders: no operation outlasts its call, and no folder holds more than its quota.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use klines_delivery::{CrashKind, Failure};
use klines_system::limits::Limits;
use klines_wasm::grants::Grants;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::super::fixtures::{blueprint, live};
use super::super::guest_log::lines;
use super::grant;

/// Runs one attack of the hostile guest in a folder that may hold `max` bytes. Returns its outcome.
fn attack(name: &str, folder: &TempDir, max: u64) -> Result<(), Failure> {
    let dirs = vec![klines_wasm::grants::DirGrant { max, ..grant(folder.path(), "/out", true) }];
    let grants = Grants { dirs, ..Grants::default() };
    let settings = format!(r#"{{"mode":"{name}"}}"#);
    live(&mut blueprint("hostile", name, &settings, Limits::default(), grants), 1).map(drop)
}

/// Without a writer, opening a pipe would block for ever.
#[test]
fn a_pipe_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    attack("pipe", &folder, 1 << 30).unwrap();
    assert_eq!(lines("pipe"), ["pipe: Unsupported and Unsupported"]);
}

#[test]
fn a_folder_holds_as_much_as_its_quota_and_the_guest_goes_on() {
    const MAX: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("of-somebody-else"), vec![1; 300_000]).unwrap();
    attack("fill", &folder, MAX).unwrap();
    let held: u64 =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum();
    assert!(held <= MAX, "{held}");
    // The piece that did not fit has 64 KiB, and blocks are rounded up.
    assert!(held > MAX - (128 << 10), "{held}");
    let line = lines("fill").pop().unwrap();
    assert!(line.starts_with("filled with ") && !line.ends_with("did it"), "{line}");
}

#[test]
fn a_guest_may_have_only_a_few_listings_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    match attack("listings", &folder, 1 << 30) {
        Err(Failure::Crashed { kind: CrashKind::Trap, message }) => {
            assert!(message.contains("lists more than 4 folders at one time"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
