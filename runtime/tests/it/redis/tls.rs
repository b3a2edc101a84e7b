//! TLS for a real `redis-server`: a certificate that only its own file makes trusted.

use std::net::TcpListener;
use std::path::PathBuf;

use tempfile::TempDir;

/// The certificate, key and port of a server that also listens with TLS.
pub struct Tls {
    folder: TempDir,
    port: u16,
}

impl Tls {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let tls = Self { folder, port };
        std::fs::write(tls.certificate(), made.cert.pem()).unwrap();
        std::fs::write(tls.key(), made.signing_key.serialize_pem()).unwrap();
        tls
    }

    /// Returns the file that a client has to trust.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    pub fn url(&self) -> String {
        format!("rediss://localhost:{}/0", self.port)
    }

    /// Returns the arguments of `redis-server`.
    pub fn arguments(&self) -> Vec<String> {
        let (certificate, key) = (self.certificate().display().to_string(), self.key().display().to_string());
        let port = self.port.to_string();
        let pairs = [
            ("--tls-port", port.as_str()),
            ("--tls-cert-file", &certificate),
            ("--tls-key-file", &key),
            ("--tls-ca-cert-file", &certificate),
            ("--tls-auth-clients", "no"),
        ];
        pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
    }
}
