//! The disk takes no more while Redis is away.

use super::{SOME, Scene, assert_accounted, assert_exit, printed};
use crate::redis::server::Server;
use crate::support::program::Running;

const TOML: &str = "enabled_consumers = [\"console\", \"redis\"]\n\
                    [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n\
                    [redis]\npublish = false\nstream = \"all\"\n";

/// A kline takes some 90 bytes on disk: this is enough for about 45.
const ROOM: u64 = 4_096;

/// Starts a run whose disk takes no more than that of the spill once the console runs: an instance needs files, too.
fn run(scene: &Scene, url: &str) -> Running {
    let run = scene.run().with("REDIS_URL", url).surviving_limits().start();
    run.until("the console", |said| printed(said) > 0);
    run.limit_files(ROOM);
    run.until("the disk is full", |said| !said.logged("klines cannot wait on disk").is_empty());
    let before = printed(&run.said());
    run.until("klines go on", |said| printed(said) >= before + SOME);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_does_not_take_is_delivered_if_redis_comes_back_and_counted_if_not() {
    let (mut server, scene) = (Server::start(), Scene::new(96, TOML).await);
    let url = server.url();
    server.kill();
    // Redis comes back.
    let first = run(&scene, &url);
    server.revive();
    first.until("all is delivered", |said| !said.logged("caught up: no klines wait on disk").is_empty());
    let first = first.stop().well();
    let account = assert_accounted(&first, "redis", printed(&first));
    assert_eq!((account.delivered, account.kept), (printed(&first) as u64, 0), "{account:?}");
    // It does not.
    server.kill();
    let ended = run(&scene, &url).stop();
    let account = assert_accounted(&ended.said, "redis", printed(&ended.said));
    assert!(account.kept > 0 && account.lost_at_the_end >= SOME as u64, "{account:?}");
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
    // What the disk took is whole.
    server.revive();
    let third = scene.run().with("REDIS_URL", &url).start();
    third.until("klines", |said| printed(said) >= SOME);
    let third = third.stop().well();
    assert_eq!(third.account("redis").delivered, account.kept + printed(&third) as u64, "{}", third.err);
}
