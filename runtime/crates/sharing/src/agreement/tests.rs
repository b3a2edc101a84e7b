//! Every way in which a component, the lock file or the trusted keys can differ from what was accepted.

use std::collections::BTreeMap;

use klines_domain::secret::Secret;

use super::*;
use crate::signature::PublicKey;
use crate::signing::{SigningKey, generate};
use crate::trust::Publisher;

const BYTES: &[u8] = b"a component";
const PATH: &str = "plugins/demo.wasm";
const CONTRACT: &str = "klines:consumer/consumer@1.2.0";

fn new_key() -> (PublicKey, SigningKey) {
    let password = Secret::new("correct horse battery".to_owned());
    let keys = generate(&password).unwrap();
    (keys.public.clone(), SigningKey::unlock(&keys.private_file, &password).unwrap())
}

/// A publisher, its keys and its revoked keys.
type Keys<'a> = (&'a str, &'a [&'a PublicKey], &'a [&'a PublicKey]);

fn trust(keys: &[Keys<'_>]) -> TrustedKeys {
    let owned = |keys: &[&PublicKey]| keys.iter().map(|key| (*key).clone()).collect();
    let publishers = keys
        .iter()
        .map(|(name, keys, revoked)| ((*name).to_owned(), Publisher { keys: owned(keys), revoked: owned(revoked) }));
    TrustedKeys(publishers.collect::<BTreeMap<_, _>>())
}

fn entry(publisher: &str, public: &PublicKey, key: &SigningKey) -> LockEntry {
    let signer = Signer { publisher: publisher.to_owned(), key: public.clone() };
    LockEntry {
        component: PATH.to_owned(),
        source: "./demo.wasm".to_owned(),
        digest: Digest::of(BYTES),
        release: None,
        contract: CONTRACT.to_owned(),
        signed: Some(Signed { signer, signature: key.sign(BYTES, "demo.wasm").unwrap() }),
        grants: vec!["env = \"TZ\"".to_owned()],
    }
}

fn check(entry: &LockEntry, bytes: &[u8], trusted: &TrustedKeys) -> Result<(), Disagreement> {
    entry.check_bytes(PATH, (bytes, &Digest::of(bytes)), trusted)
}

#[test]
fn bytes_agree_only_with_their_digest_and_a_trusted_signature() {
    let ((public, key), (other, other_key)) = (new_key(), new_key());
    let trusted = trust(&[("acme", &[&public], &[]), ("bob", &[&other], &[])]);
    let accepted = entry("acme", &public, &key);
    assert_eq!(check(&accepted, BYTES, &trusted), Ok(()));
    let found = Digest::of(b"b component");
    assert_eq!(
        check(&accepted, b"b component", &trusted),
        Err(Disagreement::Digest { locked: Digest::of(BYTES), found: found.clone() })
    );
    // The lock file was edited to fit the other bytes: there is no signature of them.
    let edited = LockEntry { digest: found, ..accepted.clone() };
    let forged = TrustError::Forged { publisher: "acme".to_owned(), key: public.id() };
    assert_eq!(check(&edited, b"b component", &trusted), Err(Disagreement::Trust(forged)));
    // It is signed, but by another publisher.
    let publisher = Disagreement::Publisher { locked: "acme".to_owned(), found: "bob".to_owned() };
    assert_eq!(check(&entry("acme", &public, &other_key), BYTES, &trusted), Err(publisher));
    let path = accepted.check_bytes("plugins/x.wasm", (BYTES, &Digest::of(BYTES)), &trusted).unwrap_err();
    assert!(path.to_string().contains("`plugins/x.wasm` in the configuration and `plugins/demo.wasm`"), "{path}");
}

#[test]
fn two_keys_of_a_publisher_are_valid_at_once_until_one_is_revoked() {
    let ((old, old_key), (new, new_key)) = (new_key(), new_key());
    let (before, after) = (entry("acme", &old, &old_key), entry("acme", &new, &new_key));
    let both = trust(&[("acme", &[&old, &new], &[])]);
    assert_eq!((check(&before, BYTES, &both), check(&after, BYTES, &both)), (Ok(()), Ok(())));
    for revoked in [trust(&[("acme", &[&new], &[&old])]), trust(&[("acme", &[&old, &new], &[&old])])] {
        let refusal = check(&before, BYTES, &revoked).unwrap_err();
        let expected = format!("it is signed with the key {} of `acme`, which is revoked", old.id());
        assert_eq!(refusal.to_string(), expected);
        assert!(refusal.fix("demo").contains("a release that `acme` has signed with a key that is not revoked"));
        assert_eq!(check(&after, BYTES, &revoked), Ok(()));
    }
    let unknown = Disagreement::Trust(TrustError::Unknown(old.id()));
    assert_eq!(check(&before, BYTES, &trust(&[("acme", &[&new], &[])])), Err(unknown.clone()));
    assert_eq!(check(&before, BYTES, &TrustedKeys::default()), Err(unknown));
    // The lock file names the other key of the publisher.
    let Some(signed) = after.signed else { panic!() };
    let edited = LockEntry { signed: Some(Signed { signer: signed.signer, ..before.signed.unwrap() }), ..after };
    assert_eq!(check(&edited, BYTES, &both), Err(Disagreement::Key { publisher: "acme".to_owned() }));
}

#[test]
fn an_unsigned_entry_agrees_with_its_bytes_alone() {
    let (public, key) = new_key();
    let unsigned = LockEntry { signed: None, ..entry("acme", &public, &key) };
    assert_eq!(check(&unsigned, BYTES, &TrustedKeys::default()), Ok(()));
    assert!(matches!(check(&unsigned, b"", &TrustedKeys::default()), Err(Disagreement::Digest { .. })));
}

#[test]
fn the_contract_and_the_grants_are_those_that_were_accepted() {
    let (public, key) = new_key();
    let entry = entry("acme", &public, &key);
    let tz = "env = \"TZ\"".to_owned();
    assert_eq!(entry.check_use(CONTRACT, std::slice::from_ref(&tz)), Ok(()));
    let contract = entry.check_use("klines:consumer/consumer@1.1.0", std::slice::from_ref(&tz)).unwrap_err();
    assert!(contract.to_string().contains("exports `klines:consumer/consumer@1.1.0`"), "{contract}");
    let further = entry.check_use(CONTRACT, &["env = \"LANG\"".to_owned()]).unwrap_err();
    let expected = "the configuration grants something else than was accepted: + env = \"LANG\"; - env = \"TZ\"";
    assert_eq!(further.to_string(), expected);
    assert!(further.fix("demo").contains("`klines consumer upgrade demo`"));
}
