//! `klines replay --values`: every confirmed value of a component, compared with what the klines of the same replay say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::RECORDING;
use crate::support::program::{Ended, component, folder, klines};

const HEADER: &str = "consumer,name,category,symbol,interval,sequence,start,end,confirm,revision,value";

/// Returns the file of a consumer that publishes the middle of the prices of every kline, and a signal for closed ones.
fn toml() -> String {
    format!("[consumers.mine]\ncomponent = {:?}\nsettings.emit = true\n", component("ledger"))
}

/// Returns an archive with `count` trades, one a second, whose prices go up and down.
fn archive(count: u64) -> String {
    let row = |at: u64| {
        let time = 1_735_689_600_000 + at * 1_000;
        format!("{at},{time},{}.{},0.5,{}\n", 100 + at % 17, at % 10, if at.is_multiple_of(2) { "buy" } else { "sell" })
    };
    format!("id,timestamp,price,volume,side\n{}", (0..count).map(row).collect::<String>())
}

/// Splits a csv row as RFC 4180 says.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => fields.last_mut().unwrap().push(letters.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

/// Returns the values that belong to the closed klines of a replay, in the order of the windows, and each as it is in
/// the file.
fn expected(said: &Ended) -> BTreeMap<(String, String, i64), (String, Value)> {
    let klines = said.said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let number = |kline: &Value, field: &str| kline[field].as_str().unwrap().parse::<f64>().unwrap();
    let text = |kline: &Value, field: &str| kline[field].as_str().unwrap().to_owned();
    let entry = |kline: Value| {
        let middle = f64::midpoint(number(&kline, "high"), number(&kline, "low"));
        let side = if number(&kline, "close") >= number(&kline, "open") { "buy" } else { "sell" };
        let signal = format!(r#"{{"side":"{side}","text":"<b>signal</b>"}}"#);
        let key = (text(&kline, "symbol"), text(&kline, "interval"), kline["start"].as_i64().unwrap());
        (key, (signal, Value::from(middle)))
    };
    klines.map(entry).collect()
}

#[test]
fn every_closed_kline_has_its_values_in_the_file() {
    let home = folder(&[("klines.toml", &toml()), ("AUSDT_2025-01-01.csv", &archive(3_000))]);
    for input in [
        format!("{RECORDING} --category linear --intervals 1s,1m"),
        "AUSDT_2025-01-01.csv --intervals 1s,1m".to_owned(),
    ] {
        let category = if input.starts_with(RECORDING) { "linear" } else { "spot" };
        let klines_of = klines(home.path(), &format!("replay {input} --format ndjson --closed-only")).run();
        let expected = expected(&klines_of);
        let arguments = format!("replay {input} --consumers mine --values mine.csv --force");
        let said = klines(home.path(), &arguments).run().success();
        let file = std::fs::read_to_string(home.path().join("mine.csv")).unwrap();
        let mut lines = file.lines();
        assert_eq!(lines.next(), Some(HEADER));
        let rows: Vec<Vec<String>> = lines.map(fields).collect();
        assert!(said.err.ends_with(&format!("{} values written to mine.csv\n", rows.len())), "{}", said.err);
        let mut last: BTreeMap<(String, String, i64), [String; 2]> = BTreeMap::new();
        let mut sequences: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for row in &rows {
            assert_eq!((row.len(), row[0].as_str(), row[2].as_str(), row[8].as_str()), (11, "mine", category, "true"));
            let sequence = sequences.entry((row[1].clone(), row[3].clone(), row[4].clone())).or_default();
            *sequence += 1;
            assert_eq!(row[5], sequence.to_string(), "each value once and in order: {row:?}");
            let value = last.entry((row[3].clone(), row[4].clone(), row[6].parse().unwrap())).or_default();
            value[usize::from(row[1] == "signal")].clone_from(&row[10]);
        }
        assert_eq!(last.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (key, [middle, signal]) in &last {
            let (expected_signal, expected_middle) = &expected[key];
            assert_eq!(
                (signal, serde_json::from_str::<Value>(middle).unwrap().as_f64()),
                (expected_signal, expected_middle.as_f64())
            );
        }
        let arguments = arguments.replace("mine.csv", "mine.ndjson");
        klines(home.path(), &arguments).run().success();
        let json = std::fs::read_to_string(home.path().join("mine.ndjson")).unwrap();
        let of_json = json.lines().map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned);
            HEADER.split(',').map(text).collect::<Vec<_>>()
        });
        assert_eq!(of_json.collect::<Vec<_>>(), rows);
    }
}

#[test]
fn a_native_consumer_changes_nothing_in_the_file() {
    let toml = format!("{}[websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n", toml());
    let home = folder(&[("klines.toml", &toml), ("AUSDT_2025-01-01.csv", &archive(300))]);
    let arguments = "replay AUSDT_2025-01-01.csv --intervals 1s --consumers mine,websocket --values mine.csv";
    let run = klines(home.path(), arguments).with("WSS_AUTH_USER", "it").with("WSS_AUTH_KEY", "canary-0815-0123456789");
    let said = run.run().success();
    assert!(said.err.ends_with("596 values written to mine.csv\n"), "{}", said.err);
}

#[test]
fn a_file_is_kept_and_what_cannot_be_written_is_a_failure() {
    let home = folder(&[("klines.toml", &toml()), ("AUSDT_2025-01-01.csv", &archive(90)), ("kept.csv", "kept\n")]);
    let run = |flags: &str| klines(home.path(), &format!("replay AUSDT_2025-01-01.csv --intervals 1s {flags}")).run();
    let ended = run("--consumers mine --values kept.csv");
    let expected = "error: kept.csv already exists: choose another --values, or overwrite it with --force\n";
    assert_eq!((ended.code(), ended.said.err.as_str()), (Some(1), expected));
    let ended = run("--consumers mine --values AUSDT_2025-01-01.csv --force");
    assert!(
        ended.said.err.contains("is an input and would be overwritten: choose another --values"),
        "{}",
        ended.said.err
    );
    let ended = run("--consumers console --values none.csv");
    let expected =
        "error: no enabled consumer can publish values, so --values would write none: enable one with --consumers\n";
    assert_eq!((ended.code(), ended.said.err.as_str()), (Some(1), expected));
    assert!(!home.path().join("none.csv").exists());
    std::os::unix::fs::symlink("/dev/full", home.path().join("full.csv")).unwrap();
    let ended = run("--consumers mine --values full.csv");
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    assert!(
        ended.said.err.ends_with("error: full.csv is incomplete: No space left on device (os error 28)\n"),
        "{}",
        ended.said.err
    );
    assert_eq!(std::fs::read_to_string(home.path().join("kept.csv")).unwrap(), "kept\n");
}
