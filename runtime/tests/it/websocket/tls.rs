//! Encrypted connections: everything is served on them, and certificates can change meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use klines_domain::kline::Kline;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use super::{KEY, Served, closed, eventually, open};
use crate::support::program::{folder, klines};

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// Replaces the certificate for localhost by a new one. Returns a client configuration that trusts it.
fn certify(folder: &TempDir) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // A resumed session would not look at the certificate again.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn encrypted(served: &Served, config: &Arc<ClientConfig>) -> Option<Encrypted> {
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut connection = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).ok()?;
    }
    Some(StreamOwned::new(connection, stream))
}

fn enter(served: &Served, config: &Arc<ClientConfig>) -> Option<WebSocket<Encrypted>> {
    let mut request = "wss://localhost/v1/stream".into_client_request().unwrap();
    request.headers_mut().insert("Authorization", format!("Bearer {KEY}").parse().unwrap());
    Some(client(request, encrypted(served, config)?).unwrap().0)
}

/// Reads the next text; the server may send a ping at any time.
fn next_text(socket: &mut WebSocket<Encrypted>) -> String {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return text.as_str().to_owned();
        }
    }
}

#[test]
fn certificates_change_while_clients_stay_connected() {
    let folder = TempDir::new().unwrap();
    let first = certify(&folder);
    let files = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let served = Served::with(|settings| settings.certificate = Some(files));
    let mut old = enter(&served, &first).unwrap();
    old.send(Message::text(r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#)).unwrap();
    assert!(next_text(&mut old).contains(r#""type":"status""#));
    assert!(next_text(&mut old).contains(r#""ok":true"#));
    assert!(next_text(&mut old).contains("snapshot"));
    let second = certify(&folder);
    eventually("the new certificate", || enter(&served, &second).is_some());
    assert!(enter(&served, &first).is_none(), "the old certificate is not used any more");
    for window in 1..=2_000 {
        served.publish([closed("BTCUSDT", "1m", window)]);
    }
    for window in 1..=2_000 {
        let text = next_text(&mut old);
        assert!(text.contains(&format!(r#""seq":{window},"#)), "{text}");
    }
}

#[test]
fn an_encrypted_client_that_does_not_read_is_cut_too() {
    let folder = TempDir::new().unwrap();
    let config = certify(&folder);
    let files = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let served = Served::with(|settings| settings.certificate = Some(files));
    let mut idle = enter(&served, &config).unwrap();
    idle.send(Message::text(r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#)).unwrap();
    let mut trades = 0;
    // Updates are conflated, so that the queue never fills: only the socket shows that nobody reads.
    eventually("the cut", || {
        (0..100).for_each(|_| {
            trades += 1;
            served.publish([Kline { trades, ..open("BTCUSDT", "1m", 1) }]);
        });
        served.parted("slow") == 1
    });
}

#[test]
fn the_page_is_served_encrypted_too() {
    let folder = TempDir::new().unwrap();
    let config = certify(&folder);
    let files = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let served = Served::with(|settings| settings.certificate = Some(files));
    let mut stream = encrypted(&served, &config).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
}

#[test]
fn check_warns_of_a_key_that_others_can_read() {
    let folder = folder(&[(
        "klines.toml",
        "enabled_consumers = [\"websocket\"]\n[websocket]\ncertificate = \"cert.pem\"\ncertificate_key = \"key.pem\"\n",
    )]);
    certify(&folder);
    let findings = |mode: u32| {
        let rights = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join("key.pem"), rights).unwrap();
        let run = klines(folder.path(), "check --json").with("WSS_AUTH_USER", "me").with("WSS_AUTH_KEY", KEY);
        let report: serde_json::Value = serde_json::from_str(&run.run().success().out).unwrap();
        let about_it = |problem: &&serde_json::Value| problem["message"].to_string().contains("key.pem");
        report["problems"]["problems"].as_array().unwrap().iter().filter(about_it).cloned().collect::<Vec<_>>()
    };
    let found = findings(0o644);
    assert_eq!(
        (found.len(), &found[0]["severity"], &found[0]["place"]["line"]),
        (1, &"warning".into(), &4.into()),
        "{found:?}"
    );
    let message = found[0]["message"].as_str().unwrap();
    assert!(message.contains("0644") && message.contains("chmod 600"), "{message}");
    assert!(findings(0o600).is_empty());
}

#[test]
fn files_that_are_no_certificate_are_refused() {
    let folder = TempDir::new().unwrap();
    let files = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let error = Served::try_with(|settings| settings.certificate = Some(files)).err().unwrap().to_string();
    assert!(error.contains("cert.pem"), "{error}");
}
