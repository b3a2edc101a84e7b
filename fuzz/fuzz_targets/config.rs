//! Loads any configuration: a TOML file, an `.env` file and variables, separated by zero bytes. Every problem is
//! reported and rendered; nothing outside a temporary folder is read.

#![no_main]

use std::ffi::OsString;
use std::fs;
use std::sync::OnceLock;

use klines_config::{Sources, examine, load};
use libfuzzer_sys::fuzz_target;

fn folder() -> &'static tempfile::TempDir {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder"))
}

fuzz_target!(|input: &[u8]| {
    // A device or a pipe that is read as a file may never end; a fuzzer must not wait for it.
    if ["KLINES_CONFIG", "/dev", "/proc", "/sys"]
        .iter()
        .any(|word| input.windows(word.len()).any(|part| part == word.as_bytes()))
    {
        return;
    }
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    fs::write(folder().path().join("klines.toml"), part()).expect("a file");
    fs::write(folder().path().join(".env"), part()).expect("a file");
    let variables = String::from_utf8_lossy(part()).into_owned();
    let variables = variables.split('\0').filter_map(|line| line.split_once('='));
    let environment: Vec<_> = variables.map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let sources = Sources { environment, folder: folder().path().to_owned(), ..Sources::default() };
    let (config, report) = examine(sources.clone());
    assert!(!report.render(false, 80).is_empty());
    let _ = report.render(true, 20);
    let _ = report.json();
    for setting in config.settings() {
        assert_eq!(config.is_set(&setting.key), config.place(&setting.key) != klines_config::Place::Default);
    }
    let _ = config.show();
    let _ = config.show_json();
    assert_eq!(load(sources).is_err(), report.is_refusal(), "examine and load agree");
});
