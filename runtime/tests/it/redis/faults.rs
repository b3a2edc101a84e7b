//! Redis is killed, hangs, is read-only, out of memory or busy, or kills its clients: every closed kline is finally
//! acknowledged, in order, and the neighbour consumer is not affected.

use std::sync::Arc;

use klines_delivery::stats::{LossReason, State};
use klines_delivery::{Blueprint, Delivery, Failure};
use klines_redis::{RedisBlueprint, Settings, Stream, Totals};
use tempfile::TempDir;

use super::rig::{Rig, SYMBOLS, assert_heard, assert_stream, batch, kline, settings, spill};
use super::server::{Server, eventually};

fn rig(server: &Server) -> (Rig, TempDir) {
    let folder = TempDir::new().unwrap();
    (Rig::start(settings(&server.url(), folder.path()), folder.path()), folder)
}

/// Waits until klines of both outputs, or of the stream alone, wait on disk.
fn spilling(rig: &Rig, both: bool) {
    eventually("klines wait on disk", || rig.stream().spilled > 0 && (!both || rig.publish().spilled > 0));
}

#[test]
fn a_killed_and_restarted_redis_has_every_closed_kline() {
    let mut server = Server::start();
    let (mut rig, _folder) = rig(&server);
    rig.feed(100);
    rig.caught_up();
    for _ in 0..2 {
        rig.feed(50);
        server.kill();
        rig.feed(100);
        spilling(&rig, true);
        rig.neighbour_has_all();
        server.revive();
        rig.feed(50);
        rig.caught_up();
    }
    assert_stream(&server, rig.fed(), 2);
    rig.stop();
}

#[test]
fn a_redis_that_hung_has_every_closed_kline() {
    let server = Server::start();
    let heard = server.subscribe(&["klines"]);
    let (mut rig, _folder) = rig(&server);
    rig.feed(20);
    rig.caught_up();
    server.freeze();
    rig.feed(200);
    spilling(&rig, true);
    rig.neighbour_has_all();
    rig.feed(20);
    server.thaw();
    rig.feed(20);
    rig.caught_up();
    assert_stream(&server, rig.fed(), 1);
    assert_heard(&heard, rig.fed(), 1);
    rig.stop();
}

#[test]
fn a_read_only_redis_is_published_to_and_gets_its_stream_later() {
    let server = Server::start();
    let (mut rig, _folder) = rig(&server);
    rig.feed(20);
    rig.caught_up();
    server.execute("REPLICAOF 127.0.0.1 1");
    rig.feed(100);
    spilling(&rig, false);
    eventually("publishing goes on", || rig.publish().acknowledged == 240);
    assert_eq!((rig.publish().spilled, rig.stream().acknowledged), (0, 40));
    server.execute("REPLICAOF NO ONE");
    rig.feed(20);
    rig.caught_up();
    assert_stream(&server, rig.fed(), 0);
    rig.stop();
}

#[test]
fn a_redis_without_memory_is_published_to_and_gets_its_stream_later() {
    let server = Server::start();
    let heard = server.subscribe(&["klines"]);
    let (mut rig, _folder) = rig(&server);
    rig.feed(20);
    rig.caught_up();
    server.execute("CONFIG SET maxmemory 1");
    rig.feed(100);
    spilling(&rig, false);
    eventually("publishing goes on", || rig.publish().acknowledged == 240);
    server.execute("CONFIG SET maxmemory 0");
    rig.feed(20);
    rig.caught_up();
    assert_stream(&server, rig.fed(), 0);
    assert_heard(&heard, rig.fed(), 0);
    assert_eq!(heard.klines("klines").len(), 280, "nothing was published twice");
    rig.stop();
}

#[test]
fn a_redis_that_is_busy_in_a_script_gets_all_klines_afterwards() {
    let server = Server::with(&["--busy-reply-threshold", "20"]);
    let heard = server.subscribe(&["klines"]);
    let (mut rig, _folder) = rig(&server);
    rig.feed(20);
    rig.caught_up();
    let mut busy = server.connection();
    let script = std::thread::spawn(move || redis::cmd("EVAL").arg("while true do end").arg(0).exec(&mut busy));
    eventually("the script runs", || {
        let answer = redis::cmd("GET").arg("any").exec(&mut server.connection());
        answer.is_err_and(|error| error.code() == Some("BUSY"))
    });
    rig.feed(100);
    spilling(&rig, true);
    rig.neighbour_has_all();
    server.execute("SCRIPT KILL");
    assert!(script.join().unwrap().is_err());
    rig.feed(20);
    rig.caught_up();
    assert_stream(&server, rig.fed(), 0);
    assert_heard(&heard, rig.fed(), 0);
    rig.stop();
}

#[test]
fn a_redis_that_kills_its_clients_again_and_again_misses_no_kline() {
    let server = Server::start();
    let heard = server.subscribe(&["klines"]);
    let (mut rig, _folder) = rig(&server);
    for round in 1..=15 {
        rig.feed(20);
        server.execute("CLIENT KILL TYPE normal");
        // In every round klines are in flight that could be lost.
        rig.feed(20);
        let half = round * 40;
        eventually("it goes on", || rig.stream().acknowledged >= half && rig.publish().acknowledged >= half);
    }
    rig.caught_up();
    assert_stream(&server, rig.fed(), 15);
    assert_heard(&heard, rig.fed(), 15);
    rig.stop();
}

#[test]
fn klines_that_wait_at_the_end_are_delivered_first_by_the_next_run() {
    let mut server = Server::start();
    let (mut first, folder) = rig(&server);
    first.feed(50);
    first.caught_up();
    server.kill();
    first.feed(150);
    let fed = first.fed();
    let kept = first.stop().stream.totals().kept;
    assert_eq!(kept, 300);
    server.revive();
    let mut second = Rig::start(settings(&server.url(), folder.path()), folder.path()).begin_at(fed);
    second.feed(50);
    second.caught_up();
    assert_eq!(second.stream().found, kept);
    assert_stream(&server, second.fed(), 1);
    second.stop();
}

#[test]
fn a_full_spill_drops_the_oldest_and_counts_every_one() {
    let mut server = Server::start();
    let folder = TempDir::new().unwrap();
    let small = Settings {
        publish: false,
        spill: Some(spill(folder.path(), 128 << 10)),
        stream: Some(Stream { name: "klines:stream".to_owned(), max_len: 1_000_000 }),
        ..settings(&server.url(), folder.path())
    };
    let mut rig = Rig::start(small, folder.path());
    server.kill();
    rig.feed(3_000);
    eventually("klines are dropped", || rig.stream().dropped > 0);
    rig.neighbour_has_all();
    server.revive();
    eventually("the rest arrives", || {
        let Totals { taken, acknowledged, dropped, .. } = rig.stream();
        taken == 6_000 && acknowledged + dropped == taken
    });
    let Totals { acknowledged, dropped, .. } = rig.stream();
    let arrived = server.stream("klines:stream");
    assert!(acknowledged > 500 && dropped > 500, "{acknowledged} {dropped}");
    assert!(arrived.len() as u64 >= acknowledged);
    let oldest = arrived[0]["start"].as_u64().unwrap() / 60_000;
    assert_eq!(oldest * 2, dropped, "only the oldest klines were dropped, by whole boundaries");
    rig.stop();
}

#[test]
fn without_room_for_klines_the_same_delivery_is_asked_for_again_and_none_is_lost() {
    let (mut server, folder) = (Server::start(), TempDir::new().unwrap());
    server.kill();
    let mut blueprint = RedisBlueprint::new(Settings { spill: None, ..settings(&server.url(), folder.path()) });
    let tallies = blueprint.tallies();
    let mut consumer = blueprint.instantiate(&Arc::default()).unwrap();
    consumer.setup().unwrap();
    consumer.start().unwrap();
    let delivery = |window| Delivery { klines: [Arc::new(kline("BTCUSDT", window))].into(), ..Delivery::default() };
    let mut given = 0;
    let refusal = loop {
        match consumer.consume(&delivery(given)) {
            Ok(_) => given += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(refusal, Failure::Retry("redis takes no klines, and no more can wait".to_owned()));
    server.revive();
    eventually("the refused delivery is taken", || consumer.consume(&delivery(given)).is_ok());
    let all = u64::try_from(given).unwrap() + 1;
    for tally in [&tallies.publish, &tallies.stream] {
        eventually("all is acknowledged", || tally.totals().acknowledged == all);
        assert_eq!(tally.totals().taken, all);
    }
    consumer.stop();
    assert_eq!(server.stream("klines:stream").len() as u64, all);
}

#[test]
fn at_the_end_the_consumer_does_not_wait_for_room_and_every_kline_is_accounted_for() {
    let (mut server, folder) = (Server::start(), TempDir::new().unwrap());
    server.kill();
    let small = Settings { publish: false, spill: None, ..settings(&server.url(), folder.path()) };
    let rig = Rig::start(small, folder.path());
    // Without waiting, as a market does, until inbox, memory and queue are full. A consumer that gets no CPU time may
    // get few of the klines: the queue drops those that do not fit.
    let mut windows = 0;
    eventually("it asks for a repetition", || {
        for window in windows..windows + 20_000 {
            rig.hub.publish(&batch(SYMBOLS.map(|symbol| kline(symbol, window))));
        }
        windows += 20_000;
        rig.summaries()[0].stats.retries > 0
    });
    let [redis, _] = rig.end();
    let stats = redis.stats;
    assert_eq!((stats.state, stats.delivered, stats.on_disk), (State::Stopped, 0, 0), "{stats:?}");
    let given = u64::try_from(windows).unwrap() * SYMBOLS.len() as u64;
    assert_eq!(stats.lost(), given, "{stats:?}");
    assert!(stats.losses.of(LossReason::QueueFull) > 0 && stats.lost_at_the_end() > 0, "{stats:?}");
}

#[test]
fn the_state_and_the_backlog_show_a_lost_and_restored_connection() {
    let mut server = Server::start();
    let (mut rig, _folder) = rig(&server);
    rig.feed(20);
    rig.caught_up();
    let state = |rig: &Rig| rig.summaries()[0].stats.state;
    assert_eq!((state(&rig), rig.summaries()[0].stats.delivered), (State::Running, 80), "two outputs of 20 boundaries");
    server.kill();
    rig.feed(100);
    spilling(&rig, true);
    eventually("it is disconnected", || state(&rig) == State::Disconnected);
    eventually("all klines wait on disk", || rig.summaries()[0].stats.on_disk == 400);
    assert_eq!(rig.summaries()[0].stats.delivered, 80, "klines that wait are not delivered");
    server.revive();
    rig.caught_up();
    eventually("it is connected", || state(&rig) == State::Running);
    assert_eq!(rig.summaries()[0].stats.delivered, 480);
    rig.stop();
}
