//! The users of `docs/cluster.md`, as the page has them: each role can do its work, and nothing else.

use std::time::Duration;

use klines_cluster::library::{
    Acquire, Append, Beat, Call, Commit, Drop, Hold, Join, Leave, LibraryError, Note, PartitionView, Release, Renew,
    Resend, Trim, ViewMembers, load,
};
use klines_cluster::member::About;
use klines_cluster::membership::Phase;
use klines_cluster::model::groups::Changes;
use klines_cluster::stream_id::StreamId;
use redis::{Connection, Value};

use super::server::{REPLICATION, Server, caller, cluster, command, name, partition};
use super::writing::{identity, version};

const PAGE: &str = include_str!("../../../../../docs/cluster.md");
const LEASE: Duration = Duration::from_secs(30);

/// The commands that roles execute outside of functions.
const DIRECT: [&str; 11] = [
    "+hgetall",
    "+xinfo|stream",
    "+function|list",
    "+function|load",
    "+info",
    "+xread",
    "+xrange",
    "+fcall_ro",
    "+time",
    "+publish",
    "+subscribe",
];

/// Returns the users of the page with their rights, for a cluster with the name `main`.
fn users() -> Vec<(String, Vec<String>)> {
    let lines = PAGE.lines().filter_map(|line| line.strip_prefix("    ACL SETUSER "));
    let users = lines.map(|line| {
        let line = line.replace("PASSWORD", "secret").replace("NAME", "main");
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.collect())
    });
    users.collect()
}

fn create(server: &mut Server, user: &str, rights: &[String]) {
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    server.run::<Value>(&[&["ACL", "SETUSER", user], &rights[..]].concat());
}

fn server() -> Server {
    let (mut server, users) = (Server::start(), users());
    assert_eq!(users.len(), 4);
    users.iter().for_each(|(user, rights)| create(&mut server, user, rights));
    server
}

/// Returns whether a call is allowed: it may be refused for another reason than a missing right.
#[track_caller]
fn may<C: Call>(connection: &mut Connection, call: &C) -> bool {
    match call.result(call.command().query(connection)) {
        Ok(_) => true,
        Err(LibraryError::Denied { .. }) => false,
        Err(LibraryError::Refused { .. }) => panic!("{}: only rights are asked about here", C::FUNCTION),
        // Redis does not pass the code on if a command inside a function is denied.
        Err(error) => {
            assert!(error.to_string().contains("can't run this command"), "{error}");
            false
        }
    }
}

/// What a role may call, in the order of the calls.
fn allowed(server: &mut Server, user: &str) -> Vec<&'static str> {
    let (of, keys, node, about, group) = (cluster(), partition(), caller("a"), About::default(), name("alerts"));
    let (keys, of, caller, group, replication) = (&keys, &of, &node, &group, REPLICATION);
    let (lease, begin) = (LEASE, StreamId::default());
    // What the calls below need is there, whoever makes them.
    let held = server.hold("a");
    let member = server.call(&Join { keys: of, caller, lease, about: &about }).unwrap().token;
    let acquire = Acquire { keys, group, caller, lease, replication, begin };
    let (_, worker) = server.call(&acquire).unwrap();
    // Another version each time, so that there is something to publish; and an entry before, so that one can be trimmed.
    let now = server.now();
    let klines = [8, 4].map(|number| [(identity("linear BTCUSDT 1m", 0, now), version(number))]);
    let append = |klines| Append { keys, caller, token: held, replication, klines };
    server.call(&append(&klines[0])).unwrap();
    let connection = &mut server.user(user);
    let mut allowed = Vec::new();
    let mut note = |function, may: bool| allowed.extend(may.then_some(function));
    note("beat", may(connection, &Beat { keys: of, caller, token: member, lease, generation: 0 }));
    note("leave", may(connection, &Leave { keys: of, caller, token: member }));
    note("join", may(connection, &Join { keys: of, caller, lease, about: &about }));
    note("view", may(connection, &ViewMembers { keys: of }));
    note("partition", may(connection, &PartitionView { keys }));
    let (token, epoch) = (held, 0);
    note("resend", may(connection, &Resend { keys, caller, token, replication, epoch, klines: &[] }));
    note("append", may(connection, &append(&klines[1])));
    note("trim", may(connection, &Trim { keys, caller, token, age: LEASE, most: 1, life: LEASE }));
    note("drop", may(connection, &Drop { keys, caller, token }));
    note("hold", may(connection, &Hold { keys, caller, token: None, lease, phase: Phase::Seeding }));
    let token = worker.token;
    note("renew", may(connection, &Renew { keys, group, caller, token, lease, replication, position: begin }));
    let position = begin;
    let commit = Commit { keys, group, caller, token, lease, replication, position, changes: &changes() };
    note("commit", may(connection, &commit));
    note("release", may(connection, &Release { keys, group, caller, token, replication, position: begin }));
    note("acquire", may(connection, &acquire));
    note("note", may(connection, &Note { keys, group, caller, replication, position }));
    allowed
}

/// One field that is set and one that is deleted.
fn changes() -> Changes {
    Changes { deleted: vec![b"=b".to_vec()], set: vec![(b"=a".to_vec(), b"1".to_vec())] }
}

#[test]
fn each_role_can_call_what_it_needs_and_nothing_else() {
    let mut server = server();
    let ingest = [
        "beat",
        "leave",
        "join",
        "view",
        "partition",
        "resend",
        "append",
        "trim",
        "drop",
        "hold",
        "renew",
        "commit",
        "release",
        "acquire",
        "note",
    ];
    assert_eq!(allowed(&mut server, "klines-ingest"), ingest);
    let serve = ["beat", "leave", "join", "view", "renew", "commit", "release", "acquire", "note"];
    assert_eq!(allowed(&mut server, "klines-serve"), serve);
    assert_eq!(allowed(&mut server, "klines-status"), ["view", "partition"]);
    assert_eq!(allowed(&mut server, "klines-loader"), [""; 0]);
}

#[test]
fn no_role_has_a_right_that_its_calls_do_not_need() {
    let mut server = server();
    for (user, rights) in users() {
        let all = allowed(&mut server, &user);
        for right in rights.iter().filter(|right| right.starts_with('+') && !DIRECT.contains(&right.as_str())) {
            let fewer: Vec<String> =
                ["reset".to_owned()].into_iter().chain(rights.iter().filter(|one| *one != right).cloned()).collect();
            create(&mut server, &user, &fewer);
            assert_ne!(allowed(&mut server, &user), all, "{user} does not need {right}");
        }
        create(&mut server, &user, &rights);
    }
}

#[test]
fn no_role_can_do_by_hand_what_the_functions_decide() {
    let server = server();
    let keys = partition();
    let (stream, meta, groups) = (keys.stream.as_str(), keys.meta.as_str(), keys.groups.as_str());
    for (user, words, may) in [
        ("klines-serve", vec!["XREAD", "STREAMS", stream, "0"], true),
        ("klines-serve", vec!["XADD", stream, "*", "a", "b"], false),
        ("klines-serve", vec!["XTRIM", stream, "MAXLEN", "0"], false),
        ("klines-serve", vec!["HSET", meta, "epoch", "9"], false),
        ("klines-serve", vec!["HGET", groups, "alerts"], true),
        ("klines-serve", vec!["GET", "others"], false),
        ("klines-serve", vec!["HGET", "{klines:other:3}:groups", "a"], false),
        ("klines-ingest", vec!["INFO", "replication"], true),
        ("klines-ingest", vec!["HSET", "{klines:other:3}:meta", "a", "b"], false),
        ("klines-ingest", vec!["DEL", stream], false),
        ("klines-ingest", vec!["FLUSHALL"], false),
        ("klines-ingest", vec!["FUNCTION", "DELETE", "klines_v1"], false),
        ("klines-status", vec!["HSET", meta, "epoch", "9"], false),
        ("klines-status", vec!["HGETALL", meta], true),
        ("klines-loader", vec!["FUNCTION", "DELETE", "klines_v0"], false),
        ("klines-loader", vec!["HGETALL", meta], false),
        ("klines-loader", vec!["CONFIG", "GET", "*"], false),
    ] {
        let result = command(&words).query::<Value>(&mut server.user(user));
        match result {
            Ok(_) => assert!(may, "{user} may {words:?}"),
            Err(error) => assert!(!may && error.code() == Some("NOPERM"), "{user} {words:?}: {error}"),
        }
    }
}

#[tokio::test]
async fn only_the_loader_loads_and_the_others_find_what_is_there() {
    let mut server = server();
    server.run::<Value>(&["FUNCTION", "FLUSH"]);
    let connect = async |user| server.user_client(user).get_multiplexed_async_connection().await.unwrap();
    let (mut ingest, mut loader) = (connect("klines-ingest").await, connect("klines-loader").await);
    let denied = load(&mut ingest).await.unwrap_err();
    assert!(matches!(&denied, LibraryError::Denied { function: "FUNCTION LOAD", .. }), "{denied}");
    load(&mut loader).await.unwrap();
    load(&mut ingest).await.unwrap();
    load(&mut connect("klines-serve").await).await.unwrap();
}
