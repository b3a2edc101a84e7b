//! Redis is away when a run ends.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SOME, Scene, assert_accounted, assert_exit, due, interrupt_twice, is_cut_short, printed};
use crate::redis::server::Server;

/// The console says which klines there are; the stream carries every closed one.
fn toml(redis: &str) -> String {
    format!(
        "enabled_consumers = [\"console\", \"redis\"]\n\
         [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n\
         [redis]\npublish = false\nstream = \"all\"\n{redis}\n"
    )
}

/// What stands for a kline and its revision.
fn identities<'a>(klines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let identity =
        |kline: &Value| ["symbol", "interval", "start", "revision"].map(|key| kline[key].to_string()).join(" ");
    klines.into_iter().map(identity).collect()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_spill_everything_is_kept_and_delivered_by_the_next_run() {
    let (mut server, scene) = (Server::start(), Scene::new(91, &toml("")).await);
    let url = server.url();
    server.kill();
    let run = scene.run().with("REDIS_URL", &url).start();
    run.until("klines", |said| printed(said) >= SOME);
    let ended = run.stop();
    let first = &ended.said;
    let account = assert_accounted(first, "redis", printed(first));
    assert_eq!((account.kept, account.state.as_str()), (printed(first) as u64, "stopped"), "{}", first.err);
    assert_exit(ended.code(), first, 0);
    server.revive();
    let run = scene.run().with("REDIS_URL", &url).start();
    run.until("klines", |said| printed(said) >= SOME);
    let second = run.stop().well();
    let account = second.account("redis");
    assert_eq!((account.delivered, account.kept), ((printed(first) + printed(&second)) as u64, 0), "{}", second.err);
    let told = lines(&(first.out.clone() + &second.out));
    assert_eq!(identities(&server.stream("all")), identities(&told));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spill_everything_is_counted_and_the_run_has_failed() {
    let scene = Scene::new(92, &toml("spill = \"0B\"")).await;
    let run = scene.run().with("REDIS_URL", "redis://127.0.0.1:1/0").start();
    run.until("klines", |said| printed(said) >= SOME);
    let ended = run.stop();
    let account = assert_accounted(&ended.said, "redis", printed(&ended.said));
    assert_eq!((account.lost_at_the_end, account.state.as_str()), (printed(&ended.said) as u64, "stopped"));
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_leaves_on_disk_what_is_there_and_counts_the_rest() {
    let scene = Scene::new(93, &toml("")).await;
    let run = scene.run().with("REDIS_URL", "redis://127.0.0.1:1/0").start();
    run.until("klines wait on disk", |said| printed(said) >= SOME && !said.logged("klines wait on disk").is_empty());
    interrupt_twice(&run);
    let ended = run.end();
    // Whether the first signal's work was done by then is a matter of time; the law is not.
    let account = assert_accounted(&ended.said, "redis", due(&ended.said));
    assert!(account.kept > 0, "{account:?}");
    assert_eq!(ended.code(), Some(i32::from(is_cut_short(&ended.said))), "{}", ended.said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_it_keeps_what_waits_for_it() {
    let (server, scene) = (Server::start(), Scene::new(94, &toml("")).await);
    let run = scene.run().with("REDIS_URL", &server.url()).start();
    run.until("klines", |said| printed(said) >= SOME);
    crate::support::program::klines(scene.folder(), "consumer pause redis").run().well();
    let before = printed(&run.said());
    run.until("klines go on", |said| printed(said) >= before + SOME);
    let said = run.stop().well();
    let account = assert_accounted(&said, "redis", printed(&said));
    assert!(account.kept >= SOME as u64 && account.delivered > 0, "{account:?}");
    assert_eq!(server.stream("all").len() as u64, account.delivered, "paused means that Redis gets nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_finds_again_what_was_on_disk() {
    let (mut server, scene) = (Server::start(), Scene::new(95, &toml("")).await);
    let url = server.url();
    server.kill();
    let run = scene.run().with("REDIS_URL", &url).with("METRICS_LISTEN", "127.0.0.1:0").start();
    run.until("klines wait on disk", |said| printed(said) >= SOME && !said.logged("klines wait on disk").is_empty());
    // Without a connection no window is closed any more; then all that was closed gets to the disk.
    scene.sim.inject(bybit_sim::Fault::Down);
    let address = crate::metrics::served(&run, "serving metrics");
    let waiting = |place| {
        let labels = [("consumer", "redis"), ("output", "stream"), ("place", place)];
        crate::metrics::page(address).value("klines_redis_backlog", &labels)
    };
    run.until("all is on disk", |said| {
        let (memory, disk) = (waiting("memory"), waiting("disk"));
        #[expect(clippy::cast_precision_loss, reason = "a count, which a float holds exactly")]
        let all = printed(said) as f64;
        !said.logged("connection lost, coming back").is_empty() && memory < 0.5 && (disk - all).abs() < 0.5
    });
    let first = run.kill().said;
    server.revive();
    scene.sim.heal();
    let run = scene.run().with("REDIS_URL", &url).start();
    run.until("klines", |said| printed(said) >= SOME);
    let second = run.stop().well();
    let stream = identities(&server.stream("all"));
    let missing: Vec<_> = identities(&lines(&first.out)).difference(&stream).cloned().collect();
    assert_eq!(missing, [""; 0], "was on disk when the process was killed");
    assert_eq!(second.account("redis").kept, 0, "{}", second.err);
}
