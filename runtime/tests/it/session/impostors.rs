//! Servers that are not the exchange, or send what it never sends: the connection ends, and costs nothing more.

use futures_util::StreamExt;
use klines_bybit::connect::Dialer;
use klines_bybit::handshake::open;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Error;
use url::Url;

use crate::sandbox::http::tls::Encrypted;

/// Connects to a server. Trusts the certificates of `file` in addition to the bundled ones. Returns the error.
async fn refusal(server: &Encrypted, file: Option<&NamedTempFile>) -> Option<String> {
    let file = file.map(|file| file.path().to_str().unwrap().to_owned());
    let dialer = Dialer::new(|name| file.clone().filter(|_| name == "SSL_CERT_FILE")).unwrap();
    let url = Url::parse(&format!("wss://127.0.0.1:{}/v5/public/linear", server.port)).unwrap();
    dialer.dial(&url).await.err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_server_without_a_trusted_certificate_of_its_name_is_refused() {
    let [own, other, expired] = [("127.0.0.1", false), ("api.bybit.com", false), ("127.0.0.1", true)]
        .map(|(name, is_expired)| Encrypted::new(name, is_expired));
    let trusted = |server: &Encrypted| {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(&file, &server.pem).unwrap();
        file
    };
    assert_eq!(refusal(&own, Some(&trusted(&own))).await, None, "a server that is trusted is accepted");
    for (what, server, file) in [
        ("of nobody who is trusted", &own, None),
        ("of somebody else who is trusted", &own, Some(trusted(&other))),
        ("of another name", &other, Some(trusted(&other))),
        ("expired", &expired, Some(trusted(&expired))),
    ] {
        let error = refusal(server, file.as_ref()).await.unwrap_or_else(|| panic!("{what}: accepted"));
        assert!(error.contains("certificate"), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_message_longer_than_16_mib_is_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
    let served = tokio::spawn(async move {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        // The head of a binary frame that announces a terabyte.
        let head = [[0x82, 127].as_slice(), &(1_u64 << 40).to_be_bytes()].concat();
        socket.get_mut().write_all(&head).await.unwrap();
        socket
    });
    let mut socket = open(&Dialer::new(|_| None).unwrap(), &url).await.unwrap();
    let error = socket.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Capacity(_)), "{error}");
    served.await.unwrap();
}
