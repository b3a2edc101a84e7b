//! Public keys and signatures of minisign: what publishers hand out, read without trusting it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use klines_domain::sanitize::{is_unsafe, sanitize};
use thiserror::Error;

/// The maximum length of a signature file in bytes; those of `minisign` have about 350.
pub const MAX_SIGNATURE: usize = 4 << 10;
/// The maximum length of a comment that is shown.
const MAX_COMMENT: usize = 256;
/// The position of the key's id in a key and in a signature, after the name of the algorithm.
const KEY_ID: std::ops::Range<usize> = 2..10;

/// The number of a key pair, by which a signature names its key. It is no proof: anybody can write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl KeyId {
    fn of(bytes: &[u8]) -> Option<Self> {
        let id = bytes.get(KEY_ID)?;
        Some(Self(u64::from_le_bytes(id.try_into().ok()?)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016X}", self.0)
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    text: String,
    id: KeyId,
    key: minisign_verify::PublicKey,
}

/// A text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is not a public key of minisign")]
pub struct PublicKeyError;

impl PublicKey {
    /// Returns the number of its key pair.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// Reads the key in base64: the second line of a file `.pub`.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let text = text.trim();
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| PublicKeyError)?;
        let id = KeyId::of(&bytes).ok_or(PublicKeyError)?;
        let key = minisign_verify::PublicKey::from_base64(text).map_err(|_| PublicKeyError)?;
        Ok(Self { text: text.to_owned(), id, key })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// A signature, as it is written in a file `.minisig`.
#[derive(Clone)]
pub struct Signature {
    text: String,
    key: KeyId,
    signature: minisign_verify::Signature,
}

/// Why a text is not a signature that can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// It is longer than [`MAX_SIGNATURE`].
    #[error("it has {0} bytes, and a signature has at most {MAX_SIGNATURE}")]
    TooLong(usize),
    /// It is not four lines of the form that `minisign` writes.
    #[error("it is not a signature of minisign")]
    Malformed,
}

impl Signature {
    /// Reads the four lines of a signature.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MAX_SIGNATURE {
            return Err(SignatureError::TooLong(text.len()));
        }
        // It is shown, and written to files that people read.
        if text.chars().any(|found| is_unsafe(found) && !matches!(found, '\n' | '\r' | '\t')) {
            return Err(SignatureError::Malformed);
        }
        let lines: Vec<&str> = text.lines().take(4).collect();
        let text = format!("{}\n", lines.join("\n"));
        let second = lines.get(1).ok_or(SignatureError::Malformed)?;
        let bytes = BASE64_STANDARD.decode(second.trim()).map_err(|_| SignatureError::Malformed)?;
        let key = KeyId::of(&bytes).ok_or(SignatureError::Malformed)?;
        let signature = minisign_verify::Signature::decode(&text).map_err(|_| SignatureError::Malformed)?;
        Ok(Self { text, key, signature })
    }

    /// Returns the number of the key that it names.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Returns whether the owner of `key` has signed exactly these bytes. Signatures of the old form, which are not of a
    /// hash of the bytes, are refused.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8], key: &PublicKey) -> bool {
        key.key.verify(bytes, &self.signature, false).is_ok()
    }

    /// Returns the comment that the publisher has signed too, without characters that control a terminal.
    #[must_use]
    pub fn comment(&self) -> String {
        sanitize(self.signature.trusted_comment(), MAX_COMMENT)
    }

    /// Returns its four lines.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signature({})", self.key)
    }
}

#[cfg(test)]
mod tests;
