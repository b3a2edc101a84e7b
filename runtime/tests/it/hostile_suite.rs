//! All hostile guests at once in one program, each in its own consumer, with a console, Redis and the WebSocket server:
//! each ends in its documented state, and the other three lose no kline.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::live::{DEMO, assert_demo_run, demo, each_complete, run_at};
use crate::redis::server::Server;
use crate::support::oracle::Oracle;
use crate::support::program::{Running, Said, component, folder, klines};
use crate::websocket::peer::Peer;

const PATIENCE: Duration = Duration::from_secs(60);

/// The documented end of a hostile guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It crashes repeatedly until it is quarantined.
    Quarantined,
    /// It returns a fatal failure, or fails its validation.
    Failed,
    /// It asks for the same batch again and again.
    Retrying,
    /// Its attempts are refused, and it goes on.
    Running,
}

use Fate::{Failed, Quarantined, Retrying, Running as Lives};

/// Mode, further settings and fate: each is a line of the threat table.
pub const GUESTS: [(&str, &str, Fate); 31] = [
    ("loop", "", Quarantined),
    ("loop-validate", "", Failed),
    ("loop-setup", "", Quarantined),
    ("loop-start", "", Quarantined),
    ("loop-stop", "", Lives),
    ("memory", "", Failed),
    ("recursion", "", Quarantined),
    ("big-alloc-string", "size = 1_000_000_000", Quarantined),
    ("handles", "size = 1_000_000", Quarantined),
    ("random-flood", "size = 1_000_000_000", Quarantined),
    ("output-flood", "size = 8_000_000", Lives),
    ("state-flood", "", Lives),
    ("state-churn", "size = 200_000", Lives),
    ("emit-flood", "", Lives),
    ("log-flood", "", Lives),
    ("stdout", "", Lives),
    ("trap", "", Quarantined),
    ("panic-validate", "", Failed),
    ("panic-setup", "", Quarantined),
    ("panic-start", "", Quarantined),
    ("panic-consume", "", Quarantined),
    ("panic-stop", "", Lives),
    ("exact-out-of-range", "", Quarantined),
    ("exact-in-start", "", Quarantined),
    ("sleep", "", Quarantined),
    ("fatal", "", Failed),
    ("fatal-setup", "", Failed),
    ("retry", "after = 1_000_000", Retrying),
    ("env-list", "", Lives),
    ("files", "", Lives),
    ("http", "http.url = \"http://127.0.0.1:1/\"", Lives),
];

fn toml() -> String {
    let names = GUESTS.map(|(mode, ..)| format!("\"x-{mode}\"")).join(", ");
    let mut text = format!(
        "enabled_consumers = [\"console\", \"redis\", \"websocket\", {names}]\n\
         [klines]\nrepair = \"0s\"\n[redis]\nstream = \"all\"\n\
         [websocket]\nhost = \"127.0.0.1\"\nport = 0\nauth = false\n\
         [consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n"
    );
    let path = component("hostile");
    for (mode, more, _) in GUESTS {
        // Short limits for the guests that would not end; the others do much work and have the lowest CPU priority.
        let is_endless = mode.starts_with("loop") || mode == "sleep";
        let (start_up, call) = if is_endless { ("1s", "500ms") } else { ("60s", "60s") };
        write!(
            text,
            "[consumers.x-{mode}]\ncomponent = {path:?}\nlimits.start_up = \"{start_up}\"\nlimits.call = \"{call}\"\n\
             [consumers.x-{mode}.settings]\nmode = \"{mode}\"\n{more}\n"
        )
        .unwrap();
    }
    text
}

fn rows(home: &Path) -> Vec<Value> {
    serde_json::from_str(&klines(home, "consumer list --json").run().success().out).unwrap()
}

/// Returns the address that the server logs.
fn address(run: &Running) -> SocketAddr {
    let find = |said: &Said| {
        let line = said.logged("serving klines").into_iter().next()?;
        line["address"].as_str()?.parse().ok()
    };
    run.until("the server", |said| find(said).is_some());
    find(&run.said()).unwrap()
}

/// Returns the consumers that are not in their documented state.
fn in_wrong_state(home: &Path) -> Vec<Value> {
    let is_wrong = |row: &Value| {
        let Some(mode) = row["name"].as_str().unwrap().strip_prefix("x-") else {
            assert_eq!((&row["state"], &row["lost"]), (&"running".into(), &0.into()), "{row}");
            return false;
        };
        let (_, _, fate) = GUESTS.iter().find(|(known, ..)| *known == mode).unwrap();
        let state = match fate {
            Quarantined => "quarantined",
            Failed => "failed",
            Retrying => "retrying",
            Lives => "running",
        };
        row["state"] != state
    };
    let mut rows = rows(home);
    rows.retain(is_wrong);
    rows
}

/// Returns texts that identify the klines and their revisions.
fn identities<'a>(klines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let identity =
        |kline: &Value| ["symbol", "interval", "start", "revision"].map(|key| kline[key].to_string()).join(" ");
    klines.into_iter().map(identity).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_guest_ends_in_its_documented_state_and_no_other_consumer_is_affected() {
    let server = Server::start();
    let sim = demo(97).await;
    let home = folder(&[("klines.toml", &toml())]);
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT,SOLUSDT", "100ms,1s").with("REDIS_URL", &server.url());
    let run = run.with("WSS_AUTH_USER", "it").with("WSS_AUTH_KEY", "canary-0815-0123456789").start();
    let mut peer = Peer::connect(address(&run), "/v1/stream", &[]).unwrap();
    let topics = DEMO.map(|symbol| format!("\"kline.1s.{symbol}\"")).join(",");
    peer.ask(&format!(r#"{{"op":"subscribe","topics":[{topics}]}}"#));
    let reader = thread::spawn(move || peer.end().0);
    let doomed = GUESTS.iter().filter(|(_, _, fate)| *fate == Quarantined).count();
    run.until("the quarantines", |said| said.err.matches("crashes too often and is quarantined").count() >= doomed);
    run.until("klines", |said| each_complete(said, "1s", 20));
    // The log can be ahead of the states.
    let until = Instant::now() + PATIENCE;
    loop {
        let wrong = in_wrong_state(home.path());
        if wrong.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{wrong:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let said = run.stop().success_except(|name| name.starts_with("x-"));
    assert!(!said.err.contains("canary-0815"), "no guest sees a variable that it was not granted");
    assert_demo_run(&said, &Oracle::new(&sim, "100ms,1s"));
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(identities(&lines), identities(&server.stream("all")), "Redis has what the console got");
    assert_followed(&reader.join().unwrap(), &lines);
}

/// Asserts that the client got each number of each topic once and in order, up to the last one that the console got.
fn assert_followed(pushes: &[String], lines: &[Value]) {
    for symbol in DEMO {
        let topic = format!("kline.1s.{symbol}");
        let pushes = pushes.iter().map(|push| serde_json::from_str::<Value>(push).unwrap());
        let confirmed = pushes.filter(|push| push["topic"] == topic.as_str() && push["data"]["confirm"] == true);
        let numbers: Vec<u64> = confirmed.map(|push| push["seq"].as_u64().unwrap()).collect();
        assert!(numbers.len() > 10 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{topic}: {numbers:?}");
        let of_console = lines.iter().filter(|line| line["symbol"] == symbol && line["interval"] == "1s");
        assert_eq!(numbers.last().copied(), of_console.map(|line| line["sequence"].as_u64().unwrap()).max());
    }
}
