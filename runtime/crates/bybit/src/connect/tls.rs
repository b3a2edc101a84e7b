//! The certificates to trust: the bundled root certificates and, if configured, those of a file.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file of additional certificates cannot be read, or is not PEM.
    #[error("SSL_CERT_FILE {file}: {cause}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An error of the TLS library.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Returns the TLS configuration of a client; `file` has additional certificates.
pub fn config(file: Option<&str>) -> Result<rustls::ClientConfig, TrustError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = file {
        let refuse = |cause: String| TrustError::File { file: file.to_owned(), cause };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| refuse(error.to_string()))?;
        let mut added = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(refuse("holds no certificate".to_owned()));
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
