//! Consumers that accept no klines: the feed is still read, and the other consumers get every kline.

use std::io::Read as _;

use bybit_sim::Sim;
use tempfile::TempDir;

use super::{demo, each_complete, pass, run_at};
use crate::support::oracle::Oracle;
use crate::support::program::{Running, component, folder, klines};
use crate::support::received::{Received, assert_sound, received};

/// Returns the klines that jsonl has written.
fn kept(home: &TempDir) -> Vec<Received> {
    let files = std::fs::read_dir(home.path().join("klines-out")).into_iter().flatten();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // The last line may be half written.
    received(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
}

#[track_caller]
fn reach(run: &Running, home: &TempDir, sim: &Sim, ahead: i64) {
    let moment = sim.now_ms() + ahead;
    run.until("klines on disk", |_| kept(home).iter().any(|kline| kline.start > moment));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipe_and_a_guest_that_never_returns_block_neither_the_feed_nor_other_consumers() {
    let path = component("hostile");
    let toml = format!(
        "enabled_consumers = [\"console\", \"jsonl\", \"hostile\"]\n\
         [consumers.console.settings]\nshow = \"all\"\nformat = \"json\"\n\
         [consumers.hostile]\ncomponent = {path:?}\nlimits.call = \"10m\"\n\
         [consumers.hostile.settings]\nmode = \"sleep\"\n\
         [klines]\nupdate_interval = \"0s\"\nrepair = \"0s\"\n"
    );
    let (sim, home) = (demo(104).await, folder(&[("klines.toml", &toml)]));
    // Nobody reads its output: the pipe of 64 KiB is full after about 200 klines.
    let (run, mut out) = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").start_unread();
    reach(&run, &home, &sim, 6_000);
    pass(&sim, 1_000).await;
    reach(&run, &home, &sim, 6_000);
    let klines = kept(&home);
    // The pipe is full: only a reader lets the console continue.
    out.read_exact(&mut [0; 64 << 10]).unwrap();
    run.interrupt();
    // Only the closed pipe lets the console end.
    drop(out);
    let said = run.end_unread().said;
    assert_eq!(said.account("hostile").state, "abandoned", "it is still in its call: {}", said.err);
    assert_sound(&klines);
    let findings = Oracle::new(&sim, "100ms,1s").check(&klines);
    println!("{findings:?}");
    // Three symbols for 12 s, of which 2 s at each end are uncertain.
    assert!(findings.complete + findings.flat >= 3 * 8, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_does_not_wait_for_guests_that_start() {
    let path = component("hostile");
    let guest = |name: &str, mode: &str| {
        format!(
            "[consumers.{name}]\ncomponent = {path:?}\nlimits.start_up = \"1h\"\nlimits.call = \"1h\"\n\
             [consumers.{name}.settings]\nmode = \"{mode}\"\n"
        )
    };
    let toml = format!(
        "enabled_consumers = [\"console\", \"checking\", \"looping\", \"counting\"]\n\
         [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n{}{}{}",
        guest("checking", "loop-validate"),
        guest("looping", "loop-start"),
        guest("counting", "count"),
    );
    let (sim, home) = (demo(109).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").start();
    // Their calls may take an hour: klines that come before that did not wait for them.
    run.until("klines", |said| each_complete(said, "1s", 3));
    run.until("the third guest", |said| said.err.contains(" lost 0"));
    let listed: serde_json::Value =
        serde_json::from_str(&klines(home.path(), "consumer list --json").run().success().out).unwrap();
    for name in ["checking", "looping"] {
        let row = listed.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        assert_eq!((&row["state"], &row["lost"]), (&"starting".into(), &0.into()), "{row}");
        assert!(row["queue"].as_u64().unwrap() > 0, "klines wait in its queue meanwhile: {row}");
    }
    let said = run.stop().said;
    assert!(said.err.contains("checking: the component has not checked its settings yet"), "{}", said.err);
}
