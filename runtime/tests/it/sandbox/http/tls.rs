//! Encrypted requests: the server has to prove that it is the granted host, to the bundled authorities or to those in
//! the grant.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use klines_wasm::http::{Egress, HttpCounts, HttpGrant};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::request;
use crate::sandbox::peer::{FakeResolver, response};

/// A server with a self-signed certificate, which runs until the process ends.
pub struct Encrypted {
    /// Its port on loopback.
    pub port: u16,
    /// Its certificate in PEM.
    pub pem: Vec<u8>,
}

impl Encrypted {
    /// Serves as `name`, with an expired certificate or a valid one.
    pub fn new(name: &str, is_expired: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(if is_expired { 2021 } else { 4000 }, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, config) = (listener.local_addr().unwrap().port(), Arc::new(config));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that does not trust the certificate closes the connection.
                let _ = answer(stream, config.clone());
            }
        });
        Self { port, pem: certificate.pem().into_bytes() }
    }

    /// Lets a guest request `host`, which a fake resolver resolves to this server. Returns the last log line and the
    /// counters.
    fn request_as(&self, name: &str, host: &str, authorities: Option<Vec<u8>>) -> (String, HttpCounts) {
        let grant = HttpGrant {
            host: host.to_owned(),
            port: self.port,
            methods: vec!["GET".to_owned()],
            plain: false,
            private: true,
            authorities,
        };
        let egress = Egress::new(vec![grant], Vec::new()).with_resolver(FakeResolver::new(&[&["127.0.0.1"]]));
        let found = request(name, &egress, &json!({ "url": format!("https://{host}:{}/", self.port) }));
        (found.last().unwrap().clone(), egress.counters().read())
    }
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(&response(200, "", b"sealed"))?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn a_certificate_in_the_grant_is_trusted_in_addition_to_the_bundled_ones() {
    let server = Encrypted::new("inside.example", false);
    let (heard, counts) = server.request_as("sealed", "inside.example", Some(server.pem.clone()));
    assert_eq!(heard, "status 200, 6 bytes: sealed");
    assert_eq!(counts, HttpCounts { requests: 1, denied: 0, failed: 0 });
}

#[test]
fn an_untrusted_certificate_ends_the_request() {
    let server = Encrypted::new("inside.example", false);
    let other = Encrypted::new("inside.example", false);
    let expired = Encrypted::new("inside.example", true);
    for (name, server, host, authorities) in [
        ("no-authority", &server, "inside.example", None),
        ("other-authority", &server, "inside.example", Some(other.pem)),
        ("another-name", &server, "outside.example", Some(server.pem.clone())),
        ("expired", &expired, "inside.example", Some(expired.pem.clone())),
    ] {
        let (heard, counts) = server.request_as(name, host, authorities);
        assert!(heard.ends_with("error TlsCertificateError"), "{name}: {heard}");
        assert_eq!(counts, HttpCounts { requests: 1, denied: 0, failed: 1 }, "{name}");
    }
}
