//! The server's side of TLS: the certificate and its key from two PEM files, read again when they change.
//!
//! New connections get the new certificate, open ones stay as they are. Files that do not fit together, or are half
//! written, leave the old certificate in place. Does not accept connections, and makes no certificates.

use std::convert::Infallible;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::{info, warn};

/// The one protocol that is spoken over TLS; WebSocket connections begin in it.
const HTTP1: &[u8] = b"http/1.1";

/// A PEM file longer than this is no certificate, bytes.
const LONGEST_FILE: u64 = 1024 * 1024;

/// Why the certificate cannot be used. Each names the file and the mend.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {cause}; {mend}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
        /// What to do.
        mend: &'static str,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}; {mend}", .file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        mend: &'static str,
    },
    /// The certificate and the key are not a pair, or of a kind that is not supported.
    #[error("{} and {}: {problem}; {mend}", .certificate.display(), .key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of its key.
        key: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        mend: &'static str,
    },
    /// TLS itself cannot be set up.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// A key file that people other than its owner and group can read or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    file: PathBuf,
    mode: u32,
}

impl Exposed {
    /// Looks at a key file; tells nothing of one that cannot be looked at, because loading it will.
    #[must_use]
    pub fn check(file: &Path) -> Option<Self> {
        let mode = file.metadata().ok()?.permissions().mode() & 0o777;
        (mode & 0o007 != 0).then(|| Self { file: file.to_owned(), mode })
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(out, "{file} is open to everybody on this machine (mode {:04o}): type `chmod 600 {file}`", self.mode)
    }
}

/// What tells a file from the one that was there before.
type Stamp = (u64, u64, u64, i64, i64);

/// A certificate with its key, as last read.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    read: Mutex<Read>,
}

/// What was last tried.
struct Read {
    /// The files that are in use; the next look does nothing while they are the same.
    stamps: Option<[Stamp; 2]>,
    /// What was last said to be wrong.
    complaint: Option<String>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads both files, and warns in the log if the key is open to others.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Before they are read: what changes in between is read again.
        let stamps = stamps(certificate, key).ok();
        let current = read(certificate, key, &provider)?;
        warn_if_exposed(key);
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider,
            current: RwLock::new(Arc::new(current)),
            read: Mutex::new(Read { stamps, complaint: None }),
        }))
    }

    /// Makes the configuration of a server that always shows the newest certificate: TLS 1.2 and 1.3, HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError::Setup`].
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as Arc<_>);
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Arc::new(config))
    }

    /// Looks at the files every `period` and reads them when they have changed, until it is dropped. What is wrong is
    /// logged once, and tried again each time.
    pub async fn watch(self: Arc<Self>, period: Duration) -> Infallible {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Two small local files: to look at them takes less than to hand them to another thread.
            self.refresh();
        }
    }

    /// Looks once.
    fn refresh(&self) {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = stamps(&self.certificate, &self.key).and_then(|stamps| {
            if last.stamps == Some(stamps) {
                return Ok(None);
            }
            read(&self.certificate, &self.key, &self.provider).map(|certified| Some((stamps, certified)))
        });
        match outcome {
            Ok(None) => last.complaint = None,
            Ok(Some((stamps, certified))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                *last = Read { stamps: Some(stamps), complaint: None };
                info!(certificate = %self.certificate.display(), "new certificate in use");
                warn_if_exposed(&self.key);
            }
            Err(error) => {
                let complaint = error.to_string();
                if last.complaint.as_ref() != Some(&complaint) {
                    warn!(error = %complaint, "the new certificate is of no use, the old one stays");
                    last.complaint = Some(complaint);
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn warn_if_exposed(key: &Path) {
    if let Some(exposed) = Exposed::check(key) {
        warn!(%exposed, "others can read the certificate's key");
    }
}

fn stamps(certificate: &Path, key: &Path) -> Result<[Stamp; 2], TlsError> {
    Ok([stamp(&metadata(certificate)?), stamp(&metadata(key)?)])
}

fn stamp(file: &Metadata) -> Stamp {
    (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}

fn metadata(file: &Path) -> Result<Metadata, TlsError> {
    let metadata = file.metadata().map_err(|cause| unreadable(file, cause))?;
    let problem = if !metadata.is_file() {
        "is not a file"
    } else if metadata.len() > LONGEST_FILE {
        "is longer than 1 MiB"
    } else {
        return Ok(metadata);
    };
    Err(content(file, problem, "a PEM file was expected"))
}

/// Reads a pair that can be used.
fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = chain(certificate)?;
    let private = private(key)?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| {
        let (problem, mend) = match error {
            rustls::Error::InconsistentKeys(_) => {
                ("the key is not that of the first certificate".to_owned(), "name the two files of one certificate")
            }
            rustls::Error::InvalidCertificate(error) => {
                (format!("the first certificate cannot be read ({error:?})"), "put the server's own certificate first")
            }
            other => (format!("not a usable pair ({other})"), "use an RSA (2048 bits or more), ECDSA or Ed25519 key"),
        };
        TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), problem, mend }
    })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| not_pem(file, &error))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let mend = "it should begin with -----BEGIN CERTIFICATE-----, the server's own first, then the chain";
    Err(match PrivateKeyDer::from_pem_slice(&text) {
        Ok(_) => content(file, "holds a private key and no certificate", "are the two files swapped?"),
        Err(_) => content(file, "holds no certificate", mend),
    })
}

fn private(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = text(file)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => {
            let is_encrypted = text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
            let (problem, mend) = if is_encrypted {
                ("is encrypted", "decrypt it: openssl pkey -in ENCRYPTED -out PLAIN")
            } else if CertificateDer::from_pem_slice(&text).is_ok() {
                ("holds a certificate and no private key", "are the two files swapped?")
            } else {
                ("holds no private key", "it should begin with -----BEGIN PRIVATE KEY-----")
            };
            Err(content(file, problem, mend))
        }
        Err(error) => Err(not_pem(file, &error)),
    }
}

/// How an encrypted key begins.
const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";

fn text(file: &Path) -> Result<Vec<u8>, TlsError> {
    metadata(file)?;
    std::fs::read(file).map_err(|cause| unreadable(file, cause))
}

fn unreadable(file: &Path, cause: io::Error) -> TlsError {
    let mend = match cause.kind() {
        io::ErrorKind::NotFound => "check the path, or make a certificate with `klines tls self-signed`",
        io::ErrorKind::PermissionDenied => "let the user that klines runs as read it",
        _ => "check the path",
    };
    TlsError::Unreadable { file: file.to_owned(), cause, mend }
}

fn content(file: &Path, problem: &str, mend: &'static str) -> TlsError {
    TlsError::Content { file: file.to_owned(), problem: problem.to_owned(), mend }
}

/// Says where PEM ends to be PEM, without the line: it may be a piece of the key.
fn not_pem(file: &Path, error: &PemError) -> TlsError {
    let problem = match error {
        PemError::MissingSectionEnd { .. } => "is cut short",
        PemError::IllegalSectionStart { .. } => "has a damaged -----BEGIN line",
        PemError::Base64Decode(_) => "has damaged lines",
        _ => "is not PEM",
    };
    content(file, problem, "write it anew from where it came from")
}

#[cfg(test)]
mod tests;
