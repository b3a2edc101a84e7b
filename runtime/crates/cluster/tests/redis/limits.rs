//! The bounds of what Redis keeps, with small ones in the place of the real ones.

use std::time::Duration;

use klines_cluster::library::{Acquire, Append, Call, Hold, Join, PartitionView, source};
use klines_cluster::member::About;
use klines_cluster::membership::Phase;
use klines_cluster::refusal::Refusal;
use klines_cluster::stream_id::StreamId;
use redis::Value;

use super::server::{REPLICATION, Server, caller, cluster, name, partition};
use super::writing::{identity, version};

const LEASE: Duration = Duration::from_secs(30);

/// A server whose functions keep two of everything, and five entries.
fn small() -> Server {
    let mut server = Server::bare();
    let text = source().replace("MAX_SERIES = 1024, 16, 256, 65536", "MAX_SERIES = 2, 2, 2, 2");
    let text = text.replace("MAX_STREAM = 512, 64, 8, 1000000", "MAX_STREAM = 512, 64, 8, 5");
    server.run::<Value>(&["FUNCTION", "LOAD", &text]);
    server
}

#[track_caller]
fn is_full<C: Call>(server: &mut Server, call: &C) -> bool {
    server.call(call).is_err_and(|error| error.refusal() == Some(Refusal::Full))
}

#[test]
fn there_is_no_third_of_two() {
    let mut server = small();
    let (of, keys, about) = (cluster(), partition(), About::default());
    let third = ["a", "b", "c", "b"].map(|node| {
        let (caller, group, begin) = (caller(node), name(node), StreamId::default());
        let join = Join { keys: &of, caller: &caller, lease: LEASE, about: &about };
        let hold = Hold { keys: &keys, caller: &caller, token: None, lease: LEASE, phase: Phase::Seeding };
        let acquire = Acquire { keys: &keys, group: &group, caller: &caller, lease: LEASE, replication: "r1", begin };
        [is_full(&mut server, &join), is_full(&mut server, &hold), is_full(&mut server, &acquire)]
    });
    assert_eq!(third, [[false; 3], [false; 3], [true; 3], [false; 3]]);
    let (token, now) = (server.hold("a"), server.now());
    let (node, replication) = (caller("a"), REPLICATION);
    let klines = ["linear A 1m", "linear B 1m", "linear C 1m"].map(|series| (identity(series, 0, now), version(0)));
    let append = Append { keys: &keys, caller: &node, token, replication, klines: &klines };
    assert!(is_full(&mut server, &append));
}

#[test]
fn a_stream_that_nobody_trims_keeps_its_newest_entries() {
    let mut server = small();
    let (token, keys, node, now) = (server.hold("a"), partition(), caller("a"), server.now());
    for ago in 0..9 {
        let klines = [(identity("linear A 1m", ago, now), version(0))];
        server.call(&Append { keys: &keys, caller: &node, token, replication: REPLICATION, klines: &klines }).unwrap();
    }
    let state = server.call(&PartitionView { keys: &keys }).unwrap();
    assert_eq!((state.length, state.meta["forced"].as_str()), (5, "4"));
}
