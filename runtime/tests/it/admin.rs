//! The operator's commands against the real binary: what they show, what they change, and who may use them.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::live::{UNREPAIRED, demo, each_complete, run_at};
use crate::support::oracle::Oracle;
use crate::support::program::{Ended, Running, component, folder, klines};
use crate::support::received::{assert_sound, complete, received};

const DEMO: &str = "BTCUSDT,ETHUSDT,SOLUSDT";
const PATIENCE: Duration = Duration::from_secs(60);

fn ask(home: &Path, arguments: &str) -> Ended {
    klines(home, &format!("consumer {arguments}")).run()
}

/// Returns the consumers as `list --json` shows them.
fn list(home: &Path) -> Vec<Value> {
    let said = ask(home, "list --json").success();
    serde_json::from_str(&said.out).unwrap()
}

fn row(home: &Path, name: &str) -> Value {
    list(home).into_iter().find(|row| row["name"] == name).unwrap()
}

fn wait_for_socket(run: &Running, home: &Path) {
    run.until("the socket", |_| home.join("klines-data/admin.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_what_runs_and_what_crashes() {
    let path = component("hostile");
    let toml = format!(
        "enabled_consumers = [\"console\", \"bad\"]\n[consumers.bad]\ncomponent = {path:?}\n\
         [consumers.bad.settings]\nmode = \"trap\"\n"
    );
    let (sim, home) = (demo(81).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, DEMO, "100ms").start();
    wait_for_socket(&run, home.path());
    // The same delivery crashes it twice and is then set aside.
    run.until("crashes", |_| {
        let bad = row(home.path(), "bad");
        bad["crashes"].as_u64() >= Some(2) && bad["set_aside"].as_u64() >= Some(1)
    });
    run.until("klines", |_| row(home.path(), "console")["klines"].as_u64() >= Some(5));
    let console = row(home.path(), "console");
    assert_eq!((&console["state"], &console["kind"]), (&"running".into(), &"wasm".into()), "{console}");
    assert!(console["memory"].as_u64().unwrap() > 65_536 && console["lost"] == 0, "{console}");
    let said = ask(home.path(), "list").success();
    let states: Vec<Vec<&str>> = said.out.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(states[..2], [["NAME", "KIND", "STATE"], ["console", "wasm", "running"]]);
    let said = ask(home.path(), "logs bad -n 1000").success();
    assert!(said.out.contains("klines: consumer crashed and gets a new instance"), "{}", said.out);
    run.stop().success_except(|name| name == "bad");
    assert!(!home.path().join("klines-data/admin.sock").exists(), "the socket is removed with the run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_to_the_end_of_the_run() {
    let toml =
        format!("[consumers.mine]\ncomponent = {:?}\n[consumers.mine.settings]\nperiod = 3\n", component("average"));
    let (sim, home) = (demo(82).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, DEMO, "100ms").with("ENABLED_CONSUMERS", "console,mine").with("LOG_LEVEL", "error");
    let run = run.start();
    wait_for_socket(&run, home.path());
    let follower = klines(home.path(), "consumer logs mine --follow -n 0").start();
    let averages = |out: &str| out.lines().filter(|line| line.contains(" its average: ")).count();
    follower.until("lines as they come", |said| averages(&said.out) >= 5);
    run.until("lines that are kept", |_| averages(&ask(home.path(), "logs mine").success().out) >= 5);
    let said = ask(home.path(), "logs mine -n 2 --json").success();
    let numbers: Vec<u64> = said
        .out
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["at"].as_str().unwrap().ends_with('Z') && line["level"] == "INFO", "{line}");
            line["number"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(numbers.len(), 2);
    assert_eq!(numbers[0] + 1, numbers[1]);
    let said = run.stop().success();
    assert_eq!(averages(&said.err), 0, "a quiet log stays quiet");
    assert!(follower.end().success().err.contains("klines has ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_that_come_in_a_pause_are_delivered_after_it() {
    let (sim, home) = (demo(83).await, folder(&[("klines.toml", UNREPAIRED)]));
    let run = run_at(&home, &sim, DEMO, "100ms,1s").start();
    wait_for_socket(&run, home.path());
    run.until("klines", |said| each_complete(said, "1s", 1));
    let ended = ask(home.path(), "pause console");
    assert!(ended.success().err.contains("console is paused"));
    run.until("klines that wait", |_| row(home.path(), "console")["queue"].as_u64() >= Some(30));
    // By now everything that was delivered before the pause has been read.
    let before = run.said().out;
    run.until("more that wait", |_| row(home.path(), "console")["queue"].as_u64() >= Some(90));
    assert_eq!(row(home.path(), "console")["state"], "paused");
    assert_eq!(run.said().out, before, "nothing is delivered in a pause");
    ask(home.path(), "resume console").success();
    let goal = complete(&before, "BTCUSDT", "1s") + 4;
    run.until("what waited", |said| complete(&said.out, "BTCUSDT", "1s") >= goal);
    let said = run.stop().success();
    let received = received(&said.out);
    assert_sound(&received);
    Oracle::new(&sim, "100ms,1s").check(&received);
    assert!(
        said.err.contains("\"consumer is paused\"") && said.err.contains("\"consumer is resumed\""),
        "{}",
        said.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_the_new_file_and_a_bad_one_changes_nothing() {
    let toml = "[consumers.mine]\ncomponent = \"mine.wasm\"\n[consumers.mine.settings]\nperiod = 3\n";
    let (sim, home) = (demo(84).await, folder(&[("klines.toml", toml)]));
    let file = home.path().join("mine.wasm");
    std::fs::copy(component("average"), &file).unwrap();
    let run = run_at(&home, &sim, DEMO, "100ms").with("ENABLED_CONSUMERS", "console,mine").start();
    wait_for_socket(&run, home.path());
    let version = row(home.path(), "mine")["version"].as_str().unwrap().to_owned();
    let said = ask(home.path(), "reload mine").success();
    assert!(said.err.contains(&format!("mine runs its component of sha256 {version}")), "{}", said.err);
    run.until("the new version", |said| !said.logged("consumer runs its new version").is_empty());
    std::fs::write(&file, "not a component").unwrap();
    let ended = ask(home.path(), "reload mine");
    assert_eq!(ended.code(), Some(1));
    assert!(ended.said.err.contains("is not WebAssembly"), "{}", ended.said.err);
    let before = row(home.path(), "mine")["klines"].as_u64().unwrap();
    run.until("it goes on", |_| row(home.path(), "mine")["klines"].as_u64().unwrap() > before + 5);
    let mine = row(home.path(), "mine");
    assert_eq!((&mine["state"], mine["lost"].as_u64()), (&"running".into(), Some(0)));
    assert_eq!(mine["version"], version.as_str());
    assert!(mine["memory"].as_u64().unwrap() > 65_536, "the memory of the new instance is shown: {mine}");
    for (arguments, reason) in [
        ("reload console", "`console` has no component file to load again"),
        ("pause nobody", "no consumer `nobody` runs here, but console, mine"),
        ("logs nobody", "no consumer `nobody` runs here, but console, mine"),
    ] {
        let ended = ask(home.path(), arguments);
        assert_eq!(ended.code(), Some(1));
        assert!(ended.said.err.contains(reason), "{arguments}: {}", ended.said.err);
    }
    run.stop().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_private_and_the_one_of_a_dead_run_is_replaced() {
    let (sim, home) = (demo(85).await, folder(&[]));
    let socket = home.path().join("klines-data/admin.sock");
    let no_klines = |ended: Ended| {
        assert_eq!(ended.code(), Some(1));
        assert!(ended.said.err.contains("no klines runs with the data_dir `klines-data`"), "{}", ended.said.err);
    };
    no_klines(ask(home.path(), "list"));
    let first = run_at(&home, &sim, "BTCUSDT", "1s").start();
    wait_for_socket(&first, home.path());
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o777;
    first.until("the mode of the socket", |_| mode(&socket) == 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    let second = run_at(&home, &sim, "BTCUSDT", "1s").start();
    let warning = "no admin socket: `klines consumer` cannot reach this run";
    second.until("the warning", |said| !said.logged(warning).is_empty());
    second.until("it runs", |said| !said.logged("subscribed").is_empty());
    assert!(second.stop().success().err.contains("another klines runs with this data_dir"));
    assert_eq!(list(home.path()).len(), 1, "the first one still answers");
    first.kill();
    no_klines(ask(home.path(), "list"));
    let third = run_at(&home, &sim, "BTCUSDT", "1s").start();
    third.until("its socket", |_| ask(home.path(), "list").code() == Some(0));
    third.until("it runs", |said| !said.logged("subscribed").is_empty());
    assert_eq!(third.said().logged(warning), [Value::Null; 0]);
    third.stop().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_and_silence_is_cut() {
    let (sim, home) = (demo(86).await, folder(&[]));
    let run = run_at(&home, &sim, "BTCUSDT", "1s").start();
    let path = home.path().join("klines-data/admin.sock");
    run.until("its socket", |_| ask(home.path(), "list").code() == Some(0));
    let answer = |request: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may cut the connection before the whole request is written.
        let _ = stream.write_all(request.as_bytes());
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line);
        line
    };
    for (request, expected) in [
        ("hello\n".to_owned(), "not JSON"),
        ("{\"op\":\"list\"}\n".to_owned(), "speaks version 1"),
        ("{\"v\":2,\"op\":\"list\"}\n".to_owned(), "speaks version 1"),
        ("{\"v\":1,\"op\":\"delete\"}\n".to_owned(), "not a request"),
        (format!("{{\"v\":1,\"op\":\"list\",\"x\":\"{}\"}}\n", "x".repeat(8_000)), "at most 4096 bytes"),
    ] {
        let answer = answer(&request);
        assert!(answer.contains("\"error\"") && answer.contains(expected), "{request}: {answer}");
    }
    // More connections than are served at a time: each is cut when its time is over, and then others are served.
    let silent: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert_eq!(list(home.path()).len(), 1);
    drop(silent);
    run.stop().success();
}
