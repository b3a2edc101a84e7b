//! Components that check their settings slowly or crash while they do: a run begins without them, and none of them
//! starts with settings that it refuses.

use super::{RUN, home};
use crate::support::program::{Said, klines};

/// Returns the errors with which the consumer failed, from the log.
fn failed(said: &Said) -> Vec<String> {
    let lines = said.logged("consumer failed and is stopped");
    lines.iter().map(|line| line["error"].as_str().unwrap().to_owned()).collect()
}

/// Creates a folder that also enables the console, so that the run goes on.
fn home_with_console(mode: &str) -> tempfile::TempDir {
    let home = home("hostile", &format!("limits.call = \"20s\"\n[consumers.it.settings]\nmode = \"{mode}\"\n"));
    let path = home.path().join("klines.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("[\"it\"]", "[\"console\", \"it\"]")).unwrap();
    home
}

#[test]
fn a_consumer_that_refuses_its_settings_late_does_not_start() {
    let home = home_with_console("refuse-late");
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("klines", |said| said.out.lines().count() > 10);
    run.until("the refusal", |said| !failed(said).is_empty());
    klines(home.path(), "consumer resume it").run().success();
    run.until("another refusal", |said| failed(said).len() == 2);
    let said = run.stop().success_except(|name| name == "it");
    // Both errors come from the component, in the same words as in `klines check`.
    assert_eq!(failed(&said), ["it: `settings.mode`: refused late (expected another mode)"; 2]);
    assert!(!said.logged("consumer started").iter().any(|line| line["consumer"] == "it"), "{}", said.err);
}

#[test]
fn a_check_of_settings_that_crashes_is_the_failure_of_one_consumer() {
    let home = home_with_console("panic-validate");
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("klines", |said| said.out.lines().count() > 10);
    run.until("the failure", |said| !failed(said).is_empty());
    let said = run.stop().success_except(|name| name == "it");
    assert!(failed(&said)[0].starts_with("it: `settings`: the component could not check its settings: trap: "));
}

#[test]
fn klines_check_waits_for_the_answer_and_refuses() {
    for (mode, words) in [("refuse-late", "refused late"), ("panic-validate", "could not check its settings")] {
        let ended = klines(home_with_console(mode).path(), "check").run();
        assert_eq!(ended.code(), Some(78), "{mode}: {}", ended.said.err);
        assert!(ended.said.err.contains(words), "{mode}: {}", ended.said.err);
    }
}
