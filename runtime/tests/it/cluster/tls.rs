//! Nodes that reach Redis by TLS: everything that they do there, and how they find it again.

use super::{Cluster, more};
use crate::support::program::{component, folder, klines};

/// Klines of three symbols in two intervals for about four seconds.
const SOME: usize = 18;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_write_read_update_and_reconnect_by_tls() {
    let mut cluster = Cluster::start_with_tls(101).await;
    let toml = cluster.toml();
    let updated = format!("[klines]\nupdate_interval = \"200ms\"\n{toml}");
    cluster.folders.insert("one".to_owned(), folder(&[("klines.toml", &updated)]));
    let ledger = format!("[consumers.ledger]\ncomponent = {:?}\n", component("ledger"));
    let all = updated.replace("show = \"closed\"", "show = \"all\"") + &ledger;
    cluster.folders.insert("serve".to_owned(), folder(&[("klines.toml", &all)]));
    let one = cluster.node("one", "ingest");
    let serve = cluster.node_with("serve", "serve", &[("ENABLED_CONSUMERS", "console,ledger")]);
    cluster.until_counting(&["one"]);
    serve.until("updates", |said| said.out.contains(r#""confirm":false"#));
    more(&serve, SOME);
    cluster.redis.kill();
    cluster.redis.revive();
    more(&serve, 3 * SOME);
    let status = cluster.status().out;
    assert!(status.contains(r#""group": "ledger""#), "{status}");
    serve.stop().success();
    one.kill();

    let without = toml.lines().filter(|line| !line.starts_with("ca_file")).collect::<Vec<_>>().join("\n");
    let home = folder(&[("klines.toml", &without)]);
    let refused = klines(home.path(), "cluster status").run();
    assert!(refused.said.err.contains("certificate"), "{}", refused.said.err);
}
