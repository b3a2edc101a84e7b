//! What the functions refuse: stale tokens, and arguments and keys that no klines sends.

use std::time::Duration;

use klines_cluster::lease::Token;
use klines_cluster::library::{Append, Call, Drop, Hold, Renew, Resend, Trim};
use klines_cluster::member::Instance;
use klines_cluster::membership::Phase;
use klines_cluster::model::Caller;
use klines_cluster::refusal::Refusal;
use klines_cluster::stream_id::StreamId;
use klines_cluster::version::{Given, Identity, MAX_KLINES, MAX_NUMBER, Published, Version};

use super::server::{REPLICATION, Server, caller, command, name, partition, wait_until};
use super::writing::{identity, version};

const LEASE: Duration = Duration::from_secs(30);

#[track_caller]
fn refused<C: Call>(server: &mut Server, call: &C) -> Option<Refusal>
where
    C::Answer: std::fmt::Debug,
{
    server.call(call).expect_err("it is refused").refusal()
}

#[test]
fn only_the_newest_token_of_a_living_lease_writes() {
    let mut server = Server::start();
    let (keys, node, replication) = (partition(), caller("a"), REPLICATION);
    let old = server.hold("a");
    let token = server.hold("a");
    assert!(token > old);
    let now = server.now();
    let klines = [(identity("linear BTCUSDT 1m", 0, now), version(0))];
    let mut stale = vec![(old, node.clone()), (Token(token.0 + 1), node.clone()), (token, caller("b"))];
    stale.push((token, Caller { instance: Instance(8), ..node.clone() }));
    for (token, caller) in &stale {
        let (token, caller) = (*token, caller);
        let append = Append { keys: &keys, caller, token, replication, klines: &klines };
        assert_eq!(refused(&mut server, &append), Some(Refusal::Stale), "{caller:?} {token}");
        let resend = Resend { keys: &keys, caller, token, replication, epoch: 0, klines: &[] };
        assert_eq!(refused(&mut server, &resend), Some(Refusal::Stale));
        let (age, life) = (Duration::ZERO, Duration::ZERO);
        assert_eq!(
            refused(&mut server, &Trim { keys: &keys, caller, token, age, most: 1, life }),
            Some(Refusal::Stale)
        );
    }
    assert_eq!(server.run::<u64>(&["EXISTS", &keys.stream, &keys.series]), 0, "nothing was written");
    server.call(&Append { keys: &keys, caller: &node, token, replication, klines: &klines }).unwrap();
    assert_eq!(server.call(&Drop { keys: &keys, caller: &node, token }), Ok(true));
    let append = Append { keys: &keys, caller: &node, token, replication, klines: &klines };
    assert_eq!(refused(&mut server, &append), Some(Refusal::Stale), "the lease was given back");
}

#[test]
fn a_lease_that_is_over_writes_nothing_although_nobody_took_over() {
    let mut server = Server::start();
    server.hold("b");
    let (keys, node, lease) = (partition(), caller("a"), Duration::from_millis(30));
    let held = server.call(&Hold { keys: &keys, caller: &node, token: None, lease, phase: Phase::Counting }).unwrap();
    wait_until(&mut server, held.now + 30);
    let append = Append { keys: &keys, caller: &node, token: held.token, replication: REPLICATION, klines: &[] };
    let error = server.call(&append).unwrap_err();
    assert_eq!(
        error.to_string(),
        "klines_v1_append: the lease of a on {klines:main:3}:holders is over (STALE): ask for a new lease; what was sent with \
         the old one was not written"
    );
    let renewed = Hold { keys: &keys, caller: &node, token: Some(held.token), lease, phase: Phase::Counting };
    assert_eq!(refused(&mut server, &renewed), Some(Refusal::Stale));
}

#[test]
fn a_kline_that_no_node_sends_is_refused_and_nothing_of_its_call_is_written() {
    let mut server = Server::start();
    let (token, keys, node, replication) = (server.hold("a"), partition(), caller("a"), REPLICATION);
    let now = server.now();
    let good = (identity("linear BTCUSDT 1m", 0, now), version(0));
    let with = |change: &dyn Fn(&mut Identity, &mut Version)| {
        let (mut identity, mut version) = good.clone();
        change(&mut identity, &mut version);
        vec![good.clone(), (identity, version)]
    };
    let future = now / 3_600_000 + 2;
    for klines in [
        with(&|identity, _| identity.series = "linear BTCUSDT".to_owned()),
        with(&|identity, _| identity.series = format!("linear {} 1m", "A".repeat(100))),
        with(&|identity, _| identity.series = "linear BTC\nUSDT 1m".to_owned()),
        with(&|identity, _| identity.start = MAX_NUMBER + 1),
        with(&|identity, _| identity.bucket.number = future),
        with(&|_, version| version.body = String::new()),
        with(&|_, version| version.body = "a\nb".to_owned()),
        with(&|_, version| version.body = "a".repeat(1_025)),
        vec![good.clone(); MAX_KLINES + 1],
    ] {
        let append = Append { keys: &keys, caller: &node, token, replication, klines: &klines };
        assert_eq!(refused(&mut server, &append), Some(Refusal::Argument), "{:?}", klines.last());
    }
    let given = |revision, sequence| {
        let kline = Published { identity: good.0.clone(), version: version(0), revision, sequence };
        Given { kline, own: true }
    };
    for kline in [given(0, 0), given(0, MAX_NUMBER + 1), given(u64::from(u32::MAX) + 1, 1)] {
        let klines = [kline];
        let resend = Resend { keys: &keys, caller: &node, token, replication, epoch: 0, klines: &klines };
        assert_eq!(refused(&mut server, &resend), Some(Refusal::Argument), "{klines:?}");
    }
    assert_eq!(server.run::<u64>(&["EXISTS", &keys.stream, &keys.series, &keys.bucket(good.0.bucket)]), 0);
}

#[test]
fn the_last_number_of_a_series_is_the_last() {
    let mut server = Server::start();
    let (token, keys, node, replication) = (server.hold("a"), partition(), caller("a"), REPLICATION);
    let now = server.now();
    let last = Published {
        identity: identity("linear BTCUSDT 1m", 1, now),
        version: version(0),
        revision: 0,
        sequence: MAX_NUMBER,
    };
    let last = Given { kline: last, own: true };
    server.call(&Resend { keys: &keys, caller: &node, token, replication, epoch: 0, klines: &[last] }).unwrap();
    assert_eq!(server.run::<String>(&["HGET", &keys.series, "linear BTCUSDT 1m"]), MAX_NUMBER.to_string());
    let klines =
        [(identity("spot BTCUSDT 1m", 0, now), version(0)), (identity("linear BTCUSDT 1m", 0, now), version(0))];
    let append = Append { keys: &keys, caller: &node, token, replication, klines: &klines };
    assert_eq!(refused(&mut server, &append), Some(Refusal::Full));
    assert_eq!(server.run::<u64>(&["XLEN", &keys.stream]), 1, "the call was refused as a whole");
}

#[test]
fn keys_of_another_partition_and_broken_arguments_are_refused() {
    let mut server = Server::start();
    server.hold("a");
    let keys = partition();
    let (meta, holders, other) = (keys.meta.as_str(), keys.holders.as_str(), "{klines:main:4}:holders");
    let instance = "0000000000000007";
    for words in [
        vec!["FCALL", "klines_v1_hold", "2", meta, other, "a", instance, "0", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", holders, meta, "a", instance, "0", "5000", "seeding"],
        vec![
            "FCALL",
            "klines_v1_hold",
            "2",
            "{klines:main}:meta",
            "{klines:main}:holders",
            "a",
            instance,
            "0",
            "5000",
            "seeding",
        ],
        vec!["FCALL", "klines_v1_hold", "1", meta, "a", instance, "0", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "0", "a", instance, "0", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a b", instance, "0", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", "7", "0", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "-1", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "1e3", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "9007199254740993", "5000", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "0", "30001", "seeding"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "0", "5000", "waiting"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "0", "5000"],
        vec!["FCALL", "klines_v1_hold", "2", meta, holders, "a", instance, "0", "5000", "seeding", "more"],
    ] {
        let error = server.query(&command(&words)).expect_err("it is refused");
        assert_eq!(error.code(), Some("ARGUMENT"), "{words:?}: {error}");
    }
}

#[test]
fn a_worker_moves_its_position_only_forward_and_only_on_the_redis_of_its_lease() {
    let mut server = Server::start();
    let (keys, node, group) = (partition(), caller("w"), name("alerts"));
    let begin = StreamId { millis: 5, number: 1 };
    let acquire = klines_cluster::library::Acquire {
        keys: &keys,
        group: &group,
        caller: &node,
        lease: LEASE,
        replication: "r1",
        begin,
    };
    let (_, progress) = server.call(&acquire).unwrap();
    let renew = |replication, millis, number| {
        let (token, position) = (progress.token, StreamId { millis, number });
        Renew { keys: &keys, group: &group, caller: &node, token, lease: LEASE, replication, position }
    };
    assert_eq!(refused(&mut server, &renew("r1", 5, 0)), Some(Refusal::Argument));
    assert_eq!(refused(&mut server, &renew("r2", 6, 0)), Some(Refusal::Resend));
    // A double would take these two for the same.
    server.call(&renew("r1", 6, 9_007_199_254_740_993)).unwrap();
    assert_eq!(refused(&mut server, &renew("r1", 6, 9_007_199_254_740_992)), Some(Refusal::Argument));
    let (_, progress) = server.call(&acquire).unwrap();
    assert_eq!(progress.position, StreamId { millis: 6, number: 9_007_199_254_740_993 });
}
