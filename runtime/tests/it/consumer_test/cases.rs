//! The keys of a case, and the report of a case that is wrong.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::{BY_HAND, CROSS_CASE, failures, flat, project, reports, test, without_measurements};
use crate::cli::RECORDING;
use crate::support::program::{component, folder, klines};

#[test]
fn a_component_alone_is_run_on_the_made_up_market() {
    let home = folder(&[]);
    let said = klines(home.path(), &format!("consumer test {}", component("example").display())).run().success();
    assert!(said.out.starts_with("default: ok\n  4 calls, 4 klines; a call takes "), "{}", said.out);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "the test writes no file");
}

#[test]
fn every_case_of_a_project_is_run_in_the_order_of_names() {
    let trades = "[input]\ntrades = \"../day.jsonl\"\ncategory = \"linear\"\nintervals = [\"1s\"]\nbatch = 64\n";
    let market = "[input]\nmarket = { seed = 7, seconds = 60, symbols = [\"BTCUSDT\", \"XYZUSDT\"] }\n\
        intervals = [\"1s\"]\n[expect]\nlog = [\"XYZUSDT 1s crossed\"]\ncalls = 120\n\
        [settings]\nperiod = 2\nfast = 2\nslow = 3\n";
    let recording = fs::read_to_string(RECORDING).unwrap();
    let files = [
        ("tests/b.toml", trades),
        ("tests/a.toml", market),
        ("tests/c.toml", CROSS_CASE),
        ("tests/by-hand.ndjson", BY_HAND),
        ("day.jsonl", recording.as_str()),
    ];
    let home = project("example", &files);
    assert_eq!(test(home.path(), "--update").code(), Some(0));
    let said = test(home.path(), "").success();
    let heads: Vec<&str> = said.out.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        heads,
        ["a: ok", "b: ok", "crossing: ok", "", "3 cases: 3 passed, 0 failed"].map(|line| match line {
            "crossing: ok" => "c: ok",
            other => other,
        })
    );
    let cases = reports(home.path());
    assert!(cases[1]["klines"].as_u64() > cases[1]["calls"].as_u64(), "{}", cases[1]);
    // One case, from another folder.
    let above = home.path().parent().unwrap();
    let name = home.path().file_name().unwrap().to_str().unwrap();
    let said = klines(above, &format!("consumer test {name} --case c")).run().success();
    assert!(said.out.starts_with("c: ok\n"), "{}", said.out);
    let ended = test(home.path(), "--case cc");
    assert!(ended.said.err.contains("has no case `cc`: there is a, b, c"), "{}", ended.said.err);
}

#[test]
fn each_expectation_can_fail_and_shows_what_was_found() {
    let case = "settings = { period = 2, fast = 2, slow = 3, hot = 100.0 }\n[input]\nklines = \"by-hand.ndjson\"\n[expect]\n\
        log = [\"side=buy\", \"side=buy\"]\nno_log = [\"info BTCUSDT\"]\ncalls = 5\nends = \"trap\"\n\
        emitted = [{ name = \"sma\", symbol = \"BTCUSDT\" }, { count = 3 }, { name = \"signal\", contains = \"hold\" }]\nhttp = [{ method = \"POST\" }]\n\
        files = [{ path = \"out/x.csv\", contains = \"x\" }]\n";
    let found = failures("example", &[("tests/basic.toml", case), ("tests/by-hand.ndjson", BY_HAND)]);
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn mistakes_in_a_case_show_their_place_and_the_fix() {
    let case = "setings = { period = 3 }\n[input]\nmarkt = { seed = 7 }\nintervals = [\"1min\"]\nbatch = 100\n\
        [expect]\ngoldn = \"x\"\nends = \"crash\"\nemitted = [{ nam = \"sma\" }]\n\
        [[http]]\nurl = \"hooks.example.com\"\nstatus = 99\n[limits]\nmemry = \"1MiB\"\n";
    let home = project("example", &[("tests/basic.toml", case)]);
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    assert_eq!(ended.said.out, "");
    insta::assert_snapshot!(without_notice(&ended.said.err));
}

#[test]
fn of_klines_toml_only_the_section_of_the_consumer_is_validated() {
    let toml = "[consumers.demo]\ncomponent = \"elsewhere.wasm\"\n[consumers.demo.settings]\nperiod = 1\n\
        [consumers.other.allow]\nsecrets = [{ variable = \"NOT_SET\" }]\n";
    let case = "[input]\nmarket = { seconds = 5 }\n";
    let home = project("example", &[("tests/basic.toml", case), ("klines.toml", toml)]);
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    let said = flat(&ended.said.err);
    assert!(said.contains("klines.toml:4:10") && said.contains("a whole number from 2 to 1000"), "{said}");
    assert!(said.contains("1 error"), "{said}");
    // The settings of the case replace those.
    fs::write(home.path().join("tests/basic.toml"), format!("settings = {{ period = 2 }}\n{case}")).unwrap();
    assert_eq!(test(home.path(), "").code(), Some(0));
}

/// Leaves out the line that says which component is compiled, which a slow machine prints.
fn without_notice(said: &str) -> String {
    said.lines().filter(|line| !line.starts_with("compiling ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn klines_written_by_hand_are_checked_line_by_line() {
    let files = [
        ("tests/basic.toml", "[input]\nklines = \"k.ndjson\"\n"),
        ("tests/k.ndjson", "{\"close\": 1}\n{\"clse\": 1, \"symbol\": \"btc\"}\n"),
    ];
    let home = project("example", &files);
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    insta::assert_snapshot!(without_notice(&ended.said.err));
}

#[test]
fn a_component_that_is_missing_or_older_than_its_sources_must_be_built() {
    let home = project("example", &[("tests/basic.toml", "")]);
    let source = home.path().join("lib.rs");
    fs::write(&source, "changed").unwrap();
    let built = fs::metadata(home.path().join("demo.wasm")).unwrap().modified().unwrap();
    fs::File::open(&source).unwrap().set_modified(built + Duration::from_secs(1)).unwrap();
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    assert!(ended.said.err.contains("lib.rs has changed since demo.wasm was built"), "{}", ended.said.err);
    assert!(ended.said.err.contains("type `klines consumer build .` first"), "{}", ended.said.err);
    fs::remove_file(home.path().join("demo.wasm")).unwrap();
    let ended = test(home.path(), "");
    assert!(ended.said.err.contains("there is no demo.wasm yet: type `klines consumer build .`"), "{}", ended.said.err);
    assert_eq!(klines(home.path(), "consumer test nothing.wasm").run().code(), Some(1));
    assert_eq!(test(folder(&[]).path(), "").code(), Some(1), "an empty folder is no project");
}

#[test]
fn the_end_of_a_consumer_is_reported_and_can_be_expected() {
    for (mode, more, limits, word) in [
        ("trap", "after = 2", "", "trap"),
        ("panic-setup", "", "", "trap"),
        ("loop", "", "call = \"100ms\"", "time-out"),
        ("sleep", "", "call = \"100ms\"", "time-out"),
        ("loop-stop", "", "call = \"100ms\"", "time-out"),
        ("big-alloc-string", "", "memory = \"2MiB\"", "memory limit"),
        ("fatal", "", "", "fatal"),
        ("fatal-setup", "", "", "fatal"),
        ("retry", "after = 1000", "", "retry"),
        ("retry", "after = 3", "", "ok"),
    ] {
        let case = |ends: &str| {
            format!(
                "[settings]\nmode = \"{mode}\"\n{more}\n[limits]\n{limits}\n[input]\nmarket = {{ seconds = 3 }}\n\
                 intervals = [\"1s\"]\n[expect]\n{ends}\n"
            )
        };
        let home = project("hostile", &[("tests/basic.toml", &case(&format!("ends = \"{word}\"")))]);
        let cases = reports(home.path());
        assert_eq!((&cases[0]["ends"], &cases[0]["ok"]), (&word.into(), &true.into()), "{mode}: {}", cases[0]);
        if word == "ok" {
            assert_eq!(cases[0]["retries"], 3, "{}", cases[0]);
            continue;
        }
        // A case that does not expect it reports the call and the klines.
        let home = project("hostile", &[("tests/basic.toml", &case(""))]);
        let cases = reports(home.path());
        let failure = cases[0]["failures"][0].as_str().unwrap();
        assert!(failure.starts_with(&format!("ends: `ok` wanted, `{word}` found")), "{mode}: {failure}");
        if mode == "trap" {
            assert!(failure.contains("in `consume`, call 2: trap: "), "{failure}");
            assert!(failure.contains("; in ") && failure.contains("\n  kline "), "{failure}");
        }
        if mode == "panic-setup" {
            let (_, log) = failure.split_once("\nits log:").unwrap();
            assert!(log.contains("hostile panic in setup"), "{failure}");
        }
    }
}

#[test]
fn with_json_every_outcome_is_json() {
    let home = project("example", &[("tests/basic.toml", "[input]\ntrades = \"absent.jsonl\"\n")]);
    for arguments in ["consumer test . --json", "consumer test absent.wasm --json", "consumer test . --case no --json"]
    {
        let ended = klines(home.path(), arguments).run();
        assert!([Some(1), Some(78)].contains(&ended.code()), "{arguments}: {}", ended.said.err);
        let said: Value = serde_json::from_str(&ended.said.out).unwrap_or_else(|_| panic!("{}", ended.said.out));
        assert_eq!(said["ok"], false, "{said}");
        assert!(said["error"].is_string() || said["problems"].is_object(), "{said}");
    }
}

#[test]
fn limits_are_those_of_a_run() {
    let case = |mode: &str, more: &str| {
        format!("settings = {{ mode = \"{mode}\"{more} }}\n[input]\nmarket = {{ seconds = 2 }}\nintervals = [\"1s\"]\n")
    };
    let files = [
        ("tests/a.toml", case("log-flood", "")),
        ("tests/b.toml", case("output-flood", ", size = 8_000_000")),
        ("tests/c.toml", case("files", "")),
        ("tests/d.toml", case("env-list", "")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let home = project("hostile", &files);
    let cases = reports(home.path());
    let log = &cases[0]["log"];
    assert!(log["lines"].as_u64().unwrap() <= 300 && log["dropped"].as_u64().unwrap() > 10_000, "{log}");
    assert!(cases[1]["log"]["output_dropped"].as_u64().unwrap() > 1_000_000, "{}", cases[1]);
    let said = test(home.path(), "--case c --until 1").said.out;
    assert!(!said.contains(": read") && !said.contains(": wrote"), "{said}");
    let said = test(home.path(), "--case d --until 1").said.out;
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("log info ")).collect();
    assert_eq!(lines, ["log info that was all"], "no variable of this process");
}

#[test]
fn folders_are_temporary_and_what_was_written_is_compared() {
    let allow = "[allow]\ndirs = [{ host = \"./kept\", guest = \"/out\", write = true }]\n";
    let case = |expect: &str| {
        format!(
            "{allow}[input]\nklines = \"by-hand.ndjson\"\n[expect]\nfiles = [{{ path = \"out/klines-1970-01-01.jsonl\", {expect} }}]\n"
        )
    };
    let wanted = "equals = \"wanted.jsonl\"";
    let files = [("tests/basic.toml", case(wanted)), ("tests/by-hand.ndjson", "{\"close\": 10}\n".to_owned())];
    let mut files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    files.push(("tests/wanted.jsonl", "{}\n"));
    let home = project("jsonl", &files);
    let cases = reports(home.path());
    let failure = cases[0]["failures"][0].as_str().unwrap_or_else(|| panic!("{}", cases[0]));
    let (_, found) = failure.split_once("\n  + ").unwrap();
    assert!(failure.contains("line 1\n  - {}") && found.contains("\"close\":\"10\""), "{failure}");
    assert!(!home.path().join("kept").exists(), "the author's folder is not touched");
    // The lines that were found become the expected ones.
    fs::write(home.path().join("tests/wanted.jsonl"), format!("{found}\n")).unwrap();
    assert_eq!(test(home.path(), "").code(), Some(0));
    fs::write(home.path().join("tests/basic.toml"), case("contains = \"ETHUSDT\"")).unwrap();
    let said = without_measurements(&test(home.path(), "").said.out);
    assert!(said.contains("does not have \"ETHUSDT\""), "{said}");
}

#[test]
fn state_begins_empty_every_time() {
    let case = "[input]\nmarket = { seconds = 30 }\nintervals = [\"1s\"]\nbatch = 7\n\
        [limits]\nrecycle_calls = 3\n[expect]\nlog = [\"count 60 doubles 0 holes 0 lost 0\"]\n";
    let home = project("ledger", &[("tests/basic.toml", case)]);
    for _ in 0..2 {
        let ended = test(home.path(), "");
        assert_eq!(ended.code(), Some(0), "{}{}", ended.said.out, ended.said.err);
    }
}

#[test]
fn a_live_case_runs_in_real_time_and_shows_the_log() {
    let case =
        "settings = { mode = \"count\" }\n[input]\nintervals = [\"100ms\"]\n[expect]\nlog = [\"lost 0\"]\ncalls = 1\n";
    let home = project("hostile", &[("tests/basic.toml", case)]);
    let ended = test(home.path(), "--live --for 3s");
    assert_eq!(ended.code(), Some(0), "{}{}", ended.said.out, ended.said.err);
    assert!(ended.said.out.starts_with("basic: ok\n  in real time"), "{}", ended.said.out);
    assert!(ended.said.err.lines().any(|line| line.contains(" lost 0")), "{}", ended.said.err);
}
