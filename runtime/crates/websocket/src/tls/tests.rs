//! Tests of the certificate files: which are refused and with which error, the negotiated protocols, and reloading.

use std::fs::{self, Permissions};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConnection};
use tempfile::TempDir;

use super::*;

/// A folder with a certificate and a key file.
struct Files {
    folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

/// Returns a new certificate and its key as PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn files((certificate, key): &(String, String)) -> Files {
    let folder = TempDir::new().unwrap();
    let files = Files { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem"), folder };
    files.write(&files.certificate, certificate);
    files.write(&files.key, key);
    files
}

impl Files {
    /// Replaces a file by renaming: the new file has another inode, so that the change is noticed within one tick of
    /// the modification time.
    fn write(&self, file: &Path, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, file).unwrap();
    }

    fn load(&self) -> Result<Arc<Certificates>, TlsError> {
        Certificates::load(&self.certificate, &self.key)
    }

    /// Returns the error of loading, without the folder's path.
    fn refused(&self) -> String {
        let folder = format!("{}/", self.folder.path().display());
        self.load().unwrap_err().to_string().replace(&folder, "")
    }
}

fn der((certificate, _): &(String, String)) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()
}

fn shown(certificates: &Certificates) -> CertificateDer<'static> {
    certificates.current.read().unwrap().cert[0].clone()
}

/// Runs a TLS handshake in memory with a client that trusts only `pair`; returns the negotiated version and protocol.
fn shake(server: &Arc<Certificates>, pair: &(String, String)) -> Result<(ProtocolVersion, Vec<u8>), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(der(pair)).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), HTTP1.to_vec()];
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap())?;
    let mut server = ServerConnection::new(server.server_config().unwrap())?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        server.read_tls(&mut sent.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        client.read_tls(&mut answer.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok((client.protocol_version().unwrap(), client.alpn_protocol().unwrap().to_vec()))
}

#[test]
fn a_pair_serves_http_1_over_the_newest_tls() {
    let pair = pair();
    let certificates = files(&pair).load().unwrap();
    assert_eq!(shake(&certificates, &pair).unwrap(), (ProtocolVersion::TLSv1_3, HTTP1.to_vec()));
}

#[test]
fn a_new_pair_is_used_without_a_restart_and_half_of_one_is_not() {
    let (old, new) = (pair(), pair());
    let files = files(&old);
    let certificates = files.load().unwrap();
    certificates.refresh();
    assert_eq!(shown(&certificates), der(&old));

    files.write(&files.certificate, &new.0);
    for _ in 0..3 {
        certificates.refresh();
        assert_eq!(shown(&certificates), der(&old), "the key is still the old one");
    }
    let last_error = certificates.last_read.lock().unwrap().last_error.clone().unwrap();
    assert!(last_error.contains("the key is not that of the first certificate"), "{last_error}");
    shake(&certificates, &old).unwrap();

    files.write(&files.key, &new.1);
    certificates.refresh();
    assert_eq!(shown(&certificates), der(&new));
    assert_eq!(certificates.last_read.lock().unwrap().last_error, None);
    shake(&certificates, &new).unwrap();
    shake(&certificates, &old).unwrap_err();
}

#[test]
fn removed_files_leave_the_certificate_in_use() {
    let pair = pair();
    let files = files(&pair);
    let certificates = files.load().unwrap();
    fs::remove_file(&files.key).unwrap();
    certificates.refresh();
    assert!(certificates.last_read.lock().unwrap().last_error.is_some());
    files.write(&files.key, &pair.1);
    certificates.refresh();
    assert_eq!(certificates.last_read.lock().unwrap().last_error, None);
    assert_eq!(shown(&certificates), der(&pair));
}

#[tokio::test]
async fn the_watch_notices_a_change() {
    let (old, new) = (pair(), pair());
    let files = files(&old);
    let certificates = files.load().unwrap();
    let watch = Arc::clone(&certificates).watch(Duration::from_millis(2));
    files.write(&files.certificate, &new.0);
    files.write(&files.key, &new.1);
    let seen = async {
        while shown(&certificates) != der(&new) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        never = watch => match never {},
        seen = tokio::time::timeout(Duration::from_secs(20), seen) => seen.expect("the new certificate is seen"),
    }
}

#[test]
fn refusals_name_the_file_and_the_fix() {
    let (one, other) = (pair(), pair());
    let (certificate, key) = &one;
    let refused = |certificate: &str, key: &str| files(&(certificate.to_owned(), key.to_owned())).refused();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mut errors = vec![
        refused(key, certificate),
        refused("", key),
        refused(certificate, certificate),
        refused(certificate, "hello"),
        refused(certificate, encrypted),
        refused(certificate, &key[..80]),
        refused(certificate, &other.1),
        refused(nonsense, key),
        refused(&"x".repeat(2_000_000), key),
    ];
    let files = files(&one);
    fs::remove_file(&files.certificate).unwrap();
    errors.push(files.refused());
    fs::create_dir(&files.certificate).unwrap();
    errors.push(files.refused());
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_key_that_other_users_can_read_is_reported() {
    let files = files(&pair());
    assert_eq!(Exposed::check(&files.key), None);
    fs::set_permissions(&files.key, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(Exposed::check(&files.key), None, "a group is chosen by the operator");
    fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    let warning = Exposed::check(&files.key).unwrap().to_string();
    assert!(warning.contains("key.pem") && warning.contains("0644") && warning.contains("chmod 600"), "{warning}");
}
