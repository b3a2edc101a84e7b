//! Standard output is not read, or its reader goes away, as in `| head`. The files of jsonl show which klines there were.

use std::io::Read as _;

use klines_system::clock::LocalClock;
use serde_json::Value;

use super::{Fixture, SOME, assert_exit, interrupt_twice};
use crate::metrics::{health, served};
use crate::support::program::{Account, Said, folder, klines};
use crate::support::stream::Stream;

const TOML: &str = "enabled_consumers = [\"console\", \"jsonl\"]\n\
                    [consumers.console]\nclosed_only = true\nsettings.format = \"json\"\n";

/// What the log says when the reader of the console's output has gone.
const FINISHED: &str = "consumer has finished: the reader of its standard output has gone";

/// Counts the lines in the files of jsonl.
fn kept(fixture: &Fixture) -> usize {
    lines(fixture).len()
}

/// Counts the klines in the files of jsonl whose windows begin at `time` or later. The last line may be incomplete.
fn kept_from(fixture: &Fixture, time: i64) -> usize {
    let starts =
        lines(fixture).into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok()?["start"].as_i64());
    starts.filter(|start| *start >= time).count()
}

fn lines(fixture: &Fixture) -> Vec<String> {
    let files = std::fs::read_dir(fixture.folder().join("klines-out")).into_iter().flatten();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Asserts that both consumers account for the same number of klines. Returns the account of the console.
#[track_caller]
fn assert_same(said: &Said) -> Account {
    let (console, jsonl) = (said.account("console"), said.account("jsonl"));
    assert_eq!(console.delivered + console.lost, jsonl.delivered + jsonl.lost, "{}", said.err);
    console
}

/// Returns whether there were enough klines that the pipe of 64 KiB must be full: a line has more than 300 bytes.
fn is_stuck(fixture: &Fixture) -> bool {
    kept(fixture) > SOME + 64 * 1024 / 300
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_blocked_output_the_console_loses_what_it_holds_and_readyz_reports_the_end() {
    let fixture = Fixture::new(101, TOML).await;
    let (run, out) = fixture.run().with("METRICS_LISTEN", "127.0.0.1:0").start_unread();
    let address = served(&run, "serving metrics");
    run.until("the pipe is full", |_| is_stuck(&fixture));
    assert_eq!(health(address, "/readyz").0, 200);
    run.interrupt();
    run.until("/readyz to report the end", |_| {
        let (status, body) = health(address, "/readyz");
        status == 503 && body["status"] == "unavailable" && body["reasons"].to_string().contains("ending")
    });
    run.until("the log to name the consumer that is waited for", |said| {
        let waiting = said.logged("waiting for the consumer to finish");
        waiting.iter().any(|line| line["consumer"] == "console" && line["in_hand"].as_u64() > Some(0))
    });
    let ended = run.end_unread();
    drop(out);
    let account = assert_same(&ended.said);
    assert_eq!((account.state.as_str(), ended.said.account("jsonl").lost), ("abandoned", 0), "{}", ended.said.err);
    assert_eq!(ended.said.account("jsonl").delivered, kept(&fixture) as u64);
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
    assert!(account.lost_at_the_end > 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_blocked_output_a_second_signal_ends_at_once_and_reports_what_is_lost() {
    let fixture = Fixture::new(102, TOML).await;
    let (run, out) = fixture.run().start_unread();
    run.until("the pipe is full", |_| is_stuck(&fixture));
    interrupt_twice(&run);
    let ended = run.end_unread();
    drop(out);
    let account = assert_same(&ended.said);
    assert_eq!(account.state, "abandoned", "{}", ended.said.err);
    assert!(account.lost_at_the_end > 0, "{account:?}");
    assert_eq!(ended.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_output_ends_the_console_and_nothing_else() {
    let fixture = Fixture::new(103, TOML).await;
    let (run, mut out) = fixture.run().start_unread();
    out.read_exact(&mut [0; 1_000]).unwrap();
    drop(out);
    run.until("the console has finished", |said| !said.logged(FINISHED).is_empty());
    // The console had finished before the window of any of these klines began, so it lost every one. The number of lines
    // in the files proves less: klines of before its end may reach them after it.
    let finished = LocalClock::start().now().get();
    run.until("klines go on", |_| kept_from(&fixture, finished) >= SOME);
    run.interrupt();
    let ended = run.end_unread();
    let account = assert_same(&ended.said);
    assert_eq!((account.state.as_str(), account.lost_at_the_end), ("finished", 0), "{}", ended.said.err);
    assert!(account.lost >= SOME as u64, "{account:?}");
    assert_exit(ended.code(), &ended.said, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_only_output_is_closed_ends_with_success() {
    let fixture = Fixture::new(104, "[consumers.console]\nsettings.format = \"json\"\n").await;
    let (run, mut out) = fixture.run().start_unread();
    out.read_exact(&mut [0; 1_000]).unwrap();
    drop(out);
    let ended = run.end_unread();
    assert_eq!(ended.code(), Some(0), "{}", ended.said.err);
    let account = ended.said.account("console");
    assert_eq!((account.state.as_str(), account.lost_at_the_end), ("finished", 0), "{}", ended.said.err);
    assert!(!ended.said.err.contains("error"), "{}", ended.said.err);
}

#[test]
fn a_replay_into_a_closed_output_ends_with_success_before_the_end_of_the_recording() {
    let (mut stream, mut recording) = (Stream::new(20, 100_000), String::new());
    while stream.frame(&mut recording) > 0 {}
    let home = folder(&[("long.ndjson", &recording)]);
    let (run, mut out) = klines(home.path(), "replay long.ndjson --consumers console").start_unread();
    out.read_exact(&mut [0; 1_000]).unwrap();
    drop(out);
    let ended = run.end_unread();
    assert_eq!(ended.code(), Some(0), "{}", ended.said.err);
    assert_eq!(ended.said.account("console").state, "finished", "{}", ended.said.err);
    // The line that a whole replay prints.
    assert!(!ended.said.err.contains("trades, "), "{}", ended.said.err);
}
