//! Components of others in the real program: what publishers sign, what operators accept, and that nothing else runs.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod attacks;
mod enforcement;
mod files;
mod keys;
mod registry;
mod search;
mod server;
mod urls;

use std::fs;
use std::path::Path;

use klines_sharing::lock::LockFile;
use tempfile::TempDir;

use crate::support::program::{Ended, Invocation, folder, klines, with_section};

const PASSWORD: &str = "correct horse battery";

/// Prepares the program with the password of every key.
fn with_password(home: &Path, arguments: &str) -> Invocation {
    klines(home, arguments).with("KLINES_MINISIGN_PASSWORD", PASSWORD)
}

/// Makes the key pair of a publisher in `NAME.key` and `NAME.pub`. Returns the public key.
fn new_key(home: &Path, name: &str) -> String {
    with_password(home, &format!("keygen --minisign {name}.key")).run().success();
    fs::read_to_string(home.join(format!("{name}.pub"))).unwrap().lines().nth(1).unwrap().to_owned()
}

/// Signs a file with the key of a publisher.
fn sign(home: &Path, file: &str, name: &str) {
    with_password(home, &format!("consumer sign {file} --key {name}.key")).run().success();
}

/// Returns a test component with a section without meaning, so that there are different files with the same behaviour.
fn variant(component_name: &str, number: u32) -> Vec<u8> {
    with_section(component_name, &format!("variant-{number}"), "")
}

fn lock(home: &Path) -> LockFile {
    LockFile::parse(&fs::read_to_string(home.join("klines.lock")).unwrap()).unwrap()
}

/// Asserts that the configuration is refused, by `check` and by `run` alike, with these texts.
#[track_caller]
fn refused(home: &Path, texts: &[&str]) {
    for command in ["check", "run --demo --config klines.toml --for 1s"] {
        let Ended { status, said } = klines(home, command).run();
        assert_eq!(status.code(), Some(78), "{command}: {}", said.err);
        // Reports wrap lines, also within words.
        let without_blanks = |text: &str| -> String {
            text.chars().filter(|found| !found.is_whitespace() && !"│·×╭╰─┬".contains(*found)).collect()
        };
        let err = without_blanks(&said.err);
        for text in texts {
            assert!(err.contains(&without_blanks(text)), "{command} does not say {text:?}: {}", said.err);
        }
    }
}

/// A publisher, its keys and its revoked keys.
type TrustedPublisher<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// Writes a configuration with a consumer `it` and these trusted keys.
fn write_config(home: &Path, trusted: &[TrustedPublisher<'_>]) {
    let list = |keys: &[&str]| keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
    let keys = trusted.iter().map(|(name, keys, revoked)| {
        format!("[trusted_keys.{name}]\nkeys = [{}]\nrevoked = [{}]\n", list(keys), list(revoked))
    });
    let consumer = "enabled_consumers = [\"it\"]\n[consumers.it]\ncomponent = \"it.wasm\"\n";
    fs::write(home.join("klines.toml"), format!("{consumer}{}", keys.collect::<String>())).unwrap();
}

/// Creates an empty folder.
fn home() -> TempDir {
    folder(&[])
}

/// A release of a component: its version, and what else its manifest says.
fn release(home: &Path, version: &str, wants: &str) -> String {
    let file = format!("demo-{version}.wasm");
    let manifest = format!(r#"{{"name":"demo","version":"{version}"{wants}}}"#);
    fs::write(home.join(&file), with_section("average", "klines:manifest", &manifest)).unwrap();
    file
}

/// Returns a folder in which `acme` is trusted.
fn trusting() -> TempDir {
    let home = home();
    let key = new_key(home.path(), "acme");
    let comment = "# mine\n[trusted_keys.acme] # of their page\nkeys = [\"KEY\"]\n";
    fs::write(home.path().join("klines.toml"), comment.replace("KEY", &key)).unwrap();
    home
}

/// Runs the program with arguments that may have blanks.
fn run(home: &Path, arguments: &[&str]) -> Ended {
    klines(home, "").with_arguments(arguments).run()
}

/// Asserts that a command fails with these texts and changes nothing.
#[track_caller]
fn fails(home: &Path, arguments: &[&str], texts: &[&str]) {
    let before = content(home);
    let ended = run(home, arguments);
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    for text in texts {
        assert!(ended.said.err.contains(text), "{text:?} is not in {}", ended.said.err);
    }
    assert_eq!(content(home), before, "{}", ended.said.err);
}

/// Returns the files of the configuration and of the plugins folder, with their bytes.
fn content(home: &Path) -> Vec<(String, Vec<u8>)> {
    let plugins = fs::read_dir(home.join("plugins")).into_iter().flatten();
    let plugins = plugins.map(|entry| entry.unwrap().path());
    let files = plugins.chain(["klines.toml", "klines.lock"].map(|name| home.join(name)));
    let mut found: Vec<_> =
        files.filter_map(|path| Some((path.display().to_string(), fs::read(&path).ok()?))).collect();
    found.sort();
    found
}
