//! A data folder that version 0.1.0 has left is continued, and what a newer version has written is named and left as it is.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::kept;
use crate::live::{demo, run_at};
use crate::redis::server::Server;
use crate::support::program::{Running, Said, component, folder};

/// What version 0.1.0 has left: see `fixtures/README.md`.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data-dir-0.1.0");
/// The klines that its consumer `it` had counted.
const COUNTED: i64 = 40;
/// The klines that wait in its spill for each of two outputs: twelve windows of two symbols.
const WAITING: usize = 24;
/// The start of the first window that waits.
const FIRST: i64 = 1_763_884_840_000;
const CONFIG: &str = "enabled_consumers = [\"it\", \"redis\", \"console\"]\n[consumers.it]\ncomponent = \"it.wasm\"\n\
                      [redis]\nstream = \"klines:stream\"\n[klines]\nrepair = \"0s\"\n";

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn home() -> TempDir {
    let home = folder(&[("klines.toml", CONFIG)]);
    fs::copy(component("ledger"), home.path().join("it.wasm")).unwrap();
    copy(Path::new(FIXTURE), &home.path().join("klines-data"));
    home
}

fn start(home: &TempDir, sim: &bybit_sim::Sim, redis: &Server) -> Running {
    run_at(home, sim, "BTCUSDT", "1s").with("REDIS_URL", &redis.url()).start()
}

fn lines(said: &Said) -> usize {
    said.out.lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_version_0_1_0_is_continued() {
    let (sim, home, redis) = (demo(73).await, home(), Server::start());
    let run = start(&home, &sim, &redis);
    run.until("live klines in the stream", |_| redis.stream("klines:stream").len() > WAITING + 5);
    run.stop().success();
    let kept = kept(home.path());
    assert!(kept.count > COUNTED && kept.keys == kept.count, "the state goes on: {kept:?}");
    assert_eq!((kept.doubles, kept.lost), (0, 0));
    let starts: Vec<i64> = redis.stream("klines:stream").iter().map(|kline| kline["start"].as_i64().unwrap()).collect();
    let waiting: Vec<i64> = (0..12).flat_map(|window| [FIRST + window * 1_000; 2]).collect();
    assert_eq!(starts[..WAITING], waiting, "what waited comes first, once and in order");
    assert!(starts[WAITING..].iter().all(|start| *start > FIRST + 12_000));
    let data = home.path().join("klines-data");
    let number: i64 = Connection::open(data.join("state/it.sqlite"))
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(number, 1);
    assert!(!data.join("compiled/proven").exists() && !data.join("compiled/modules").exists());
    assert!(data.join("klines.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_has_written_is_named_and_left_as_it_is() {
    let (sim, home, redis) = (demo(74).await, home(), Server::start());
    let data = home.path().join("klines-data");
    Connection::open(data.join("state/it.sqlite"))
        .unwrap()
        .execute_batch("PRAGMA application_id = 1263293268; PRAGMA user_version = 2;")
        .unwrap();
    let spill = data.join("spill/redis/stream/000000000000.spill");
    let mut bytes = fs::read(&spill).unwrap();
    bytes[..8].copy_from_slice(b"klspill2");
    fs::write(&spill, &bytes).unwrap();
    let run = start(&home, &sim, &redis);
    run.until("live klines", |said| lines(said) > 20);
    let ended = run.stop();
    let said = &ended.said.err;
    let state =
        "it.sqlite cannot be used: it was written by a newer version of klines (schema 2; this one reads up to 1)";
    assert!(said.contains(state), "{said}");
    assert!(said.contains("000000000000.spill was not written by this version of klines"), "{said}");
    assert!(fs::read(&spill).unwrap() == bytes);
}
