//! Reads `ca_file`, a PEM file of certificates that are trusted in addition to the bundled ones.
//!
//! Several sections have this key. This module checks the format only; the connecting code uses the certificates.

use std::path::PathBuf;

use klines_system::protected::Access;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::loader::{Loader, Sourced};

const EXPECTED: &str = "a file of certificates in PEM";

/// Returns the content of the file if it holds at least one certificate; otherwise reports an error.
pub(super) fn read(loader: &mut Loader<'_>, file: &Sourced<PathBuf>) -> Option<Vec<u8>> {
    loader.protect_file(&file.value, "which decides whom to trust (`ca_file`)", Access::Write);
    let shown = file.value.display();
    let pem = match std::fs::read(loader.layers.folder.join(&file.value)) {
        Ok(pem) => pem,
        Err(error) => {
            loader.report.push(file.error(format!("{shown} cannot be read: {error}")).expected(EXPECTED));
            return None;
        }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    if certificates.is_ok_and(|found| !found.is_empty()) {
        return Some(pem);
    }
    loader.report.push(file.error(format!("{shown} has no certificates in PEM")).expected(EXPECTED));
    None
}
