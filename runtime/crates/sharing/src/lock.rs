//! The lock file: for each consumer that was added from elsewhere, which bytes were accepted, from whom, and what was
//! granted. People may read it; only `klines consumer add`, `upgrade` and `remove` write it.

use std::collections::BTreeMap;

use klines_domain::sanitize::sanitize;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::Digest;
use super::signature::{PublicKey, Signature};
use super::trust::Signer;

/// The version of the form that is written and read.
pub const VERSION: u32 = 1;
/// The first lines of the file.
const HEADING: &str = "\
# Which components were accepted, from whom, and what they were granted. Written by `klines consumer add`, `upgrade` and
# `remove`; `klines check` and `klines run` refuse what does not agree with it. Keep it with klines.toml.
";
/// The maximum length of an error of the parser, which quotes the file.
const MAX_ERROR: usize = 256;

/// The entries by the names of their consumers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LockFile(pub BTreeMap<String, LockEntry>);

/// What was accepted for one consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct LockEntry {
    /// The component's file, relative to the folder of the lock file if it is below that.
    pub component: String,
    /// Where it came from.
    pub source: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The version that its manifest names; `None` if it names none.
    pub release: Option<String>,
    /// The interface that it exports, with the version of the contract.
    pub contract: String,
    /// Who has signed it; `None` if the operator has accepted it without a signature.
    pub signed: Option<Signed>,
    /// The lines of `allow` that were granted, sorted.
    pub grants: Vec<String>,
}

/// The signature of a component, and whose it was when it was accepted.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The publisher and the key.
    pub signer: Signer,
    /// The signature.
    pub signature: Signature,
}

impl PartialEq for Signed {
    fn eq(&self, other: &Self) -> bool {
        self.signer == other.signer && self.signature.text() == other.signature.text()
    }
}

/// Why a lock file cannot be used. Nothing is known of its consumers then, so nothing that it may name runs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LockError {
    /// It is not TOML of this form.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// It was written by a newer klines.
    #[error("it has version {0}, and this klines reads version {VERSION}")]
    Version(u32),
    /// An entry contradicts itself.
    #[error("its entry of `{consumer}` {problem}")]
    Entry {
        /// The name of the consumer.
        consumer: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLock {
    version: u32,
    #[serde(default)]
    consumers: BTreeMap<String, WrittenEntry>,
}

/// The version alone, which is read first: a newer form may have other fields.
#[derive(Deserialize)]
struct WrittenVersion {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    component: String,
    source: String,
    digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    contract: String,
    grants: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsigned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl LockFile {
    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let malformed = |error: toml::de::Error| LockError::Malformed(sanitize(error.message(), MAX_ERROR));
        let WrittenVersion { version } = toml::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(LockError::Version(version));
        }
        let written: WrittenLock = toml::from_str(text).map_err(malformed)?;
        let entries = written.consumers.into_iter().map(|(consumer, entry)| match entry.read() {
            Ok(entry) => Ok((consumer, entry)),
            Err(problem) => Err(LockError::Entry { consumer: sanitize(&consumer, MAX_ERROR), problem }),
        });
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the text of the lock file: the same entries always give the same text.
    #[must_use]
    pub fn text(&self) -> String {
        let consumers = self.0.iter().map(|(name, entry)| (name.clone(), WrittenEntry::of(entry))).collect();
        // Strings, a number and tables of them are always TOML.
        let text = toml::to_string_pretty(&WrittenLock { version: VERSION, consumers }).unwrap_or_default();
        format!("{HEADING}{text}")
    }
}

impl WrittenEntry {
    fn of(entry: &LockEntry) -> Self {
        let LockEntry { component, source, digest, release, contract, signed, grants } = entry.clone();
        Self {
            component,
            source,
            digest,
            release,
            contract,
            grants,
            unsigned: signed.is_none(),
            publisher: signed.as_ref().map(|signed| signed.signer.publisher.clone()),
            key: signed.as_ref().map(|signed| signed.signer.key.to_string()),
            signature: signed.as_ref().map(|signed| signed.signature.text().to_owned()),
        }
    }

    fn read(self) -> Result<LockEntry, &'static str> {
        let Self { component, source, digest, release, contract, mut grants, unsigned, publisher, key, signature } =
            self;
        let signed = match (publisher, key, signature) {
            (None, None, None) if unsigned => None,
            (Some(publisher), Some(key), Some(signature)) if !unsigned => {
                let key: PublicKey = key.parse().map_err(|_| "has a `key` that is no public key of minisign")?;
                let signature =
                    Signature::parse(&signature).map_err(|_| "has a `signature` that is none of minisign")?;
                Some(Signed { signer: Signer { publisher, key }, signature })
            }
            _ => return Err("must have either `publisher`, `key` and `signature`, or `unsigned = true`"),
        };
        grants.sort();
        Ok(LockEntry { component, source, digest, release, contract, signed, grants })
    }
}

#[cfg(test)]
mod tests;
