//! `klines replay` as a user types it, on a recording of the real exchange.

use serde_json::Value;

use super::RECORDING;
use crate::support::program::{Ended, folder, klines};
use crate::support::received::received;

fn replay(arguments: &str) -> Ended {
    let home = folder(&[]);
    klines(home.path(), &format!("replay {RECORDING} --intervals 1s,1m {arguments}")).run()
}

#[test]
fn rows_are_in_order_and_whole() {
    let said = replay("--category linear --format csv").success();
    let rows: Vec<Vec<&str>> = said.out.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    assert!(rows.iter().all(|row| row.len() == 10 && ["1s", "1m"].contains(&row[0])), "{}", said.out);
    assert!(said.err.contains(" trades, "), "the outcome of the trades: {}", said.err);
    let closed = replay("--category linear --format csv --closed-only").success();
    let open = rows.len() - closed.out.lines().count();
    assert!(open > 0, "the last windows are open");
    assert!(said.out.starts_with(&closed.out), "the open ones are last");
}

#[test]
fn every_format_holds_the_same_klines() {
    let csv = replay("--category linear --format csv").success().out;
    let closes = |of: &dyn Fn(&str) -> String, text: &str| text.lines().map(of).collect::<Vec<_>>();
    let from_csv = closes(&|line| line.split(',').nth(6).unwrap().to_owned(), &csv);
    let ndjson = replay("--category linear --format ndjson").success().out;
    let json = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let from_ndjson = closes(&|line| json(line)["close"].as_str().unwrap().to_owned(), &ndjson);
    let bybit = replay("--category linear --format bybit").success().out;
    let from_bybit = closes(&|line| json(line)["data"][0]["close"].as_str().unwrap().to_owned(), &bybit);
    assert_eq!(from_csv, from_ndjson);
    assert_eq!(from_csv, from_bybit);
    assert!(bybit.lines().all(|line| json(line)["topic"].as_str().unwrap().starts_with("kline.")));
}

#[test]
fn a_file_gets_what_standard_output_would() {
    let home = folder(&[]);
    let arguments = format!("replay {RECORDING} --intervals 1s --category spot --format csv");
    let printed = klines(home.path(), &arguments).run().success();
    let written = klines(home.path(), &format!("{arguments} --output out.csv")).run().success();
    assert_eq!(written.out, "");
    assert_eq!(std::fs::read_to_string(home.path().join("out.csv")).unwrap(), printed.out);
    assert!(!printed.out.is_empty());
    let ended = klines(home.path(), &format!("{arguments} --output absent/out.csv")).run();
    assert_eq!(ended.code(), Some(1));
    assert!(ended.said.err.contains("absent/out.csv"), "{}", ended.said.err);
}

#[test]
fn a_recording_of_two_categories_needs_the_category() {
    let ended = replay("--format csv");
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    assert!(ended.said.err.contains("--category"), "the fix: {}", ended.said.err);
    assert_eq!(ended.said.out, "");
}

#[test]
fn consumers_get_a_recording_as_they_get_a_live_feed() {
    let config = "[consumers.console.settings]\nformat = \"json\"\n";
    let home = folder(&[("klines.toml", config)]);
    let arguments = format!("replay {RECORDING} --intervals 1s --category linear");
    let console = klines(home.path(), &format!("{arguments} --consumers console")).run().success();
    let rows = klines(home.path(), &format!("{arguments} --format csv --closed-only")).run().success();
    let jsonl = klines(home.path(), &format!("{arguments} --consumers jsonl")).run().success();
    let received = received(&console.out);
    crate::support::received::assert_sound(&received);
    let known: std::collections::BTreeSet<(&str, i64)> =
        received.iter().map(|kline| (kline.symbol.as_str(), kline.start)).collect();
    assert_eq!(known.len(), rows.out.lines().count());
    let files: String = std::fs::read_dir(home.path().join("klines-out"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(files, console.out, "the same lines in the file as on the console");
    assert!(jsonl.err.contains(&format!("jsonl: {} klines delivered (stopped)", received.len())), "{}", jsonl.err);
}

#[test]
fn text_for_people_has_no_colour_where_there_is_no_terminal() {
    let said = replay("--category linear --consumers console").success();
    assert!(said.out.contains('✓') && !said.out.contains('\u{1b}'), "{}", said.out);
}

#[test]
fn a_category_before_a_symbol_is_the_one_that_is_read() {
    let chosen = replay("--symbols spot:ETHUSDT --format csv").success();
    let by_flag = replay("--symbols ETHUSDT --category spot --format csv").success();
    assert_eq!(chosen.out, by_flag.out);
    assert!(!chosen.out.is_empty());
    for two in ["--symbols spot:ETHUSDT,linear:BTCUSDT", "--symbols spot:ETHUSDT --category linear"] {
        let ended = replay(&format!("{two} --format csv"));
        assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
        assert!(ended.said.err.contains("a replay reads one category"), "{}", ended.said.err);
    }
}

#[test]
fn a_file_without_any_readable_frame_is_a_failure() {
    let home =
        folder(&[("junk.txt", "this is\nno recording\n"), ("answer.jsonl", "{\"op\":\"pong\",\"success\":true}\n")]);
    for (file, arguments) in
        [("junk.txt", "--format csv"), ("answer.jsonl", "--format ndjson"), ("answer.jsonl", "--consumers console")]
    {
        let ended = klines(home.path(), &format!("replay {file} --category linear {arguments}")).run();
        assert_eq!((ended.code(), ended.said.out.as_str()), (Some(1), ""), "{file}: {}", ended.said.err);
        assert!(ended.said.err.contains("error: "), "{file}: {}", ended.said.err);
    }
}
