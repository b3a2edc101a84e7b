//! Folders that contain another consumer's component, keys, the program or parts of the system, and the messages that
//! the operator gets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use klines_config::{Config, Report, load};
use klines_delivery::{Blueprint as _, Failure};
use klines_system::limits::Limits;
use klines_wasm::grants::Grants;

use super::grant;
use crate::config::folder;
use crate::sandbox::fixtures::{blueprint, live};
use crate::support::program::{self, klines};

/// The files on disk in addition to the configuration.
const FILES: [(&str, &str); 4] =
    [("code/other.wasm", ""), ("tls/cert.pem", ""), ("tls/key.pem", ""), ("conf/keep", "")];

/// Loads a configuration of `writer`, granted `dirs`, and of `other`, whose component is a file.
fn read(dirs: &str, more: &str, prepare: impl FnOnce(&Path)) -> Result<(Config, Report), Report> {
    let toml = format!(
        "enabled_consumers = [\"writer\", \"other\"]\n\
         [consumers.writer]\ncomponent = \"jsonl\"\n[consumers.writer.allow]\ndirs = [{dirs}]\n\
         [consumers.other]\ncomponent = \"code/other.wasm\"\n{more}"
    );
    let mut files = FILES.to_vec();
    files.push(("run.toml", &toml));
    let (folder, mut sources) = folder(&files);
    prepare(folder.path());
    sources.config_file = Some("run.toml".into());
    load(sources)
}

#[track_caller]
fn refused(dirs: &str, more: &str, prepare: impl FnOnce(&Path)) -> String {
    let report = read(dirs, more, prepare).expect_err(dirs);
    let found: Vec<String> =
        report.sorted().iter().map(|found| format!("{} -> {}", found.message, found.expected)).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.concat()
}

fn no_change(_: &Path) {}

#[test]
fn a_writable_folder_must_not_contain_files_that_another_consumer_needs() {
    let tls = "[websocket]\ncertificate = \"tls/cert.pem\"\ncertificate_key = \"tls/key.pem\"\n";
    let authority = "[redis]\nca_file = \"tls/cert.pem\"\n";
    for (host, more, reason) in [
        ("code", "", "code/other.wasm, the component of `other`"),
        ("conf/../code", "", "code/other.wasm, the component of `other`"),
        ("tls", tls, "tls/cert.pem, the server's certificate (`websocket.certificate`)"),
    ] {
        let found = refused(&format!(r#"{{ host = "{host}", guest = "/x", write = true }}"#), more, no_change);
        assert!(found.starts_with(&format!("`writer` is granted `{host}`, which contains /")), "{found}");
        assert!(found.contains(reason) && found.contains("or no `write = true`"), "{found}");
    }
    let found = read(r#"{ host = "tls", guest = "/x", write = true }"#, authority, no_change).expect_err("ca_file");
    let found = found.render(false, 400);
    assert!(found.contains("tls/cert.pem, which decides whom to trust (`ca_file`)"), "{found}");
    let socket = "[redis]\nurl = \"unix:///nowhere/redis/redis.sock\"\n";
    let found = refused(r#"{ host = "/nowhere/redis", guest = "/x", write = true }"#, socket, no_change);
    assert!(found.contains("contains /nowhere/redis/redis.sock, the socket of Redis (`redis.url`)"), "{found}");
    // A component or a certificate may be read; a private key may not.
    read(r#"{ host = "code", guest = "/x" }"#, "", no_change).expect("a component may be read");
    let found = refused(r#"{ host = "tls", guest = "/x", sensitive = true }"#, tls, no_change);
    assert!(found.contains("tls/key.pem, the server's private key"), "{found}");
}

#[test]
fn links_are_resolved_before_a_folder_is_checked() {
    let into = |link: &'static str, target: &'static str| {
        move |folder: &Path| symlink(folder.join(target), folder.join(link)).unwrap()
    };
    let write = |host: &str| format!(r#"{{ host = "{host}", guest = "/x", write = true }}"#);
    let found = refused(&write("innocent"), "", into("innocent", "code"));
    assert!(found.contains("contains /") && found.contains("the component of `other`"), "{found}");
    // The component is found through a link that the folder holds.
    let found = refused(&write("out"), "", |folder| {
        fs::create_dir(folder.join("out")).unwrap();
        fs::rename(folder.join("code"), folder.join("real")).unwrap();
        symlink("../real", folder.join("out/code")).unwrap();
        symlink("out/code", folder.join("code")).unwrap();
    });
    assert!(found.contains("contains a link on the way to /") && found.contains("the component of `other`"), "{found}");
}

#[test]
fn the_folder_of_the_configuration_cannot_be_granted_even_before_it_exists() {
    let found = refused(r#"{ host = ".", guest = "/x", write = true }"#, "", no_change);
    assert!(found.contains("contains `data_dir`"), "{found}");
    let dirs = "data_dir = \"/nowhere/data\"\nplugins_dir = \"/nowhere/plugins\"\nenabled_consumers = [\"jsonl\"]\n\
                [consumers.jsonl.allow]\ndirs = [{ host = \".\", guest = \"/x\", write = true }]\n";
    let (_folder, mut sources) = folder(&[("conf/klines.toml", dirs)]);
    sources.config_file = Some("conf/klines.toml".into());
    let report = load(sources).expect_err("the file itself");
    assert!(report.render(false, 400).contains("conf/klines.toml, which klines reads"));
    for right in ["write = true", "sensitive = true"] {
        let (home, mut sources) = folder(&[]);
        let host = format!("host = {:?}", home.path());
        let dirs = dirs.replace("host = \".\"", &host).replace("write = true", right);
        let (elsewhere, _) = folder(&[("klines.toml", &dirs)]);
        sources.config_file = Some(elsewhere.path().join("klines.toml"));
        let report = load(sources).expect_err("the usual files");
        assert!(report.render(false, 400).contains("klines.toml, which klines reads when it is there"), "{right}");
    }
}

#[test]
fn the_program_the_temporary_folder_and_the_system_are_refused_with_the_fix() {
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().display();
    let found = refused(&format!(r#"{{ host = "{program}", guest = "/x", write = true }}"#), "", no_change);
    assert!(found.contains("the program that runs") && found.contains("a folder of its own"), "{found}");
    // A temporary folder that contains nothing else that is protected.
    let temporary = tempfile::tempdir().unwrap();
    let toml = format!(
        "enabled_consumers = [\"jsonl\"]\n[consumers.jsonl.allow]\ndirs = [{{ host = {:?}, guest = \"/x\", write = true }}]\n",
        temporary.path()
    );
    let home = program::folder(&[("klines.toml", &toml)]);
    let ended = klines(home.path(), "check").with("TMPDIR", temporary.path().to_str().unwrap()).run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    // The width of a terminal breaks the line somewhere.
    assert!(ended.said.err.contains("where klines may keep compiled"), "{}", ended.said.err);
    for host in ["/etc", "/etc/ssl", "/proc/self", "/sys/kernel", "/dev/shm"] {
        let found = refused(&format!(r#"{{ host = "{host}", guest = "/x" }}"#), "", no_change);
        assert!(found.contains("which belongs to the system") && found.contains("`sensitive = true`"), "{found}");
        let dirs = format!(r#"{{ host = "{host}", guest = "/x", sensitive = true }}"#);
        let (config, _) = read(&dirs, "", no_change).expect(host);
        assert!(config.show().contains(&format!("{host} as /x (read, sensitive)")), "{}", config.show());
    }
    let found = refused(r#"{ host = "/", guest = "/x", sensitive = true }"#, "", no_change);
    assert!(found.contains("contains `data_dir`"), "{found}");
}

#[test]
fn a_new_instance_is_refused_a_folder_below_a_link_to_a_protected_one() {
    let (config, _) = read(r#"{ host = "a/out", guest = "/out", write = true }"#, "", no_change).expect("fine");
    let root = tempfile::tempdir().unwrap();
    let mut protected = (*config.protected).clone();
    let code = root.path().join("code");
    fs::create_dir_all(code.join("out")).unwrap();
    fs::create_dir_all(root.path().join("a/out")).unwrap();
    let access = (klines_system::protected::Access::Write, klines_system::protected::Reach::All);
    protected.add(&code, "the component of `other`", access.0, access.1);
    let dirs = vec![grant(&root.path().join("a/out"), "/out", true)];
    let grants = Grants { dirs, protected: protected.into(), ..Grants::default() };
    let mut blueprint = blueprint("hostile", "turned", r#"{"mode":"mark"}"#, Limits::default(), grants);
    drop(live(&mut blueprint, 1).unwrap());
    assert!(root.path().join("a/out/mark").exists());
    // The folder itself may not be a link, so its parent is replaced by one.
    fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
    symlink("code", root.path().join("a")).unwrap();
    match blueprint.instantiate(&Arc::default()).err() {
        Some(Failure::Fatal(text)) => {
            assert!(text.contains("a/out` lies inside the component of `other`"), "{text}");
            assert!(text.contains("expected a folder of its own"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(code.join("out")).unwrap().count(), 0);
}
