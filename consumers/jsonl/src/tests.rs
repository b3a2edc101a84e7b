//! Tests of the files in a real directory.

use std::fs;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use klines_guest::{Kline, testing};
use tempfile::TempDir;

use super::*;

const DAY: u64 = 86_400_000;
/// 2024-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_704_067_200_000;

struct Fixture {
    dir: TempDir,
    consumer: Jsonl,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = TempDir::new().unwrap();
        let consumer = start(&dir, change).unwrap();
        Self { dir, consumer }
    }

    fn consume(&mut self, klines: Vec<Kline>) {
        self.consumer.consume(&Batch { klines, lost: 0 }).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn unzip(&self, name: &str) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(fs::File::open(self.dir.path().join(name)).unwrap()).read_to_string(&mut text).unwrap();
        text
    }
}

fn start(dir: &TempDir, change: impl FnOnce(&mut Settings)) -> Result<Jsonl, Failure> {
    let mut settings = Settings { dir: dir.path().to_str().unwrap().into(), ..Settings::default() };
    change(&mut settings);
    assert_eq!(settings.problems(), []);
    let mut consumer = Jsonl::setup(settings)?;
    consumer.start()?;
    Ok(consumer)
}

/// Returns a one-minute kline that ends just before `minutes` after the start of day `day` of 2024, counted from 0.
fn kline(day: u64, minutes: u64) -> Kline {
    testing::kline("BTCUSDT", "1m", NEW_YEAR + day * DAY + minutes * 60_000 - 60_000)
}

fn line(kline: &Kline) -> String {
    let batch = Batch { klines: vec![kline.clone()], lost: 0 };
    let mut out = Vec::new();
    JsonKline::new(kline, &batch.exact(0)).append_line(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn klines_go_to_the_file_of_the_date_they_end_on() {
    let mut fixture = Fixture::new(|_| {});
    fixture.consume(vec![kline(0, 5), kline(1, 0), kline(1, 1)]);
    fixture.consume(vec![kline(1, 2)]);
    assert_eq!(fixture.names(), ["klines-2024-01-01.jsonl", "klines-2024-01-02.jsonl"]);
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 5)) + &line(&kline(1, 0)));
    assert_eq!(fixture.read("klines-2024-01-02.jsonl"), line(&kline(1, 1)) + &line(&kline(1, 2)));
}

#[test]
fn a_restart_appends_and_cuts_off_the_unfinished_line_of_a_crash() {
    let mut fixture = Fixture::new(|_| {});
    fixture.consume(vec![kline(0, 5)]);
    let path = fixture.dir.path().join("klines-2024-01-01.jsonl");
    fs::write(&path, line(&kline(0, 5)) + "{\"category\":\"lin").unwrap();
    fixture.consumer = start(&fixture.dir, |_| {}).unwrap();
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 5)));
    fixture.consume(vec![kline(0, 6)]);
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 5)) + &line(&kline(0, 6)));
}

#[test]
fn a_file_that_is_one_unfinished_line_is_emptied() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("klines-2024-01-01.jsonl"), "x".repeat(10_000)).unwrap();
    start(&dir, |_| {}).unwrap();
    assert_eq!(fs::read(dir.path().join("klines-2024-01-01.jsonl")).unwrap(), b"");
}

#[test]
fn a_failed_batch_is_rolled_back_and_can_be_repeated() {
    let mut fixture = Fixture::new(|_| {});
    fixture.consume(vec![kline(0, 5)]);
    // The second file of this batch cannot be created.
    let blocked = fixture.dir.path().join("klines-2024-01-02.jsonl");
    fs::create_dir(&blocked).unwrap();
    let batch = Batch { klines: vec![kline(0, 6), kline(1, 1)], lost: 0 };
    assert!(matches!(fixture.consumer.consume(&batch), Err(Failure::Retry(text)) if text.contains("cannot write")));
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 5)));
    fs::remove_dir(&blocked).unwrap();
    assert_eq!(fixture.consumer.consume(&batch), Ok(()));
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 5)) + &line(&kline(0, 6)));
    assert_eq!(fixture.read("klines-2024-01-02.jsonl"), line(&kline(1, 1)));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_retry_that_names_the_cause() {
    let mut fixture = Fixture::new(|_| {});
    let full = fixture.dir.path().join("klines-2024-01-01.jsonl");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let batch = Batch { klines: vec![kline(0, 5)], lost: 0 };
    for _ in 0..2 {
        let refused = fixture.consumer.consume(&batch);
        assert!(matches!(refused, Err(Failure::Retry(text)) if text.contains("the disk is full")));
    }
    fs::remove_file(&full).unwrap();
    assert_eq!(fixture.consumer.consume(&batch), Ok(()));
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 5)));
}

#[test]
fn a_missing_directory_is_a_retry_that_names_the_cause() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut consumer = start(&dir, |_| {}).unwrap();
    drop(dir);
    let batch = Batch { klines: vec![kline(0, 5)], lost: 0 };
    let refused = consumer.consume(&batch);
    assert!(matches!(refused, Err(Failure::Retry(text)) if text.contains("granted by allow.dirs")));
}

#[test]
fn a_file_at_its_size_limit_is_renamed_to_the_next_number() {
    let mut fixture = Fixture::new(|settings| settings.rotate_mb = 1);
    let long = |minutes| Kline { symbol: "X".repeat(600 << 10), ..kline(0, minutes) };
    for minutes in 1..=3 {
        fixture.consume(vec![long(minutes)]);
    }
    assert_eq!(fixture.names(), ["klines-2024-01-01.jsonl", "klines-2024-01-01.jsonl.1", "klines-2024-01-01.jsonl.2"]);
    assert_eq!(fixture.read("klines-2024-01-01.jsonl.1"), line(&long(1)));
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&long(3)));
}

#[test]
fn finished_files_are_compressed_piece_by_piece() {
    let mut fixture = Fixture::new(|settings| settings.gzip = true);
    let long = Kline { symbol: "X".repeat(2 << 20), ..kline(0, 5) };
    fixture.consume(vec![long.clone()]);
    fixture.consume(vec![kline(1, 1)]);
    // Corrections may still arrive.
    assert!(!fixture.names().iter().any(|name| name.contains(".gz")));
    fixture.consume(vec![kline(1, 11)]);
    assert!(fixture.names().contains(&"klines-2024-01-01.jsonl.gz.part".to_owned()));
    for minutes in 12..20 {
        fixture.consume(vec![kline(1, minutes)]);
    }
    assert_eq!(fixture.names(), ["klines-2024-01-01.jsonl.gz", "klines-2024-01-02.jsonl"]);
    assert_eq!(fixture.unzip("klines-2024-01-01.jsonl.gz"), line(&long));
}

#[test]
fn a_late_line_is_written_before_during_and_after_compression() {
    let mut fixture = Fixture::new(|settings| settings.gzip = true);
    let long = Kline { symbol: "X".repeat(2 << 20), ..kline(0, 5) };
    let late = |minutes| Kline { emitted: NEW_YEAR + DAY + 1_000_000, ..kline(0, minutes) };
    fixture.consume(vec![long.clone()]);
    fixture.consume(vec![kline(1, 11)]);
    // During compression: it is aborted and begins again on the next day.
    fixture.consume(vec![late(6)]);
    for minutes in 11..20 {
        fixture.consume(vec![kline(2, minutes)]);
    }
    assert_eq!(fixture.unzip("klines-2024-01-01.jsonl.gz"), line(&long) + &line(&late(6)));
    // After compression: a second file next to the compressed one.
    fixture.consume(vec![late(7)]);
    for minutes in 11..20 {
        fixture.consume(vec![kline(3, minutes)]);
    }
    assert_eq!(fixture.unzip("klines-2024-01-01.jsonl.1.gz"), line(&late(7)));
    assert_eq!(
        fixture.names(),
        [
            "klines-2024-01-01.jsonl.1.gz",
            "klines-2024-01-01.jsonl.gz",
            "klines-2024-01-02.jsonl.gz",
            "klines-2024-01-03.jsonl.gz",
            "klines-2024-01-04.jsonl"
        ]
    );
}

#[test]
fn a_compression_that_a_crash_interrupted_begins_again() {
    let mut fixture = Fixture::new(|settings| settings.gzip = true);
    fixture.consume(vec![kline(0, 5)]);
    fs::write(fixture.dir.path().join("klines-2024-01-01.jsonl.gz.part"), "half").unwrap();
    fixture.consumer = start(&fixture.dir, |settings| settings.gzip = true).unwrap();
    assert_eq!(fixture.names(), ["klines-2024-01-01.jsonl"]);
    for minutes in 11..14 {
        fixture.consume(vec![kline(1, minutes)]);
    }
    assert_eq!(fixture.unzip("klines-2024-01-01.jsonl.gz"), line(&kline(0, 5)));
}

#[test]
fn only_files_of_the_consumer_are_deleted_when_they_are_too_old() {
    let mut fixture = Fixture::new(|settings| settings.keep_days = 2);
    let foreign = ["klines-2023-12-01.jsonl.bak", "klines-x-2023-12-01.jsonl", "notes.txt"];
    for name in foreign.iter().chain(&["klines-2023-12-01.jsonl", "klines-2023-12-02.jsonl.3.gz"]) {
        fs::write(fixture.dir.path().join(name), "").unwrap();
    }
    fixture.consume(vec![kline(0, 5)]);
    fixture.consume(vec![kline(1, 5)]);
    fixture.consume(vec![kline(2, 5)]);
    assert_eq!(fixture.names().len(), foreign.len() + 3);
    fixture.consume(vec![kline(3, 5)]);
    let mut expected: Vec<String> = foreign.iter().map(|name| (*name).to_owned()).collect();
    expected.extend((2..=4).map(|day| format!("klines-2024-01-0{day}.jsonl")));
    expected.sort();
    assert_eq!(fixture.names(), expected);
}

#[test]
fn a_time_far_in_the_future_deletes_nothing_of_today() {
    let mut fixture = Fixture::new(|settings| settings.keep_days = 36_500);
    fixture.consume(vec![kline(0, 5)]);
    fixture.consume(vec![Kline { emitted: u64::MAX / 2, ..kline(1, 5) }]);
    assert_eq!(fixture.names().len(), 2);
}

#[test]
fn a_file_that_was_removed_is_created_again() {
    let mut fixture = Fixture::new(|_| {});
    fixture.consume(vec![kline(0, 5)]);
    fs::remove_file(fixture.dir.path().join("klines-2024-01-01.jsonl")).unwrap();
    fixture.consume(vec![kline(0, 6)]);
    assert_eq!(fixture.read("klines-2024-01-01.jsonl"), line(&kline(0, 6)));
}

#[test]
fn all_bad_settings_are_listed() {
    let settings = Settings { dir: "../out".into(), prefix: "a/b".into(), ..Settings::default() };
    let problems = settings.problems();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["dir", "prefix"]);
}

#[test]
fn updates_are_subscribed_only_when_they_are_written() {
    assert!(Fixture::new(|_| {}).consumer.subscription().closed_only);
    assert!(!Fixture::new(|settings| settings.show = Show::All).consumer.subscription().closed_only);
}
