//! `klines keygen --minisign` and `klines consumer sign`: private keys are private, and signatures are those of minisign.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use klines_sharing::signature::{PublicKey, Signature};

use super::{PASSWORD, home, new_key, sign, variant, with_password};
use crate::support::program::klines;

#[test]
fn a_signature_is_verified_with_the_public_key_alone() {
    let home = home();
    let key: PublicKey = new_key(home.path(), "acme").parse().unwrap();
    let bytes = variant("average", 1);
    fs::write(home.path().join("demo.wasm"), &bytes).unwrap();
    sign(home.path(), "demo.wasm", "acme");
    let text = fs::read_to_string(home.path().join("demo.wasm.minisig")).unwrap();
    let signature = Signature::parse(&text).unwrap();
    assert!(signature.is_of(&bytes, &key) && !signature.is_of(&variant("average", 2), &key));
    assert!(signature.comment().starts_with("file:demo.wasm sha256:"), "{}", signature.comment());
}

#[test]
fn a_private_key_is_encrypted_unreadable_for_others_and_never_printed() {
    let home = home();
    let said = with_password(home.path(), "keygen --minisign acme.key").run().success();
    let file = home.path().join("acme.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let private = fs::read_to_string(&file).unwrap();
    let public = fs::read_to_string(home.path().join("acme.pub")).unwrap();
    let lines: toml::Table = said.out.parse().unwrap();
    assert_eq!(lines["trusted_keys"]["acme"]["keys"][0].as_str(), public.lines().nth(1));
    let printed = format!("{}{}", said.out, said.err);
    assert!(!printed.contains(private.lines().nth(1).unwrap()) && !printed.contains(PASSWORD), "{printed}");
    // A second key does not replace it.
    let again = with_password(home.path(), "keygen --minisign acme.key").run();
    assert_eq!(again.code(), Some(1));
    assert_eq!(again.said.err.trim(), "error: acme.key exists already: a key that is overwritten is lost");
    assert_eq!(fs::read_to_string(&file).unwrap(), private);
}

#[test]
fn nothing_is_signed_without_the_right_password_or_of_something_else() {
    let home = home();
    new_key(home.path(), "acme");
    fs::write(home.path().join("demo.wasm"), variant("average", 1)).unwrap();
    fs::write(home.path().join("text.wasm"), "hello").unwrap();
    fs::write(home.path().join("wrong"), "correct horse batterx\n").unwrap();
    let refused = |arguments: &str, expected: &str| {
        let ended = klines(home.path(), arguments).without_terminal().run();
        assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
        assert!(ended.said.err.contains(expected), "{}", ended.said.err);
    };
    refused(
        "consumer sign demo.wasm --key acme.key",
        "name a file with --password-file, or set KLINES_MINISIGN_PASSWORD",
    );
    let wrong = "acme.key: it is not an encrypted private key of minisign, or the password is wrong";
    refused("consumer sign demo.wasm --key acme.key --password-file wrong", wrong);
    refused("consumer sign text.wasm --key acme.key --password-file wrong", "text.wasm: is not WebAssembly");
    fs::write(home.path().join("short"), "short\n").unwrap();
    refused("keygen --minisign new.key --password-file short", "the password has fewer than 12 characters");
    assert!(!home.path().join("new.key").exists() && !home.path().join("demo.wasm.minisig").exists());
}
