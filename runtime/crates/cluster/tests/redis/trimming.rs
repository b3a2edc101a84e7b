//! Trimming: what a living group has not acknowledged stays, up to the bound, which is announced.

use std::time::Duration;

use klines_cluster::library::{Acquire, Append, PartitionView, Renew, Trim, Trimmed};
use klines_cluster::stream_id::StreamId;

use super::server::{REPLICATION, Server, caller, name, partition, wait_until};
use super::writing::{identity, version};

const LEASE: Duration = Duration::from_secs(30);

/// A partition with ten entries.
fn ten_entries(server: &mut Server) -> Vec<StreamId> {
    let (token, keys, node) = (server.hold("a"), partition(), caller("a"));
    let now = server.now();
    let append = |server: &mut Server, ago| {
        let klines = [(identity("linear BTCUSDT 1m", ago, now), version(0))];
        let call = Append { keys: &keys, caller: &node, token, replication: REPLICATION, klines: &klines };
        server.call(&call).unwrap().entry.unwrap()
    };
    let entries: Vec<StreamId> = (0..10).map(|ago| append(server, ago)).collect();
    // The entries are older than a millisecond then.
    wait_until(server, entries[9].millis + 2);
    entries
}

fn trim(server: &mut Server, age: u64, most: u64, life: u64) -> Trimmed {
    let (token, keys, node) = (server.hold("a"), partition(), caller("a"));
    let [age, life] = [age, life].map(Duration::from_millis);
    server.call(&Trim { keys: &keys, caller: &node, token, age, most, life }).unwrap()
}

#[test]
fn what_a_living_group_has_not_acknowledged_stays() {
    let mut server = Server::start();
    let (entries, keys, worker, group) = (ten_entries(&mut server), partition(), caller("w"), name("alerts"));
    let (begin, replication) = (StreamId::default(), REPLICATION);
    let acquire = Acquire { keys: &keys, group: &group, caller: &worker, lease: LEASE, replication, begin };
    let (_, progress) = server.call(&acquire).unwrap();
    let hour = 3_600_000;
    assert_eq!(trim(&mut server, 0, 100, hour), Trimmed { removed: 0, forced: 0, length: 10 });
    let (token, position) = (progress.token, entries[5]);
    server
        .call(&Renew { keys: &keys, group: &group, caller: &worker, token, lease: LEASE, replication, position })
        .unwrap();
    assert_eq!(trim(&mut server, hour, 100, hour), Trimmed { removed: 0, forced: 0, length: 10 }, "they are young");
    assert_eq!(trim(&mut server, 0, 100, hour), Trimmed { removed: 5, forced: 0, length: 5 });
    let seen = server.now();
    wait_until(&mut server, seen + 2);
    assert_eq!(trim(&mut server, 0, 100, 0), Trimmed { removed: 5, forced: 0, length: 0 }, "the group has ended");
}

#[test]
fn more_than_the_bound_is_removed_and_announced() {
    let mut server = Server::start();
    let (entries, keys, worker, group) = (ten_entries(&mut server), partition(), caller("w"), name("alerts"));
    let begin = StreamId::default();
    let acquire =
        Acquire { keys: &keys, group: &group, caller: &worker, lease: LEASE, replication: REPLICATION, begin };
    server.call(&acquire).unwrap();
    assert_eq!(trim(&mut server, 0, 4, 3_600_000), Trimmed { removed: 0, forced: 6, length: 4 });
    let state = server.call(&PartitionView { keys: &keys }).unwrap();
    assert_eq!((state.meta["forced"].as_str(), state.meta["forced_below"].clone()), ("6", entries[6].to_string()));
    assert_eq!((state.length, state.last), (4, entries[9]));
    assert!(state.holders.contains_key("a") && state.groups.contains_key("alerts"));
}
