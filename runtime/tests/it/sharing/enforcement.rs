//! The lock file in the real program: `check`, `run` and a reload take only the bytes, keys and grants that were accepted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use klines_sharing::digest::Digest;
use klines_sharing::lock::{LockEntry, LockFile, Signed};
use klines_sharing::signature::Signature;
use klines_sharing::trust::Signer;
use tempfile::TempDir;

use super::{home, lock, new_key, refused, sign, variant, write_config};
use crate::redis::server::eventually;
use crate::support::program::{Running, Said, klines};

const CONTRACT: &str = "klines:consumer/consumer@1.2.0";

/// Writes version `number` of a signed component, and accepts it in the lock file as one of the publisher `acme`.
fn accept(home: &Path, number: u32, (name, key): (&str, &str)) {
    let bytes = variant("average", number);
    fs::write(home.join("new.wasm"), &bytes).unwrap();
    sign(home, "new.wasm", name);
    let signature = Signature::parse(&fs::read_to_string(home.join("new.wasm.minisig")).unwrap()).unwrap();
    let signer = Signer { publisher: "acme".to_owned(), key: key.parse().unwrap() };
    let entry = LockEntry {
        component: "it.wasm".to_owned(),
        source: "new.wasm".to_owned(),
        digest: Digest::of(&bytes),
        release: None,
        contract: CONTRACT.to_owned(),
        signed: Some(Signed { signer, signature }),
        grants: Vec::new(),
    };
    write_lock(home, entry);
    // The component is replaced last, as `klines consumer upgrade` does.
    fs::rename(home.join("new.wasm"), home.join("it.wasm")).unwrap();
}

fn write_lock(home: &Path, entry: LockEntry) {
    fs::write(home.join("klines.lock"), LockFile([("it".to_owned(), entry)].into()).text()).unwrap();
}

/// Returns a folder with an accepted component, and the public key of its publisher.
fn accepted() -> (TempDir, String) {
    let home = home();
    let key = new_key(home.path(), "acme");
    write_config(home.path(), &[("acme", &[&key], &[])]);
    accept(home.path(), 1, ("acme", &key));
    klines(home.path(), "check").run().success();
    (home, key)
}

fn edit(home: &Path, change: impl FnOnce(&mut LockEntry)) {
    let mut entry = lock(home).0.remove("it").unwrap();
    change(&mut entry);
    write_lock(home, entry);
}

#[test]
fn other_bytes_than_the_accepted_ones_do_not_run() {
    let (home, _) = accepted();
    fs::write(home.path().join("it.wasm"), variant("average", 2)).unwrap();
    let (accepted, found) = (Digest::of(&variant("average", 1)), Digest::of(&variant("average", 2)));
    let difference = format!("`it.wasm`: its component has {found}, and {accepted} was accepted");
    refused(home.path(), &[&difference, "klines consumer upgrade it FILE"]);
    // A lock file that was edited to fit has no signature of these bytes.
    edit(home.path(), |entry| entry.digest = found);
    refused(home.path(), &["has not signed these bytes", "one of them was changed or exchanged"]);
    // Neither does a link to them in place of the file run.
    fs::rename(home.path().join("it.wasm"), home.path().join("other.wasm")).unwrap();
    symlink("other.wasm", home.path().join("it.wasm")).unwrap();
    edit(home.path(), |entry| entry.digest = accepted);
    refused(home.path(), &[&difference]);
}

#[test]
fn a_lock_file_that_was_edited_is_refused() {
    let (home, key) = accepted();
    let original = fs::read_to_string(home.path().join("klines.lock")).unwrap();
    let other = new_key(home.path(), "bob");
    write_config(home.path(), &[("acme", &[&key], &[]), ("bob", &[&other], &[])]);
    edit(home.path(), |entry| entry.contract = "klines:consumer/consumer@1.9.0".to_owned());
    refused(
        home.path(),
        &["exports `klines:consumer/consumer@1.2.0`, and `klines:consumer/consumer@1.9.0` was accepted"],
    );
    edit(home.path(), |entry| entry.component = "plugins/it.wasm".to_owned());
    refused(home.path(), &["`it.wasm` in the configuration and `plugins/it.wasm` in the lock file"]);
    fs::write(home.path().join("klines.lock"), original.replace("publisher = \"acme\"", "publisher = \"bob\""))
        .unwrap();
    refused(home.path(), &["it is signed by `acme`, and a component of `bob` was accepted"]);
    fs::write(home.path().join("klines.lock"), original.replace(&key, &other)).unwrap();
    refused(home.path(), &["it is signed with another key of `acme` than the lock file says"]);
    fs::write(home.path().join("klines.lock"), original.replace("version = 1", "version = 9")).unwrap();
    refused(home.path(), &["it has version 9, and this klines reads version 1", "(klines.lock)"]);
    fs::write(home.path().join("klines.lock"), "consumers = ").unwrap();
    refused(home.path(), &["the lock file is of no use: it cannot be read: "]);
    fs::remove_file(home.path().join("klines.lock")).unwrap();
    symlink("nowhere", home.path().join("klines.lock")).unwrap();
    refused(home.path(), &["the lock file is of no use: it cannot be read: it is a link to nothing"]);
    fs::remove_file(home.path().join("klines.lock")).unwrap();
    fs::write(home.path().join("klines.lock"), original).unwrap();
    klines(home.path(), "check").run().success();
}

#[test]
fn grants_that_were_not_accepted_are_refused() {
    let (home, _) = accepted();
    let config = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    let more = format!("{config}[consumers.it.allow]\nenv = [\"TZ\"]\n");
    fs::write(home.path().join("klines.toml"), more).unwrap();
    refused(home.path(), &["grants something else than was accepted: + env = \"TZ\"", "`klines consumer upgrade it`"]);
}

#[test]
fn a_revoked_key_stops_the_next_start_and_another_key_of_the_publisher_does_not() {
    let (home, old) = accepted();
    let new = new_key(home.path(), "acme2");
    // Both are valid while the publisher changes its key.
    write_config(home.path(), &[("acme", &[&old, &new], &[])]);
    klines(home.path(), "check").run().success();
    write_config(home.path(), &[("acme", &[&new], &[&old])]);
    refused(home.path(), &["of `acme`, which is revoked", "a key that is not revoked"]);
    accept(home.path(), 2, ("acme2", &new));
    klines(home.path(), "check").run().success();
    write_config(home.path(), &[]);
    refused(home.path(), &["which is none of the trusted keys", "[trusted_keys]"]);
}

fn kept_versions(said: &Said) -> Vec<String> {
    let lines = said.logged("the consumer keeps its version");
    lines.iter().map(|line| line["error"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn next_refusal(run: &Running, containing: &str) {
    run.until(containing, |said| kept_versions(said).iter().any(|error| error.contains(containing)));
}

fn listed(home: &Path) -> serde_json::Value {
    serde_json::from_str(&klines(home, "consumer list --json").run().success().out).unwrap()
}

#[test]
fn a_reload_takes_only_what_the_lock_file_has_accepted_by_then() {
    let (home, key) = accepted();
    let run = "run --demo --config klines.toml --intervals 100ms,1s";
    let run = klines(home.path(), run).with("LOG_FORMAT", "json").start();
    run.until("the start", |said| !said.logged("consumer started").is_empty());
    assert_eq!(listed(home.path())[0]["lock"], "locked");
    let replace = |number: u32| {
        fs::write(home.path().join("new"), variant("average", number)).unwrap();
        fs::rename(home.path().join("new"), home.path().join("it.wasm")).unwrap();
    };
    replace(2);
    next_refusal(&run, "was accepted (klines.lock); expected the component that was accepted");
    let order = klines(home.path(), "consumer reload it").run();
    assert!(order.code() == Some(1) && order.said.err.contains("was accepted"), "{}", order.said.err);
    accept(home.path(), 3, ("acme", &key));
    run.until("the new version", |said| said.logged("consumer runs its new version").len() == 1);
    let version = Digest::of(&variant("average", 3));
    assert_eq!(
        (&listed(home.path())[0]["version"], &listed(home.path())[0]["lock"]),
        (&version.hex().into(), &"locked".into())
    );
    // What was locked at the start does not become unlocked.
    fs::remove_file(home.path().join("klines.lock")).unwrap();
    replace(4);
    next_refusal(&run, "the lock file no longer has the entry of `it`");
    // Neither does it when the consumer is replaced because its section has changed.
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    let changed = toml.replace("component = \"it.wasm\"\n", "component = \"it.wasm\"\nsymbols = [\"BTCUSDT\"]\n");
    assert_ne!(changed, toml);
    fs::write(home.path().join("klines.toml"), changed).unwrap();
    let order = klines(home.path(), "reload").run();
    assert_eq!(order.code(), Some(78), "{}{}", order.said.out, order.said.err);
    assert_eq!(
        (&listed(home.path())[0]["version"], &listed(home.path())[0]["lock"]),
        (&version.hex().into(), &"locked".into())
    );
    run.stop().success();
}

#[test]
fn a_component_without_an_entry_runs_and_is_listed_as_unlocked() {
    let home = home();
    write_config(home.path(), &[]);
    fs::write(home.path().join("it.wasm"), variant("average", 1)).unwrap();
    let run = klines(home.path(), "run --demo --config klines.toml").with("LOG_FORMAT", "json").start();
    run.until("the start", |said| !said.logged("consumer started").is_empty());
    assert_eq!(listed(home.path())[0]["lock"], "unlocked");
    assert!(klines(home.path(), "consumer list").run().success().out.lines().nth(1).unwrap().ends_with("  unlocked"));
    // A lock file that appears while it runs is obeyed.
    let entry = LockEntry {
        component: "it.wasm".to_owned(),
        source: "./it.wasm".to_owned(),
        digest: Digest::of(&variant("average", 2)),
        release: None,
        contract: CONTRACT.to_owned(),
        signed: None,
        grants: Vec::new(),
    };
    write_lock(home.path(), entry);
    fs::write(home.path().join("new"), variant("average", 2)).unwrap();
    fs::rename(home.path().join("new"), home.path().join("it.wasm")).unwrap();
    run.until("the new version", |said| said.logged("consumer runs its new version").len() == 1);
    // The version runs a moment before it is noted what is known of it.
    eventually("the list has its entry", || listed(home.path())[0]["lock"] == "unsigned");
    run.stop().success();
}
