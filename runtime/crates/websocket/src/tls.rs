//! The server side of TLS: loads the certificate and its key from two PEM files, and reloads them when they change.
//!
//! New connections get the new certificate; open connections are not affected. If the files do not match or are
//! incomplete, the old certificate stays in use. Does not accept connections and does not create certificates.

mod validity;

use std::convert::Infallible;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use klines_domain::time::Millis;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::{info, warn};

use self::validity::not_after;

/// The only ALPN protocol; WebSocket connections start with it.
const HTTP1: &[u8] = b"http/1.1";

/// The maximum size of a PEM file, bytes.
const LONGEST_FILE: u64 = 1024 * 1024;

/// Why the certificate cannot be used. Each error names the file and the fix.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {cause}; {fix}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        cause: io::Error,
        /// What to do.
        fix: &'static str,
    },
    /// A file does not contain what it should.
    #[error("{}: {problem}; {fix}", .file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: &'static str,
    },
    /// The certificate and the key do not match, or their kind is not supported.
    #[error("{} and {}: {problem}; {fix}", .certificate.display(), .key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of its key.
        key: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        fix: &'static str,
    },
    /// TLS itself cannot be set up.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// A key file that users other than its owner and group can read or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    file: PathBuf,
    mode: u32,
}

impl Exposed {
    /// Checks the permissions of a key file. Returns `None` if they are safe, or if the file cannot be read: loading it
    /// reports that.
    #[must_use]
    pub fn check(file: &Path) -> Option<Self> {
        let mode = file.metadata().ok()?.permissions().mode() & 0o777;
        (mode & 0o007 != 0).then(|| Self { file: file.to_owned(), mode })
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(out, "{file} is open to all users of this machine (mode {:04o}): run `chmod 600 {file}`", self.mode)
    }
}

/// Identifies a version of a file: device, inode, length, and modification time in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// A certificate with its key, as last loaded.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    last_read: Mutex<LastRead>,
}

/// The result of the last attempt to load the files.
struct LastRead {
    /// The versions of the files in use; nothing is loaded while they are the same.
    stamps: Option<[Stamp; 2]>,
    /// The last error that was logged.
    last_error: Option<String>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Certificates").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Loads both files, and logs a warning if other users can read the key.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read, or the two are not a usable pair.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Taken before the files are read, so that a change in between leads to another load.
        let stamps = stamps(certificate, key).ok();
        let current = read(certificate, key, &provider)?;
        warn_if_exposed(key);
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider,
            current: RwLock::new(Arc::new(current)),
            last_read: Mutex::new(LastRead { stamps, last_error: None }),
        }))
    }

    /// Creates the configuration of a server that always presents the newest certificate: TLS 1.2 and 1.3, HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError::Setup`] if `rustls` refuses the configuration.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as Arc<_>);
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Arc::new(config))
    }

    /// Checks the files every `period` and loads them when they have changed, until the future is dropped. A failed
    /// load is repeated each time; the same error is logged once.
    pub async fn watch(self: Arc<Self>, period: Duration) -> Infallible {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Blocking is fine: checking two small local files is cheaper than a switch to another thread.
            self.refresh();
        }
    }

    /// Checks the files once, and loads them if they have changed.
    fn refresh(&self) {
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = stamps(&self.certificate, &self.key).and_then(|stamps| {
            if last.stamps == Some(stamps) {
                return Ok(None);
            }
            read(&self.certificate, &self.key, &self.provider).map(|certified| Some((stamps, certified)))
        });
        match outcome {
            Ok(None) => last.last_error = None,
            Ok(Some((stamps, certified))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                *last = LastRead { stamps: Some(stamps), last_error: None };
                info!(certificate = %self.certificate.display(), "new certificate in use");
                warn_if_exposed(&self.key);
            }
            Err(error) => {
                let last_error = error.to_string();
                if last.last_error.as_ref() != Some(&last_error) {
                    warn!(error = %last_error, "cannot use the new certificate, keeping the old one");
                    last.last_error = Some(last_error);
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
        warn!(%exposed, "other users can read the certificate's key");
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

/// Returns until when a certificate is valid, in ms since 1970 UTC, after checking that it can be used with its key. Of a
/// chain, that which ends first counts.
///
/// # Errors
/// [`TlsError`] if it cannot be used.
pub fn valid_until(certificate: &Path, key: &Path) -> Result<Millis, TlsError> {
    read(certificate, key, &ring::default_provider())?;
    let fix = "create or request it again";
    let end = |der: &CertificateDer<'_>| {
        not_after(der).ok_or_else(|| content(certificate, "has no end of its validity", fix))
    };
    let ends: Vec<Millis> = chain(certificate)?.iter().map(end).collect::<Result<_, TlsError>>()?;
    Ok(ends.into_iter().min().unwrap_or_default())
}

/// Loads a certificate and its key.
fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = chain(certificate)?;
    let private = private(key)?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| {
        let (problem, fix) = match error {
            rustls::Error::InconsistentKeys(_) => {
                ("the key is not that of the first certificate".to_owned(), "name the two files of one certificate")
            }
            rustls::Error::InvalidCertificate(error) => {
                (format!("the first certificate cannot be read ({error:?})"), "put the server's own certificate first")
            }
            other => (format!("not a usable pair ({other})"), "use an RSA (2048 bits or more), ECDSA or Ed25519 key"),
        };
        TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), problem, fix }
    })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| not_pem(file, &error))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let fix = "it should begin with -----BEGIN CERTIFICATE-----, the server's own first, then the chain";
    Err(match PrivateKeyDer::from_pem_slice(&text) {
        Ok(_) => content(file, "holds a private key and no certificate", "are the two files swapped?"),
        Err(_) => content(file, "holds no certificate", fix),
    })
}

fn private(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = text(file)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => {
            let is_encrypted = text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
            let (problem, fix) = if is_encrypted {
                ("is encrypted", "decrypt it: openssl pkey -in ENCRYPTED -out PLAIN")
            } else if CertificateDer::from_pem_slice(&text).is_ok() {
                ("holds a certificate and no private key", "are the two files swapped?")
            } else {
                ("holds no private key", "it should begin with -----BEGIN PRIVATE KEY-----")
            };
            Err(content(file, problem, fix))
        }
        Err(error) => Err(not_pem(file, &error)),
    }
}

/// The header of an encrypted key.
const ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";

fn text(file: &Path) -> Result<Vec<u8>, TlsError> {
    metadata(file)?;
    std::fs::read(file).map_err(|cause| unreadable(file, cause))
}

fn unreadable(file: &Path, cause: io::Error) -> TlsError {
    let fix = match cause.kind() {
        io::ErrorKind::NotFound => "check the path, or make a certificate with `klines tls self-signed`",
        io::ErrorKind::PermissionDenied => "let the user that klines runs as read it",
        _ => "check the path",
    };
    TlsError::Unreadable { file: file.to_owned(), cause, fix }
}

fn content(file: &Path, problem: &str, fix: &'static str) -> TlsError {
    TlsError::Content { file: file.to_owned(), problem: problem.to_owned(), fix }
}

/// Describes a PEM error without the damaged line, which may be a part of the key.
fn not_pem(file: &Path, error: &PemError) -> TlsError {
    let problem = match error {
        PemError::MissingSectionEnd { .. } => "is cut short",
        PemError::IllegalSectionStart { .. } => "has a damaged -----BEGIN line",
        PemError::Base64Decode(_) => "has damaged lines",
        _ => "is not PEM",
    };
    content(file, problem, "copy it again from its source")
}

#[cfg(test)]
mod tests;
