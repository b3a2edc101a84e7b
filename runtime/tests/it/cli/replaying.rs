//! `klines replay` as a user types it, on a recording of the real exchange.

use serde_json::Value;

use super::RECORDING;
use crate::support::program::{Ended, folder, klines};
use crate::support::received::received;

const TRADE: &str = r#"{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":1735689600005,"data":[{"T":1735689600000,"s":"ETHUSDT","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"a","BT":false}]}"#;

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
fn chosen_columns_have_the_values_of_the_json() {
    let chosen = "quality,start,buy_volume,confirm,category,revision";
    let csv = replay(&format!("--category linear --format csv --header --columns {chosen}")).success().out;
    let ndjson = replay("--category linear --format ndjson").success().out;
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(chosen));
    let rows: Vec<String> = lines.map(str::to_owned).collect();
    let expected: Vec<String> = ndjson
        .lines()
        .map(|line| {
            let json: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| json[name].as_str().map_or_else(|| json[name].to_string(), str::to_owned);
            chosen.split(',').map(text).collect::<Vec<_>>().join(",")
        })
        .collect();
    assert_eq!(rows, expected);
    assert!(rows.iter().any(|row| row.contains(",false,")) && rows.iter().any(|row| row.contains(",true,")), "{csv}");
    let header = "interval,symbol,start,open,high,low,close,volume,turnover,trades\n";
    let whole = replay("--category linear --format csv --header").success().out;
    assert_eq!(whole.strip_prefix(header), Some(&*replay("--category linear --format csv").success().out));
}

#[test]
fn decimals_of_the_scale_are_the_same_number_in_a_whole_column() {
    // The first trades need fewer decimals than the last one.
    let archive = "id,timestamp,price,volume,side\n1,1735689600000,6,1,buy\n2,1735689661000,6.5,0.25,sell\n\
                   3,1735689722000,7.125,3,buy\n";
    let home = folder(&[("AUSDT_2025-01-01.csv", archive)]);
    let run = |flags: &str| {
        let line =
            "replay AUSDT_2025-01-01.csv --intervals 1m --format csv --columns open,close,volume,turnover,trades";
        klines(home.path(), &format!("{line} {flags}")).run().success().out
    };
    let trimmed = "6,6,1,6,1\n6,6.5,0.25,1.625,1\n6.5,7.125,3,21.375,1\n";
    assert_eq!(run(""), trimmed);
    assert_eq!(run("--decimals trimmed"), trimmed);
    assert_eq!(
        run("--decimals scale --header"),
        "open,close,volume,turnover,trades\n6.000,6.000,1.00,6.00000,1\n6.000,6.500,0.25,1.62500,1\n\
         6.500,7.125,3.00,21.37500,1\n"
    );
}

#[test]
fn a_file_that_exists_is_overwritten_only_with_force() {
    let home = folder(&[("kept.csv", "kept\n")]);
    let arguments = format!("replay {RECORDING} --intervals 1s --category spot --format csv");
    let kept = || std::fs::read_to_string(home.path().join("kept.csv")).unwrap();
    std::os::unix::fs::symlink("kept.csv", home.path().join("link.csv")).unwrap();
    for name in ["kept.csv", "link.csv"] {
        let ended = klines(home.path(), &format!("{arguments} --output {name}")).run();
        assert_eq!((ended.code(), ended.said.out.as_str()), (Some(1), ""), "{name}");
        let expected = format!("error: {name} already exists: choose another --output, or overwrite it with --force\n");
        assert_eq!(ended.said.err, expected);
        assert_eq!(kept(), "kept\n");
    }
    klines(home.path(), &format!("{arguments} --output link.csv --force")).run().success();
    assert_eq!(kept(), klines(home.path(), &arguments).run().success().out);
    std::os::unix::fs::symlink("absent.csv", home.path().join("dangling.csv")).unwrap();
    klines(home.path(), &format!("{arguments} --output dangling.csv")).run().success();
    assert_eq!(std::fs::read_to_string(home.path().join("absent.csv")).unwrap(), kept());
    let own = klines(home.path(), "replay kept.csv --format csv --output ./kept.csv --force").run();
    assert!(own.said.err.contains("is an input and would be overwritten"), "{}", own.said.err);
}

#[test]
fn special_files_are_written_without_force() {
    let home = folder(&[]);
    let arguments = format!("replay {RECORDING} --intervals 1s --category spot --format csv");
    let printed = klines(home.path(), &arguments).run().success().out;
    let standard = klines(home.path(), &format!("{arguments} --output /dev/stdout")).run().success();
    assert_eq!(standard.out, printed);
    klines(home.path(), &format!("{arguments} --output /dev/null")).run().success();
    let pipe = home.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let run = klines(home.path(), &format!("{arguments} --output pipe")).start();
    assert_eq!(std::fs::read_to_string(&pipe).unwrap(), printed);
    run.end().success();
}

#[test]
fn one_thing_is_counted_in_the_singular() {
    let archive = "id,timestamp,price,volume,side\n1,1735689600000,6,1,buy\n2,1735689661000,6,1,buy\n";
    let home = folder(&[("AUSDT_2025-01-01.csv", archive), ("header.jsonl", &format!("# by hand\n{TRADE}\nnoise\n"))]);
    let said = klines(home.path(), "replay AUSDT_2025-01-01.csv --intervals 1m --consumers console").run().success();
    assert!(said.err.ends_with("2 trades, 2 counted\nconsole: 1 kline delivered (stopped)\n"), "{}", said.err);
    let said = klines(home.path(), "replay header.jsonl --intervals 1m --format csv").run().success();
    assert_eq!(said.err, "1 trade, 1 counted; skipped 1 comment, 1 line of text\n");
}

#[test]
fn lines_of_no_known_kind_are_skipped_and_counted() {
    let recording = std::fs::read_to_string(RECORDING).unwrap();
    let header = "# recorded by hand\n{\"recorder\":\"mine\",\"version\":1}\n";
    let mixed = format!("{TRADE}\nHTTP/1.1 200 OK\n# by hand\n{TRADE}\n");
    let home = folder(&[("headed.jsonl", &format!("{header}{recording}")), ("mixed.jsonl", &mixed)]);
    let arguments = "--category linear --intervals 1s,1m --format csv";
    let said = klines(home.path(), &format!("replay headed.jsonl {arguments}")).run().success();
    assert_eq!(said.out, replay("--category linear --format csv").success().out);
    assert!(said.err.contains("; skipped 1 comment, 1 JSON object of another kind\n"), "{}", said.err);
    let said = klines(home.path(), "verify mixed.jsonl").run();
    assert!(said.said.err.contains("skipped 1 comment, 1 line of text\n"), "{}", said.said.err);
    let verified = klines(home.path(), "verify headed.jsonl").run().success();
    assert_eq!(verified.err, "skipped 1 comment, 1 JSON object of another kind\n");
    assert_eq!(verified.out, klines(home.path(), &format!("verify {RECORDING}")).run().success().out);
}

#[test]
fn an_output_that_is_an_input_under_another_name_is_refused() {
    let home = folder(&[]);
    std::fs::copy(RECORDING, home.path().join("in.jsonl")).unwrap();
    std::fs::hard_link(home.path().join("in.jsonl"), home.path().join("out.csv")).unwrap();
    let arguments = "replay in.jsonl --category linear --format csv --output out.csv --force";
    let ended = klines(home.path(), arguments).run();
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    assert!(ended.said.err.contains("is an input and would be overwritten"), "{}", ended.said.err);
    let piped = klines(home.path(), "replay - --category linear --format csv --output in.jsonl --force");
    let ended = piped.reading(&home.path().join("in.jsonl")).run();
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    assert!(ended.said.err.contains("is an input and would be overwritten"), "{}", ended.said.err);
    assert_eq!(std::fs::read(home.path().join("in.jsonl")).unwrap(), std::fs::read(RECORDING).unwrap());
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
