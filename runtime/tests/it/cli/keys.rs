//! `klines keygen` and `klines tls self-signed`: what they print, what they write, and what they do not touch.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use crate::support::program::{folder, klines};

#[test]
fn every_key_is_new_long_enough_and_alone_on_standard_output() {
    let home = folder(&[]);
    let keys: BTreeSet<String> = (0..3).map(|_| klines(home.path(), "keygen").run().success().out).collect();
    assert_eq!(keys.len(), 3);
    for line in keys {
        let key = line.strip_suffix('\n').unwrap();
        assert_eq!(key.len(), 43);
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{key}");
    }
    let said = klines(home.path(), "keygen --json").run().success();
    let printed: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((printed["bits"].as_u64(), printed["key"].as_str().map(str::len)), (Some(256), Some(43)));
    assert_eq!(said.err, "");
}

#[test]
fn a_certificate_is_made_with_a_private_key_and_the_lines_that_use_it() {
    let home = folder(&[]);
    let said = klines(home.path(), "tls self-signed --output made --host klines.lan --host ::1").run().success();
    let lines: toml::Table = said.out.parse().unwrap();
    let [certificate, key] = ["certificate", "certificate_key"].map(|name| lines["websocket"][name].as_str().unwrap());
    assert!(certificate.starts_with('/') && certificate.ends_with("/made/cert.pem"), "{certificate}");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(certificate).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(said.err.contains("for klines.lan, ::1") && said.err.contains("https://klines.lan:9500/"), "{}", said.err);
    let fingerprint = said.err.split_once("sha256 fingerprint ").unwrap().1.lines().next().unwrap();
    assert_eq!(fingerprint.split(':').filter(|byte| byte.len() == 2).count(), 32, "{fingerprint}");
    let pair = klines_websocket::tls::Certificates::load(certificate.as_ref(), key.as_ref());
    pair.unwrap().server_config().unwrap();
}

#[test]
fn existing_files_stay_unless_forced() {
    let home = folder(&[("key.pem", "mine")]);
    let ended = klines(home.path(), "tls self-signed").run();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(ended.said.err.trim(), "error: ./key.pem already exists; --force replaces it");
    assert_eq!(std::fs::read_to_string(home.path().join("key.pem")).unwrap(), "mine");
    assert!(!home.path().join("cert.pem").exists());

    std::fs::set_permissions(home.path().join("key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let said = klines(home.path(), "tls self-signed --force --json").run().success();
    let printed: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(printed["hosts"], serde_json::json!(["localhost", "127.0.0.1", "::1"]));
    let key = home.path().join("key.pem");
    assert!(std::fs::read_to_string(&key).unwrap().contains("PRIVATE KEY"));
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600, "not the mode of the old file");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2, "no other file remains");
}
