//! `klines consumer add` and `upgrade` from a URL.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{fails, lock, release, run, sign, trusting};
use crate::sandbox::peer::{Peer, response};
use crate::support::program::klines;

/// The files of a server, by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn serving() -> (Peer, Files) {
    let files = Files::default();
    let served = files.clone();
    let peer = Peer::start(move |seen, stream| {
        let path = seen.line.split(' ').nth(1).unwrap();
        let file = served.lock().unwrap().get(path).cloned();
        let answer = file.map_or_else(|| response(404, "", &[b'x'; 10_000]), |bytes| response(200, "", &bytes));
        stream.write_all(&answer)
    });
    (peer, files)
}

/// Puts a file and its signature, if it has one, on the server.
fn put(files: &Files, home: &Path, file: &str, path: &str) {
    let mut files = files.lock().unwrap();
    files.insert(path.to_owned(), fs::read(home.join(file)).unwrap());
    if let Ok(signature) = fs::read(home.join(format!("{file}.minisig"))) {
        files.insert(format!("{path}.minisig"), signature);
    }
}

#[test]
fn a_signed_component_is_added_from_a_url_and_upgraded_from_it() {
    let (home, (peer, files)) = (trusting(), serving());
    let file = release(home.path(), "1.2.0", "");
    sign(home.path(), &file, "acme");
    put(&files, home.path(), &file, "/releases/demo.wasm");
    let url = peer.url("/releases/demo.wasm");
    run(home.path(), &["consumer", "add", &url]).success();
    assert_eq!(lock(home.path()).0["demo"].source, url);
    klines(home.path(), "check").run().success();
    let said = klines(home.path(), "run --demo --intervals 1s --for 4s").run().success();
    assert!(said.account("demo").delivered > 0, "{}", said.err);

    let file = release(home.path(), "1.3.0", r#","env":["TZ"]"#);
    sign(home.path(), &file, "acme");
    put(&files, home.path(), &file, "/releases/demo.wasm");
    let upgrade = ["consumer", "upgrade", "demo"];
    fails(home.path(), &upgrade, &["1.2.0 → 1.3.0", "nobody says what to grant"]);
    run(home.path(), &[&upgrade[..], &["--grant", "none"]].concat()).success();
    assert_eq!(lock(home.path()).0["demo"].release.as_deref(), Some("1.3.0"));
}

#[test]
fn a_url_without_a_signature_is_as_a_file_without_one() {
    let (home, (peer, files)) = (trusting(), serving());
    let file = release(home.path(), "1.2.0", "");
    put(&files, home.path(), &file, "/demo.wasm");
    let url = peer.url("/demo.wasm");
    let add = ["consumer", "add", &url];
    fails(home.path(), &add, &[&format!("{url}: it has no signature ({url}.minisig)"), "--allow-unsigned"]);
    files.lock().unwrap().insert("/demo.wasm.minisig".to_owned(), b"hello".to_vec());
    fails(home.path(), &add, &[&format!("{url}.minisig: it is not a signature of minisign")]);
    files.lock().unwrap().insert("/demo.wasm.minisig".to_owned(), vec![b'x'; 5_000]);
    fails(home.path(), &add, &["/demo.wasm.minisig: it has more than 4096 bytes"]);
    files.lock().unwrap().remove("/demo.wasm.minisig");
    run(home.path(), &[&add[..], &["--allow-unsigned"]].concat()).success();
    assert!(lock(home.path()).0["demo"].signed.is_none());
    fails(home.path(), &["consumer", "add", &peer.url("/other.wasm")], &["/other.wasm: there is no such file"]);
}

#[test]
fn sources_that_would_be_read_or_kept_unsafely_are_refused() {
    let home = trusting();
    for (source, expected) in [
        ("http://example.com/demo.wasm", "expected https://; http:// is for this machine only"),
        ("https://example.com/demo.wasm?key=1", "the source is written to the lock file"),
        ("https://me:opensesame@example.com/demo.wasm", "the source is written to the lock file"),
        ("ftp://example.com/demo.wasm", "expected a file, https://…, or oci://HOST/NAME:TAG"),
        ("oci://ghcr.io/acme/demo", "a tag or a digest is missing"),
        ("https://169.254.169.254/demo.wasm", "link-local, a metadata server, or reserved"),
    ] {
        fails(home.path(), &["consumer", "add", source], &[expected]);
        let said = run(home.path(), &["consumer", "add", source]).said;
        assert!(!said.err.contains("opensesame"), "{}", said.err);
    }
}
