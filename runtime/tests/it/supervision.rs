//! Supervision of consumers that fail, in the real binary: the crash report that reproduces a crash, recycled
//! instances, and components that are too large to compile. State and reload have their own modules.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod full;
mod ledger;
mod loading;
mod reload;
mod rights;
mod upgrade;
mod validation;

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::program::{Running, Said, component, folder, klines};

/// Short intervals, so that much happens in little time.
const RUN: &str = "run --demo --config klines.toml --intervals 100ms,1s";

/// Creates a folder whose configuration enables one consumer with a copy of a test component.
fn home(component: &str, section: &str) -> TempDir {
    let config = format!("enabled_consumers = [\"it\"]\n[consumers.it]\ncomponent = \"it.wasm\"\n{section}\n");
    let home = folder(&[("klines.toml", &config)]);
    fs::copy(self::component(component), home.path().join("it.wasm")).unwrap();
    home
}

/// Replaces the component atomically, so that the program never sees a half-written file.
fn replace(home: &Path, bytes: &[u8]) {
    fs::write(home.join("new"), bytes).unwrap();
    fs::rename(home.join("new"), home.join("it.wasm")).unwrap();
}

/// Returns the reasons why versions were refused.
fn refused(said: &Said) -> Vec<String> {
    let lines = said.logged("the consumer keeps its version");
    lines.iter().map(|line| line["error"].as_str().unwrap().to_owned()).collect()
}

/// Waits until one more version is refused. Returns the reason.
fn next_refusal(run: &Running) -> String {
    let before = refused(&run.said()).len();
    run.until("a refusal", |said| refused(said).len() > before);
    refused(&run.said()).pop().unwrap()
}

/// The state of the ledger.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    count: i64,
    keys: i64,
    doubles: i64,
    holes: i64,
    lost: i64,
    /// The count of the runtime.
    taken: i64,
}

fn kept(home: &Path) -> Kept {
    let database = Connection::open(home.join("klines-data/state/it.sqlite")).unwrap();
    let number = |key: &str| {
        let value = database
            .query_row("SELECT CAST(value AS TEXT) FROM state WHERE key = ?1", [key], |row| row.get::<_, String>(0));
        value.map_or(0, |text| text.parse().unwrap())
    };
    let of = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    Kept {
        count: number("count"),
        keys: of("SELECT COUNT(*) FROM state WHERE key LIKE 'kline/%'"),
        doubles: number("doubles"),
        holes: number("holes"),
        lost: number("lost"),
        taken: of("SELECT COALESCE(SUM(taken), 0) FROM progress"),
    }
}

/// Returns the only folder below `quarantine`.
fn crash_report(home: &Path) -> PathBuf {
    let mut found = fs::read_dir(home.join("klines-data/quarantine")).unwrap();
    let only = found.next().unwrap().unwrap().path();
    assert!(found.next().is_none(), "one crash report");
    only
}

#[test]
fn a_crash_under_on_error_stop_leaves_a_report_that_reproduces_it() {
    let section = "on_error = \"stop\"\n[consumers.it.settings]\nmode = \"panic-consume\"\nafter = 3\n";
    let home = home("hostile", section);
    let ended = klines(home.path(), RUN).run();
    assert_eq!(ended.code(), Some(1), "no consumer is left to run: {}", ended.said.err);
    assert!(ended.said.err.contains("stopped, as set by on_error"), "{}", ended.said.err);
    let report = crash_report(home.path());
    let text = fs::read_to_string(report.join("bundle.json")).unwrap();
    assert!(text.contains("\"call\": \"consume\"") && text.contains("\"kind\": \"trap\""), "{text}");
    // The crash report alone is enough: the configuration and the component's file are removed.
    fs::remove_file(home.path().join("it.wasm")).unwrap();
    fs::remove_file(home.path().join("klines.toml")).unwrap();
    let again = klines(home.path(), &format!("consumer test {}", report.display())).run();
    // The instance crashes at its third batch, so that the report must contain the two before it.
    let said = again.success();
    assert!(said.err.contains("the crash is reproduced"), "{}", said.err);
    assert!(said.out.contains("this run:     trap: ") && said.out.contains("unreachable"), "{}", said.out);
    assert!(said.out.contains("history:      from the start"), "{}", said.out);
}

#[test]
fn a_crash_that_depends_on_more_than_its_report_names_what_is_missing() {
    let section = "on_error = \"stop\"\n[consumers.it.settings]\nmode = \"panic-consume\"\nafter = 30\n";
    let home = home("hostile", section);
    assert_eq!(klines(home.path(), RUN).run().code(), Some(1));
    let report = crash_report(home.path());
    let again = klines(home.path(), &format!("consumer test {}", report.display())).run();
    assert_eq!(again.code(), Some(1), "{}", again.said.err);
    let said = again.said;
    assert!(said.out.contains("history:      last 16 batches"), "{}", said.out);
    let missing = "does not contain: what came before the 16 batches before the one that it crashed in";
    assert!(said.err.contains("the crash is not reproduced") && said.err.contains(missing), "{}", said.err);
    assert!(said.err.contains("the state that the consumer had kept"), "{}", said.err);
    // With a lower `after` the crash happens at the last batch that the report contains.
    let text = fs::read_to_string(report.join("bundle.json")).unwrap();
    fs::write(report.join("bundle.json"), text.replace("\"after\": 30", "\"after\": 17")).unwrap();
    let again = klines(home.path(), &format!("consumer test {}", report.display())).run();
    assert!(again.success().err.contains("the crash is reproduced"));
}

#[test]
fn a_crash_report_contains_no_secret_and_accepts_only_the_same_component() {
    let section = "on_error = \"stop\"\n[consumers.it.settings]\ntrap_every = 1\napi_key = \"canary-4711\"\n";
    let home = home("ledger", section);
    let ended = klines(home.path(), RUN).run();
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    let report = crash_report(home.path());
    let text = fs::read_to_string(report.join("bundle.json")).unwrap();
    assert!(!text.contains("canary-4711") && !ended.said.err.contains("canary-4711"), "{text}");
    fs::write(report.join("component.wasm"), fs::read(component("hostile")).unwrap()).unwrap();
    let again = klines(home.path(), &format!("consumer test {}", report.display())).run();
    assert_eq!(again.code(), Some(1));
    assert!(again.said.err.contains("is not the component that crashed"), "{}", again.said.err);
}

#[test]
fn an_instance_that_leaks_is_replaced_and_no_kline_is_lost() {
    for limit in ["recycle_memory = \"8MiB\"", "recycle_calls = 10"] {
        let section = format!("limits.{limit}\n[consumers.it.settings]\nleak = 262144\n");
        let home = home("ledger", &section);
        let run = klines(home.path(), RUN).start();
        let fresh = "consumer is recycled and gets a fresh instance";
        run.until("three recycled instances", |said| said.err.matches(fresh).count() >= 3);
        let said = run.stop().success();
        assert!(!said.err.contains("crash"), "{}", said.err);
        let kept = kept(home.path());
        assert!(kept.count > 30 && kept.keys == kept.count && kept.taken == kept.count, "{kept:?}");
        assert_eq!((kept.doubles, kept.holes, kept.lost), (0, 0, 0));
    }
}

#[test]
fn a_component_that_is_too_large_to_compile_is_refused_with_the_exceeded_limit() {
    for (limit, said) in [
        ("compile_time = \"1ms\"", "is too much to compile: it takes longer than 1ms (limits.compile_time)"),
        (
            "compile_memory = \"1MiB\"",
            "is too much to compile: the compiler did not finish with 1 MiB (limits.compile_memory)",
        ),
    ] {
        let home = home("ledger", &format!("limits.{limit}\n"));
        let ended = klines(home.path(), "check").run();
        assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
        let flat = ended.said.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(flat.contains(said), "{}", ended.said.err);
        assert!(!home.path().join("klines-data").exists(), "check creates no data folder");
    }
}

#[test]
fn a_check_fills_the_cache_of_the_run_and_removes_nothing_from_it() {
    let home = home("ledger", "");
    let compiled = home.path().join("klines-data/compiled");
    klines(home.path(), "check").run().success();
    assert!(!home.path().join("klines-data").exists(), "check creates no data folder");
    fs::create_dir(home.path().join("klines-data")).unwrap();
    klines(home.path(), "check").run().success();
    let kept = fs::read_dir(&compiled).unwrap().count();
    assert!(kept > 0, "the run finds the code");
    klines(home.path(), "check --consumers console").run().success();
    assert_eq!(fs::read_dir(&compiled).unwrap().count(), kept, "another configuration is checked");
}

#[test]
fn compiled_code_is_kept_in_a_private_folder_and_none_from_elsewhere_is_loaded() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = home("ledger", "");
    klines(home.path(), &format!("{RUN} --for 1s")).run().success();
    let compiled = home.path().join("klines-data/compiled");
    assert_eq!(fs::metadata(&compiled).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&compiled).unwrap().count(), 1);
    // The component is not compiled again: a limit that allows no compilation has no effect now.
    let config = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("{config}limits.compile_time = \"1ms\"\n")).unwrap();
    klines(home.path(), &format!("{RUN} --for 1s")).run().success();
    // A folder that others can write to could contain foreign native code.
    fs::set_permissions(&compiled, fs::Permissions::from_mode(0o777)).unwrap();
    let ended = klines(home.path(), &format!("{RUN} --for 1s")).run();
    assert_eq!(ended.code(), Some(78), "compiled again, under the limit: {}", ended.said.err);
    assert!(ended.said.err.contains("compiled components are not cached"), "{}", ended.said.err);
}
