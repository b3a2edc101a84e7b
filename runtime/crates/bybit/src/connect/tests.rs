//! Tests the dialer with sockets on loopback that act as a proxy. Loopback targets are never proxied, so the targets
//! here are names that only the proxy could resolve.

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn dialer(variables: &[(&str, &str)]) -> Dialer {
    let owned: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Dialer::new(move |name| owned.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())).unwrap()
}

/// Starts a proxy that answers the first `CONNECT` with `answer` and then sends `hello`. Returns its port and the
/// request that it received.
async fn proxy(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (port, served)
}

#[tokio::test]
async fn a_proxy_request_has_credentials_and_bytes_of_the_target_are_not_lost() {
    let (port, served) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
    let dialer = dialer(&[("ALL_PROXY", &format!("http://Aladdin:opensesame@127.0.0.1:{port}"))]);
    let mut stream = dialer.dial(&Url::parse("ws://stream.example/v5").unwrap()).await.unwrap();
    let mut received = [0; 5];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"hello");
    assert_eq!(
        served.await.unwrap(),
        "CONNECT stream.example:80 HTTP/1.1\r\nHost: stream.example:80\r\n\
         Proxy-Authorization: Basic QWxhZGRpbjpvcGVuc2VzYW1l\r\n\r\n"
    );
}

#[tokio::test]
async fn the_error_of_a_refusing_proxy_names_it_and_its_answer() {
    let (port, _served) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let dialer = dialer(&[("https_proxy", &format!("http://127.0.0.1:{port}"))]);
    let error = dialer.dial(&Url::parse("wss://stream.example").unwrap()).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("the proxy 127.0.0.1:{port} answered HTTP/1.1 407 Proxy Authentication Required")
    );
}

#[tokio::test]
async fn loopback_and_excluded_hosts_are_reached_without_the_proxy() {
    let dialer = dialer(&[("ALL_PROXY", "http://proxy.example:1"), ("NO_PROXY", "inside.example")]);
    for url in ["ws://127.0.0.1:1", "ws://localhost:1", "wss://[::1]:1", "ws://a.inside.example:1"] {
        let target = Target::of(&Url::parse(url).unwrap()).unwrap();
        assert!(proxy::for_target(&dialer.proxies, &target).is_none(), "{url}");
    }
    let outside = Target::of(&Url::parse("ws://outside.example").unwrap()).unwrap();
    assert!(proxy::for_target(&dialer.proxies, &outside).is_some());
}

#[tokio::test]
async fn proxies_of_other_kinds_are_an_error() {
    let dialer = dialer(&[("ALL_PROXY", "socks5://127.0.0.1:1080")]);
    let error = dialer.dial(&Url::parse("ws://stream.example").unwrap()).await.err().unwrap();
    assert!(matches!(error, DialError::ProxyKind(_)), "{error}");
}

#[tokio::test]
async fn the_error_of_a_closed_port_names_host_and_port() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = dialer(&[]).dial(&Url::parse(&format!("ws://127.0.0.1:{port}")).unwrap()).await.err().unwrap();
    assert!(matches!(error, DialError::Connect { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
}

#[tokio::test]
async fn addresses_that_are_not_accepted_are_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let wary = dialer(&[]).accepting(|address| !address.is_loopback());
    for host in ["127.0.0.1", "localhost"] {
        let error = wary.dial(&Url::parse(&format!("http://{host}:{port}")).unwrap()).await.err().unwrap();
        assert!(matches!(error, DialError::Prohibited { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("{host} has the address ")), "{error}");
    }
    wary.accepting(|address| address.is_loopback())
        .dial(&Url::parse(&format!("http://127.0.0.1:{port}")).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn behind_a_proxy_addresses_are_checked_and_names_are_not() {
    let (port, served) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    let wary = dialer(&[("ALL_PROXY", &format!("http://127.0.0.1:{port}"))]).accepting(|_| false);
    let error = wary.dial(&Url::parse("http://192.0.2.1/").unwrap()).await.err().unwrap();
    assert_eq!(error.to_string(), "192.0.2.1 has the address 192.0.2.1, which is not accepted");
    wary.dial(&Url::parse("http://inside.example/").unwrap()).await.unwrap();
    assert!(served.await.unwrap().starts_with("CONNECT inside.example:80 "));
}

#[tokio::test]
async fn a_peer_without_tls_is_an_error_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("wss://{}", listener.local_addr().unwrap())).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let error = dialer(&[]).dial(&url).await.err().unwrap();
    assert!(matches!(error, DialError::Broken { .. }), "{error}");
    served.await.unwrap();
}

#[test]
fn a_certificate_file_without_certificates_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let error = Dialer::new(|name| (name == "SSL_CERT_FILE").then(|| path.clone())).unwrap_err();
    assert!(error.to_string().ends_with("holds no certificate"), "{error}");
}

#[tokio::test]
async fn a_partial_message_is_detected_after_a_real_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
    let stream = FrameBoundary::messages(dialer(&[]).dial(&url).await.unwrap());
    let (peer, _) = listener.accept().await.unwrap();
    let (client, server) =
        tokio::join!(tokio_tungstenite::client_async(url.as_str(), stream), tokio_tungstenite::accept_async(peer));
    let ((mut client, _), mut server) = (client.unwrap(), server.unwrap());
    for (bytes, unread) in [
        (&[0x81, 2, b'h', b'i'][..], Unread::Nothing),
        (&[0x81, 2, b'h'], Unread::PartialFrame),
        (b"i", Unread::Nothing),
        // A ping, and the first of two frames.
        (&[0x89, 0, 0x01, 1, b'h'], Unread::PartialFrame),
        (&[0x80, 1, b'i'], Unread::Nothing),
    ] {
        server.get_mut().write_all(bytes).await.unwrap();
        while client.get_ref().unread() == Unread::Bytes {
            // It returns a message or waits for the rest of one.
            let _ = tokio::time::timeout(Duration::from_millis(20), client.next()).await;
        }
        assert_eq!(client.get_ref().unread(), unread, "{bytes:?}");
    }
}

#[tokio::test]
async fn unread_bytes_of_a_socket_are_detected_without_reading() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut stream = dialer(&[]).dial(&Url::parse(&format!("ws://127.0.0.1:{port}/")).unwrap()).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(stream.unread(), Unread::Nothing);
    peer.write_all(b"x").await.unwrap();
    // Loopback delivers a byte before the write returns; the executor has not polled yet.
    assert_eq!((stream.unread(), stream.unread()), (Unread::Bytes, Unread::Bytes));
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    assert_eq!(stream.unread(), Unread::Nothing);
    let mut stream = FrameBoundary::records(stream);
    for (bytes, unread) in [(&[23, 3, 3, 0, 2, b'a'][..], Unread::PartialFrame), (b"b", Unread::Nothing)] {
        peer.write_all(bytes).await.unwrap();
        assert_eq!(stream.unread(), Unread::Bytes);
        stream.read_exact(&mut vec![0; bytes.len()]).await.unwrap();
        assert_eq!(stream.unread(), unread);
    }
    drop(peer);
    assert_eq!(stream.unread(), Unread::Bytes, "the end of the stream waits to be read");
}

#[test]
fn feeds_try_different_addresses_first_and_then_the_others() {
    let addresses = |text: &str| -> Vec<SocketAddr> { text.split(' ').map(|one| one.parse().unwrap()).collect() };
    let resolved = addresses("[2001:db8::2]:443 [2001:db8::1]:443 192.0.2.9:443 192.0.2.8:443");
    assert_eq!(order(resolved.clone(), None), resolved, "the resolver decides");
    let sorted = addresses("[2001:db8::1]:443 [2001:db8::2]:443 192.0.2.8:443 192.0.2.9:443");
    for feed in 0..6 {
        let mut expected = sorted.clone();
        expected.rotate_left(feed % 4);
        assert_eq!(order(resolved.clone(), Some(feed)), expected, "feed {feed}");
        // The next answer of the name server has them in another order.
        let rotated = addresses("[2001:db8::1]:443 [2001:db8::2]:443 192.0.2.9:443 192.0.2.8:443");
        assert_eq!(order(rotated, Some(feed)), expected, "feed {feed}");
    }
    let preferred = addresses("192.0.2.9:443 [2001:db8::1]:443 192.0.2.8:443");
    assert_eq!(order(preferred, Some(0)), addresses("192.0.2.8:443 192.0.2.9:443 [2001:db8::1]:443"));
    assert_eq!(order(addresses("192.0.2.9:443"), Some(3)), addresses("192.0.2.9:443"));
    assert_eq!(order(Vec::new(), Some(1)), []);
}
