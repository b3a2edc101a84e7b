//! The name of some bytes.

use sha2::{Digest as _, Sha256};

/// SHA-256 in hex: the name of some bytes that nobody can give to others.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
