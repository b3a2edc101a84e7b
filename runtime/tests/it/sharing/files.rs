//! `klines consumer add`, `upgrade` and `remove` with files: what is accepted, what is refused, and what they write.

use std::fs;
use std::os::unix::fs::symlink;

use klines_sharing::digest::Digest;
use tempfile::TempDir;

use super::{content, fails, lock, new_key, refused, release, run, sign, trusting};
use crate::support::program::{Ended, klines, with_section};

/// Returns a folder in which `acme` is trusted, with a first release that has been added as `demo`.
fn with_demo(wants: &str, grant: &str) -> TempDir {
    let home = trusting();
    let file = release(home.path(), "1.2.0", wants);
    sign(home.path(), &file, "acme");
    run(home.path(), &["consumer", "add", &file, "--name", "demo", "--grant", grant]).success();
    home
}

#[test]
fn a_signed_component_gets_to_its_first_kline_in_three_commands_and_leaves_its_state_behind() {
    let home = trusting();
    let file = release(home.path(), "1.2.0", r#","env":["TZ"]"#);
    sign(home.path(), &file, "acme");
    let said = run(home.path(), &["consumer", "add", &file, "--name", "demo", "--grant", "all"]).success();
    assert!(
        said.err.contains("signed      by acme with the key ") && said.err.contains("the variable \"TZ\""),
        "{}",
        said.err
    );
    assert!(said.out.contains("granted env = \"TZ\"\n"), "{}", said.out);
    klines(home.path(), "check").run().success();
    let said = klines(home.path(), "run --demo --intervals 1s --for 4s").run().success();
    assert!(said.account("demo").delivered > 0, "{}", said.err);

    let entry = &lock(home.path()).0["demo"];
    assert_eq!((entry.component.as_str(), entry.source.as_str()), ("plugins/demo.wasm", file.as_str()));
    assert_eq!((entry.release.as_deref(), entry.grants.as_slice()), (Some("1.2.0"), &["env = \"TZ\"".to_owned()][..]));
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    assert!(toml.contains("# mine\n[trusted_keys.acme] # of their page\n"), "{toml}");
    assert!(toml.contains("enabled_consumers = [\"console\", \"demo\"]\n"), "{toml}");

    fs::create_dir_all(home.path().join("klines-data/state")).unwrap();
    fs::write(home.path().join("klines-data/state/demo.sqlite"), "").unwrap();
    let said = klines(home.path(), "consumer remove demo").run().success();
    assert_eq!(said.out, "removed demo\nremoved plugins/demo.wasm\nkept klines-data/state/demo.sqlite\n");
    assert!(!home.path().join("klines.lock").exists() && !home.path().join("plugins/demo.wasm").exists());
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    assert!(!toml.contains("demo") && toml.contains("# of their page"), "{toml}");
    klines(home.path(), "check").run().success();
}

#[test]
fn what_no_trusted_key_has_signed_is_not_added() {
    let home = trusting();
    let file = release(home.path(), "1.2.0", "");
    let add = ["consumer", "add", &file, "--name", "demo"];
    fails(home.path(), &add, &["it has no signature (demo-1.2.0.wasm.minisig)", "--allow-unsigned"]);
    new_key(home.path(), "mallory");
    sign(home.path(), &file, "mallory");
    fails(home.path(), &add, &["it is signed with the key ", "which is none of the trusted keys", "[trusted_keys]"]);
    sign(home.path(), &file, "acme");
    let digest = Digest::of(b"another").to_string();
    let pinned = [&add[..], &["--digest", &digest]].concat();
    fails(home.path(), &pinned, &[&format!("and {digest} was demanded: it is another file, or was changed")]);
    let other = [&add[..], &["--publisher", "bob"]].concat();
    fails(home.path(), &other, &["it is signed by `acme`, and a component of `bob` is expected"]);
    // One byte more than was signed.
    let mut bytes = fs::read(home.path().join(&file)).unwrap();
    bytes.push(0);
    fs::write(home.path().join(&file), bytes).unwrap();
    fails(home.path(), &add, &["that key has not signed these bytes"]);
    // That is not a question of having no signature.
    let anyway = [&add[..], &["--allow-unsigned"]].concat();
    fails(home.path(), &anyway, &["that key has not signed these bytes"]);
    let contradiction = run(home.path(), &[&anyway[..], &["--publisher", "acme"]].concat());
    assert_eq!(contradiction.code(), Some(2), "{}", contradiction.said.err);
    fs::write(home.path().join("demo-1.2.0.wasm.minisig"), "hello").unwrap();
    fails(home.path(), &add, &["demo-1.2.0.wasm.minisig: it is not a signature of minisign"]);
}

#[test]
fn an_unsigned_component_is_added_with_the_flag_alone_and_still_pinned() {
    let home = trusting();
    let file = release(home.path(), "1.2.0", "");
    let said = run(home.path(), &["consumer", "add", &file, "--name", "demo", "--allow-unsigned"]).success();
    assert!(said.err.contains("signed      no: nothing says whose it is"), "{}", said.err);
    assert!(lock(home.path()).0["demo"].signed.is_none());
    klines(home.path(), "check").run().success();
    fs::write(home.path().join("plugins/demo.wasm"), with_section("average", "x", "")).unwrap();
    refused(home.path(), &["was accepted (klines.lock)"]);
}

#[test]
fn nothing_is_granted_or_overwritten_silently() {
    let home = trusting();
    let wants = r#","env":["TZ"],"dirs":[{"guest":"/out","write":true}]"#;
    let file = release(home.path(), "1.2.0", wants);
    sign(home.path(), &file, "acme");
    let add = |more: &[&'static str]| [&["consumer", "add", &file, "--name", "demo"][..], more].concat();
    fails(
        home.path(),
        &add(&[]),
        &["nobody says what to grant", "--grant 'env = \"TZ\"'", "guest = \"/out\", write = true"],
    );
    fails(home.path(), &add(&["--grant", "all"]), &["a folder \"/out\", written, which you have to choose"]);
    fails(home.path(), &add(&["--grant", "everything"]), &["`everything` is no grant"]);
    let secret = "dirs = { host = \"klines-data\", guest = \"/out\", write = true }";
    fails(home.path(), &add(&["--grant", secret]), &["the configuration would be refused with it", "`data_dir`"]);
    for name in ["console", "a b", ""] {
        fails(home.path(), &["consumer", "add", &file, "--name", name, "--grant", "none"], &["with --name"]);
    }
    run(home.path(), &add(&["--grant", "none"])).success();
    assert_eq!(lock(home.path()).0["demo"].grants, Vec::<String>::new());
    fails(home.path(), &add(&["--grant", "none"]), &["there is a consumer `demo` already"]);
    fs::write(home.path().join("plugins/other.wasm"), "mine").unwrap();
    let other = ["consumer", "add", &file, "--name", "other", "--grant", "none"];
    fails(home.path(), &other, &["plugins/other.wasm exists already"]);
}

#[test]
fn an_upgrade_brings_back_a_component_that_is_gone() {
    let home = with_demo("", "none");
    let (path, before) = (home.path().join("plugins/demo.wasm"), content(home.path()));
    fs::remove_file(&path).unwrap();
    refused(home.path(), &["there is no component file"]);
    run(home.path(), &["consumer", "upgrade", "demo"]).success();
    assert_eq!(content(home.path()), before);
    // What is not accepted is not there afterwards either.
    fs::remove_file(&path).unwrap();
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("{toml}\n[klines]\nintervals = [\"7x\"]\n")).unwrap();
    fails(home.path(), &["consumer", "upgrade", "demo"], &["the configuration would be refused with it"]);
    assert!(!path.exists());
}

#[test]
fn an_upgrade_that_wants_more_shows_the_difference_and_waits() {
    let home = with_demo(r#","env":["TZ"]"#, "all");
    let file = release(home.path(), "1.3.0", r#","env":["TZ","LANG"]"#);
    sign(home.path(), &file, "acme");
    let upgrade = ["consumer", "upgrade", "demo", &file];
    let differences =
        ["release         1.2.0 → 1.3.0", "wants more      the variable \"LANG\"", "nobody says what to grant"];
    fails(home.path(), &upgrade, &differences);
    run(home.path(), &[&upgrade[..], &["--grant", "env = \"LANG\""]].concat()).success();
    assert_eq!(lock(home.path()).0["demo"].grants, ["env = \"LANG\"", "env = \"TZ\""]);
    klines(home.path(), "check").run().success();
    let said = run(home.path(), &upgrade).success();
    assert!(said.out.contains("this is what was accepted; nothing is changed"), "{}", said.out);
    // One that wants less needs no answer.
    let file = release(home.path(), "1.4.0", "");
    sign(home.path(), &file, "acme");
    let said = run(home.path(), &["consumer", "upgrade", "demo", &file]).success();
    assert!(said.err.contains("no longer wants the variable \"LANG\""), "{}", said.err);
    // One that wants it again does, although the old grants are still there.
    let file = release(home.path(), "1.5.0", r#","env":["TZ"]"#);
    sign(home.path(), &file, "acme");
    let upgrade = ["consumer", "upgrade", "demo", &file];
    fails(home.path(), &upgrade, &["it wants more, and the configuration grants it already: the variable \"TZ\""]);
    let said = run(home.path(), &[&upgrade[..], &["--yes"]].concat()).success();
    assert!(said.err.contains("the configuration grants it already"), "what is confirmed is said: {}", said.err);
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let home = trusting();
    let file = release(home.path(), "1.2.0", "");
    sign(home.path(), &file, "acme");
    let names = ["a", "b", "c", "d"];
    let add = |name| run(home.path(), &["consumer", "add", &file, "--name", name, "--grant", "none"]);
    let ended: Vec<Ended> = std::thread::scope(|scope| {
        let running = names.map(|name| scope.spawn(move || add(name)));
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    let (mut added, busy) = (Vec::new(), "another `klines consumer` command is changing the configuration");
    for (name, ended) in names.iter().zip(ended) {
        match ended.code() {
            Some(0) => added.push((*name).to_owned()),
            _ => assert!(ended.said.err.contains(busy), "{}", ended.said.err),
        }
    }
    assert!(!added.is_empty());
    assert_eq!(lock(home.path()).0.into_keys().collect::<Vec<_>>(), added);
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    names.iter().for_each(|name| {
        assert_eq!(toml.contains(&format!("[consumers.{name}]")), added.contains(&(*name).to_owned()), "{toml}");
    });
}

#[test]
fn a_component_of_two_consumers_stays_until_both_are_removed() {
    let home = with_demo("", "none");
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    let toml = toml.replace("\"demo\"]", "\"demo\", \"twin\"]");
    fs::write(
        home.path().join("klines.toml"),
        format!("{toml}\n[consumers.twin]\ncomponent = \"plugins/demo.wasm\"\n"),
    )
    .unwrap();
    let said = klines(home.path(), "check").run().success();
    let without_blanks: String = said.err.split_whitespace().collect();
    assert!(without_blanks.contains("twin:klines.lockhasnoentryofit"), "{}", said.err);
    let said = klines(home.path(), "consumer remove demo").run().success();
    assert_eq!(said.out, "removed demo\nkept plugins/demo.wasm: it is the component of `twin`, too\n");
    klines(home.path(), "check").run().success();
}

#[test]
fn an_upgrade_is_of_the_same_publisher_and_a_downgrade_is_said() {
    let home = with_demo("", "none");
    let bob = new_key(home.path(), "bob");
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("{toml}\n[trusted_keys.bob]\nkeys = [\"{bob}\"]\n")).unwrap();
    let file = release(home.path(), "1.3.0", "");
    let upgrade = ["consumer", "upgrade", "demo", &file];
    sign(home.path(), &file, "bob");
    fails(home.path(), &upgrade, &["it is signed by `bob`, and a component of `acme` is expected"]);
    let other = [&upgrade[..], &["--publisher", "bob"]].concat();
    fails(
        home.path(),
        &other,
        &["what was accepted is signed by acme, and this by bob; repeat the command with --yes"],
    );
    fs::remove_file(home.path().join(format!("{file}.minisig"))).unwrap();
    fails(home.path(), &upgrade, &["it has no signature"]);
    let unsigned = [&upgrade[..], &["--allow-unsigned"]].concat();
    fails(home.path(), &unsigned, &["what was accepted is signed by acme, and this is not signed", "--yes"]);
    let older = release(home.path(), "1.1.0", "");
    sign(home.path(), &older, "acme");
    let downgrade = ["consumer", "upgrade", "demo", &older];
    fails(home.path(), &downgrade, &["this is a downgrade, from 1.2.0 to 1.1.0; repeat the command with --yes"]);
    run(home.path(), &[&downgrade[..], &["--yes"]].concat()).success();
    assert_eq!(lock(home.path()).0["demo"].release.as_deref(), Some("1.1.0"));
    klines(home.path(), "check").run().success();
}

#[test]
fn grants_that_were_changed_by_hand_are_accepted_by_an_upgrade() {
    let home = with_demo(r#","env":["TZ"]"#, "none");
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("{toml}\n[consumers.demo.allow]\nenv = [\"TZ\"]\n")).unwrap();
    refused(home.path(), &["+ env = \"TZ\""]);
    let upgrade = ["consumer", "upgrade", "demo"];
    fails(home.path(), &upgrade, &["its grants were changed since they were accepted: + env = \"TZ\""]);
    run(home.path(), &[&upgrade[..], &["--yes"]].concat()).success();
    klines(home.path(), "check").run().success();
}

#[test]
fn an_unlocked_consumer_is_locked_by_an_upgrade_and_only_what_was_added_is_removed() {
    let home = trusting();
    let file = release(home.path(), "1.2.0", "");
    sign(home.path(), &file, "acme");
    fs::create_dir(home.path().join("plugins")).unwrap();
    fs::copy(home.path().join(&file), home.path().join("plugins/demo.wasm")).unwrap();
    let toml = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("enabled_consumers = [\"demo\"]\n{toml}")).unwrap();
    fails(home.path(), &["consumer", "upgrade", "demo"], &["`demo` is not locked"]);
    fails(home.path(), &["consumer", "remove", "demo"], &["klines.lock has no entry of `demo`"]);
    run(home.path(), &["consumer", "upgrade", "demo", &file]).success();
    assert!(lock(home.path()).0["demo"].signed.is_some());
    klines(home.path(), "check").run().success();
    // A link in place of the file that was accepted does not become another component.
    fs::write(home.path().join("evil.wasm"), with_section("average", "x", "")).unwrap();
    fs::remove_file(home.path().join("plugins/demo.wasm")).unwrap();
    symlink("../evil.wasm", home.path().join("plugins/demo.wasm")).unwrap();
    refused(home.path(), &["was accepted (klines.lock)"]);
    let said = klines(home.path(), "consumer remove demo").run().success();
    assert!(
        said.out.contains("kept plugins/demo.wasm: it is not what `klines consumer add` has put there"),
        "{}",
        said.out
    );
}

#[test]
fn an_upgrade_replaces_a_link_and_not_what_it_leads_to() {
    let home = with_demo("", "none");
    let component = home.path().join("plugins/demo.wasm");
    fs::write(home.path().join("precious"), "mine").unwrap();
    fs::remove_file(&component).unwrap();
    symlink("../precious", &component).unwrap();
    run(home.path(), &["consumer", "upgrade", "demo"]).success();
    assert!(!fs::symlink_metadata(&component).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(home.path().join("precious")).unwrap(), "mine");
    klines(home.path(), "check").run().success();
}
