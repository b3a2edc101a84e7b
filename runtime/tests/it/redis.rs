//! The Redis consumer against a real `redis-server`: which klines arrive where, with which rights, over which kinds of
//! connection. Faults and the whole program are tested in the modules below.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod faults;
mod program;
mod rig;
pub mod server;
pub mod tls;

use klines_delivery::encode::Extras;
use klines_domain::kline::{Kline, Quality};
use klines_domain::symbol::Category;
use klines_redis::{Address, LastValue, Settings};
use redis::Value;
use rig::{Rig, assert_heard, assert_stream, batch, kline, settings};
use server::{Server, eventually};
use tempfile::TempDir;
use tls::Tls;

use crate::support::in_category;

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_boundary_is_published_as_the_streamer_did_and_added_to_the_stream() {
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    let heard = server.subscribe(&["klines", "klines:spot"]);
    let rig = Rig::start(
        Settings { last_value: Some(LastValue::Open), ..settings(&server.url(), folder.path()) },
        folder.path(),
    );
    let partial = Kline { quality: Quality::Partial, ..kline("SOLUSDT", 5) };
    let revised = Kline { revision: 1, ..kline("BTCUSDT", 4) };
    let open = Kline { confirm: false, ..kline("BTCUSDT", 6) };
    rig.hub.publish(&batch([kline("BTCUSDT", 5), partial, kline("ETHUSDT", 5)]));
    rig.hub.publish(&batch([in_category(Category::Spot, &kline("BTCUSDT", 5))]));
    rig.hub.publish(&batch([revised]));
    rig.hub.publish(&batch([open]));
    eventually("all messages and values", || {
        let last = server.execute("GET klines:last:linear:1m:BTCUSDT");
        heard.messages().len() >= 2 && last != Value::Nil && text(&last).contains(r#""confirm":false"#)
    });
    eventually("the stream", || rig.stream().acknowledged == 5);
    let messages = heard.messages();
    let expected = concat!(
        r#"[{"symbol":"BTCUSDT","interval":60000,"timestamp":300000,"open":16578.5,"high":16580.25,"low":16578.0,"#,
        r#""close":16580.0,"volume":1.207,"trade_count":7,"category":"linear","turnover":20011.4375,"#,
        r#""quality":"complete"},{"symbol":"ETHUSDT","interval":60000,"timestamp":300000,"open":16578.5,"#,
        r#""high":16580.25,"low":16578.0,"close":16580.0,"volume":1.207,"trade_count":7,"category":"linear","#,
        r#""turnover":20011.4375,"quality":"complete"}]"#,
    );
    assert_eq!(messages[0], ("klines".to_owned(), expected.to_owned()));
    assert_eq!((messages.len(), messages[1].0.as_str()), (2, "klines:spot"));
    let stream = server.stream("klines:stream");
    let found: Vec<_> = stream.iter().map(|record| format!("{} {}", record["symbol"], record["revision"])).collect();
    assert_eq!(found, [r#""BTCUSDT" 0"#, r#""SOLUSDT" 0"#, r#""ETHUSDT" 0"#, r#""BTCUSDT" 1"#]);
    assert_eq!(stream[0]["turnover"], "20011.4375");
    assert_eq!(server.stream("klines:stream:spot").len(), 1);
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("klines:last:*").query(&mut server.connection()).unwrap();
    keys.sort();
    let expected = ["linear:1m:BTCUSDT", "linear:1m:ETHUSDT", "linear:1m:SOLUSDT", "spot:1m:BTCUSDT"];
    assert_eq!(keys, expected.map(|name| format!("klines:last:{name}")));
    rig.stop();
}

#[test]
fn partial_klines_and_corrections_are_published_on_request() {
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    let heard = server.subscribe(&["klines"]);
    let extras = Extras { partial: true, revisions: true };
    let rig = Rig::start(Settings { extras, ..settings(&server.url(), folder.path()) }, folder.path());
    rig.hub.publish(&batch([Kline { quality: Quality::Partial, ..kline("BTCUSDT", 1) }]));
    rig.hub.publish(&batch([Kline { revision: 1, ..kline("BTCUSDT", 1) }]));
    eventually("both klines", || heard.klines("klines").len() == 2);
    rig.stop();
}

#[test]
fn a_first_kline_that_was_withheld_is_published_once_it_is_admissible() {
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    let heard = server.subscribe(&["klines"]);
    let rig = Rig::start(settings(&server.url(), folder.path()), folder.path());
    let version = |revision, quality| Kline { revision, quality, ..kline("BTCUSDT", 1) };
    rig.hub.publish(&batch([version(0, Quality::Partial)]));
    rig.hub.publish(&batch([version(1, Quality::Repaired)]));
    rig.hub.publish(&batch([version(2, Quality::Complete)]));
    rig.hub.publish(&batch([kline("BTCUSDT", 2)]));
    eventually("the last kline", || heard.klines("klines").iter().any(|kline| kline["timestamp"] == 120_000));
    let found: Vec<_> =
        heard.klines("klines").iter().map(|kline| format!("{} {}", kline["timestamp"], kline["quality"])).collect();
    assert_eq!(found, [r#"60000 "repaired""#, r#"120000 "complete""#]);
    eventually("every version in the stream", || rig.stream().acknowledged == 4);
    rig.stop();
}

/// The rights that the documentation names.
const RIGHTS: &str = "resetchannels &klines &klines:* &ext.* ~klines:* -@all +publish +xadd +set";

#[test]
fn the_documented_rights_are_enough() {
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    server.execute(&format!("ACL SETUSER klines reset on >secret {RIGHTS}"));
    let heard = server.subscribe(&["klines"]);
    let url = format!("redis://klines:secret@127.0.0.1:{}/0", server.port());
    let all = Settings { last_value: Some(LastValue::Open), ..settings(&url, folder.path()) };
    let mut rig = Rig::start(all, folder.path());
    rig.feed(30);
    rig.caught_up();
    assert_stream(&server, 30, 0);
    assert_heard(&heard, 30, 0);
    let tallies = rig.stop();
    assert!(tallies.last_value.totals().acknowledged > 0);
    assert_eq!(server.execute("ACL LOG"), Value::Array(Vec::new()), "nothing was denied");
}

#[test]
fn a_missing_right_blocks_only_its_own_output_and_only_until_it_is_granted() {
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    server.execute(&format!("ACL SETUSER klines reset on >secret {RIGHTS} -xadd"));
    let url = format!("redis://klines:secret@127.0.0.1:{}/0", server.port());
    let mut rig = Rig::start(settings(&url, folder.path()), folder.path());
    rig.feed(30);
    eventually("published", || rig.publish().acknowledged == 60);
    eventually("denied", || rig.stream().spilled > 0);
    assert_eq!(rig.stream().acknowledged, 0);
    server.execute("ACL SETUSER klines +xadd");
    rig.feed(10);
    rig.caught_up();
    assert_stream(&server, 40, 0);
    rig.stop();
}

#[test]
fn with_a_wrong_password_klines_wait_until_it_is_right() {
    let (server, folder) = (Server::start(), TempDir::new().unwrap());
    server.execute(&format!("ACL SETUSER klines reset on >other {RIGHTS}"));
    let url = format!("redis://klines:secret@127.0.0.1:{}/0", server.port());
    let mut rig = Rig::start(settings(&url, folder.path()), folder.path());
    rig.feed(30);
    eventually("denied", || rig.stream().spilled > 0 && rig.publish().spilled > 0);
    server.execute("ACL SETUSER klines >secret");
    rig.caught_up();
    assert_stream(&server, 30, 0);
    rig.stop();
}

#[test]
fn redis_is_reached_over_tls_with_a_private_authority_and_over_a_unix_socket() {
    let (folder, tls) = (TempDir::new().unwrap(), Tls::new());
    let socket = folder.path().join("redis.sock").display().to_string();
    let arguments: Vec<String> =
        tls.arguments().into_iter().chain(["--unixsocket".to_owned(), socket.clone()]).collect();
    let server = Server::with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let pem = std::fs::read(tls.certificate()).unwrap();
    let addresses =
        [Address::new(&tls.url(), Some(pem)).unwrap(), Address::new(&format!("unix://{socket}"), None).unwrap()];
    for (round, address) in (0..).zip(addresses) {
        let reached = Settings { address, ..settings(&server.url(), folder.path()) };
        let mut rig = Rig::start(reached, folder.path()).begin_at(round * 10);
        rig.feed(10);
        eventually("all messages and values", || rig.publish().acknowledged == 20 && rig.stream().acknowledged == 20);
        rig.stop();
    }
    assert_stream(&server, 20, 0);
    // Without the authority its certificate is not trusted.
    let untrusted = Address::new(&tls.url(), None).unwrap();
    let mut rig = Rig::start(Settings { address: untrusted, ..settings(&server.url(), folder.path()) }, folder.path());
    rig.feed(1);
    eventually("refused", || rig.publish().spilled > 0);
    assert_eq!(rig.stop().publish.totals().acknowledged, 0);
}
