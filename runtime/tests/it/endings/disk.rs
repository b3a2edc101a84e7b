//! The disk is full while Redis is unreachable.

use super::{Fixture, SOME, assert_accounted, assert_exit, printed};
use crate::redis::server::Server;
use crate::support::program::Running;

/// The room is for the spill alone: a store would take it.
const TOML: &str = "enabled_consumers = [\"console\", \"redis\"]\n\
                    [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n\
                    [redis]\npublish = false\nstream = \"all\"\n[store]\nenabled = false\n";

/// A kline takes about 90 bytes on disk: this is enough for about 45 klines.
const ROOM: u64 = 4_096;

/// Starts a run whose spill may use only [`ROOM`]. The limit is set once the console runs, because instances need files
/// too.
fn run(fixture: &Fixture, url: &str) -> Running {
    let run = fixture.run().with("REDIS_URL", url).surviving_limits().start();
    run.until("the console", |said| printed(said) > 0);
    run.limit_files(ROOM);
    run.until("the disk is full", |said| !said.logged("klines cannot wait on disk").is_empty());
    let before = printed(&run.said());
    run.until("klines go on", |said| printed(said) >= before + SOME);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_without_room_on_disk_are_delivered_if_redis_comes_back_and_counted_as_lost_if_not() {
    let (mut server, fixture) = (Server::start(), Fixture::new(96, TOML).await);
    let url = server.url();
    server.kill();
    // Redis comes back.
    let first = run(&fixture, &url);
    server.revive();
    first.until("all is delivered", |said| !said.logged("caught up: no klines wait on disk").is_empty());
    let first = first.stop().success();
    let account = assert_accounted(&first, "redis", printed(&first));
    assert_eq!((account.delivered, account.kept), (printed(&first) as u64, 0), "{account:?}");
    // Redis does not come back.
    server.kill();
    let ended = run(&fixture, &url).stop();
    let account = assert_accounted(&ended.said, "redis", printed(&ended.said));
    assert!(account.kept > 0 && account.lost_at_the_end >= SOME as u64, "{account:?}");
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
    // The klines on disk are complete.
    server.revive();
    let third = fixture.run().with("REDIS_URL", &url).start();
    third.until("klines", |said| printed(said) >= SOME);
    let third = third.stop().success();
    assert_eq!(third.account("redis").delivered, account.kept + printed(&third) as u64, "{}", third.err);
}
