//! The whole program with Redis: a live market, a server that is killed meanwhile, and a log that has each event once
//! and no secret.

use std::collections::BTreeSet;

use bybit_sim::{Market, Sim, SimConfig};
use serde_json::Value;

use super::server::{Server, eventually};
use crate::live::{DEMO, each_complete, run_at, times};
use crate::support::program::{Running, folder, klines};
use crate::support::received::complete;

const PASSWORD: &str = "canary-of-redis-0123";

/// Console and Redis with a stream, so that both can be compared.
const TOML: &str = r#"
enabled_consumers = ["console", "redis"]

[redis]
channel = "market"
stream = "market:all"
last_value = "all"

[consumers.console.settings]
show = "closed"
format = "json"
"#;

/// Returns texts that identify the klines and their revisions.
fn identities<'a>(klines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let identity =
        |kline: &Value| ["symbol", "interval", "start", "revision"].map(|key| kline[key].to_string()).join(" ");
    klines.into_iter().map(identity).collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until each symbol has this number of further complete klines of a second.
#[track_caller]
fn more(run: &Running, seconds: usize) {
    let before = DEMO.map(|symbol| complete(&run.said().out, symbol, "1s"));
    let goal = before.iter().max().unwrap() + seconds;
    run.until("klines go on", |said| each_complete(said, "1s", goal));
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_go_on_while_redis_is_dead_and_reach_it_afterwards() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always", "--requirepass", PASSWORD]);
    let heard = server.subscribe(&["market"]);
    let sim = Sim::start(SimConfig::new(Market::demo(31))).await.unwrap();
    let home = folder(&[("klines.toml", TOML)]);
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}/0", server.port());
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").with("REDIS_URL", &url).start();
    run.until("klines", |said| each_complete(said, "1s", 2));
    eventually("a published kline", || !heard.messages().is_empty());
    server.kill();
    run.until("klines wait on disk", |said| times(said, "klines wait on disk") >= 2);
    more(&run, 4);
    server.revive();
    run.until("redis is back", |said| times(said, "caught up: no klines wait on disk") == 2);
    more(&run, 3);
    let said = run.stop().success();
    let received = lines(&said.out);
    let closed = received.iter().filter(|kline| kline["confirm"] == true);
    let stream = server.stream("market:all");
    assert_eq!(identities(closed), identities(&stream), "Redis has what the console got");
    let last: String = redis::cmd("GET").arg("market:last:linear:1s:BTCUSDT").query(&mut server.connection()).unwrap();
    assert!(identities(&[serde_json::from_str(&last).unwrap()]).len() == 1);
    for (message, count) in
        [("connected to redis", 3), ("redis takes klines again", 3), ("klines accounted for by redis", 3)]
    {
        assert_eq!(times(&said, message), count, "{message}: {}", said.err);
    }
    // Each output logs the reason, and once more if it finds the server loading its data.
    assert!((3..=6).contains(&times(&said, "redis takes no klines, trying again")), "{}", said.err);
    for line in said.logged("klines accounted for by redis") {
        let count = |what: &str| line[what].as_u64().unwrap();
        assert_eq!(count("taken"), count("acknowledged") + count("overtaken"), "{line}");
    }
    assert!(!said.err.contains("canary") && !said.out.contains("canary"), "{}", said.err);
}

#[test]
fn check_refuses_useless_settings_and_shows_no_password() {
    let toml = r#"
enabled_consumers = ["redis"]

[redis]
url = "redis://:canary@localhost/zero"
publish = false
partial = true
stream_max_len = 0
last_values = "all"
spill = "1KiB"
"#;
    let home = folder(&[("klines.toml", toml)]);
    let ended = klines(home.path(), "check").run();
    assert_eq!(ended.code(), Some(78));
    assert!(!ended.said.err.contains("canary"), "{}", ended.said.err);
    insta::assert_snapshot!(ended.said.err);
}

#[test]
fn check_accepts_certificates_only_where_they_are_used() {
    let plain = "enabled_consumers = [\"redis\"]\n[redis]\nurl = \"redis://localhost\"\nca_file = \"none.pem\"\n";
    let empty = "enabled_consumers = [\"redis\"]\n[redis]\nurl = \"rediss://localhost\"\nca_file = \"klines.toml\"\n";
    for (toml, expected) in
        [(plain, "`ca_file` is for addresses that begin with rediss://"), (empty, "klines.toml has no certificates")]
    {
        let home = folder(&[("klines.toml", toml)]);
        let ended = klines(home.path(), "check").run();
        assert_eq!(ended.code(), Some(78));
        assert!(ended.said.err.contains(expected), "{}", ended.said.err);
    }
}
