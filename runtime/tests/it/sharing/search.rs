//! `klines consumer search`: what an index names, how it gets there, and that it is only believed after verification.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use super::server::RegistryServer;
use super::{fails, lock, new_key, release, run, trusting, with_password};
use crate::sandbox::peer::{Peer, response};
use crate::support::program::klines;

#[test]
fn what_is_published_is_found_added_and_gets_klines() {
    let (registry, home) = (RegistryServer::start(), trusting());
    let publish = |version: &str, wants: &str, name: &str| {
        let (file, to) = (release(home.path(), version, wants), registry.reference(&format!("{name}:{version}")));
        let command = format!("consumer publish {file} {to} --key acme.key --index index.toml");
        with_password(home.path(), &command).run().success()
    };
    publish("1.1.0", "", "acme/demo");
    let said = publish("1.2.0", r#","env":["TZ"],"description":"Averages  of\nclosed klines""#, "acme/demo");
    assert!(said.err.contains("acme/demo is listed in index.toml"), "{}", said.err);
    publish("1.0.0", "", "acme/other");
    // One entry for each name: the newest one.
    let index = fs::read(home.path().join("index.toml")).unwrap();
    let hosted = Peer::start(move |_, stream| stream.write_all(&response(200, "", &index)));
    let found = |index: &str, words: &[&str]| {
        run(home.path(), &[&["consumer", "search", "--index", index], words].concat()).success()
    };
    assert_eq!(found(&hosted.url("/index.toml"), &[]).out, found("index.toml", &[]).out);
    assert!(found("index.toml", &["other"]).out.starts_with("acme/other 1.0.0\n"));
    let none = found("index.toml", &["AVERAGES", "volume"]);
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "none of its 2 components has all of these words\n"));
    let out = found("index.toml", &["AVERAGES", "closed"]).out;
    for line in [
        "acme/demo 1.2.0\n",
        "  what        Averages of closed klines\n",
        ", a trusted key of acme\n",
        "  contract    klines:consumer/consumer@",
        "  wants       the variable \"TZ\"\n",
    ] {
        assert!(out.contains(line), "{line:?} is not in {out}");
    }
    assert_eq!(out.matches("wants").count(), 1, "{out}");

    let add = out.lines().find_map(|line| line.trim().strip_prefix("add         klines ")).unwrap();
    assert_eq!(add, format!("consumer add {pinned}", pinned = said.out.trim()));
    klines(home.path(), &format!("{add} --grant all")).run().success();
    assert_eq!(lock(home.path()).0["demo"].release.as_deref(), Some("1.2.0"));
    let said = klines(home.path(), "run --demo --intervals 1s --for 4s").run().success();
    assert!(said.account("demo").delivered > 0, "{}", said.err);
}

#[test]
fn keys_are_said_to_be_trusted_only_if_they_are() {
    let (registry, home) = (RegistryServer::start(), trusting());
    let mallory = new_key(home.path(), "mallory");
    let file = release(home.path(), "1.2.0", "");
    let to = registry.reference("acme/demo:1.2.0");
    let command = format!("consumer publish {file} {to} --key mallory.key --index index.toml");
    with_password(home.path(), &command).run().success();
    let search = ["consumer", "search", "--index", "index.toml"];
    let out = run(home.path(), &search).success().out;
    assert!(out.contains(&format!("key         {mallory}, which is none of the trusted keys\n")), "{out}");
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("{toml}revoked = [\"{mallory}\"]\n")).unwrap();
    let out = run(home.path(), &search).success().out;
    assert!(out.contains(", a revoked key of acme\n"), "{out}");
    // An index that names a trusted key makes no component trusted.
    let acme = fs::read_to_string(home.path().join("acme.pub")).unwrap();
    let index = fs::read_to_string(home.path().join("index.toml")).unwrap();
    fs::write(home.path().join("index.toml"), index.replace(&mallory, acme.lines().nth(1).unwrap())).unwrap();
    fs::write(home.path().join("klines.toml"), toml).unwrap();
    let out = run(home.path(), &search).success().out;
    assert!(out.contains(", a trusted key of acme\n"), "{out}");
    let add = out.lines().find_map(|line| line.trim().strip_prefix("add         klines ")).unwrap();
    fails(home.path(), &add.split(' ').collect::<Vec<_>>(), &["which is none of the trusted keys"]);
}

#[test]
fn the_command_that_is_printed_runs_nothing_else() {
    let home = trusting();
    let key = new_key(home.path(), "other");
    let entry = |name: &str, source: &str| {
        let digest = klines_sharing::digest::Digest::of(b"");
        format!("[components.{name:?}]\nsource = {source:?}\ndigest = \"{digest}\"\nkey = {key:?}\ncontract = \"x\"\n")
    };
    // In the order of their names, which are the same.
    let sources = [
        "https://e.com/$(touch$IFS./RUN)/'b'.wasm",
        "https://e.com/a;touch$IFS./RUN;.wasm",
        "https://e.com/console.wasm",
        "https://e.com/plain.wasm",
    ];
    let entries: String = sources.iter().map(|source| entry(source, source)).collect();
    // One that cannot be used hides none.
    let index = format!("version = 1\n{entries}{}", entry("a-file", "/etc/passwd"));
    fs::write(home.path().join("index.toml"), index).unwrap();
    let said = run(home.path(), &["consumer", "search", "--index", "index.toml"]).success();
    assert!(said.err.contains("its entry of `a-file` must have a `source`"), "{}", said.err);
    let commands: Vec<&str> =
        said.out.lines().filter_map(|line| line.trim().strip_prefix("add         klines ")).collect();
    assert_eq!(commands.len(), sources.len(), "{}", said.out);
    for (command, source) in commands.iter().zip(sources) {
        let script = format!("printf '%s\\n' {command}");
        let shell = Command::new("sh").args(["-c", &script]).current_dir(home.path()).output().unwrap();
        let words = String::from_utf8(shell.stdout).unwrap();
        assert_eq!(words.lines().nth(2), Some(source), "{command}");
        // A name is needed where the last part cannot be one, or is that of a consumer of klines.
        assert_eq!(words.contains("--name"), !source.contains("plain"), "{command}");
    }
    assert!(!home.path().join("RUN").exists());
}

#[test]
fn publishing_again_changes_nothing_and_at_the_same_time_loses_nothing() {
    let (registry, home) = (RegistryServer::start(), trusting());
    let file = release(home.path(), "1.2.0", "");
    let publish = |name: &str, index: &str| {
        let to = registry.reference(&format!("acme/{name}:1"));
        with_password(home.path(), &format!("consumer publish {file} {to} --key acme.key --index {index}"))
    };
    // Nothing is published that cannot be listed then.
    let ended = publish("one", "missing/index.toml").run();
    assert_eq!((ended.code(), ended.said.out.as_str()), (Some(1), ""), "{}", ended.said.err);
    let first = publish("one", "index.toml").run().success();
    let again = publish("one", "index.toml").run().success();
    assert_eq!(again.out, first.out);
    assert!(again.err.contains("demo-1.2.0.wasm is signed with the key"), "{}", again.err);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let publish = &publish;
            scope.spawn(move || publish(&format!("other{number}"), "index.toml").run().success());
        }
    });
    let index = fs::read_to_string(home.path().join("index.toml")).unwrap();
    assert_eq!(index.matches("[components.").count(), 7, "{index}");
}

#[test]
fn what_is_no_index_is_refused() {
    let home = trusting();
    let search = |index: &str, text: &str| fails(home.path(), &["consumer", "search", "--index", index], &[text]);
    search("index.toml", "index.toml: there is no such file");
    search(".", ".: it is no file");
    search("oci://127.0.0.1/acme/index:1", "expected a file or https://HOST/PATH");
    fs::write(home.path().join("index.toml"), "version = 2").unwrap();
    search("index.toml", "it has version 2, and this klines reads version 1");
    fs::write(home.path().join("index.toml"), [0xff]).unwrap();
    search("index.toml", "index.toml: it is no text in UTF-8");
    fs::write(home.path().join("index.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    search("index.toml", "index.toml: it has more than 1048576 bytes");
    let hosted =
        |status: u16, body: &'static [u8]| Peer::start(move |_, stream| stream.write_all(&response(status, "", body)));
    search(&hosted(404, b"").url("/index.toml"), "/index.toml: there is no such file");
    search(&hosted(200, b"<html>").url("/index.toml"), "it is no index of components");
    search(&hosted(200, &[b'#'; (1 << 20) + 1]).url("/index.toml"), "it has more than 1048576 bytes");
    // Nothing is published that cannot be listed then.
    let file = release(home.path(), "1.2.0", "");
    let arguments =
        ["consumer", "publish", &file, "oci://127.0.0.1:9/acme/demo:1", "--key", "acme.key", "--index", "."];
    fails(home.path(), &arguments, &[".: it is no file"]);
}
