//! `klines consumer publish`, and `add` and `upgrade` from a real registry.

use std::fs;
use std::path::Path;

use super::server::{LOGIN, RegistryServer};
use super::{fails, lock, release, run, sign, trusting, with_password};
use crate::support::program::with_section;
use crate::support::program::{Ended, klines};

/// Writes and signs a release, and publishes it. Returns the printed reference.
fn publish(home: &Path, version: &str, wants: &str, to: &str) -> String {
    let file = release(home, version, wants);
    let said = with_password(home, &format!("consumer publish {file} {to} --key acme.key")).run().success();
    assert!(home.join(format!("{file}.minisig")).exists());
    said.out.trim().to_owned()
}

#[test]
fn a_published_component_gets_to_its_first_kline_at_another_operator() {
    let (registry, home) = (RegistryServer::start(), trusting());
    let to = registry.reference("acme/demo:1.2.0");
    let pinned = publish(home.path(), "1.2.0", r#","env":["TZ"]"#, &to);
    assert!(pinned.starts_with(&format!("{to}@sha256:")), "{pinned}");
    // The same again changes nothing.
    let again = run(home.path(), &["consumer", "publish", "demo-1.2.0.wasm", &to]).success();
    assert_eq!(again.out.trim(), pinned);
    assert!(again.err.contains("the tag names exactly this already; nothing is changed"), "{}", again.err);

    let said = run(home.path(), &["consumer", "add", &to, "--grant", "all"]).success();
    assert!(said.err.contains("signed      by acme with the key "), "{}", said.err);
    let entry = &lock(home.path()).0["demo"];
    assert_eq!((entry.component.as_str(), entry.source.as_str()), ("plugins/demo.wasm", pinned.as_str()));
    klines(home.path(), "check").run().success();
    let said = klines(home.path(), "run --demo --intervals 1s --for 4s").run().success();
    assert!(said.account("demo").delivered > 0, "{}", said.err);
    // What was pinned is what is asked for.
    let said = run(home.path(), &["consumer", "add", &pinned, "--name", "twin", "--grant", "none"]).success();
    assert!(said.err.contains(&format!("fetching    {pinned}\n")), "{}", said.err);
}

#[test]
fn upgrades_from_a_registry_ask_as_those_from_files() {
    let (registry, home) = (RegistryServer::start(), trusting());
    let [old, new] = ["1.2.0", "1.3.0"].map(|version| registry.reference(&format!("acme/demo:{version}")));
    publish(home.path(), "1.2.0", "", &old);
    let pinned = publish(home.path(), "1.3.0", r#","env":["TZ"]"#, &new);
    run(home.path(), &["consumer", "add", &old]).success();
    let upgrade = ["consumer", "upgrade", "demo", &new];
    fails(home.path(), &upgrade, &["wants more      the variable \"TZ\"", "nobody says what to grant"]);
    run(home.path(), &[&upgrade[..], &["--grant", "all"]].concat()).success();
    assert_eq!(lock(home.path()).0["demo"].source, pinned);
    let downgrade = ["consumer", "upgrade", "demo", &old];
    fails(home.path(), &downgrade, &["this is a downgrade, from 1.3.0 to 1.2.0; repeat the command with --yes"]);
    klines(home.path(), "check").run().success();
}

#[test]
fn a_tag_that_has_moved_is_said_and_a_digest_stays_what_it_was() {
    let (registry, home) = (RegistryServer::start(), trusting());
    let tag = registry.reference("acme/demo:latest");
    let old = publish(home.path(), "1.2.0", "", &tag);
    run(home.path(), &["consumer", "add", &tag]).success();
    let file = release(home.path(), "1.3.0", "");
    sign(home.path(), &file, "acme");
    let publish = ["consumer", "publish", &file, &tag];
    fails(
        home.path(),
        &publish,
        &["the tag latest names sha256:", "publish under another tag, or move it with --move-tag"],
    );
    let said = run(home.path(), &[&publish[..], &["--move-tag"]].concat()).success();
    let new = said.out.trim();
    let digest = |reference: &str| reference.split_once('@').unwrap().1.to_owned();
    assert!(said.err.contains(&format!("the tag latest is moved from {}", digest(&old))), "{}", said.err);

    let said = run(home.path(), &["consumer", "upgrade", "demo"]).success();
    let moved = format!("the tag latest has moved: {} → {}\n", digest(&old), digest(new));
    let (before, after) = said.err.split_once(&moved).unwrap_or_else(|| panic!("{}", said.err));
    assert!(!before.contains("upgrade of demo") && after.contains("1.2.0 → 1.3.0"), "{}", said.err);
    assert_eq!(lock(home.path()).0["demo"].source, new);
    let said = run(home.path(), &["consumer", "upgrade", "demo"]).success();
    assert!(said.out.contains("this is what was accepted; nothing is changed"), "{}", said.out);
    // The digest of the old manifest still means the old component.
    run(home.path(), &["consumer", "add", &old, "--name", "old"]).success();
    assert_eq!(lock(home.path()).0["old"].release.as_deref(), Some("1.2.0"));
}

#[test]
fn what_is_not_signed_or_no_component_is_not_published() {
    // Nothing answers there: each is refused before the registry is asked.
    let (home, to) = (trusting(), "oci://127.0.0.1:9/acme/demo:1.2.0");
    let file = release(home.path(), "1.2.0", "");
    let publish = ["consumer", "publish", &file, to];
    fails(home.path(), &publish, &["it is not signed (demo-1.2.0.wasm.minisig): sign it with --key FILE"]);
    sign(home.path(), &file, "acme");
    fails(home.path(), &publish, &["cannot connect to 127.0.0.1:9"]);
    fs::write(home.path().join(&file), with_section("average", "x", "")).unwrap();
    fails(home.path(), &publish, &["that key has not signed these bytes: sign it again with --key FILE"]);
    // A publisher need not trust the own key: the digest in the signature shows the mistake too.
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), "").unwrap();
    fails(home.path(), &publish, &["was signed: sign it again with --key FILE"]);
    fs::write(home.path().join("klines.toml"), toml).unwrap();
    fs::write(home.path().join("text.wasm"), "hello").unwrap();
    fails(home.path(), &["consumer", "publish", "text.wasm", to], &["text.wasm: is not WebAssembly"]);
    let digest = format!("{to}@sha256:{}", "0".repeat(64));
    for wrong in ["demo.wasm", "https://ghcr.io/demo", "oci://127.0.0.1:9/demo", &digest] {
        fails(home.path(), &["consumer", "publish", &file, wrong], &["oci://HOST/NAME:TAG"]);
    }
}

#[test]
fn a_registry_with_accounts_gets_user_and_password_from_the_variables() {
    let (registry, home) = (RegistryServer::with_login(), trusting());
    let file = release(home.path(), "1.2.0", "");
    sign(home.path(), &file, "acme");
    let to = registry.reference("acme/demo:1.2.0");
    let with = |arguments: &[&str], password: &str| -> Ended {
        let invocation = klines(home.path(), "").with_arguments(arguments);
        invocation.with("KLINES_REGISTRY_USER", LOGIN.0).with("KLINES_REGISTRY_PASSWORD", password).run()
    };
    let publish = ["consumer", "publish", &file, &to];
    fails(home.path(), &publish, &["set KLINES_REGISTRY_USER and KLINES_REGISTRY_PASSWORD"]);
    let wrong = with(&publish, "wrong pass");
    assert_eq!(wrong.code(), Some(1));
    assert!(wrong.said.err.contains("have to be those of an account that may do this"), "{}", wrong.said.err);
    assert!(!wrong.said.err.contains("wrong pass"), "{}", wrong.said.err);
    let said = with(&publish, LOGIN.1).success();
    assert!(!format!("{}{}", said.out, said.err).contains(LOGIN.1), "{}", said.err);
    fails(home.path(), &["consumer", "add", &to], &["set KLINES_REGISTRY_USER and KLINES_REGISTRY_PASSWORD"]);
    with(&["consumer", "add", &to], LOGIN.1).success();
    let alone = klines(home.path(), "").with_arguments(&publish).with("KLINES_REGISTRY_USER", "acme").run();
    assert!(
        alone.said.err.contains("KLINES_REGISTRY_USER is set, and KLINES_REGISTRY_PASSWORD is not"),
        "{}",
        alone.said.err
    );
    assert!(!fs::read_to_string(home.path().join("klines.lock")).unwrap().contains(LOGIN.1));
}
