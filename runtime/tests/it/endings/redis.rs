//! Redis is unreachable when a run ends.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Fixture, SOME, assert_accounted, assert_exit, due, interrupt_twice, is_cut_short, printed};
use crate::redis::server::Server;

/// Enables the console, which shows which klines there are, and Redis with a stream of every closed kline.
fn toml(redis: &str) -> String {
    format!(
        "enabled_consumers = [\"console\", \"redis\"]\n\
         [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n\
         [redis]\npublish = false\nstream = \"all\"\n{redis}\n"
    )
}

/// Returns texts that identify the klines and their revisions.
fn identities<'a>(klines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let identity =
        |kline: &Value| ["symbol", "interval", "start", "revision"].map(|key| kline[key].to_string()).join(" ");
    klines.into_iter().map(identity).collect()
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_spill_all_klines_are_kept_and_delivered_by_the_next_run() {
    let (mut server, fixture) = (Server::start(), Fixture::new(91, &toml("")).await);
    let url = server.url();
    server.kill();
    let run = fixture.run().with("REDIS_URL", &url).start();
    run.until("klines", |said| printed(said) >= SOME);
    let ended = run.stop();
    let first = &ended.said;
    let account = assert_accounted(first, "redis", printed(first));
    assert_eq!((account.kept, account.state.as_str()), (printed(first) as u64, "stopped"), "{}", first.err);
    assert_exit(ended.code(), first, 0);
    server.revive();
    let run = fixture.run().with("REDIS_URL", &url).start();
    run.until("klines", |said| printed(said) >= SOME);
    let second = run.stop().success();
    let account = second.account("redis");
    assert_eq!((account.delivered, account.kept), ((printed(first) + printed(&second)) as u64, 0), "{}", second.err);
    let received = lines(&(first.out.clone() + &second.out));
    assert_eq!(identities(&server.stream("all")), identities(&received));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spill_all_klines_are_counted_as_lost_and_the_run_fails() {
    let fixture = Fixture::new(92, &toml("spill = \"0B\"")).await;
    let run = fixture.run().with("REDIS_URL", "redis://127.0.0.1:1/0").start();
    run.until("klines", |said| printed(said) >= SOME);
    let ended = run.stop();
    let account = assert_accounted(&ended.said, "redis", printed(&ended.said));
    assert_eq!((account.lost_at_the_end, account.state.as_str()), (printed(&ended.said) as u64, "stopped"));
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_leaves_the_klines_on_disk_and_counts_the_others() {
    let fixture = Fixture::new(93, &toml("")).await;
    let run = fixture.run().with("REDIS_URL", "redis://127.0.0.1:1/0").start();
    run.until("klines wait on disk", |said| printed(said) >= SOME && !said.logged("klines wait on disk").is_empty());
    interrupt_twice(&run);
    let ended = run.end();
    // Whether the work of the first signal was done by then depends on timing; the invariant does not.
    let account = assert_accounted(&ended.said, "redis", due(&ended.said));
    assert!(account.kept > 0, "{account:?}");
    assert_eq!(ended.code(), Some(i32::from(is_cut_short(&ended.said))), "{}", ended.said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_that_wait_for_a_paused_redis_consumer_are_kept() {
    let (server, fixture) = (Server::start(), Fixture::new(94, &toml("")).await);
    let run = fixture.run().with("REDIS_URL", &server.url()).start();
    run.until("klines", |said| printed(said) >= SOME);
    crate::support::program::klines(fixture.folder(), "consumer pause redis").run().success();
    let before = printed(&run.said());
    run.until("klines go on", |said| printed(said) >= before + SOME);
    let said = run.stop().success();
    let account = assert_accounted(&said, "redis", printed(&said));
    assert!(account.kept >= SOME as u64 && account.delivered > 0, "{account:?}");
    assert_eq!(server.stream("all").len() as u64, account.delivered, "Redis gets nothing while its consumer is paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_next_run_delivers_what_was_on_disk() {
    let (mut server, fixture) = (Server::start(), Fixture::new(95, &toml("")).await);
    let url = server.url();
    server.kill();
    let run = fixture.run().with("REDIS_URL", &url).with("METRICS_LISTEN", "127.0.0.1:0").start();
    run.until("klines wait on disk", |said| printed(said) >= SOME && !said.logged("klines wait on disk").is_empty());
    // Without a connection no further window closes, so that all closed klines reach the disk.
    fixture.sim.inject(bybit_sim::Fault::Down);
    let address = crate::metrics::served(&run, "serving metrics");
    let waiting = |place| {
        let labels = [("consumer", "redis"), ("output", "stream"), ("place", place)];
        crate::metrics::page(address).value("klines_redis_backlog_klines", &labels)
    };
    run.until("all is on disk", |said| {
        let (memory, disk) = (waiting("memory"), waiting("disk"));
        #[expect(clippy::cast_precision_loss, reason = "a count, which a float holds exactly")]
        let all = printed(said) as f64;
        !said.logged("connection lost, reconnecting").is_empty() && memory < 0.5 && (disk - all).abs() < 0.5
    });
    let first = run.kill().said;
    server.revive();
    fixture.sim.heal();
    let run = fixture.run().with("REDIS_URL", &url).start();
    run.until("klines", |said| printed(said) >= SOME);
    let second = run.stop().success();
    let stream = identities(&server.stream("all"));
    let missing: Vec<_> = identities(&lines(&first.out)).difference(&stream).cloned().collect();
    assert_eq!(missing, [""; 0], "was on disk when the process was killed");
    assert_eq!(second.account("redis").kept, 0, "{}", second.err);
}
