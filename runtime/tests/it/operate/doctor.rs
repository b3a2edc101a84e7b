//! `klines doctor`: what it says of a machine on which all is well, and of one without a network.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use klines_store::file;
use klines_store::writer::{Limits, Writer};
use serde_json::Value;

use super::wait_for_socket;
use crate::live::{demo, run_at};
use crate::support::program::{Ended, Invocation, folder, klines};

/// Returns the state and the text of each check, by name.
fn checks(ended: &Ended) -> BTreeMap<String, (String, String)> {
    let answer: Value = serde_json::from_str(&ended.said.out).unwrap();
    assert_eq!(answer["ok"], ended.code() == Some(0), "{}", ended.said.out);
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = answer["checks"].as_array().unwrap().iter();
    checks
        .map(|check| (text(check, "name"), (text(check, "state"), text(check, "text") + " | " + &text(check, "fix"))))
        .collect()
}

#[track_caller]
fn expect(checks: &BTreeMap<String, (String, String)>, name: &str, state: &str, text: &str) {
    let (found, said) = &checks[name];
    assert!(found == state && said.contains(text), "{name} is {found}: {said}");
}

/// Returns a port of this machine on which nothing listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_on_which_all_is_well_has_no_problem() {
    let toml = "enabled_consumers = [\"console\", \"websocket\"]\ndata_dir_max = \"64MiB\"\n[store]\nmax_size = \"64MiB\"\n\
                [websocket]\nhost = \"127.0.0.1\"\nport = 0\ncertificate = \"cert.pem\"\ncertificate_key = \"key.pem\"\n";
    let (sim, home) = (demo(94).await, folder(&[("klines.toml", toml)]));
    klines(home.path(), "tls self-signed").run().success();
    let with_keys =
        |run: Invocation| run.at(&sim).with("WSS_AUTH_USER", "it").with("WSS_AUTH_KEY", "canary-0815-0123456789");
    let doctor = || with_keys(klines(home.path(), "doctor --json")).run();
    let before = checks(&doctor());
    expect(&before, "run", "ok", "no run answers in klines-data");
    expect(&before, "data_dir", "ok", "the first run creates it");
    expect(&before, "store", "ok", "the first run creates it");
    let run = with_keys(run_at(&home, &sim, "BTCUSDT", "100ms")).start();
    wait_for_socket(&run, home.path());
    run.until("klines", |said| said.out.lines().count() > 3);
    let during = doctor();
    assert_eq!(during.code(), Some(0), "{}", during.said.out);
    let during = checks(&during);
    expect(&during, "run", "ok", "a run answers in klines-data: console is running, websocket is running");
    expect(&during, "versions", "ok", "contract klines:consumer@1.2.0, wasmtime 48.");
    expect(&during, "data_dir", "ok", "can be written (mode 0700)");
    expect(&during, "store", "ok", "can be read: ");
    expect(&during, "certificate", "ok", "cert.pem is valid until ");
    expect(&during, "exchange REST", "ok", "answers within");
    expect(&during, "exchange stream", "ok", "/v5/public/linear accepts connections within");
    expect(&during, "clock", "ok", " ms ");
    expect(&during, "open files", "ok", "this configuration may need");
    let text = with_keys(klines(home.path(), "doctor")).run().success().out;
    assert!(text.contains("ok       exchange REST") && text.ends_with("problems: 0\n"), "{text}");
    run.stop().success();
}

#[test]
fn without_a_network_it_says_what_could_not_be_reached_and_shows_no_secret() {
    let toml = "enabled_consumers = [\"console\", \"redis\"]\n";
    let home = folder(&[("klines.toml", toml), ("klines-data", "a file in the way")]);
    let port = dead_port();
    let doctor = klines(home.path(), "doctor --json")
        .with("BYBIT_WS_URL", &format!("ws://127.0.0.1:{port}"))
        .with("BYBIT_REST_URL", &format!("http://127.0.0.1:{port}"))
        .with("REDIS_URL", &format!("redis://me:canary-4711@127.0.0.1:{port}"));
    let ended = doctor.run();
    assert_eq!(ended.code(), Some(1));
    assert!(!format!("{:?}", ended.said).contains("canary-4711"), "{:?}", ended.said);
    let checks = checks(&ended);
    expect(&checks, "exchange REST", "problem", "could not be reached: ");
    expect(&checks, "exchange stream", "problem", "could not be reached: ");
    expect(&checks, "exchange stream", "problem", "| check the network");
    expect(&checks, "clock", "warning", "could not be reached");
    expect(&checks, "redis", "problem", &format!("127.0.0.1:{port}: no connection"));
    expect(&checks, "data_dir", "problem", "klines-data is not a folder");
}

#[test]
fn a_refused_configuration_is_a_problem_and_the_other_checks_are_made() {
    let home = folder(&[("klines.toml", "data_dirr = \"x\"\n")]);
    let port = dead_port();
    let ended = klines(home.path(), "doctor --json")
        .with("BYBIT_WS_URL", &format!("ws://127.0.0.1:{port}"))
        .with("BYBIT_REST_URL", &format!("http://127.0.0.1:{port}"))
        .run();
    let checks = checks(&ended);
    expect(&checks, "configuration", "problem", "data_dirr");
    expect(&checks, "data_dir", "ok", "klines-data does not exist yet");
}

/// Returns the check of the store in a folder, as text and fix.
fn check_of_store(home: &Path) -> (String, String) {
    let port = dead_port();
    let doctor = klines(home, "doctor --json").obeying_permissions();
    let doctor = doctor.with("BYBIT_WS_URL", &format!("ws://127.0.0.1:{port}"));
    let ended = doctor.with("BYBIT_REST_URL", &format!("http://127.0.0.1:{port}")).run();
    let (state, said) = checks(&ended)["store"].clone();
    assert_eq!(state, "problem", "{said}");
    let (text, fix) = said.split_once(" | ").unwrap();
    (text.to_owned(), fix.to_owned())
}

#[test]
fn of_a_store_that_cannot_be_read_it_says_why_and_what_to_do_in_this_case() {
    let home = folder(&[]);
    let data_dir = home.path().join("klines-data");
    fs::create_dir(&data_dir).unwrap();
    let path = file::path_in(&data_dir);
    fs::write(&path, "").unwrap();
    let (text, fix) = check_of_store(home.path());
    assert_eq!(text, "klines-data/klines.db is empty");
    assert!(fix.starts_with("restore a backup if it had klines; otherwise the next run"), "{fix}");
    Writer::open(&path, "live", Limits::none()).unwrap().close().unwrap();

    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("ALTER TABLE log RENAME COLUMN data TO gone").unwrap();
    let (text, fix) = check_of_store(home.path());
    assert!(text.starts_with("klines-data/klines.db is damaged: ") && !text.contains("cannot be used"), "{text}");
    assert!(fix.starts_with("`klines store verify` lists all damage; restore a backup"), "{fix}");

    database.pragma_update(None, "user_version", 99).unwrap();
    let (text, fix) = check_of_store(home.path());
    assert!(text.ends_with("was written by a newer version of klines: schema 99, this one reads up to 2"), "{text}");
    assert!(fix.starts_with("use that version or a later one, or another data_dir"), "{fix}");
    drop(database);

    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let (text, fix) = check_of_store(home.path());
    assert!(text.starts_with("klines-data/klines.db cannot be read: Permission denied"), "{text}");
    assert!(fix.starts_with("use the account that klines runs as, or let this one read the file"), "{fix}");
}
