//! HTTP requests of guests: only with a grant, to checked addresses, within limits, and with secrets that stay hidden.

mod hints;
mod limits;
mod secrets;
pub mod tls;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use klines_system::limits::Limits;
use klines_wasm::grants::Grants;
use klines_wasm::http::{Egress, HttpCounts, HttpGrant};
use serde_json::json;

use super::fixtures::{blueprint, live};
use super::guest_log::{lines, warnings};
use super::peer::{FakeResolver, Peer, response};

/// Returns limits that suffice on any machine; tests that need shorter ones set their own.
pub fn patient() -> Limits {
    Limits { call: Duration::from_secs(60), http_time: Duration::from_secs(30), ..Limits::default() }
}

/// Makes one request and returns the log of the guest.
pub fn request(name: &str, egress: &Egress, http: &serde_json::Value) -> Vec<String> {
    let settings = json!({ "mode": "http", "http": http }).to_string();
    let grants = Grants { http: egress.clone(), ..Grants::default() };
    live(&mut blueprint("hostile", name, &settings, patient(), grants), 1).unwrap();
    lines(name)
}

fn post(name: &str, egress: &Egress, url: &str) -> Vec<String> {
    request(name, egress, &json!({ "url": url, "method": "POST", "body": 5 }))
}

#[test]
fn a_granted_request_arrives_and_its_answer_comes_back() {
    let peer = Peer::answering(201, "taken");
    let egress = peer.egress("POST");
    let url = peer.url("/a?b=c");
    assert_eq!(post("granted", &egress, &url), ["wrote 5 of 5 bytes", "status 201, 5 bytes: taken"]);
    let seen = &peer.seen()[0];
    assert_eq!((seen.line.as_str(), seen.body.as_slice()), ("POST /a?b=c HTTP/1.1", b"xxxxx".as_slice()));
    assert_eq!(seen.headers["host"], peer.address.to_string());
    assert_eq!(egress.counters().read(), HttpCounts { requests: 1, denied: 0, failed: 0 });
}

#[test]
fn a_request_that_does_not_match_its_grant_exactly_is_denied() {
    let peer = Peer::answering(200, "never");
    let port = peer.address.port();
    for (name, grant, url) in [
        ("no-host", HttpGrant { host: "127.0.0.2".into(), ..peer.grant("POST") }, peer.url("/")),
        ("no-port", HttpGrant { port: 1, ..peer.grant("POST") }, peer.url("/")),
        ("no-method", peer.grant("GET"), peer.url("/")),
        ("no-scheme", HttpGrant { plain: false, ..peer.grant("POST") }, peer.url("/")),
        ("no-plain", peer.grant("POST"), format!("https://127.0.0.1:{port}/")),
        ("decimal", peer.grant("POST"), format!("http://2130706433:{port}/")),
        ("octal", peer.grant("POST"), format!("http://0177.0.0.1:{port}/")),
        ("mapped", peer.grant("POST"), format!("http://[::ffff:127.0.0.1]:{port}/")),
        ("zero", peer.grant("POST"), format!("http://0.0.0.0:{port}/")),
        ("dot", peer.grant_to("localhost", "POST"), format!("http://localhost.:{port}/")),
    ] {
        let egress = Egress::new(vec![grant], Vec::new());
        let found = post(name, &egress, &url);
        assert_eq!(found.last().unwrap(), &format!("{url}: error HttpRequestDenied"), "{name}");
        assert_eq!(egress.counters().read(), HttpCounts { requests: 1, denied: 1, failed: 0 }, "{name}");
    }
    assert_eq!(post("nothing", &Egress::default(), &peer.url("/")).len(), 2);
    assert!(peer.seen().is_empty());
}

#[test]
fn a_denial_names_the_line_that_would_grant_it_once() {
    let egress = Egress::default();
    for _ in 0..3 {
        post("denied-thrice", &egress, "https://x.example/a");
    }
    request("denied-thrice", &egress, &json!({ "url": "http://x.example:81/" }));
    assert_eq!(
        warnings("denied-thrice"),
        [
            r#"http request denied; http = [{ host = "x.example", methods = ["POST"] }] in [consumers.denied-thrice.allow] would grant it"#,
            r#"http request denied; http = [{ host = "x.example", port = 81, methods = ["GET"], plain = true }] in [consumers.denied-thrice.allow] would grant it"#,
        ]
    );
    assert_eq!(egress.counters().read(), HttpCounts { requests: 4, denied: 4, failed: 0 });
}

#[test]
fn an_address_with_a_login_is_refused() {
    let peer = Peer::answering(200, "never");
    let url = format!("http://127.0.0.1:{}@evil.example/", peer.address.port());
    let found = post("login", &peer.egress("POST"), &url);
    assert!(found.last().unwrap().ends_with("error HttpRequestUriInvalid"), "{found:?}");
    assert!(peer.seen().is_empty());
}

#[test]
fn a_name_must_not_resolve_to_a_forbidden_address() {
    let peer = Peer::answering(200, "never");
    for (name, addresses, private, granted) in [
        ("loopback", &["127.0.0.1"][..], false, false),
        ("private", &["10.1.2.3"], false, false),
        ("mapped-v4", &["::ffff:127.0.0.1"], false, false),
        ("nat64", &["64:ff9b::7f00:1"], false, false),
        ("metadata", &["169.254.169.254"], true, false),
        ("metadata-mapped", &["::ffff:169.254.169.254"], true, false),
        ("unspecified", &["0.0.0.0"], true, false),
        ("multicast", &["224.0.0.1"], true, false),
        ("one-of-two", &["127.0.0.1", "169.254.169.254"], true, false),
        ("meant", &["127.0.0.1"], true, true),
    ] {
        let grant = HttpGrant { private, ..peer.grant_to("inside.example", "POST") };
        let egress = Egress::new(vec![grant], Vec::new()).with_resolver(FakeResolver::new(&[addresses]));
        let name = format!("leads-{name}");
        let found = post(&name, &egress, &format!("http://inside.example:{}/", peer.address.port()));
        let (denied, last) = (egress.counters().read().denied, found.last().unwrap());
        if granted {
            assert_eq!((last.as_str(), denied), ("status 200, 5 bytes: never", 0), "{name}");
        } else {
            assert!(last.ends_with("error DestinationIpProhibited") && denied == 1, "{name}: {found:?}");
        }
    }
    assert_eq!(peer.seen().len(), 1);
    assert!(warnings("leads-loopback")[0].contains("private = true }] in [consumers.leads-loopback.allow]"));
    assert!(warnings("leads-metadata")[0].contains("the host name resolves to a special address"));
}

#[test]
fn a_name_is_resolved_once_and_the_checked_address_is_dialled() {
    let peer = Peer::answering(200, "here");
    // A second lookup would return another address, where nobody listens.
    let resolver = FakeResolver::new(&[&["127.0.0.1"], &["127.0.0.9"]]);
    let egress = Egress::new(vec![peer.grant_to("flip.example", "POST")], Vec::new()).with_resolver(resolver);
    let url = format!("http://flip.example:{}/", peer.address.port());
    assert_eq!(post("flip", &egress, &url).last().unwrap(), "status 200, 4 bytes: here");
    assert_eq!(peer.seen()[0].headers["host"], format!("flip.example:{}", peer.address.port()));
    // A private address without `private` in the grant.
    let resolver = FakeResolver::new(&[&["127.0.0.1"], &["127.0.0.1"]]);
    let grant = HttpGrant { private: false, ..peer.grant_to("flip.example", "POST") };
    let egress = Egress::new(vec![grant], Vec::new()).with_resolver(resolver);
    assert!(post("flop", &egress, &url).last().unwrap().ends_with("DestinationIpProhibited"));
    assert_eq!(peer.seen().len(), 1);
}

#[test]
fn a_redirect_is_not_followed_and_a_second_request_is_checked_again() {
    let secret = Arc::new(Peer::answering(200, "inside"));
    let to = secret.url("/latest/meta-data");
    let peer = Peer::start(move |_, stream| stream.write_all(&response(302, &format!("location: {to}\r\n"), b"")));
    let egress = peer.egress("GET");
    let found = request("redirected", &egress, &json!({ "url": peer.url("/"), "follow": true }));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "status 302, 0 bytes: ");
    assert!(found[1].ends_with("error HttpRequestDenied"), "{found:?}");
    assert!(secret.seen().is_empty());
}

#[test]
fn headers_of_the_connection_cannot_be_set() {
    let settings = json!({ "mode": "http-forge" }).to_string();
    let mut blueprint = blueprint("hostile", "forger", &settings, patient(), Grants::default());
    live(&mut blueprint, 1).unwrap();
    let found = lines("forger");
    let (last, others) = found.split_last().unwrap();
    assert_eq!(last, "X-Own: set");
    assert!(others.len() == 11 && others.iter().all(|line| line.ends_with(": refused")), "{found:#?}");
}

#[test]
fn a_server_without_tls_is_not_trusted() {
    // The server does not speak TLS at all.
    let peer = Peer::answering(200, "never");
    let egress = Egress::new(vec![HttpGrant { plain: false, ..peer.grant("GET") }], Vec::new());
    let found = request("no-tls", &egress, &json!({ "url": format!("https://{}/", peer.address) }));
    assert!(
        found[0].contains("error TlsProtocolError") || found[0].contains("error ConnectionTerminated"),
        "{found:?}"
    );
    assert_eq!(egress.counters().read(), HttpCounts { requests: 1, denied: 0, failed: 1 });
}
