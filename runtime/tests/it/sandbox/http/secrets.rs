//! Secrets reach only their host.

use std::io::Write as _;

use klines_domain::secret::Secret;
use klines_wasm::grants::Grants;
use klines_wasm::http::{Egress, HttpCounts, HttpGrant, SecretGrant};
use serde_json::json;

use super::{patient, request};
use crate::sandbox::fixtures::{blueprint, live};
use crate::sandbox::guest_log::{lines, warnings};
use crate::sandbox::peer::{FakeResolver, Peer};

const CANARY: &str = "canary-5f2b";

fn secret(host: &str) -> SecretGrant {
    SecretGrant {
        variable: "HOOK_TOKEN".into(),
        header: "authorization".into(),
        prefix: "Bearer ".into(),
        host: host.into(),
        value: Secret::new(CANARY.into()),
    }
}

#[test]
fn a_secret_arrives_and_the_guest_never_sees_it() {
    let peer = Peer::answering(200, "ok");
    let egress = Egress::new(vec![peer.grant("GET")], vec![secret("127.0.0.1")]);
    let own = json!({ "Authorization": "the guest's own", "x-other": "stays" });
    let found = request("confidant", &egress, &json!({ "url": peer.url("/"), "headers": own, "dump": true }));
    let headers = &peer.seen()[0].headers;
    assert_eq!(headers["authorization"], format!("Bearer {CANARY}"));
    assert_eq!(headers["x-other"], "stays");
    assert!(found.contains(&"request header authorization: the guest's own".to_owned()), "{found:?}");
    // A failed request does not show the secret either.
    let broken = Peer::start(|_, stream| stream.write_all(b"nonsense\r\n\r\n"));
    let egress = Egress::new(vec![broken.grant("GET")], vec![secret("127.0.0.1")]);
    request("confidant", &egress, &json!({ "url": broken.url("/"), "dump": true }));
    // Nor does the environment show it.
    let grants = Grants { http: egress, env: vec![("TZ".into(), "UTC".into())], ..Grants::default() };
    let settings = json!({ "mode": "env-list" }).to_string();
    live(&mut blueprint("hostile", "confidant", &settings, patient(), grants.clone()), 1).unwrap();
    let all = [lines("confidant"), warnings("confidant")].concat();
    assert!(all.len() >= 5 && all.iter().all(|line| !line.contains(CANARY)), "{all:#?}");
    assert!(!format!("{grants:?}").contains(CANARY));
}

#[test]
fn another_host_gets_no_secret() {
    let peer = Peer::answering(200, "ok");
    let egress = Egress::new(vec![peer.grant("GET"), peer.grant_to("localhost", "GET")], vec![secret("localhost")]);
    request("other-host", &egress, &json!({ "url": peer.url("/") }));
    assert!(!peer.seen()[0].headers.contains_key("authorization"));
}

#[test]
fn a_secret_goes_unencrypted_only_to_this_machine() {
    let peer = Peer::answering(200, "ok");
    // A private address that is not loopback; nobody has to listen there.
    let grant = HttpGrant { private: true, ..peer.grant_to("inside.example", "GET") };
    let here = Egress::new(vec![grant.clone()], vec![secret("inside.example")])
        .with_resolver(FakeResolver::new(&[&["127.0.0.1"]]));
    let url = format!("http://inside.example:{}/", peer.address.port());
    request("unencrypted-here", &here, &json!({ "url": url }));
    assert_eq!(peer.seen()[0].headers["authorization"], format!("Bearer {CANARY}"));
    let mixed = FakeResolver::new(&[&["127.0.0.1", "10.0.0.1"]]);
    let away = Egress::new(vec![grant], vec![secret("inside.example")]).with_resolver(mixed);
    let found = request("unencrypted-away", &away, &json!({ "url": url }));
    assert!(found[0].ends_with("error HttpRequestDenied"), "{found:?}");
    assert_eq!(away.counters().read(), HttpCounts { requests: 1, denied: 1, failed: 0 });
    assert!(warnings("unencrypted-away")[0].contains("without encryption"));
    assert_eq!(peer.seen().len(), 1);
}

#[test]
fn only_granted_variables_are_visible() {
    let env = vec![("TZ".to_owned(), "UTC".to_owned())];
    let settings = json!({ "mode": "env-list" }).to_string();
    let grants = Grants { env, ..Grants::default() };
    live(&mut blueprint("hostile", "reader", &settings, patient(), grants), 1).unwrap();
    assert_eq!(lines("reader"), ["TZ=UTC", "that was all"]);
}
