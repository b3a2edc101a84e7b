//! `klines consumer test`: cases pass and fail for the reported reasons, deterministically, and under the limits of a
//! run.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod cases;
mod golden;
mod requests;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{Ended, component, folder, klines};

/// Creates a project with this component and these files, and the folders in their names.
pub fn project(name: &str, files: &[(&str, &str)]) -> TempDir {
    let home = folder(&[("consumer.toml", "name = \"demo\"\nlanguage = \"rust\"\n")]);
    for (name, text) in files {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir_all(home.path().join("tests")).unwrap();
    // Written last, so that it is newer than its sources.
    fs::write(home.path().join("demo.wasm"), fs::read(component(name)).unwrap()).unwrap();
    home
}

/// Runs the tests of a project.
pub fn test(home: &Path, arguments: &str) -> Ended {
    klines(home, &format!("consumer test {arguments}")).run()
}

/// Runs the tests of a project and returns the report of each case.
pub fn reports(home: &Path) -> Vec<Value> {
    let ended = test(home, "--json");
    let said: Value = serde_json::from_str(&ended.said.out).unwrap_or_else(|_| panic!("{}", ended.said.err));
    assert_eq!(said["ok"] == true, ended.code() == Some(0), "{}", ended.said.out);
    said["cases"].as_array().unwrap().clone()
}

/// Runs one case and returns its failures.
pub fn failures(component: &str, files: &[(&str, &str)]) -> Vec<String> {
    let home = project(component, files);
    let cases = reports(home.path());
    let failures = cases[0]["failures"].as_array().unwrap();
    failures.iter().map(|failure| failure.as_str().unwrap().to_owned()).collect()
}

/// Removes the measured times and memory, which differ from run to run.
pub fn without_measurements(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("; a call takes").next().unwrap().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// Joins a wrapped report into one line.
pub fn flat(text: &str) -> String {
    text.split_whitespace().filter(|word| !["│", "·", "×"].contains(word)).collect::<Vec<_>>().join(" ")
}

/// Klines of a symbol whose closes cross their average, and one kline of another symbol.
pub const BY_HAND: &str = "\
{\"close\": 10}
{\"close\": 9}
{\"close\": 8}
{\"close\": 12}
{\"close\": 13, \"start\": 240000}
{\"symbol\": \"ETHUSDT\", \"close\": 5}
{\"close\": 1, \"volume\": \"2.50\"}
";

/// A case for the example component with [`BY_HAND`] as input.
pub const CROSS_CASE: &str = "\
settings = { period = 2, fast = 2, slow = 3, hot = 100.0 }
[input]
klines = \"by-hand.ndjson\"
[expect]
log = [\"BTCUSDT 1m crossed side=buy\", \"side=sell\"]
emitted = [{ name = \"rsi\", symbol = \"BTCUSDT\", count = 4 }, { name = \"signal\", contains = \"sell\" }]
no_log = [\"error\", \"ETHUSDT\"]
calls = 7
golden = \"crossing.golden\"
";
