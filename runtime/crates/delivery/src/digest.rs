//! Content addresses of files.

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 of `bytes` in lower-case hex; used as a content address.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
