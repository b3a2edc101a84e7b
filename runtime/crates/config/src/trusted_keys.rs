//! `[trusted_keys]`: the public keys of publishers whose components are accepted.

use std::collections::BTreeMap;

use klines_sharing::signature::PublicKey;
use klines_sharing::trust::{Publisher, TrustedKeys};

use super::loader::{Key, Loader, Section, Sourced};
use super::report::Diagnostic;
use super::value::{Fault, Scalar};

const KEYS: Key = Key::new("keys");
const REVOKED: Key = Key::new("revoked");
/// The maximum length of a publisher's name, in characters.
const MAX_NAME: usize = 64;

/// Reads the keys of every publisher. A key may belong to one publisher only.
pub(super) fn read(loader: &mut Loader<'_>, section: &Section<'_>) -> TrustedKeys {
    let mut publishers: BTreeMap<String, Publisher> = BTreeMap::new();
    for (name, span, node) in section.entries() {
        let is_letter = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_letter) {
            let place = loader.layers.toml_place(span.clone());
            let diagnostic = Diagnostic::error(place, format!("`{name}` cannot be the name of a publisher"));
            loader.report.push(diagnostic.expected(format!("1 to {MAX_NAME} letters, digits, `-`, `_` and `.`")));
        }
        let mut inner = loader.table(section.path_of(name), node);
        let keys = loader.read(&mut inner, KEYS, Vec::new());
        let keys = loader.unique(keys, ToString::to_string);
        let revoked = loader.read(&mut inner, REVOKED, Vec::new());
        let revoked = loader.unique(revoked, ToString::to_string);
        loader.finish(inner);
        for list in [&keys, &revoked] {
            check_owner(loader, name, list, &publishers);
        }
        publishers.insert(name.to_owned(), Publisher { keys: keys.value, revoked: revoked.value });
    }
    TrustedKeys(publishers)
}

/// Reports keys that another publisher has: it would not be known who has signed.
fn check_owner(
    loader: &mut Loader<'_>,
    name: &str,
    list: &Sourced<Vec<PublicKey>>,
    others: &BTreeMap<String, Publisher>,
) {
    for key in &list.value {
        let has = |other: &Publisher| other.keys.contains(key) || other.revoked.contains(key);
        if let Some((other, _)) = others.iter().find(|(_, other)| has(other)) {
            let message = format!("the key {} of `{name}` is also a key of `{other}`", key.id());
            loader.report.push(list.error(message).expected("each key at one publisher"));
        }
    }
}

impl Scalar for PublicKey {
    const EXPECTED: &'static str = "a public key of minisign: the second line of its file .pub, 56 characters from RW";

    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| Fault::new("this is not a public key of minisign", Self::EXPECTED))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}
