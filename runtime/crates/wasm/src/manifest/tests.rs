//! Tests of requested permissions, and of the grants that follow from them.

use klines_domain::secret::Secret;

use super::*;
use crate::grants::{DirGrant, Grants};
use crate::http::{Egress, HttpGrant, SecretGrant};

const HTTP: &str = r#"(import "wasi:http/outgoing-handler@0.2.0" (instance))"#;
const FILES: &str = r#"(import "wasi:filesystem/preopens@0.2.0" (instance))"#;
const ENV: &str = r#"(import "wasi:cli/environment@0.2.0" (instance))"#;

fn wants(inside: &str) -> Result<Wants, ManifestError> {
    Wants::of(&wat::parse_str(format!("(component {inside})")).unwrap())
}

fn section(json: &str) -> String {
    format!("(@custom \"{SECTION}\" \"{}\")", json.replace('\\', "\\\\").replace('"', "\\\""))
}

fn grants() -> Grants {
    let http = HttpGrant {
        host: "hooks.example.com".into(),
        port: 443,
        methods: vec!["GET".into(), "POST".into()],
        plain: false,
        private: false,
        authorities: None,
    };
    let secret = SecretGrant {
        variable: "HOOK".into(),
        header: "authorization".into(),
        prefix: String::new(),
        host: "hooks.example.com".into(),
        value: Secret::new("canary".into()),
    };
    Grants {
        stdout: false,
        dirs: vec![DirGrant {
            host: "./out".into(),
            guest: "/out".into(),
            write: true,
            sensitive: false,
            max: 1 << 30,
        }],
        env: vec![("TZ".into(), "UTC".into()), ("LANG".into(), "C".into())],
        http: Egress::new(vec![http], vec![secret]),
        ..Grants::default()
    }
}

fn listed(grants: &Grants) -> Vec<String> {
    let http = grants.http.grants().map(|grant| format!("{} {}", grant.host, grant.methods.join(" ")));
    let secrets = grants.http.secrets().map(|secret| secret.header.clone());
    let dirs = grants.dirs.iter().map(|dir| format!("{} {}", dir.guest, dir.write));
    http.chain(secrets).chain(dirs).chain(grants.env.iter().map(|(name, _)| name.clone())).collect()
}

#[test]
fn without_a_manifest_the_imports_decide() {
    let (granted, unused) = wants("").unwrap().narrow(&grants());
    assert_eq!(listed(&granted), [""; 0]);
    assert_eq!(
        unused,
        [
            "it does not import wasi:http/outgoing-handler, which requests to hooks.example.com need",
            "it does not import wasi:http/outgoing-handler, which a secret in `authorization` for hooks.example.com needs",
            "it does not import wasi:filesystem/preopens, which the folder /out needs",
            "it does not import wasi:cli/environment, which the variable TZ needs",
            "it does not import wasi:cli/environment, which the variable LANG needs",
        ]
    );
    let (granted, unused) = wants(HTTP).unwrap().narrow(&grants());
    assert_eq!((listed(&granted).join(","), unused.len()), ("hooks.example.com GET POST,authorization".into(), 3));
    let all = wants(&format!("{HTTP}{FILES}{ENV}")).unwrap();
    assert_eq!(all.narrow(&grants()).1, [""; 0]);
    assert_eq!(all.missing(&Grants::default())[0].entry, r#"{ host = "HOST", methods = ["GET"] }"#);
}

#[test]
fn allowed_but_not_requested_permissions_are_not_granted() {
    let json =
        r#"{"name":"x","http":[{"host":"*","methods":["post"]}],"dirs":[{"guest":"/out"}],"env":["TZ"],"later":1}"#;
    let wants = wants(&format!("{HTTP}{FILES}{ENV}{}", section(json))).unwrap();
    let (granted, unused) = wants.narrow(&grants());
    assert_eq!(listed(&granted), ["hooks.example.com POST", "/out false", "TZ"]);
    assert_eq!(
        unused,
        [
            "it does not ask for GET to hooks.example.com",
            "it does not ask for a secret in `authorization` for hooks.example.com",
            "it does not ask for writing to /out",
            "it does not ask for the variable LANG",
        ]
    );
    assert_eq!(wants.missing(&granted), []);
}

#[test]
fn requested_but_not_allowed_permissions_are_named_with_their_entries() {
    let json = r#"{"http":[{"host":"a.example","methods":["GET","POST"]},{"host":"*"}],"dirs":[{"guest":"/out","write":true}],"env":["TZ"],"secrets":[{"header":"x-key"}]}"#;
    let entries: Vec<String> =
        wants(&section(json)).unwrap().missing(&Grants::default()).into_iter().map(|missing| missing.entry).collect();
    assert_eq!(
        entries,
        [
            r#"{ host = "a.example", methods = ["GET", "POST"] }"#,
            r#"{ host = "HOST", methods = ["GET"] }"#,
            r#"{ variable = "VARIABLE", header = "x-key", host = "HOST" }"#,
            r#"{ host = "./FOLDER", guest = "/out", write = true }"#,
            r#""TZ""#,
        ]
    );
}

#[test]
fn a_manifest_is_found_in_a_module_inside() {
    let inside = format!("(core module {})", section(r#"{"name":"inner"}"#));
    assert_eq!(wants(&inside).unwrap().manifest.unwrap().name, "inner");
    // Imports of nested components do not count.
    let nested = format!("(component {HTTP}) {FILES}");
    assert_eq!(wants(&nested).unwrap().imports, ["wasi:filesystem/preopens@0.2.0"]);
}

#[test]
fn invisible_characters_are_refused_in_entries_that_an_operator_would_paste() {
    let words =
        wants(&section(r#"{"name":"a\u202eb","description":"one\ntwo\udb40\udc41"}"#)).unwrap().manifest.unwrap();
    assert_eq!((words.name.as_str(), words.description.as_str()), ("ab", "one two"));
    for wanted in [
        r#""http":[{"host":"a\u200b.example"}]"#,
        r#""http":[{"host":"a.example","methods":["GET\u202e"]}]"#,
        r#""dirs":[{"guest":"/o\u00adut"}]"#,
        r#""env":["T\nZ"]"#,
        r#""secrets":[{"header":"x\ufeff"}]"#,
    ] {
        let refused = wants(&section(&format!("{{{wanted}}}"))).unwrap_err().to_string();
        assert!(refused.contains("has invisible characters"), "{wanted}: {refused}");
    }
}

#[test]
fn an_invalid_manifest_is_an_error_and_not_ignored() {
    for json in ["", "[]", "{", r#"{"http":["x"]}"#, r#"{"env":[1]}"#] {
        assert!(matches!(wants(&section(json)), Err(ManifestError::Malformed(_))), "{json}");
    }
    let twice = section("{}") + &section("{}");
    assert!(matches!(wants(&twice), Err(ManifestError::Several)));
    let large = section(&format!("{{\"name\":\"{}\"}}", "x".repeat(MAX_BYTES)));
    assert!(matches!(wants(&large), Err(ManifestError::TooLarge(_))));
    assert_eq!(Wants::of(b"no component").unwrap(), Wants::default());
}
