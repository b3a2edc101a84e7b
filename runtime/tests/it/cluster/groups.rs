//! Consumers that share the partitions: each kline is processed once, whoever works, and each state is what a recomputation from
//! the streams gives.

use std::collections::{BTreeMap, BTreeSet};

use redis::streams::StreamRangeReply;

use super::Cluster;
use crate::redis::server::eventually;
use crate::support::program::{Running, component};

/// The partitions of these clusters.
const PARTITIONS: u16 = 8;
/// Klines of three symbols in two intervals for some seconds.
const SOME: u64 = 18;

/// What one kline is: symbol, interval, start and revision.
type Identity = (String, String, String, String);
type State = BTreeMap<String, String>;

/// Lets the ledger ask for each third batch again.
const AGAIN: &str = "settings.retry_every = 3\n";

/// A worker: the ledger records every kline that it gets in its state.
fn worker(cluster: &mut Cluster, name: &str, section: &str) -> Running {
    worker_with(cluster, name, "ledger", section)
}

fn worker_with(cluster: &mut Cluster, name: &str, consumers: &str, section: &str) -> Running {
    let ledger = component("ledger");
    let section = format!("[consumers.ledger]\ncomponent = {ledger:?}\n{section}");
    cluster.node_of(name, "serve", &[("ENABLED_CONSUMERS", consumers)], &section)
}

fn key(partition: u16, kind: &str) -> String {
    format!("{{klines:main:{partition}}}:{kind}")
}

/// Returns the state of the ledger in a partition, and the positions beside it.
fn state(cluster: &Cluster, partition: u16) -> (State, State) {
    let fields: State =
        redis::cmd("HGETALL").arg(key(partition, "state:ledger")).query(&mut cluster.redis.connection()).unwrap();
    let of = |kind: char| {
        let own = fields.iter().filter_map(|(field, value)| Some((field.strip_prefix(kind)?, value)));
        own.map(|(field, value)| (field.to_owned(), value.clone())).collect()
    };
    (of('='), of('@'))
}

fn number(state: &State, key: &str) -> u64 {
    state.get(key).map_or(0, |text| text.parse().unwrap())
}

/// Returns how many klines the states of all partitions have.
fn counted(cluster: &Cluster) -> u64 {
    (0..PARTITIONS).map(|partition| number(&state(cluster, partition).0, "count")).sum()
}

fn more(cluster: &Cluster, klines: u64) {
    let before = counted(cluster);
    eventually("the group has processed more klines", || counted(cluster) >= before + klines);
}

/// Returns the record of the group in a partition: process, token, end of the lease, worker, replication id, position.
fn record(cluster: &Cluster, partition: u16) -> Option<Vec<String>> {
    let record: Option<String> =
        redis::cmd("HGET").arg(key(partition, "groups")).arg("ledger").query(&mut cluster.redis.connection()).unwrap();
    record.map(|record| record.split(' ').map(str::to_owned).collect())
}

/// Returns who has a lease.
fn owners(cluster: &Cluster) -> BTreeSet<String> {
    (0..PARTITIONS).filter_map(|partition| Some(record(cluster, partition)?[3].clone())).collect()
}

/// Returns the klines of a stream with the ids of their entries, in order.
fn published(cluster: &Cluster, partition: u16) -> Vec<(String, Identity)> {
    let mut asked = redis::cmd("XRANGE");
    asked.arg(key(partition, "stream")).arg("-").arg("+");
    let entries: StreamRangeReply = asked.query(&mut cluster.redis.connection()).unwrap();
    let mut found = Vec::new();
    for entry in entries.ids {
        for (field, value) in entry.map.iter().filter(|(field, _)| *field != "epoch") {
            let words: Vec<&str> = field.split(' ').collect();
            let value: String = redis::from_redis_value(value.clone()).unwrap();
            let revision = value.split(' ').next().unwrap().to_owned();
            found.push((entry.id.clone(), (words[1].into(), words[2].into(), words[3].into(), revision)));
        }
    }
    found
}

fn recorded(state: &State) -> BTreeSet<Identity> {
    let keys = state.keys().filter_map(|key| key.strip_prefix("kline/"));
    let identity = |key: &str| {
        let [_, symbol, interval, start, revision] = key.split('/').collect::<Vec<_>>().try_into().unwrap();
        [symbol, interval, start, revision].map(str::to_owned).into()
    };
    keys.map(identity).collect()
}

fn order(id: &str) -> (u64, u64) {
    let (millis, number) = id.split_once('-').unwrap();
    (millis.parse().unwrap(), number.parse().unwrap())
}

/// Checks that a state has every kline from its first one up to the position, and nothing else; each once.
#[track_caller]
fn assert_state(published: &[(String, Identity)], position: &str, recorded: &BTreeSet<Identity>) {
    let first = published.iter().find(|(_, identity)| recorded.contains(identity)).map(|(id, _)| order(id));
    let between = |id: &str| first.is_some_and(|first| (first..=order(position)).contains(&order(id)));
    let expected: BTreeSet<Identity> =
        published.iter().filter(|(id, _)| between(id)).map(|(_, identity)| identity.clone()).collect();
    assert_eq!(*recorded, expected, "up to {position}");
}

/// Checks the state of each partition, after all workers have ended.
#[track_caller]
fn check(cluster: &Cluster) {
    let mut checked = 0;
    for partition in 0..PARTITIONS {
        let (state, _) = state(cluster, partition);
        let recorded = recorded(&state);
        assert_eq!(number(&state, "count"), recorded.len() as u64);
        assert_eq!(["doubles", "lost"].map(|key| number(&state, key)), [0, 0]);
        let Some(record) = record(cluster, partition) else { continue };
        assert_state(&published(cluster, partition), &record[5], &recorded);
        checked += recorded.len();
    }
    assert!(checked > 0, "nothing was processed");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_with_their_state_when_workers_come_and_go() {
    let mut cluster = Cluster::start(91).await;
    let one = cluster.node("one", "ingest");
    cluster.until_counting(&["one"]);
    let red = worker(&mut cluster, "red", AGAIN);
    more(&cluster, SOME);
    let blue = worker(&mut cluster, "blue", AGAIN);
    let both: BTreeSet<String> = ["blue", "red"].map(str::to_owned).into();
    eventually("both work", || owners(&cluster) == both);
    more(&cluster, SOME);
    red.kill();
    eventually("one has all", || owners(&cluster) == ["blue".to_owned()].into());
    more(&cluster, SOME);
    let red = worker(&mut cluster, "red", AGAIN);
    eventually("both work again", || owners(&cluster) == both);
    blue.freeze();
    eventually("the other has all", || owners(&cluster) == ["red".to_owned()].into());
    more(&cluster, SOME);
    blue.thaw();
    eventually("both work after all", || owners(&cluster) == both);
    let said = blue.stop().success();
    assert!(
        !said.logged("leases of partitions are over: whoever gets them goes on from what is acknowledged").is_empty(),
        "{}",
        said.err
    );
    more(&cluster, SOME);
    red.stop().success();
    check(&cluster);
    one.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_group_has_one_instance_with_one_state_for_all_partitions() {
    let mut cluster = Cluster::start(92).await;
    let one = cluster.node("one", "ingest");
    cluster.until_counting(&["one"]);
    let workers = ["red", "blue"].map(|name| worker(&mut cluster, name, "group = \"single\"\n"));
    more(&cluster, SOME);
    let at_work = |cluster: &Cluster| record(cluster, 0).unwrap()[3].clone();
    let first = at_work(&cluster);
    let [mut left, mut rest] = [Vec::new(), Vec::new()];
    for (name, worker) in ["red", "blue"].into_iter().zip(workers) {
        if name == first { left.push(worker) } else { rest.push(worker) }
    }
    left.remove(0).kill();
    eventually("the other one works", || at_work(&cluster) != first);
    more(&cluster, SOME);
    rest.remove(0).stop().success();
    let (kept, positions) = state(&cluster, 0);
    let recorded = recorded(&kept);
    assert_eq!(recorded.iter().map(|(symbol, ..)| symbol).collect::<BTreeSet<_>>().len(), 3, "all symbols");
    assert_eq!((number(&kept, "count"), number(&kept, "doubles")), (recorded.len() as u64, 0));
    for partition in 0..PARTITIONS {
        let published = published(&cluster, partition);
        let own: BTreeSet<Identity> = published.iter().map(|(_, identity)| identity.clone()).collect();
        let own: BTreeSet<Identity> = recorded.intersection(&own).cloned().collect();
        let Some(of_group) = record(&cluster, partition).map(|record| record[5].clone()) else {
            assert_eq!(own, BTreeSet::new(), "none of the symbols is in this partition");
            continue;
        };
        let position = positions.get(&partition.to_string()).unwrap_or(&of_group);
        assert_eq!(*position, of_group, "trimming knows the position");
        assert_state(&published, position, &own);
    }
    one.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_has_lost_its_last_writes_has_states_that_agree_with_the_positions() {
    let mut cluster = Cluster::start(93).await;
    let [one, two] = ["one", "two"].map(|name| cluster.node(name, "ingest"));
    cluster.until_counting(&["one", "two"]);
    let red = worker(&mut cluster, "red", AGAIN);
    more(&cluster, SOME);
    cluster.redis.execute("SAVE");
    more(&cluster, SOME);
    cluster.redis.kill();
    cluster.redis.revive();
    more(&cluster, 3 * SOME);
    red.stop().success();
    check(&cluster);
    one.kill();
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_component_is_quarantined_gives_its_partitions_to_others() {
    let mut cluster = Cluster::start(94).await;
    let one = cluster.node("one", "ingest");
    cluster.until_counting(&["one"]);
    // With the console the run goes on.
    let red = worker_with(&mut cluster, "red", "console,ledger", "settings.trap_every = 1\n");
    red.until("it is quarantined", |said| said.err.contains("consumer crashes too often and is quarantined"));
    eventually("nobody has its partitions", || {
        let now = cluster.redis.execute("TIME");
        let now: (u64, u64) = redis::from_redis_value(now).unwrap();
        let is_over = |record: Vec<String>| record[2].parse::<u64>().unwrap() <= now.0 * 1_000;
        (0..PARTITIONS).filter_map(|partition| record(&cluster, partition)).all(is_over)
    });
    let blue = worker(&mut cluster, "blue", AGAIN);
    eventually("the other one has all", || owners(&cluster) == ["blue".to_owned()].into());
    more(&cluster, SOME);
    assert_eq!(owners(&cluster), ["blue".to_owned()].into());
    blue.stop().success();
    red.stop();
    one.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_configured_again_goes_on_with_its_partitions() {
    let mut cluster = Cluster::start(95).await;
    let one = cluster.node("one", "ingest");
    cluster.until_counting(&["one"]);
    let red = worker(&mut cluster, "red", AGAIN);
    more(&cluster, SOME);
    let file = cluster.folders["red"].path().join("klines.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(AGAIN, "settings.retry_every = 5\n")).unwrap();
    red.hang_up();
    red.until("it has read its configuration", |said| !said.logged("configuration read again").is_empty());
    more(&cluster, SOME);
    red.stop().success();
    check(&cluster);
    one.kill();
}
