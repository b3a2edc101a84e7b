//! Consumers and files: a third party's component by path and by name, and the files that jsonl writes.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use crate::live::{assert_accounted, demo};
use crate::support::oracle::Oracle;
use crate::support::program::{Said, component, folder, klines};
use crate::support::received::{assert_sound, received};

/// Counts the averages that the guest has logged.
fn averages_of(said: &Said, name: &str) -> usize {
    let log = said.log();
    let own = log.iter().filter(|line| line["target"] == "consumer" && line["name"] == name);
    own.filter(|line| line["message"].as_str().is_some_and(|text| text.contains(" its average: "))).count()
}

async fn runs_and_logs(config: &str, name: &str, place: impl FnOnce(&std::path::Path)) {
    let sim = demo(61).await;
    let home = folder(&[("klines.toml", config)]);
    place(home.path());
    let run = klines(home.path(), "run --intervals 100ms").at(&sim).with("LOG_FORMAT", "json");
    let run = run.with("ENABLED_CONSUMERS", &format!("console,{name}")).start();
    run.until("log lines of the component", |said| averages_of(said, name) > 0);
    let said = run.stop().success();
    assert!(said.err.lines().any(|line| line.starts_with(&format!("{name}: "))), "{}", said.err);
    assert_accounted(&said, &["linear"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_named_by_its_path_runs_and_logs() {
    let config =
        format!("[consumers.mine]\ncomponent = {:?}\n[consumers.mine.settings]\nperiod = 3\n", component("average"));
    runs_and_logs(&config, "mine", |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_in_the_plugins_folder_runs_by_its_name() {
    runs_and_logs("plugins_dir = \"parts\"\n", "cross", |home| {
        std::fs::create_dir(home.join("parts")).unwrap();
        std::fs::copy(component("average"), home.join("parts/cross.wasm")).unwrap();
    })
    .await;
}

#[test]
fn the_settings_of_a_component_are_checked_by_the_component() {
    let config =
        format!("[consumers.mine]\ncomponent = {:?}\n[consumers.mine.settings]\nperiod = 1\n", component("average"));
    let home = folder(&[("klines.toml", &config)]);
    let ended = klines(home.path(), "check --consumers mine").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    assert!(ended.said.err.contains("a whole number from 2 to 1000"), "{}", ended.said.err);
    assert!(ended.said.err.contains("klines.toml:4"), "{}", ended.said.err);
}

#[test]
fn a_missing_plugin_is_refused_with_its_name() {
    let home = folder(&[]);
    let ended = klines(home.path(), "check --consumers absent").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    assert!(ended.said.err.contains("absent"), "{}", ended.said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonl_keeps_every_closed_kline_in_its_folder() {
    let sim = demo(62).await;
    let home = folder(&[("klines.toml", "[klines]\nrepair = \"0s\"\n")]);
    let run = klines(home.path(), "run --symbols BTCUSDT,ETHUSDT,SOLUSDT --intervals 100ms,1s --consumers jsonl");
    let run = run.at(&sim).with("LOG_FORMAT", "json").start();
    let kept = || -> String {
        let files = std::fs::read_dir(home.path().join("klines-out")).into_iter().flatten();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    };
    run.until("klines in files", |_| kept().lines().count() > 60);
    let said = run.stop().success();
    let received = received(&kept());
    assert_sound(&received);
    Oracle::new(&sim, "100ms,1s").check(&received);
    assert!(said.err.contains(&format!("jsonl: {} klines delivered (stopped)", received.len())), "{}", said.err);
    assert_eq!(said.out, "", "no consumer was granted standard output");
}
