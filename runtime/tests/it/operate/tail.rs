//! `klines tail`: what it prints, how it ends, and that a reader that does not read costs the run nothing.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::wait_for_socket;
use crate::live::{UNREPAIRED, demo, run_at};
use crate::support::program::{Said, component, folder, klines};

const SYMBOLS: &str = "BTCUSDT,ETHUSDT,SOLUSDT";

fn objects(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Returns confirmed klines by series, start and revision.
fn confirmed(text: &str) -> HashMap<String, Value> {
    let key =
        |kline: &Value| ["symbol", "interval", "start", "revision"].map(|field| kline[field].to_string()).join(" ");
    let klines = objects(text).into_iter().filter(|kline| kline["confirm"] == true && kline["open"].is_string());
    klines.map(|kline| (key(&kline), kline)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_consumers_receive_and_publish_is_printed() {
    let toml = format!("{UNREPAIRED}[consumers.mine]\ncomponent = {:?}\nsettings.emit = true\n", component("ledger"));
    let (sim, home) = (demo(91).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1s").with("ENABLED_CONSUMERS", "console,mine").start();
    wait_for_socket(&run, home.path());
    let tail = |arguments: &str| klines(home.path(), &format!("tail {arguments}")).start();
    let all = tail("--format ndjson");
    let chosen = tail("kline.1s.BTCUSDT ext.mine.*.100ms.ETHUSDT --format ndjson --updates");
    let text = tail("kline.*.SOLUSDT");
    all.until("klines and values", |said| {
        let values = objects(&said.out).iter().filter(|one| one["consumer"] == "mine").count();
        values > 30 && confirmed(&said.out).len() > 60
    });
    chosen.until("klines, updates and values", |said| {
        let found = objects(&said.out);
        let klines = |confirm: bool| found.iter().any(|one| one["open"].is_string() && one["confirm"] == confirm);
        klines(true) && klines(false) && found.iter().any(|one| one["name"].is_string())
    });
    text.until("lines", |said| said.out.lines().count() > 5);
    let said = run.stop().success();
    let delivered = confirmed(&said.out);
    let ended = all.end().success();
    assert!(ended.err.contains("klines has ended"), "{}", ended.err);
    let tailed = confirmed(&ended.out);
    assert!(tailed.len() > 60);
    for (key, kline) in &tailed {
        // The console prints most fields.
        for (field, value) in delivered[key].as_object().unwrap() {
            assert_eq!(kline[field], *value, "the console received the same: {kline}");
        }
    }
    for one in objects(&chosen.end().success().out) {
        let series = (one["symbol"].as_str().unwrap(), one["interval"].as_str().unwrap());
        let expected = if one["name"].is_string() { ("ETHUSDT", "100ms") } else { ("BTCUSDT", "1s") };
        assert_eq!(series, expected, "{one}");
    }
    let text = text.end().success().out;
    assert!(text.lines().all(|line| line.contains("  SOLUSDT  ")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_a_closed_pipe_are_normal_endings_and_an_unknown_topic_is_not() {
    let (sim, home) = (demo(92).await, folder(&[("klines.toml", UNREPAIRED)]));
    let none = klines(home.path(), "tail").run();
    assert_eq!(none.code(), Some(1));
    assert!(none.said.err.contains("no klines runs with the data_dir `klines-data`"), "{}", none.said.err);
    let run = run_at(&home, &sim, SYMBOLS, "100ms,1D").start();
    wait_for_socket(&run, home.path());
    let interrupted = klines(home.path(), "tail").start();
    interrupted.until("klines", |said| said.out.lines().count() > 3);
    assert_eq!(interrupted.stop().success().err, "");
    // No kline of a day comes: the end of its reader is noticed without one.
    let (quiet, out) = klines(home.path(), "tail kline.1D.BTCUSDT").start_unread();
    drop(out);
    assert_eq!(quiet.end_unread().success().err, "");
    for (topic, reason) in [
        ("kline.1m.BTCUSDT", "error: topic `kline.1m.BTCUSDT`: interval `1m` is not made here, only 100ms, 1D"),
        ("kline.1D.XUSDT", "error: topic `kline.1D.XUSDT`: symbol `XUSDT` of linear is not watched here"),
        ("ext.mine.x.1D.BTCUSDT", "no consumer `mine` runs here, but console"),
        ("btcusdt", "a topic is kline.{interval}.{symbol}, such as kline.1m.BTCUSDT"),
    ] {
        let ended = klines(home.path(), &format!("tail {topic}")).run();
        assert_eq!(ended.code(), Some(1));
        assert!(ended.said.err.contains(reason), "{}", ended.said.err);
    }
    run.stop().success();
}

/// Counts what a client of the socket is sent, until it has missed something.
fn read_until_missed(stream: &UnixStream) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for line in BufReader::new(stream).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line["missed"].as_u64() {
            Some(missed) => {
                counts.insert("missed", missed);
                return counts;
            }
            None => *counts.entry("values").or_default() += u64::from(line["value"].is_object()),
        }
    }
    panic!("the run has ended: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_misses_values_and_delays_nobody() {
    let toml = format!(
        "{UNREPAIRED}[consumers.flood]\ncomponent = {:?}\nsettings.mode = \"emit-flood\"\n",
        component("hostile")
    );
    let (sim, home) = (demo(93).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, SYMBOLS, "100ms").with("ENABLED_CONSUMERS", "console,flood").start();
    wait_for_socket(&run, home.path());
    let mut stream = UnixStream::connect(home.path().join("klines-data/admin.sock")).unwrap();
    stream.write_all(b"{\"v\":1,\"op\":\"tail\",\"topics\":[\"ext.flood.*.*.*\"]}\n").unwrap();
    let lines = |said: &Said| said.out.lines().count();
    // The flood is many times what a tap and a socket hold.
    let before = lines(&run.said());
    run.until("klines meanwhile", |said| lines(said) > before + 600);
    let counts = read_until_missed(&stream);
    assert!(counts["missed"] > 0 && counts["values"] > 0, "{counts:?}");
    drop(stream);
    let before = lines(&run.said());
    run.until("klines afterwards", |said| lines(said) > before + 30);
    let said = run.stop().success_except(|name| name == "flood");
    assert_eq!(said.account("console").lost, 0);
}
