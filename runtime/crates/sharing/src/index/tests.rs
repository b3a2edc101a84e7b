//! The form of an index, what is refused in it, and how it is searched.

use klines_domain::secret::Secret;

use super::*;
use crate::signing::generate;

fn listing(source: &str, description: &str) -> Listing {
    let key = generate(&Secret::new("correct horse battery".to_owned())).unwrap().public;
    Listing {
        source: Source::parse(Path::new(source)).unwrap(),
        digest: Digest::of(b"a component"),
        key,
        version: "1.2.0".to_owned(),
        description: description.to_owned(),
        contract: "klines:consumer/consumer@1.2.0".to_owned(),
        wants: vec!["the variable \"TZ\"".to_owned()],
    }
}

fn index() -> Index {
    let components = [
        ("acme/alert", listing("oci://ghcr.io/acme/alert:1.2.0", "Price alerts by webhook")),
        ("acme/rsi", listing("https://example.com/rsi-1.2.0.wasm", "")),
    ];
    Index(components.map(|(name, listing)| (name.to_owned(), listing)).into())
}

#[test]
fn what_is_written_is_read_and_written_again_in_the_same_way() {
    let index = index();
    let text = index.text();
    assert_eq!(Index::parse(&text).unwrap(), (index, Vec::new()));
    assert_eq!(Index::parse(&text).unwrap().0.text(), text);
    assert!(text.starts_with("# Published components") && text.contains("version = 1\n"), "{text}");
    assert!(text.contains("[components.\"acme/alert\"]\nsource = \"oci://ghcr.io/acme/alert:1.2.0\"\n"), "{text}");
    assert!(!text.contains("description = \"\""), "{text}");
    // An index without components is one.
    assert_eq!(Index::parse("version = 1"), Ok((Index::default(), Vec::new())));
}

#[test]
fn what_is_no_index_is_refused_with_the_place() {
    let text = index().text();
    let changed = |from: &str, to: &str| Index::parse(&text.replace(from, to));
    assert!(matches!(Index::parse("version = \u{1b}"), Err(IndexError::Malformed(text)) if !text.contains('\u{1b}')));
    assert!(matches!(Index::parse("[consumers.demo]"), Err(IndexError::Malformed(_))));
    assert_eq!(changed("version = 1\n", "version = 2\n"), Err(IndexError::Version(2)));
}

#[test]
fn an_entry_that_cannot_be_used_hides_no_other_one() {
    let text = index().text();
    let problem = |text: &str| {
        let (index, mut faults) = Index::parse(text).unwrap();
        assert_eq!((index.0.len(), faults.len()), (1, 1), "{faults:?}");
        match faults.remove(0) {
            IndexError::Entry { name, problem } => (name, problem),
            other => panic!("it is not the entry that is refused: {other:?}"),
        }
    };
    let (name, message) = problem(&text.replace("description = \"Price", "describtion = \"Price"));
    assert_eq!(name, "acme/alert");
    assert!(message.starts_with("cannot be read: unknown field `describtion`"), "{message}");
    // A file would be one of the operator's machine.
    for source in ["/etc/passwd", "rsi.wasm", "http://example.com/rsi.wasm", "ftp://example.com/rsi.wasm"] {
        let (name, message) = problem(&text.replace("https://example.com/rsi-1.2.0.wasm", source));
        assert_eq!(name, "acme/rsi");
        assert!(message.contains("https://HOST/PATH or oci://HOST/NAME:TAG"), "{message}");
    }
    let key = text.rfind("key = \"RW").unwrap() + 7;
    let text = format!("{}hello{}", &text[..key], &text[text[key..].find('"').unwrap() + key..]);
    assert_eq!(problem(&text).1, "has a `key` that is no public key of minisign");
}

#[test]
fn every_word_has_to_occur() {
    let index = index();
    let found = |words: &[&str]| -> Vec<&str> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        index.search(&words).map(|(name, _)| name).collect()
    };
    assert_eq!(found(&[]), ["acme/alert", "acme/rsi"]);
    assert_eq!(found(&["ACME"]), ["acme/alert", "acme/rsi"]);
    assert_eq!(found(&["webhook", "price"]), ["acme/alert"]);
    assert_eq!(found(&["tz", "rsi"]), ["acme/rsi"]);
    assert_eq!(found(&["webhook", "rsi"]), Vec::<&str>::new());
}
