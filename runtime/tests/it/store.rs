//! The store of a run: what a consumer received is in it, whatever ends the run.

mod damage;
mod recovery;

use std::collections::BTreeMap;
use std::path::Path;

use klines_delivery::encode;
use klines_delivery::history::{Query, Side};
use klines_store::reader::Reader;
use klines_store::{check, file};
use tempfile::TempDir;

use super::live::{UNREPAIRED, demo, run_at};
use super::support::program::{Said, folder};
use super::support::received::{Received, received};

const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
const INTERVALS: &str = "100ms,1s,5s";
/// How often a run is killed, unless `KLINES_KILLS` says otherwise.
const KILLS: u64 = 12;

/// The newest revision of each window, by symbol, interval and start.
type Klines = BTreeMap<(String, String, i64), Received>;

fn path_in(home: &TempDir) -> std::path::PathBuf {
    file::path_in(&home.path().join("klines-data"))
}

fn newest(klines: Vec<Received>) -> Klines {
    let mut newest = Klines::new();
    for kline in klines.into_iter().filter(|kline| kline.confirm) {
        newest.insert((kline.symbol.clone(), kline.interval.clone(), kline.start), kline);
    }
    newest
}

/// Returns what a store has, a page of 100 at a time.
fn stored(path: &Path) -> Klines {
    let reader = Reader::open(path).unwrap();
    let mut klines = Vec::new();
    for series in reader.series().unwrap() {
        let mut query = Query { series, from: 0, to: i64::MAX, limit: 100, side: Side::Oldest };
        loop {
            let page = reader.read(&query).unwrap();
            let Some(last) = page.last() else { break };
            query.from = last.start + 1;
            for kline in &page {
                let mut line = String::new();
                encode::ndjson(kline, &mut line);
                klines.extend(received(&line));
            }
        }
    }
    newest(klines)
}

fn assert_sound(path: &Path) {
    assert_eq!(check::verify(path).unwrap().faults, Vec::<String>::new());
}

fn enough(said: &Said, klines: usize) -> bool {
    said.out.lines().count() >= klines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_consumers_receive_is_stored_and_can_be_read_meanwhile() {
    let (sim, home) = (demo(61).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
    run.until("klines", |said| enough(said, 200));
    // Beside the process that writes.
    let meanwhile = stored(&path_in(&home));
    assert!(!meanwhile.is_empty());
    let said = run.stop().success();
    let (of_console, of_store) = (newest(received(&said.out)), stored(&path_in(&home)));
    assert_eq!(of_store, of_console);
    let later = |(key, old): (&(String, String, i64), &Received)| of_store[key].revision >= old.revision;
    assert!(meanwhile.iter().all(later));
    assert_sound(&path_in(&home));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_committed_is_lost_when_a_run_is_killed() {
    let (sim, home) = (demo(62).await, folder(&[("klines.toml", UNREPAIRED)]));
    let kills = std::env::var("KLINES_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut before = Klines::new();
    for kill in 1..=kills {
        let run = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
        // At a moment that differs each time.
        run.until("klines", |said| enough(said, usize::try_from(kill * 17 % 60).unwrap() + 3));
        let committed = stored(&path_in(&home));
        let said = run.kill().said;
        let after = stored(&path_in(&home));
        assert_sound(&path_in(&home));
        for (key, kline) in before.iter().chain(&committed) {
            assert!(after.get(key).is_some_and(|known| known.revision >= kline.revision), "lost: {kline:?}");
        }
        // Nothing is stored that was not emitted: what the console has received by then is the same. Its last lines may not
        // have been read.
        let console = newest(received(said.out.rsplit_once('\n').map_or("", |(whole, _)| whole)));
        let differs = |(key, kline): &(&(String, String, i64), &Received)| {
            after.get(*key).is_some_and(|known| known.revision == kline.revision && known != *kline)
        };
        assert_eq!(console.iter().find(differs), None);
        before = after;
    }
    assert!(before.len() > usize::try_from(kills).unwrap() * 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_costs_no_live_kline() {
    let (sim, home) = (demo(63).await, folder(&[("klines.toml", UNREPAIRED)]));
    std::fs::create_dir(home.path().join("klines-data")).unwrap();
    std::fs::write(path_in(&home), "no database at all, and longer than nothing\n".repeat(40)).unwrap();
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).start();
    run.until("klines", |said| enough(said, 50));
    let said = run.stop().success_except(|line| line.contains("klines are not stored in this run"));
    let refused = said.logged("klines are not stored in this run");
    assert!(refused[0]["error"].as_str().unwrap().contains("klines.db is not a store of klines"), "{refused:?}");
    assert!(std::fs::read_to_string(path_in(&home)).unwrap().starts_with("no database at all"));
}

/// How much more a file may have than the store has when the disk is full.
const ROOM: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_history_and_no_live_kline() {
    let (sim, home) = (demo(68).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, SYMBOLS, INTERVALS).surviving_limits().start();
    run.until("klines", |said| enough(said, 50));
    let log = home.path().join("klines-data/klines.db-wal");
    run.limit_files(std::fs::metadata(&log).unwrap().len() + ROOM);
    let message = "the store does not take klines; live klines are not affected";
    run.until("the end of the room", |said| !said.logged(message).is_empty());
    let before = run.said().out.lines().count();
    run.until("klines meanwhile", |said| enough(said, before + 100));
    let ended = run.stop();
    let refused = ended.said.logged(message);
    assert!(refused[0]["error"].as_str().unwrap().contains("klines.db"), "{refused:?}");
    assert_eq!(refused.len(), 1, "it is said once a minute");
    // What was committed is whole, and what was not is said to be missing.
    assert_sound(&path_in(&home));
    let (of_console, of_store) = (newest(received(&ended.said.out)), stored(&path_in(&home)));
    assert!(!of_store.is_empty() && of_store.iter().all(|(key, kline)| of_console.get(key) == Some(kline)));
    assert!(of_store.len() < of_console.len());
    assert!(!ended.said.logged("klines are missing in the store").is_empty(), "{}", ended.said.err);
}
