//! A Redis that has lost its last writes, after a restart from an older file: the last minute restores them.

use klines_cluster::lease::Token;
use klines_cluster::library::{Append, Drop, Resend, Written};
use klines_cluster::model::ledger::Status;
use klines_cluster::refusal::Refusal;
use klines_cluster::version::{Given, Identity, Published};
use redis::Value;

use super::server::{REPLICATION, Server, caller, partition};
use super::writing::{identity, version};

fn replication_id(server: &mut Server) -> String {
    let info: String = server.run(&["INFO", "replication"]);
    let line = info.lines().find_map(|line| line.strip_prefix("master_replid:"));
    line.unwrap().to_owned()
}

fn append(server: &mut Server, token: Token, replication: &str, identity: &Identity, number: u8) -> Written {
    let (keys, caller, klines) = (partition(), caller("a"), [(identity.clone(), version(number))]);
    server.call(&Append { keys: &keys, caller: &caller, token, replication, klines: &klines }).unwrap()
}

/// Returns the revisions and sequences in the stream, with their epochs.
fn published(server: &mut Server) -> Vec<(u64, u64, u64)> {
    let entries: Vec<(String, Vec<String>)> = server.run(&["XRANGE", &partition().stream, "-", "+"]);
    let numbers = entries.iter().flat_map(|(_, fields)| {
        fields[3..].iter().step_by(2).map(|value| {
            let words: Vec<u64> = value.split(' ').take(2).map(|word| word.parse().unwrap()).collect();
            (fields[1].parse().unwrap(), words[0], words[1])
        })
    });
    numbers.collect()
}

#[test]
fn a_redis_that_restarts_from_an_older_file_gets_its_last_klines_back_under_their_numbers() {
    let mut server = Server::start();
    let token = server.hold("a");
    let replication = replication_id(&mut server);
    let (keys, node) = (partition(), caller("a"));
    let resend =
        |replication, token, epoch, klines| Resend { keys: &keys, caller: &node, token, replication, epoch, klines };
    let epoch = server.call(&resend(&replication, token, 0, &[])).unwrap().epoch;
    let now = server.now();
    let window = identity("linear BTCUSDT 1m", 0, now);
    let mut given = Vec::new();
    for number in [3, 2] {
        let outcome = append(&mut server, token, &replication, &window, number).outcomes[0];
        let (revision, sequence) = (outcome.revision, outcome.sequence);
        let kline = Published { identity: window.clone(), version: version(number), revision, sequence };
        given.push(Given { kline, own: true });
        if number == 3 {
            server.run::<Value>(&["SAVE"]);
        }
    }
    assert_eq!(published(&mut server), [(epoch, 0, 1), (epoch, 1, 2)]);
    server.restart();
    assert_eq!(published(&mut server), [(epoch, 0, 1)], "the last write is lost");
    let promoted = replication_id(&mut server);
    assert_ne!(promoted, replication);
    let klines = [(window.clone(), version(0))];
    let refused = server.call(&Append { keys: &keys, caller: &node, token, replication: &promoted, klines: &klines });
    assert_eq!(refused.unwrap_err().refusal(), Some(Refusal::Resend), "a number would be given twice");
    let restored = server.call(&resend(&promoted, token, epoch, &given)).unwrap();
    assert_eq!(restored.outcomes.iter().map(|one| one.status).collect::<Vec<_>>(), [Status::Same, Status::Published]);
    assert!(restored.epoch > epoch);
    let after = append(&mut server, token, &promoted, &window, 0);
    assert_eq!((after.outcomes[0].revision, after.outcomes[0].sequence, after.epoch), (2, 3, restored.epoch));
    let new = restored.epoch;
    assert_eq!(published(&mut server), [(epoch, 0, 1), (new, 1, 2), (new, 2, 3)]);
}

#[test]
fn a_redis_that_has_lost_everything_continues_the_sequences_of_the_last_minute() {
    let mut server = Server::start();
    let token = server.hold("a");
    let now = server.now();
    let windows = [2, 1, 0].map(|ago| identity("linear BTCUSDT 1m", ago, now));
    let outcomes = windows.clone().map(|window| append(&mut server, token, REPLICATION, &window, 0));
    let given = |at: usize| {
        let (revision, sequence) = (outcomes[at].outcomes[0].revision, outcomes[at].outcomes[0].sequence);
        let kline = Published { identity: windows[at].clone(), version: version(0), revision, sequence };
        Given { kline, own: true }
    };
    server.run::<Value>(&["FLUSHALL"]);
    let token = server.hold("a");
    let (keys, caller, epoch) = (partition(), caller("a"), outcomes[2].epoch);
    // The first window is older than the last minute: its number is missing, which an epoch says.
    let klines = [given(1), given(2)];
    let before: u64 = server.run(&["HGET", &keys.meta, "epoch"]);
    let call = Resend { keys: &keys, caller: &caller, token, replication: REPLICATION, epoch, klines: &klines };
    let restored = server.call(&call).unwrap();
    assert!(restored.epoch > before && restored.epoch > epoch);
    assert_eq!(published(&mut server), [(restored.epoch, 0, 2), (restored.epoch, 0, 3)]);
    let repeated = server.call(&call).unwrap();
    assert_eq!((repeated.epoch, repeated.entry), (restored.epoch, None), "a repetition changes nothing");
}

#[test]
fn nothing_is_appended_while_a_live_holder_has_not_sent_its_last_minute() {
    let mut server = Server::start();
    let (token, other) = (server.hold("a"), server.hold("b"));
    let (keys, node, second) = (partition(), caller("a"), caller("b"));
    let resend = |caller, token| Resend { keys: &keys, caller, token, replication: "r2", epoch: 0, klines: &[] };
    let append = Append { keys: &keys, caller: &node, token, replication: "r2", klines: &[] };
    server.call(&resend(&node, token)).unwrap();
    let error = server.call(&append).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Wait));
    assert!(
        error.to_string().starts_with("klines_v1_append: b has not sent its last minute again (WAIT): repeat;"),
        "{error}"
    );
    server.call(&resend(&second, other)).unwrap();
    server.call(&append).unwrap();
    server.call(&Resend { replication: "r3", ..resend(&node, token) }).unwrap();
    let append = Append { replication: "r3", ..append };
    assert_eq!(server.call(&append).unwrap_err().refusal(), Some(Refusal::Wait));
    server.call(&Drop { keys: &keys, caller: &second, token: other }).unwrap();
    server.call(&append).expect("the other one holds it no longer");
}

#[test]
fn a_call_whose_stream_cannot_be_written_has_changed_nothing() {
    let mut server = Server::start();
    let (token, now) = (server.hold("a"), server.now());
    let window = identity("linear BTCUSDT 1m", 0, now);
    append(&mut server, token, REPLICATION, &window, 3);
    let stored = server.run::<Value>(&["ACL", "SETUSER", "default", "-xadd"]);
    assert_eq!(stored, Value::Okay);
    let (keys, caller, klines) = (partition(), caller("a"), [(window.clone(), version(2))]);
    let refused =
        server.call(&Append { keys: &keys, caller: &caller, token, replication: REPLICATION, klines: &klines });
    assert!(refused.unwrap_err().to_string().contains("can't run this command"));
    server.run::<Value>(&["ACL", "SETUSER", "default", "+xadd"]);
    let repeated = append(&mut server, token, REPLICATION, &window, 2).outcomes[0];
    assert_eq!((repeated.status, repeated.revision, repeated.sequence), (Status::Published, 1, 2));
}

#[test]
fn sequences_that_were_removed_begin_an_epoch() {
    let mut server = Server::start();
    let (token, now) = (server.hold("a"), server.now());
    let windows = [1, 0].map(|ago| identity("linear BTCUSDT 1m", ago, now));
    let first = append(&mut server, token, REPLICATION, &windows[0], 3);
    server.run::<Value>(&["DEL", &partition().series]);
    let (keys, caller) = (partition(), caller("a"));
    let klines = [(windows[1].clone(), version(3))];
    let new = Append { keys: &keys, caller: &caller, token, replication: REPLICATION, klines: &klines };
    assert_eq!(server.call(&new).unwrap_err().refusal(), Some(Refusal::Resend));
    // A node that was given nothing in the last minute sends nothing.
    let (epoch, klines) = (first.epoch, &[]);
    let resend = Resend { keys: &keys, caller: &caller, token, replication: REPLICATION, epoch, klines };
    let begun = server.call(&resend).unwrap().epoch;
    assert!(begun > epoch);
    assert_eq!(server.call(&resend).unwrap().epoch, begun, "not another one each time");
    assert_eq!(server.call(&new).unwrap().epoch, begun);
}
