//! The keys that the operator trusts, by publisher, and whose key has signed some bytes.

use std::collections::BTreeMap;

use thiserror::Error;

use super::signature::{KeyId, PublicKey, Signature};

/// The keys of one publisher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publisher {
    /// Keys whose signatures are accepted; two while a publisher replaces one.
    pub keys: Vec<PublicKey>,
    /// Keys whose signatures are no longer accepted.
    pub revoked: Vec<PublicKey>,
}

/// The keys that the operator trusts, by the names that the operator has given to publishers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(pub BTreeMap<String, Publisher>);

/// Who has signed some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The publisher.
    pub publisher: String,
    /// The key.
    pub key: PublicKey,
}

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// The signature names a key that is not configured.
    #[error("it is signed with the key {0}, which is none of the trusted keys")]
    Unknown(KeyId),
    /// The signature is of a key that the operator has revoked.
    #[error("it is signed with the key {key} of `{publisher}`, which is revoked")]
    Revoked {
        /// The publisher.
        publisher: String,
        /// The key.
        key: KeyId,
    },
    /// The signature names a trusted key and was not made with it for these bytes.
    #[error("its signature names the key {key} of `{publisher}`, but that key has not signed these bytes")]
    Forged {
        /// The publisher.
        publisher: String,
        /// The key.
        key: KeyId,
    },
}

impl TrustError {
    /// Returns what the operator can do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Unknown(_) => "a component signed with a key in [trusted_keys]; \
                add the key there only if you have it from the publisher"
                .to_owned(),
            Self::Revoked { publisher, .. } => {
                format!("a release that `{publisher}` has signed with a key that is not revoked")
            }
            Self::Forged { .. } => {
                "the component and the signature of one release: one of them was changed or exchanged".to_owned()
            }
        }
    }
}

impl TrustedKeys {
    /// Returns the publisher who has this key, and whether it is revoked.
    #[must_use]
    pub fn publisher_of(&self, key: &PublicKey) -> Option<(&str, bool)> {
        let is_of = |publisher: &&Publisher| publisher.keys.contains(key) || publisher.revoked.contains(key);
        let (name, publisher) = self.0.iter().find(|(_, publisher)| is_of(publisher))?;
        Some((name, publisher.revoked.contains(key)))
    }

    /// Finds the trusted key that has signed `bytes`.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn signer(&self, signature: &Signature, bytes: &[u8]) -> Result<Signer, TrustError> {
        let named = |keys: &[PublicKey]| keys.iter().filter(|key| key.id() == signature.key()).cloned().collect();
        let mut failure = TrustError::Unknown(signature.key());
        for (publisher, Publisher { keys, revoked }) in &self.0 {
            let (revoked, keys): (Vec<PublicKey>, Vec<PublicKey>) = (named(revoked), named(keys));
            let (publisher, key) = (publisher.clone(), signature.key());
            if revoked.iter().any(|key| signature.is_of(bytes, key)) {
                return Err(TrustError::Revoked { publisher, key });
            }
            if let Some(key) = keys.iter().find(|key| signature.is_of(bytes, key) && !revoked.contains(key)) {
                return Ok(Signer { publisher, key: key.clone() });
            }
            if !keys.is_empty() {
                failure = TrustError::Forged { publisher, key };
            } else if !revoked.is_empty() {
                failure = TrustError::Revoked { publisher, key };
            }
        }
        Err(failure)
    }
}
