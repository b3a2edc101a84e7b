//! Decides whether a component is the one that was accepted: compares it with its entry in the lock file and with the keys
//! that the operator trusts now.
//!
//! The signature is verified each time. A lock file that somebody has edited does not help: it can name other bytes, but
//! no signature of them.

use klines_domain::sanitize::sanitize;
use thiserror::Error;

use super::digest::Digest;
use super::lock::{LockEntry, Signed};
use super::trust::{Signer, TrustError, TrustedKeys};

/// The maximum length of a text from the lock file in a message.
const MAX_TEXT: usize = 256;

/// How a component differs from what was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disagreement {
    /// The configuration names another file than the lock file.
    #[error("its component is `{configured}` in the configuration and `{locked}` in the lock file")]
    Component {
        /// The path in the lock file.
        locked: String,
        /// The path in the configuration.
        configured: String,
    },
    /// The file has other bytes.
    #[error("its component has {found}, and {locked} was accepted")]
    Digest {
        /// The accepted digest.
        locked: Digest,
        /// The digest of the bytes that were read.
        found: Digest,
    },
    /// No trusted key has signed the bytes.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// The bytes are signed, but by somebody else than the lock file says.
    #[error("it is signed by `{found}`, and a component of `{locked}` was accepted")]
    Publisher {
        /// The accepted publisher.
        locked: String,
        /// The publisher whose key has signed the bytes.
        found: String,
    },
    /// The bytes are signed with another key than the lock file says.
    #[error("it is signed with another key of `{publisher}` than the lock file says")]
    Key {
        /// The publisher.
        publisher: String,
    },
    /// The component exports another version of the contract.
    #[error("its component exports `{found}`, and `{locked}` was accepted")]
    Contract {
        /// The accepted interface.
        locked: String,
        /// The interface that it exports.
        found: String,
    },
    /// The configuration grants something else.
    #[error("the configuration grants something else than was accepted: {}", differences(further, missing))]
    Grants {
        /// Granted in the configuration only.
        further: Vec<String>,
        /// Accepted, but not granted in the configuration.
        missing: Vec<String>,
    },
}

impl Disagreement {
    /// Returns what the operator can do about it, for the consumer `name`.
    #[must_use]
    pub fn fix(&self, name: &str) -> String {
        match self {
            Self::Component { .. } => {
                format!("the file that was accepted, or `klines consumer remove {name}` before another is used")
            }
            Self::Digest { .. } | Self::Contract { .. } => format!(
                "the component that was accepted; a new release is accepted with `klines consumer upgrade {name} FILE`"
            ),
            Self::Trust(error) => error.fix(),
            Self::Publisher { .. } | Self::Key { .. } => format!(
                "a lock file that nobody has edited: `klines consumer remove {name}`, then `klines consumer add` again"
            ),
            Self::Grants { .. } => {
                format!("the grants that were accepted; others are accepted with `klines consumer upgrade {name}`")
            }
        }
    }
}

fn differences(further: &[String], missing: &[String]) -> String {
    let signed = |sign: &str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| format!("{sign}{}", sanitize(line, MAX_TEXT))).collect()
    };
    let lines = [signed("+ ", further), signed("- ", missing)].concat();
    lines.join("; ")
}

impl LockEntry {
    /// Checks the bytes of a component: those that are compiled afterwards. `component` is the path in the configuration,
    /// written as in the lock file.
    ///
    /// # Errors
    /// The first [`Disagreement`].
    pub fn check_bytes(
        &self,
        component: &str,
        (bytes, found): (&[u8], &Digest),
        trusted: &TrustedKeys,
    ) -> Result<(), Disagreement> {
        if component != self.component {
            let locked = sanitize(&self.component, MAX_TEXT);
            return Err(Disagreement::Component { locked, configured: sanitize(component, MAX_TEXT) });
        }
        if *found != self.digest {
            return Err(Disagreement::Digest { locked: self.digest.clone(), found: found.clone() });
        }
        let Some(Signed { signer: locked, signature }) = &self.signed else { return Ok(()) };
        let Signer { publisher, key } = trusted.signer(signature, bytes)?;
        if publisher != locked.publisher {
            let locked = sanitize(&locked.publisher, MAX_TEXT);
            return Err(Disagreement::Publisher { locked, found: publisher });
        }
        if key != locked.key {
            return Err(Disagreement::Key { publisher });
        }
        Ok(())
    }

    /// Checks what is known once the component is compiled, and what the configuration grants it.
    ///
    /// # Errors
    /// The first [`Disagreement`].
    pub fn check_use(&self, contract: &str, grants: &[String]) -> Result<(), Disagreement> {
        if contract != self.contract {
            let locked = sanitize(&self.contract, MAX_TEXT);
            return Err(Disagreement::Contract { locked, found: contract.to_owned() });
        }
        let not_in = |these: &[String], others: &[String]| -> Vec<String> {
            these.iter().filter(|line| !others.contains(line)).cloned().collect()
        };
        let (further, missing) = (not_in(grants, &self.grants), not_in(&self.grants, grants));
        if further.is_empty() && missing.is_empty() { Ok(()) } else { Err(Disagreement::Grants { further, missing }) }
    }
}

#[cfg(test)]
mod tests;
