//! Stores that cannot be written or read: live klines go on, the message names the file and what to do, and nothing is half
//! believed.

use std::fs::{self, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::{INTERVALS, SYMBOLS, assert_sound, enough, newest, path_in, stored};
use crate::live::{UNREPAIRED, demo, run_at};
use crate::support::program::{Invocation, folder, klines};
use crate::support::received::received;

/// Logged when a run begins without its store.
const NOT_STORED: &str = "klines are not stored in this run";
/// The size of a page of the database in bytes, SQLite's default.
const PAGE: u64 = 4_096;

/// Runs until klines have come, and returns why they were not stored.
#[track_caller]
fn refusal(run: Invocation) -> String {
    let run = run.start();
    run.until("live klines", |said| enough(said, 50));
    let said = run.stop().success_except(|line| line.contains(NOT_STORED));
    said.logged(NOT_STORED)[0]["error"].as_str().unwrap().to_owned()
}

/// Stores the klines of a short run.
fn filled(home: &TempDir, sim: &bybit_sim::Sim) {
    let run = run_at(home, sim, SYMBOLS, INTERVALS).start();
    run.until("stored klines", |said| enough(said, 200));
    run.stop().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_left_as_it_is() {
    let (sim, home) = (demo(69).await, folder(&[("klines.toml", UNREPAIRED)]));
    filled(&home, &sim);
    let path = path_in(&home);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let why = refusal(run_at(&home, &sim, SYMBOLS, INTERVALS));
    assert!(why.contains("klines.db was written by a newer version of klines (schema 99;"), "{why}");
    assert!(why.ends_with("use that version, or another data_dir"), "{why}");
    assert!(fs::read(&path).unwrap() == before, "not a byte of the file changes");
    let asked = klines(home.path(), "history BTCUSDT 1s").run();
    assert!(asked.code() == Some(1) && asked.said.err.contains("newer version"), "{}", asked.said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_do_not_write_one_store() {
    let (sim, home) = (demo(70).await, folder(&[("klines.toml", UNREPAIRED)]));
    let first = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
    first.until("klines", |said| enough(said, 50));
    let why = refusal(run_at(&home, &sim, SYMBOLS, INTERVALS));
    assert!(why.contains("klines.db is used by another klines: stop that one"), "{why}");
    let before = first.said().out.lines().count();
    first.until("klines of the first", |said| enough(said, before + 50));
    let said = first.stop().success();
    assert_eq!(stored(&path_in(&home)), newest(received(&said.out)));
    assert_sound(&path_in(&home));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_costs_history_alone() {
    let (sim, home) = (demo(71).await, folder(&[("klines.toml", UNREPAIRED)]));
    filled(&home, &sim);
    let (path, folder) = (path_in(&home), home.path().join("klines-data"));
    let before = fs::read(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o500)).unwrap();
    let why = refusal(run_at(&home, &sim, SYMBOLS, INTERVALS).obeying_permissions());
    assert!(why.contains("klines.db cannot be written: ") && why.contains("data_dir"), "{why}");
    assert!(fs::read(&path).unwrap() == before);
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stores_klines_although_those_that_clients_resume_cannot_be_read() {
    let server = "[websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n";
    let (sim, home) = (demo(73).await, folder(&[("klines.toml", &format!("{UNREPAIRED}{server}"))]));
    filled(&home, &sim);
    let (path, before) = (path_in(&home), stored(&path_in(&home)));
    let damaged = "UPDATE blocks SET entry = 'damaged' WHERE sealed = 0";
    assert!(rusqlite::Connection::open(&path).unwrap().execute(damaged, []).unwrap() > 0);
    let run = || run_at(&home, &sim, SYMBOLS, INTERVALS).with("ENABLED_CONSUMERS", "console,websocket");
    let start = || run().with("WSS_AUTH_USER", "me").with("WSS_AUTH_KEY", "nOt4-kEy_tHat-aNyone.gu3sses-9f").start();
    let run = start();
    run.until("live klines", |said| enough(said, 100));
    let said = run.stop().success();
    let warned = said.logged("clients cannot resume what they have of earlier runs: it cannot be read");
    assert!(warned.len() == 1 && warned[0]["error"].as_str().unwrap().contains("klines.db"), "{}", said.err);
    assert_eq!((said.logged(NOT_STORED).len(), said.logged("store closed").len()), (0, 1), "{}", said.err);
    let mut all = before;
    all.extend(newest(received(&said.out)));
    assert_eq!(stored(&path), all);
    // It has ended as it should.
    let run = start();
    run.until("live klines", |said| enough(said, 50));
    assert_eq!(run.stop().success().logged("storing klines")[0]["after_crash"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_named_and_nothing_of_it_is_believed() {
    let (sim, home) = (demo(72).await, folder(&[("klines.toml", UNREPAIRED)]));
    let week_ago = jiff::Timestamp::from_millisecond(sim.now_ms() - 7 * 86_400_000).unwrap().strftime("%Y-%m-%d");
    klines(home.path(), &format!("backfill BTCUSDT --from {week_ago} --intervals 1m")).at(&sim).run().success();
    let path = path_in(&home);
    let before = stored(&path);
    let pages = fs::metadata(&path).unwrap().len() / PAGE;
    // The last pages hold blocks, and the first one what the file is.
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for page in pages / 2..pages {
        file.seek(SeekFrom::Start(page * PAGE + PAGE / 2)).unwrap();
        file.write_all(b"a disk that lies").unwrap();
    }
    let verified = klines(home.path(), "store verify").run();
    assert_eq!(verified.code(), Some(1), "{}", verified.said.out);
    let helps = "restore a backup, or move the file away, so that the next run begins a new store, and fill that with";
    assert!(verified.said.err.contains(helps), "{}", verified.said.err);
    assert!(!verified.said.err.contains("store verify"), "it does not recommend itself: {}", verified.said.err);
    let asked = klines(home.path(), "history BTCUSDT 1m --last 20000 --format ndjson").run();
    assert_eq!(asked.code(), Some(1));
    assert!(asked.said.err.contains("klines.db is damaged") && asked.said.err.contains(helps), "{}", asked.said.err);
    for kline in newest(received(&asked.said.out)) {
        assert_eq!(before.get(&kline.0), Some(&kline.1), "what is printed is what was stored");
    }
    let copied = klines(home.path(), "store backup copy.db").run();
    assert_eq!(copied.code(), Some(1));
    assert!(copied.said.out.contains("copy.db is a copy of"), "{}", copied.said.out);
    let said = &copied.said.err;
    assert!(said.contains("klines.db is damaged (") && said.contains("and so is the copy"), "{said}");
    assert!(said.contains("`klines store verify` lists all damage"), "{said}");
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
    run.until("live klines", |said| enough(said, 50));
    run.stop();
}
