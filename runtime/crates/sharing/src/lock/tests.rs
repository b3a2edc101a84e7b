//! The form of the lock file, and what is refused in it.

use klines_domain::secret::Secret;

use super::*;
use crate::signing::{SigningKey, generate};

fn entry(signed: Option<Signed>) -> LockEntry {
    LockEntry {
        component: "plugins/demo.wasm".to_owned(),
        source: "./demo.wasm".to_owned(),
        digest: Digest::of(b"a component"),
        release: Some("1.2.0".to_owned()),
        contract: "klines:consumer/consumer@1.2.0".to_owned(),
        signed,
        grants: vec!["env = \"TZ\"".to_owned(), "http = { host = \"hooks.example\", methods = [\"POST\"] }".to_owned()],
    }
}

fn signed() -> Signed {
    let password = Secret::new("correct horse battery".to_owned());
    let keys = generate(&password).unwrap();
    let key = SigningKey::unlock(&keys.private_file, &password).unwrap();
    let signature = key.sign(b"a component", "demo.wasm").unwrap();
    Signed { signer: Signer { publisher: "acme".to_owned(), key: keys.public }, signature }
}

#[test]
fn what_is_written_is_read_and_written_again_in_the_same_way() {
    let entries = [("demo".to_owned(), entry(Some(signed()))), ("other".to_owned(), entry(None))];
    let lock = LockFile(entries.into_iter().collect());
    let text = lock.text();
    assert_eq!(LockFile::parse(&text).unwrap(), lock);
    assert_eq!(LockFile::parse(&text).unwrap().text(), text);
    assert!(text.starts_with("# Which components") && text.contains("version = 1\n"), "{text}");
    assert!(text.contains("[consumers.demo]\ncomponent = \"plugins/demo.wasm\"\n"), "{text}");
    assert!(text.contains("[consumers.other]") && text.contains("unsigned = true\n"), "{text}");
}

#[test]
fn an_unsigned_entry_looks_like_this() {
    let lock = LockFile([("demo".to_owned(), entry(None))].into_iter().collect());
    let expected = r#"version = 1

[consumers.demo]
component = "plugins/demo.wasm"
source = "./demo.wasm"
digest = "sha256:c66a4f9f3e6a5cf0dd4ae7d4ae8f92bd06dd9aa7ee2eee1ee39f1fcbd3cf6b67"
release = "1.2.0"
contract = "klines:consumer/consumer@1.2.0"
grants = [
    'env = "TZ"',
    'http = { host = "hooks.example", methods = ["POST"] }',
]
unsigned = true
"#;
    let digest = Digest::of(b"a component").to_string();
    let expected = expected.replace("sha256:c66a4f9f3e6a5cf0dd4ae7d4ae8f92bd06dd9aa7ee2eee1ee39f1fcbd3cf6b67", &digest);
    assert_eq!(lock.text().strip_prefix(HEADING), Some(expected.as_str()));
}

#[test]
fn nothing_in_a_lock_file_is_guessed() {
    let text = LockFile([("demo".to_owned(), entry(None))].into_iter().collect()).text();
    let refused = |from: &str, to: &str| LockFile::parse(&text.replace(from, to)).unwrap_err().to_string();
    assert_eq!(refused("version = 1", "version = 2"), "it has version 2, and this klines reads version 1");
    assert!(refused("version = 1\n", "").contains("missing field `version`"));
    assert!(refused("source = ", "sauce = ").contains("unknown field `sauce`"));
    assert!(refused("version = 1\n", "version = 1\nextra = 1\n").contains("unknown field `extra`"));
    assert!(refused("sha256:", "sha512:").contains("a digest is `sha256:`"));
    let either = "must have either `publisher`, `key` and `signature`, or `unsigned = true`";
    assert_eq!(refused("unsigned = true\n", ""), format!("its entry of `demo` {either}"));
    assert_eq!(
        refused("unsigned = true\n", "unsigned = true\npublisher = \"acme\"\n"),
        format!("its entry of `demo` {either}")
    );
    let forged = "publisher = \"acme\"\nkey = \"x\"\nsignature = \"y\"\n";
    assert!(refused("unsigned = true\n", forged).contains("no public key of minisign"));
    assert!(LockFile::parse("{").unwrap_err().to_string().starts_with("it cannot be read: "));
}
