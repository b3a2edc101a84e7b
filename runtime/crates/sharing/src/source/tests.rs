//! The text forms of sources: what is read, what is refused, and that what is written is read again.

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Result<Source, SourceError> {
    Source::parse(Path::new(text))
}

fn reference(text: &str) -> Reference {
    match parse(text) {
        Ok(Source::Registry(reference)) => reference,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn files_urls_and_registries_are_written_as_they_are_read() {
    for (text, stem) in [
        ("demo-1.2.0.wasm", "demo-1.2.0"),
        ("/srv/a:b/demo.wasm", "demo"),
        ("https://example.com/releases/demo-1.2.0.wasm", "demo-1.2.0"),
        ("http://127.0.0.1:8080/demo.wasm", "demo"),
        ("http://localhost/demo.wasm", "demo"),
        ("oci://ghcr.io/acme/demo:1.2.0", "demo"),
        ("oci://127.0.0.1:5000/demo:latest", "demo"),
        ("oci://[::1]:5000/a/b-c.d_e:v1", "b-c.d_e"),
    ] {
        let source = parse(text).unwrap();
        assert_eq!((source.to_string().as_str(), source.stem().as_str()), (text, stem));
    }
    for text in [format!("oci://ghcr.io/acme/demo@{DIGEST}"), format!("oci://ghcr.io:443/acme/demo:1@{DIGEST}")] {
        assert_eq!(reference(&text).to_string(), text);
    }
}

#[test]
fn what_is_no_source_is_refused_with_what_is_expected() {
    for (text, problem) in [
        ("ftp://example.com/demo.wasm", "expected a file, https://…, or oci://HOST/NAME:TAG"),
        ("http://example.com/demo.wasm", "expected https://; http:// is for this machine only"),
        ("http://10.0.0.1/demo.wasm", "expected https://"),
        ("https://example.com/demo.wasm?token=1", "a URL with `?` or `#` is not accepted"),
        ("https://user@example.com/demo.wasm", "a URL with a user or a password is not accepted"),
        ("https://", "it is not a URL"),
        ("oci://ghcr.io/acme/demo", "a tag or a digest is missing"),
        ("oci://ghcr.io", "expected oci://HOST/NAME:TAG"),
        ("oci://ghcr.io/Acme/demo:1", "the name after the host has parts"),
        ("oci://ghcr.io/../demo:1", "the name after the host has parts"),
        ("oci://ghcr.io/a..b:1", "the name after the host has parts"),
        ("oci://ghcr.io//demo:1", "the name after the host has parts"),
        ("oci://ghcr.io/demo:", "a tag has at most 128"),
        ("oci://ghcr.io/demo:a/b", "a tag has at most 128"),
        ("oci://ghcr.io/demo:1@sha256:abc", "after @ a digest is expected"),
        ("oci://user:pass@ghcr.io/demo:1", "after @ a digest is expected"),
        ("oci://GHCR.io/demo:1", "expected a host in lower case"),
        ("oci://ghcr.io?x/demo:1", "expected a host in lower case"),
        ("oci://gh cr.io/demo:1", "the host cannot be read"),
        ("oci:///demo:1", "the host cannot be read"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    let error = parse("https://user:opensesame@example.com/demo.wasm").unwrap_err().to_string();
    assert!(!error.contains("opensesame"), "{error}");
}

#[test]
fn a_registry_is_asked_without_encryption_on_this_machine_only() {
    for (text, base) in [
        ("oci://ghcr.io/demo:1", "https://ghcr.io/"),
        ("oci://10.0.0.1:5000/demo:1", "https://10.0.0.1:5000/"),
        ("oci://localhost:5000/demo:1", "http://localhost:5000/"),
        ("oci://127.8.8.8:5000/demo:1", "http://127.8.8.8:5000/"),
        ("oci://[::1]:5000/demo:1", "http://[::1]:5000/"),
        ("oci://localhost.example.com/demo:1", "https://localhost.example.com/"),
    ] {
        assert_eq!(reference(text).registry().unwrap().as_str(), base);
    }
}

#[test]
fn a_digest_is_asked_for_before_a_tag_and_a_moved_tag_is_noticed() {
    let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
    let tag = reference("oci://ghcr.io/demo:1");
    assert_eq!(tag.asked(), "1");
    let pinned = tag.pinned(old.clone());
    assert_eq!((pinned.asked(), pinned.unpinned()), (old.to_string(), tag.clone()));
    let by_digest = reference(&format!("oci://ghcr.io/demo@{DIGEST}"));
    assert_eq!(by_digest.unpinned(), by_digest);
    assert_eq!(pinned.moved(&tag.pinned(new.clone())), Some(("1", &old, &new)));
    assert_eq!(pinned.moved(&pinned), None);
    assert_eq!(pinned.moved(&reference("oci://ghcr.io/demo:2").pinned(new.clone())), None);
    assert_eq!(pinned.moved(&reference("oci://ghcr.io/other:1").pinned(new)), None);
}

proptest! {
    /// What a lock file says of a source has to be the source that was accepted.
    #[test]
    fn what_is_read_is_written_and_read_as_the_same(
        text in "(oci://[a-z0-9.:\\[\\]]{1,9}/[a-z0-9._/-]{1,9}(:[A-Za-z0-9._-]{1,5})?(@sha256:[0-9a-f]{64})?|https://.{0,20})",
    ) {
        if let Ok(source) = parse(&text) {
            prop_assert_eq!(parse(&source.to_string()), Ok(source));
        }
    }
}
