//! Nodes that end, and a Redis that does.

use std::collections::{BTreeMap, BTreeSet};

use bybit_sim::Fault;

use super::{Cluster, more};
use crate::metrics;
use crate::redis::server::eventually;
use crate::support::program::{Said, component};
use crate::support::received::{last_revisions, received};

/// Klines of three symbols in two intervals for about four seconds.
const SOME: usize = 18;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_replaced_and_comes_back() {
    let mut cluster = Cluster::start(81).await;
    let [one, two] = ["one", "two"].map(|name| cluster.node(name, "ingest"));
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one", "two"]);
    more(&serve, SOME);
    one.kill();
    cluster.until_counting(&["two"]);
    more(&serve, SOME);
    let one = cluster.node("one", "ingest");
    cluster.until_counting(&["one", "two"]);
    two.kill();
    more(&serve, SOME);
    cluster.check(&serve.stop().success());
    one.kill();
}

/// The next one has nothing of the symbols on its disk: it learns from Redis what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_watched_is_repaired_by_the_node_that_takes_over() {
    let mut cluster = Cluster::start(87).await;
    let nodes = ["one", "two"].map(|name| cluster.node(name, "ingest"));
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one", "two"]);
    more(&serve, SOME);
    nodes.into_iter().for_each(|node| drop(node.kill()));
    let three = cluster.node("three", "ingest");
    cluster.until_counting(&["three"]);
    more(&serve, SOME);
    cluster.check(&serve.stop().success());
    three.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_leaves_first_when_others_count() {
    let mut cluster = Cluster::start(82).await;
    let one = cluster.node("one", "ingest");
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one"]);
    let two = cluster.node("two", "ingest");
    two.until("it has its share", |said| !said.logged("partitions of this node").is_empty());
    let said = one.stop().success();
    assert_eq!(said.logged("leaving the cluster: others take over first").len(), 1, "{}", said.err);
    assert!(!said.err.contains("nobody has taken over"), "{}", said.err);
    cluster.until_counting(&["two"]);
    more(&serve, SOME);
    cluster.check(&serve.stop().success());
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_see_different_trades_the_better_kline_is_published() {
    let mut cluster = Cluster::start(96).await;
    // Each node has one connection and repairs nothing: what it misses is a gap.
    let node = |cluster: &mut Cluster, name| {
        cluster.node_of(name, "ingest", &[("BYBIT_FEEDS", "1")], "[klines]\nrepair = \"0s\"\n")
    };
    let [one, two] = ["one", "two"].map(|name| node(&mut cluster, name));
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one", "two"]);
    more(&serve, SOME);
    let newest = |said: &Said| received(&said.out).iter().map(|kline| kline.end).max().unwrap();
    let begun = newest(&serve.said());
    for _ in 0..4 {
        // In turn, because a node that connects again has the newer connection.
        cluster.sim.inject(Fault::DropOldest);
        // Corrections come at once. The gaps of both nodes are in different windows only if time has passed.
        let until = newest(&serve.said()) + 6_000;
        serve.until("later klines", |said| newest(said) > until);
    }
    let said = serve.stop().success();
    for node in [&one, &two] {
        assert!(!node.said().logged("connection lost, reconnecting").is_empty(), "{}", node.said().err);
    }
    cluster.check(&said);
    let klines = received(&said.out);
    let settled = klines.iter().map(|kline| kline.end).max().unwrap() - 2_000;
    let mut compared = 0;
    for kline in last_revisions(&klines).into_values().flat_map(BTreeMap::into_values) {
        if kline.start > begun && kline.end <= settled {
            assert_eq!(kline.quality, "complete", "one of both has seen all of it: {kline:?}");
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing has settled");
    one.kill();
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_has_lost_everything_gets_the_last_minute_again() {
    let mut cluster = Cluster::start(83).await;
    let [one, two] = ["one", "two"].map(|name| cluster.node(name, "ingest"));
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one", "two"]);
    more(&serve, SOME);
    cluster.redis.kill();
    serve.until("it notices", |said| !said.logged("the cluster cannot be read").is_empty());
    cluster.redis.revive();
    more(&serve, SOME);
    cluster.until_counting(&["one", "two"]);
    more(&serve, SOME);
    cluster.check(&serve.stop().success());
    one.kill();
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_writes_nothing_that_was_not_granted() {
    let mut cluster = Cluster::start(84).await;
    let [one, two] = ["one", "two"].map(|name| cluster.node(name, "ingest"));
    let serve = cluster.node("serve", "serve");
    cluster.until_counting(&["one", "two"]);
    one.freeze();
    cluster.until_counting(&["two"]);
    more(&serve, SOME);
    one.thaw();
    cluster.until_counting(&["one", "two"]);
    more(&serve, SOME);
    cluster.check(&serve.stop().success());
    one.kill();
    two.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_what_is_wrong() {
    let mut cluster = Cluster::start(85).await;
    let home = crate::support::program::folder(&[("klines.toml", &cluster.toml())]);
    let status = |arguments: &str| crate::support::program::klines(home.path(), arguments).run();
    let one = cluster.node("one", "ingest");
    cluster.until_counting(&["one"]);
    let healthy = status("cluster status");
    assert_eq!(healthy.code(), Some(0), "{}", healthy.said.err);
    assert!(
        healthy.said.out.contains("one                      ingest                  8        0"),
        "{}",
        healthy.said.out
    );
    one.kill();
    eventually("its leases are over", || status("cluster status").code() == Some(1));
    let weak = status("cluster status").said.out;
    assert!(weak.contains("8 partitions with too few nodes whose first windows are right: 0-7: "), "{weak}");
    cluster.redis.kill();
    let unreachable = status("cluster status");
    assert_eq!(unreachable.code(), Some(1));
    assert!(unreachable.said.err.contains("reading the cluster `main` on 127.0.0.1:"), "{}", unreachable.said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_cluster_is_documented_and_every_documented_one_exists() {
    let mut cluster = Cluster::start(87).await;
    let listen = [("METRICS_LISTEN", "127.0.0.1:0")];
    let one = cluster.node_with("one", "ingest", &listen);
    let group = format!("[consumers.ledger]\ncomponent = {:?}\n", component("ledger"));
    let consumers = [listen[0], ("ENABLED_CONSUMERS", "console,ledger")];
    let serve = cluster.node_of("serve", "serve", &consumers, &group);
    more(&serve, SOME);
    let page = |run| metrics::page(metrics::served(run, "serving metrics"));
    // The group leases its partitions while the console reads already.
    eventually("the group reads", || {
        page(&serve).value("klines_cluster_group_read_entries_total", &[("consumer", "ledger")]) > 0.0
    });
    let pages = [&one, &serve].map(page);
    let shown: BTreeSet<String> =
        pages.iter().flat_map(metrics::shown).filter(|name| metrics::is_of_cluster(name)).collect();
    let documented = metrics::documented().into_iter().filter(|name| metrics::is_of_cluster(name)).collect();
    assert_eq!(shown, documented);
    assert!(pages[0].value("klines_cluster_members", &[]) > 0.0);
    assert!(pages[0].value("klines_cluster_written_klines_total", &[("outcome", "published")]) > 0.0);
    assert!(pages[1].value("klines_cluster_read_klines_total", &[("outcome", "new")]) >= SOME as f64);
    serve.stop().success();
    one.kill();
}

/// The users of docs/cluster.md, with the rights that the page gives them.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_need_the_rights_of_their_role_and_no_more() {
    let mut cluster = Cluster::start(86).await;
    let page = include_str!("../../../../docs/cluster.md");
    for line in page.lines().filter_map(|line| line.strip_prefix("    ACL SETUSER ")) {
        let rights = line.replace("PASSWORD", "secret").replace("NAME", "main");
        cluster.redis.execute(&format!("ACL SETUSER {rights}"));
    }
    let port = cluster.redis.port();
    let url = |user: &str| format!("redis://klines-{user}:secret@127.0.0.1:{port}");
    let home = crate::support::program::folder(&[]);
    let command = |user: &str, arguments: &str| {
        crate::support::program::klines(home.path(), arguments).with("CLUSTER_REDIS_URL", &url(user)).run()
    };
    let refused = command("ingest", "cluster load");
    assert!(refused.said.err.contains("access denied"), "{}", refused.said.err);
    assert!(!refused.said.err.contains("secret"), "{}", refused.said.err);
    assert!(command("loader", "cluster load").success().out.contains("loaded now"));
    assert!(command("loader", "cluster load").success().out.contains("were there already"));
    let one = cluster.node_with("one", "ingest", &[("CLUSTER_REDIS_URL", &url("ingest"))]);
    let serve = cluster.node_with("serve", "serve", &[("CLUSTER_REDIS_URL", &url("serve"))]);
    // Enough of them that some are complete and not among the last, which are not compared.
    more(&serve, 3 * SOME);
    // It is a member, and may only read.
    assert!(command("status", "cluster status --json").said.out.contains("\"serve\": true"));
    cluster.check(&serve.stop().success());
    one.kill();
}
