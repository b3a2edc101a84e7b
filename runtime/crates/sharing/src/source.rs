//! Where a component can come from: a file, a URL, or a registry of OCI artifacts. Reads and writes the text form, which
//! is also that of the lock file.

use std::fmt;
use std::path::{Path, PathBuf};

use klines_domain::sanitize::sanitize;
use thiserror::Error;
use url::{Host, Url};

use super::digest::Digest;

/// The maximum length of the name of a repository, as the OCI distribution specification has it.
const MAX_NAME: usize = 255;
/// The maximum length of a tag, as the OCI distribution specification has it.
const MAX_TAG: usize = 128;
/// The maximum length of a source in a message.
const MAX_TEXT: usize = 256;

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, whose signature is in a file next to it.
    File(PathBuf),
    /// A URL, whose signature is at the same URL with the ending `.minisig`.
    Url(Url),
    /// An artifact in a registry, whose signature is in its manifest.
    Registry(Reference),
}

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}: {problem}")]
pub struct SourceError {
    /// The text, sanitised and without a password.
    text: String,
    /// What is wrong, and what is expected.
    problem: &'static str,
}

/// The name of an artifact in a registry: `oci://HOST[:PORT]/NAME[:TAG][@DIGEST]`, with a tag, a digest or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and port, as in a URL.
    host: String,
    /// The repository.
    pub name: String,
    /// The tag, which the registry can move to another manifest.
    pub tag: Option<String>,
    /// The digest of the manifest.
    pub digest: Option<Digest>,
}

impl Source {
    /// Reads a source. A path that is not UTF-8 is that of a file.
    ///
    /// # Errors
    /// [`SourceError`] for a text with a scheme that is no source.
    pub fn parse(text: &Path) -> Result<Self, SourceError> {
        let Some((scheme, rest)) = text.to_str().and_then(|text| text.split_once("://")) else {
            return Ok(Self::File(text.to_path_buf()));
        };
        let whole = format!("{scheme}://{rest}");
        let parsed = match scheme {
            "oci" => Reference::parse(rest).map(Self::Registry),
            "http" | "https" => url(&whole).map(Self::Url),
            _ => Err("expected a file, https://…, or oci://HOST/NAME:TAG"),
        };
        parsed.map_err(|problem| SourceError {
            text: sanitize(&klines_domain::secret::redact_url(&whole), MAX_TEXT),
            problem,
        })
    }

    /// Returns the name that a component of this source has by default: the last part, without `.wasm`.
    #[must_use]
    pub fn stem(&self) -> String {
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        match self {
            Self::File(path) => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            Self::Url(url) => {
                let name = last(url.path());
                name.strip_suffix(".wasm").unwrap_or(&name).to_owned()
            }
            Self::Registry(reference) => last(&reference.name),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Url(url) => write!(out, "{url}"),
            Self::Registry(reference) => write!(out, "{reference}"),
        }
    }
}

impl Reference {
    /// Reads what follows `oci://`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) if !text.is_empty() && digest.starts_with("sha256:") => {
                let digest = digest.parse().map_err(|_| "after @ a digest is expected: sha256: and 64 digits")?;
                (text, Some(digest))
            }
            Some(_) => return Err("after @ a digest is expected, sha256: and 64 digits; no user or password"),
            None => (text, None),
        };
        let (host, path) = text.split_once('/').ok_or("expected oci://HOST/NAME:TAG")?;
        let (name, tag) = match path.split_once(':') {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (path, None),
        };
        if !is_name(name) {
            return Err("the name after the host has parts of a-z, 0-9, `.`, `_` and `-`, separated by `/`");
        }
        if !tag.as_deref().is_none_or(is_tag) {
            return Err(
                "a tag has at most 128 letters, digits, `.`, `_` and `-`, and begins with a letter, digit or `_`",
            );
        }
        if tag.is_none() && digest.is_none() {
            return Err("a tag or a digest is missing: oci://HOST/NAME:TAG or oci://HOST/NAME@sha256:…");
        }
        let reference = Self { host: host.to_owned(), name: name.to_owned(), tag, digest };
        let base = Url::parse(&format!("https://{host}/")).map_err(|_| "the host cannot be read")?;
        // What the parser has normalised would be another text for the same host.
        let rest = base.host_str().and_then(|found| host.strip_prefix(found));
        let is_port = |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        let is_host = rest.is_some_and(|rest| rest.is_empty() || is_port(rest));
        if is_host { Ok(reference) } else { Err("expected a host in lower case, with or without a port") }
    }

    /// Returns the address of the registry: with TLS, unless its host is a loopback address.
    ///
    /// # Errors
    /// When the host cannot be part of a URL; a reference that was read can.
    pub fn registry(&self) -> Result<Url, url::ParseError> {
        let secure = Url::parse(&format!("https://{}/", self.host))?;
        if is_loopback(&secure) { Url::parse(&format!("http://{}/", self.host)) } else { Ok(secure) }
    }

    /// Returns what is asked of the registry: the digest, or else the tag.
    #[must_use]
    pub fn asked(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_default(),
        }
    }

    /// Returns the same reference to exactly this manifest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Returns the reference to whatever the tag names by now; without a tag, the same reference.
    #[must_use]
    pub fn unpinned(&self) -> Self {
        let digest = if self.tag.is_some() { None } else { self.digest.clone() };
        Self { digest, ..self.clone() }
    }

    /// Returns the tag and the two digests if `newer` is the same tag of the same repository with another manifest.
    #[must_use]
    pub fn moved<'a>(&'a self, newer: &'a Self) -> Option<(&'a str, &'a Digest, &'a Digest)> {
        let is_same = (&self.host, &self.name, &self.tag) == (&newer.host, &newer.name, &newer.tag);
        match (is_same, &self.tag, &self.digest, &newer.digest) {
            (true, Some(tag), Some(old), Some(new)) if old != new => Some((tag.as_str(), old, new)),
            _ => None,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "oci://{}/{}", self.host, self.name)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

/// Returns whether the host of a URL is written as a loopback address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user or a password is not accepted: the source is written to the lock file");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a URL with `?` or `#` is not accepted: the source is written to the lock file");
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err("expected https://; http:// is for this machine only");
    }
    Ok(url)
}

fn is_name(name: &str) -> bool {
    let is_inner = |found: u8| matches!(found, b'.' | b'_' | b'-');
    let is_alphanumeric = |found: u8| found.is_ascii_lowercase() || found.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(|end| is_alphanumeric(*end)))
            && bytes.iter().all(|found| is_alphanumeric(*found) || is_inner(*found))
            && !part.contains("..")
    };
    name.len() <= MAX_NAME && name.split('/').all(is_part)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |found: char| found.is_ascii_alphanumeric() || found == '_';
    tag.len() <= MAX_TAG
        && tag.starts_with(is_word)
        && tag.chars().all(|found| is_word(found) || matches!(found, '.' | '-'))
}

#[cfg(test)]
mod tests;
