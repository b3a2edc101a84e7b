//! What makes a component of others trusted: its digest, the signature of its publisher, the operator's trusted keys, and
//! the lock file that says what was accepted; and the forms in which components are named and published.
//!
//! Everything here is computed from bytes and text: this crate reads no file, opens no connection and asks nobody.

pub mod agreement;
pub mod digest;
pub mod index;
pub mod lock;
pub mod oci;
pub mod signature;
pub mod signing;
pub mod source;
pub mod trust;
