//! Signatures that `minisign` itself has made, and what is no signature.

use proptest::prelude::*;

use super::*;

/// The example of the documentation of `minisign`, made by its C program.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";
/// The same file, signed in the old form.
const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";

#[test]
fn a_signature_is_of_its_bytes_and_of_no_others() {
    let (key, signature) = (KEY.parse::<PublicKey>().unwrap(), Signature::parse(SIGNATURE).unwrap());
    assert_eq!((signature.key(), signature.key().to_string().as_str()), (key.id(), "E7620F1842B4E81F"));
    assert!(signature.is_of(b"test", &key));
    assert!(!signature.is_of(b"Test", &key) && !signature.is_of(b"", &key));
    assert_eq!(signature.comment(), "timestamp:1633700835 file:test prehashed");
    assert_eq!(Signature::parse(signature.text()).unwrap().text(), SIGNATURE);
    // The signed comment cannot be changed either.
    let changed = Signature::parse(&SIGNATURE.replace("file:test", "file:good")).unwrap();
    assert!(!changed.is_of(b"test", &key));
}

#[test]
fn the_old_form_which_signs_no_hash_is_refused() {
    let (key, signature) = (KEY.parse::<PublicKey>().unwrap(), Signature::parse(LEGACY).unwrap());
    assert_eq!(signature.key(), key.id());
    assert!(!signature.is_of(b"test", &key));
}

#[test]
fn what_is_no_signature_is_refused() {
    let long = format!("{SIGNATURE}{}", "x".repeat(MAX_SIGNATURE));
    assert_eq!(Signature::parse(&long).unwrap_err(), SignatureError::TooLong(long.len()));
    let lines: Vec<&str> = SIGNATURE.lines().collect();
    let short = |line: usize| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines[line] = BASE64_STANDARD.encode([b'E'; 12]);
        lines.join("\n")
    };
    for wrong in
        [String::new(), lines[..3].join("\n"), SIGNATURE.replace("trusted comment: t", "t"), short(1), short(3)]
    {
        assert_eq!(Signature::parse(&wrong).unwrap_err(), SignatureError::Malformed, "{wrong}");
    }
    for wrong in ["", "RWQ", &KEY[..55], &format!("{KEY}AAAA"), &KEY.replacen("RWQ", "QQQ", 1), "é"] {
        assert_eq!(wrong.parse::<PublicKey>(), Err(PublicKeyError), "{wrong}");
    }
}

proptest! {
    /// A publisher's file is anybody's file: whatever is in it, reading and verifying it ends.
    #[test]
    fn changed_signatures_are_refused_or_do_not_verify(at in 0..SIGNATURE.len(), by in any::<char>()) {
        let mut text: Vec<char> = SIGNATURE.chars().collect();
        let is_comment = at < 19 + 35 || text[at] == '\n';
        prop_assume!(!is_comment && text[at] != by);
        text[at] = by;
        let changed: String = text.into_iter().collect();
        if let Ok(signature) = Signature::parse(&changed) {
            prop_assert!(!signature.is_of(b"test", &KEY.parse().unwrap()));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,40}\n[A-Za-z0-9+/=]{0,100}\n\\PC{0,60}\n[A-Za-z0-9+/=]{0,100}") {
        let _ = Signature::parse(&text);
    }
}
