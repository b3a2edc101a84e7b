//! Registries and servers that lie: nothing of what they send is added, and they learn no secret.

use std::fs;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use klines_sharing::digest::Digest;
use klines_sharing::oci::{About, Publication};
use klines_sharing::signature::Signature;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{fails, lock, new_key, release, run, sign, trusting};
use crate::sandbox::peer::{Peer, Seen, response};
use crate::support::program::klines;

/// A release as a registry has it, before a test changes it.
struct Published {
    manifest: Value,
    blob: Vec<u8>,
}

/// Returns a folder in which `acme` is trusted, and a release of `acme`.
fn published() -> (TempDir, Published) {
    let home = trusting();
    let (blob, signature) = signed(home.path(), "1.2.0");
    let about = About { title: "demo", version: "1.2.0", description: "", exports: &[], imports: &[] };
    let Publication { manifest, .. } = Publication::new(&blob, about, &signature).unwrap();
    (home, Published { manifest: serde_json::from_slice(&manifest).unwrap(), blob })
}

fn signed(home: &Path, version: &str) -> (Vec<u8>, Signature) {
    let file = release(home, version, "");
    sign(home, &file, "acme");
    let signature = fs::read_to_string(home.join(format!("{file}.minisig"))).unwrap();
    (fs::read(home.join(file)).unwrap(), Signature::parse(&signature).unwrap())
}

impl Published {
    /// Starts a registry that answers with this.
    fn serve(&self) -> Peer {
        let (manifest, blob) = (serde_json::to_vec(&self.manifest).unwrap(), self.blob.clone());
        Peer::start(move |seen, stream| {
            stream.write_all(&response(200, "", if is_manifest(seen) { &manifest } else { &blob }))
        })
    }

    fn layer(&mut self) -> &mut Value {
        &mut self.manifest["layers"][0]
    }
}

/// A change of a manifest.
type Change<'a> = &'a dyn Fn(&mut Value);

fn is_manifest(seen: &Seen) -> bool {
    seen.line.contains("/manifests/")
}

fn reference(peer: &Peer) -> String {
    format!("oci://{}/acme/demo:1.2.0", peer.address)
}

/// Asserts that nothing of a registry is added.
#[track_caller]
fn refused(home: &Path, peer: &Peer, texts: &[&str]) {
    fails(home, &["consumer", "add", &reference(peer), "--allow-unsigned"], texts);
}

#[test]
fn what_was_changed_on_the_way_is_not_added() {
    let (home, mut published) = published();
    let peer = published.serve();
    let other = Digest::of(b"another").to_string();
    let pinned = format!("{}@{other}", reference(&peer));
    fails(
        home.path(),
        &["consumer", "add", &pinned],
        &["the manifest has sha256:", &format!("and {other} was demanded")],
    );
    let named = format!("docker-content-digest: {other}\r\n");
    let manifest = serde_json::to_vec(&published.manifest).unwrap();
    let lying = Peer::start(move |_, stream| stream.write_all(&response(200, &named, &manifest)));
    refused(home.path(), &lying, &["the manifest has sha256:", &format!("and {other} was demanded")]);
    // The component was changed, and then the manifest to match it.
    let last = published.blob.len() - 1;
    published.blob[last] ^= 1;
    let changed = Digest::of(&published.blob).to_string();
    refused(home.path(), &published.serve(), &[&format!("its component has {changed}"), "it was changed"]);
    published.layer()["digest"] = json!(changed);
    refused(home.path(), &published.serve(), &["that key has not signed these bytes"]);
}

#[test]
fn sizes_that_lie_are_noticed() {
    let (home, mut published) = published();
    let size = published.blob.len();
    published.layer()["size"] = json!(size - 1);
    refused(home.path(), &published.serve(), &[&format!("it has more than {} bytes", size - 1)]);
    published.layer()["size"] = json!(size + 1);
    refused(
        home.path(),
        &published.serve(),
        &[&format!("its component has {size} bytes, and its manifest names {}", size + 1)],
    );
    published.layer()["size"] = json!(1_u64 << 40);
    refused(home.path(), &published.serve(), &["its component has 1099511627776 bytes, at most 33554432 are allowed"]);
    // Neither the manifest nor the component goes on without an end.
    published.layer()["size"] = json!(size);
    let manifest = serde_json::to_vec(&published.manifest).unwrap();
    let endless = |begin: Option<Vec<u8>>| {
        Peer::start(move |seen, stream| match begin.as_ref().filter(|_| is_manifest(seen)) {
            Some(manifest) => stream.write_all(&response(200, "", manifest)),
            None => flood(stream),
        })
    };
    refused(home.path(), &endless(None), &["it has more than 1048576 bytes"]);
    refused(home.path(), &endless(Some(manifest)), &[&format!("it has more than {size} bytes")]);
    let peer = endless(None);
    fails(home.path(), &["consumer", "add", &peer.url("/demo.wasm")], &["/demo.wasm: it has more than 33554432 bytes"]);
}

fn flood(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let piece = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    loop {
        stream.write_all(&piece)?;
    }
}

#[test]
fn artifacts_that_are_no_component_are_not_added() {
    let (home, original) = published();
    let image = "application/vnd.oci.image.config.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    let changes: [(Change<'_>, &str); 5] = [
        (
            &|json| json["config"]["mediaType"] = json!(image),
            "it is application/vnd.oci.image.config.v1+json and no component",
        ),
        (&|json| json["artifactType"] = json!("text/plain"), "it is text/plain and no component"),
        (
            &|json| json["layers"] = json!([json["layers"][0], json["layers"][0]]),
            "it has 2 layers, and a component is exactly one",
        ),
        (&|json| json["mediaType"] = json!(index), "its manifest has the type application/vnd.oci.image.index.v1+json"),
        (&|json| *json = json!([]), "its manifest cannot be read"),
    ];
    for (change, expected) in changes {
        let mut published = Published { manifest: original.manifest.clone(), blob: original.blob.clone() };
        change(&mut published.manifest);
        refused(home.path(), &published.serve(), &[expected]);
    }
}

#[test]
fn signatures_of_something_else_are_none() {
    let (home, mut published) = published();
    let (_, of_another) = signed(home.path(), "1.3.0");
    published.manifest["annotations"]["klines.minisig"] = json!(of_another.text());
    refused(home.path(), &published.serve(), &["that key has not signed these bytes"]);
    published.manifest["annotations"]["klines.minisig"] = json!("hello");
    refused(
        home.path(),
        &published.serve(),
        &["the annotation klines.minisig of its manifest: it is not a signature of minisign"],
    );
    new_key(home.path(), "mallory");
    sign(home.path(), "demo-1.2.0.wasm", "mallory");
    let text = fs::read_to_string(home.path().join("demo-1.2.0.wasm.minisig")).unwrap();
    published.manifest["annotations"]["klines.minisig"] = json!(text);
    let peer = published.serve();
    fails(home.path(), &["consumer", "add", &reference(&peer)], &["which is none of the trusted keys"]);
    published.manifest.as_object_mut().unwrap().remove("annotations");
    let peer = published.serve();
    let add = ["consumer", "add", &reference(&peer)];
    fails(
        home.path(),
        &add,
        &["it has no signature (the annotation klines.minisig of its manifest)", "--allow-unsigned"],
    );
    // With the flag it is pinned all the same.
    run(home.path(), &[&add[..], &["--allow-unsigned"]].concat()).success();
    let digest = Digest::of(&serde_json::to_vec(&published.manifest).unwrap());
    assert_eq!(lock(home.path()).0["demo"].source, format!("{}@{digest}", reference(&peer)));
}

/// Starts a server that answers everything with this status and header.
fn answering(status: u16, header: String) -> Peer {
    Peer::start(move |_, stream| stream.write_all(&response(status, &header, b"")))
}

#[test]
fn nobody_is_led_to_addresses_that_are_less_protected() {
    let home = trusting();
    for (location, expected) in [
        ("http://10.0.0.1/v2/", "it leads to http://10.0.0.1:80/v2/, which is another machine, without encryption"),
        ("http://169.254.169.254/latest", "which is another machine, without encryption"),
        (
            "https://169.254.169.254/latest",
            "169.254.169.254, which is link-local, a metadata server, or reserved; 127.0.0.1 may not lead there",
        ),
        ("https://[fd00:ec2::254]/latest", "link-local, a metadata server, or reserved"),
        ("file:///etc/passwd", "which is neither https nor http"),
        ("/again", "it redirects more than 5 times"),
    ] {
        let redirecting = answering(307, format!("location: {location}\r\n"));
        refused(home.path(), &redirecting, &[expected]);
        fails(home.path(), &["consumer", "add", &redirecting.url("/demo.wasm")], &[expected]);
        if location != "/again" {
            let header = format!("www-authenticate: Bearer realm=\"{location}\"\r\n");
            refused(home.path(), &answering(401, header), &[expected]);
        }
    }
}

#[test]
fn log_ins_that_make_no_sense_end_with_what_is_missing() {
    let home = trusting();
    for header in [
        "",
        "www-authenticate: Bearer\r\n",
        "www-authenticate: Bearer service=\"x\"\r\n",
        "www-authenticate: Digest realm=\"x\"\r\n",
    ] {
        refused(home.path(), &answering(401, header.to_owned()), &["asks for a log-in and does not say how"]);
    }
    let header = |peer: &Peer| format!("www-authenticate: Bearer realm=\"{}\"\r\n", peer.url("/token"));
    let tokenless = Peer::answering(200, "{}");
    refused(home.path(), &answering(401, header(&tokenless)), &["/token gives no token"]);
    let split = Peer::answering(200, r#"{"token":"a\r\nb"}"#);
    refused(home.path(), &answering(401, header(&split)), &["characters that no header can have"]);
    refused(home.path(), &answering(403, String::new()), &["HTTP status 403", "an account that may do this"]);
    refused(home.path(), &answering(404, String::new()), &["the registry has no such artifact"]);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(
        home.path(),
        &["consumer", "add", &format!("oci://{gone}/acme/demo:1.2.0")],
        &["cannot connect to 127.0.0.1:"],
    );
}

/// Returns a registry that asks for a token of `realm`, and leads to `blobs` for its blobs.
fn guarded(published: &Published, realm: String, blobs: String) -> Peer {
    let manifest = serde_json::to_vec(&published.manifest).unwrap();
    Peer::start(move |seen, stream| {
        let answer = match seen.headers.get("authorization").map(String::as_str) {
            Some("Bearer of-the-realm") if is_manifest(seen) => response(200, "", &manifest),
            Some("Bearer of-the-realm") => response(307, &format!("location: {blobs}\r\n"), b""),
            _ => {
                let scope = "service=\"me\",scope=\"repository:acme/demo:pull\"";
                response(401, &format!("www-authenticate: Bearer realm=\"{realm}\",{scope}\r\n"), b"")
            }
        };
        stream.write_all(&answer)
    })
}

#[test]
fn passwords_go_to_the_registry_and_tokens_to_nobody_else() {
    let (home, published) = published();
    let blob = published.blob.clone();
    let store = Peer::start(move |_, stream| stream.write_all(&response(200, "", &blob)));
    let tokens = Peer::answering(200, r#"{"token":"of-the-realm"}"#);
    let add = |peer: &Peer| {
        let invocation = klines(home.path(), "").with_arguments(&["consumer", "add", &reference(peer)]);
        invocation.with("KLINES_REGISTRY_USER", "acme").with("KLINES_REGISTRY_PASSWORD", "opensesame").run()
    };
    let authorization = |seen: &Seen| seen.headers.get("authorization").cloned();
    // Another host that gives tokens gets no password.
    let elsewhere = format!("http://localhost:{}/token", tokens.address.port());
    let peer = guarded(&published, elsewhere, store.url("/blob"));
    add(&peer).success();
    let asked = tokens.seen();
    assert_eq!(asked[0].line, "GET /token?service=me&scope=repository%3Aacme%2Fdemo%3Apull HTTP/1.1");
    assert!(asked.len() == 1 && authorization(&asked[0]).is_none(), "{asked:?}");
    assert!(peer.seen().iter().all(|seen| !format!("{seen:?}").contains("Basic")), "{:?}", peer.seen());
    assert!(store.seen().iter().all(|seen| authorization(seen).is_none()), "{:?}", store.seen());
    // The own host gets it.
    klines(home.path(), "consumer remove demo").run().success();
    let peer = guarded(&published, tokens.url("/token"), store.url("/blob"));
    add(&peer).success();
    assert_eq!(authorization(&tokens.seen()[1]).as_deref(), Some("Basic YWNtZTpvcGVuc2VzYW1l"));
    assert!(store.seen().iter().all(|seen| authorization(seen).is_none()), "{:?}", store.seen());
    // A refusal says why, and shows no secret.
    klines(home.path(), "consumer remove demo").run().success();
    let refusing = Peer::answering(403, "");
    let elsewhere = format!("http://localhost:{}/token", refusing.address.port());
    let ended = add(&guarded(&published, elsewhere, store.url("/blob")));
    assert_eq!(ended.code(), Some(1));
    let err = ended.said.err;
    assert!(err.contains("user and password are not sent to another host than the registry"), "{err}");
    assert!(!err.contains("opensesame") && !err.contains("of-the-realm"), "{err}");
}
