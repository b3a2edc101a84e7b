//! An index of published components: one file that anybody can host, for `klines consumer search`. It says where components
//! are; whether they are what it says is verified when one is added.

use std::collections::BTreeMap;
use std::path::Path;

use klines_domain::sanitize::sanitize;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::Digest;
use super::signature::PublicKey;
use super::source::Source;

/// The version of the form that is written and read.
pub const VERSION: u32 = 1;
/// The maximum size of an index in bytes.
pub const MAX_INDEX: u64 = 1 << 20;
/// The first lines of the file.
const HEADING: &str = "\
# Published components, for `klines consumer search --index`. Written by `klines consumer publish --index`; what it says is
# verified when a component is added.
";
/// The maximum length of an error of the parser, which quotes the file.
const MAX_ERROR: usize = 256;

/// The components by their names, such as `acme/demo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index(pub BTreeMap<String, Listing>);

/// What an index says about a component. All of it is a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Where it is: a URL, or a reference to an artifact in a registry.
    pub source: Source,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The key that has signed it.
    pub key: PublicKey,
    /// Its version; empty if it has none.
    pub version: String,
    /// What it does; empty if nothing says so.
    pub description: String,
    /// The interface that it exports, with the version of the contract.
    pub contract: String,
    /// What it asks for.
    pub wants: Vec<String>,
}

/// Why an index cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IndexError {
    /// It is not TOML of this form.
    #[error("it is no index of components: {0}")]
    Malformed(String),
    /// It was written for a newer klines.
    #[error("it has version {0}, and this klines reads version {VERSION}")]
    Version(u32),
    /// An entry cannot be used.
    #[error("its entry of `{name}` {problem}")]
    Entry {
        /// The name of the component.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The file as it is written.
#[derive(Serialize)]
struct WrittenIndex {
    version: u32,
    components: BTreeMap<String, WrittenListing>,
}

/// The file as it is read: an entry that cannot be used hides no other one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadIndex {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default)]
    components: BTreeMap<String, toml::Value>,
}

/// The version alone, which is read first: a newer form may have other fields.
#[derive(Deserialize)]
struct WrittenVersion {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenListing {
    source: String,
    digest: Digest,
    key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    contract: String,
    #[serde(default)]
    wants: Vec<String>,
}

impl Index {
    /// Reads the text of an index. Returns why entries that are not in it cannot be used, too.
    ///
    /// # Errors
    /// [`IndexError`] if it is no index.
    pub fn parse(text: &str) -> Result<(Self, Vec<IndexError>), IndexError> {
        let malformed = |error: toml::de::Error| IndexError::Malformed(sanitize(error.message(), MAX_ERROR));
        let WrittenVersion { version } = toml::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let written: ReadIndex = toml::from_str(text).map_err(malformed)?;
        let (mut listings, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, listing) in written.components {
            match WrittenListing::of_toml(listing).and_then(WrittenListing::read) {
                Ok(listing) => _ = listings.insert(name, listing),
                Err(problem) => faults.push(IndexError::Entry { name: sanitize(&name, MAX_ERROR), problem }),
            }
        }
        Ok((Self(listings), faults))
    }

    /// Returns the text of the index: the same components always give the same text.
    #[must_use]
    pub fn text(&self) -> String {
        let components = self.0.iter().map(|(name, listing)| (name.clone(), WrittenListing::of(listing))).collect();
        // Strings, a number and tables of them are always TOML.
        let text = toml::to_string_pretty(&WrittenIndex { version: VERSION, components }).unwrap_or_default();
        format!("{HEADING}{text}")
    }

    /// Returns the components in whose name, version, description or wants each of these words occurs, in capitals or not.
    pub fn search<'a>(&'a self, words: &[String]) -> impl Iterator<Item = (&'a str, &'a Listing)> {
        let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        self.0.iter().map(|(name, listing)| (name.as_str(), listing)).filter(move |(name, listing)| {
            let Listing { version, description, wants, .. } = listing;
            let text = format!("{name} {version} {description} {}", wants.join(" ")).to_lowercase();
            words.iter().all(|word| text.contains(word))
        })
    }
}

impl WrittenListing {
    fn of_toml(value: toml::Value) -> Result<Self, String> {
        value
            .try_into()
            .map_err(|error: toml::de::Error| format!("cannot be read: {}", sanitize(error.message(), MAX_ERROR)))
    }

    fn of(listing: &Listing) -> Self {
        let Listing { source, digest, key, version, description, contract, wants } = listing.clone();
        let (source, key) = (source.to_string(), key.to_string());
        Self { source, digest, key, version, description, contract, wants }
    }

    fn read(self) -> Result<Listing, String> {
        let Self { source, digest, key, version, description, contract, wants } = self;
        let source = match Source::parse(Path::new(&source)) {
            Ok(Source::File(_)) | Err(_) => {
                return Err("must have a `source` that is https://HOST/PATH or oci://HOST/NAME:TAG".to_owned());
            }
            Ok(source) => source,
        };
        let key = key.parse().map_err(|_| "has a `key` that is no public key of minisign".to_owned())?;
        Ok(Listing { source, digest, key, version, description, contract, wants })
    }
}

#[cfg(test)]
mod tests;
