//! Nobody reads standard output, or nobody does any more. The files of jsonl say which klines there were.

use std::io::Read as _;

use super::{SOME, Scene, assert_exit, interrupt_twice};
use crate::metrics::{judged, served};
use crate::support::program::{Account, Said};

const TOML: &str = "enabled_consumers = [\"console\", \"jsonl\"]\n\
                    [consumers.console]\nclosed_only = true\nsettings.format = \"json\"\n";

/// Lines in the files.
fn kept(scene: &Scene) -> usize {
    let files = std::fs::read_dir(scene.folder().join("klines-out")).into_iter().flatten();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count()).sum()
}

/// Both consumers account for as many klines.
#[track_caller]
fn assert_same(said: &Said) -> Account {
    let (console, jsonl) = (said.account("console"), said.account("jsonl"));
    assert_eq!(console.delivered + console.lost, jsonl.delivered + jsonl.lost, "{}", said.err);
    console
}

/// Whether the console has had klines to print for so long that the pipe, of 64 KiB, must be full: a line has more than
/// 300 bytes.
fn is_stuck(scene: &Scene) -> bool {
    kept(scene) > SOME + 64 * 1024 / 300
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_it_costs_the_console_what_it_holds_and_readyz_says_that_the_run_ends() {
    let scene = Scene::new(101, TOML).await;
    let (run, out) = scene.run().with("METRICS_LISTEN", "127.0.0.1:0").start_unread();
    let address = served(&run, "serving metrics");
    run.until("the pipe is full", |_| is_stuck(&scene));
    assert_eq!(judged(address, "/readyz").0, 200);
    run.interrupt();
    run.until("it is said that the run ends", |_| {
        let (status, body) = judged(address, "/readyz");
        status == 503 && body["status"] == "unavailable" && body["reasons"].to_string().contains("ending")
    });
    run.until("it is said what is waited for", |said| {
        let waiting = said.logged("waiting for the consumer to finish");
        waiting.iter().any(|line| line["consumer"] == "console" && line["in_hand"].as_u64() > Some(0))
    });
    let ended = run.end_unread();
    drop(out);
    let account = assert_same(&ended.said);
    assert_eq!((account.state.as_str(), ended.said.account("jsonl").lost), ("abandoned", 0), "{}", ended.said.err);
    assert_eq!(ended.said.account("jsonl").delivered, kept(&scene) as u64);
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
    assert!(account.lost_at_the_end > 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_a_second_signal_ends_at_once_and_says_what_is_lost() {
    let scene = Scene::new(102, TOML).await;
    let (run, out) = scene.run().start_unread();
    run.until("the pipe is full", |_| is_stuck(&scene));
    interrupt_twice(&run);
    let ended = run.end_unread();
    drop(out);
    let account = assert_same(&ended.said);
    assert_eq!(account.state, "abandoned", "{}", ended.said.err);
    assert!(account.lost_at_the_end > 0, "{account:?}");
    assert_eq!(ended.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_it_ends_the_console_and_nothing_else() {
    let scene = Scene::new(103, TOML).await;
    let (run, mut out) = scene.run().start_unread();
    out.read_exact(&mut [0; 1_000]).unwrap();
    drop(out);
    run.until("the console has failed", |said| !said.logged("consumer failed and is stopped").is_empty());
    let before = kept(&scene);
    run.until("klines go on", |_| kept(&scene) >= before + SOME);
    run.interrupt();
    let ended = run.end_unread();
    let account = assert_same(&ended.said);
    assert_eq!((account.state.as_str(), account.lost_at_the_end), ("failed", 0), "{}", ended.said.err);
    assert!(account.lost >= SOME as u64, "{account:?}");
    assert_exit(ended.code(), &ended.said, 0);
}
