//! Requests to servers that are slow, endless or lead elsewhere, with real sockets.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const PATIENT: TimeLimits = TimeLimits { total: Duration::from_secs(600), silence: Duration::from_secs(600) };

/// A server on loopback: `answer` gets each request and the socket.
struct Server {
    url: Url,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl AsyncFn(&str, &mut TcpStream) + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let server = Self { url, requests: Arc::default() };
        let requests = server.requests.clone();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    request.push(byte);
                }
                let request = String::from_utf8(request).unwrap();
                requests.lock().unwrap().push(request.clone());
                answer(&request, &mut stream).await;
            }
        });
        server
    }

    /// Starts a server that sends this text and then keeps the connection open.
    async fn sending(text: &'static str) -> Self {
        Self::start(async move |_: &str, stream: &mut TcpStream| {
            stream.write_all(text.as_bytes()).await.unwrap();
            // Ends when the client leaves.
            let _ = stream.read_u8().await;
        })
        .await
    }

    async fn get(&self, limits: TimeLimits, max_answer: u64) -> Result<Answer, HttpError> {
        client(&self.url, limits).await.send(&HttpRequest::new(Method::GET, self.url.clone(), max_answer)).await
    }
}

async fn client(named: &Url, limits: TimeLimits) -> HttpClient {
    HttpClient::new(Dialer::new(|_| None).unwrap(), named, limits).await
}

/// Runs a test with servers on one thread.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn servers_that_do_not_answer_in_time_are_given_up() {
    run(async {
        let short = Duration::from_millis(100);
        let (impatient, brief) = (TimeLimits { silence: short, ..PATIENT }, TimeLimits { total: short, ..PATIENT });
        for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"] {
            let server = Server::sending(text).await;
            assert!(matches!(server.get(impatient, 9).await, Err(HttpError::Slow(_))), "{text}");
            let server = Server::sending(text).await;
            assert!(matches!(server.get(brief, 9).await, Err(HttpError::Late(_))), "{text}");
        }
        // A byte now and then does not help.
        let server = Server::start(async |_: &str, stream: &mut TcpStream| {
            let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            while stream.write_all(piece).await.is_ok() {
                piece = b"1\r\nx\r\n";
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(matches!(server.await.get(brief, u64::MAX).await, Err(HttpError::Late(_))));
    });
}

#[test]
fn answers_over_the_limit_are_not_kept() {
    run(async {
        let server = Server::sending("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n").await;
        assert!(matches!(server.get(PATIENT, 9).await, Err(HttpError::TooLarge(9))), "by what it says");
        let endless = Server::start(async |_: &str, stream: &mut TcpStream| {
            let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            while stream.write_all(piece).await.is_ok() {
                piece = b"4\r\nabcd\r\n";
            }
        });
        assert!(matches!(endless.await.get(PATIENT, 1 << 10).await, Err(HttpError::TooLarge(1_024))));
        let head = Server::start(async |_: &str, stream: &mut TcpStream| {
            let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\n";
            while stream.write_all(piece).await.is_ok() {
                piece = b"name: a value that has some length\r\n";
            }
        });
        assert!(matches!(head.await.get(PATIENT, 9).await, Err(HttpError::Http(_))));
        let exact = Server::sending("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await;
        assert_eq!(exact.get(PATIENT, 3).await.unwrap().body, b"abc");
        let short = Server::start(async |_: &str, stream: &mut TcpStream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        assert!(matches!(short.await.get(PATIENT, 9).await, Err(HttpError::Http(_))), "an end before the end");
    });
}

#[test]
fn redirects_end_and_take_no_secret_to_another_host() {
    run(async {
        let around = Server::sending("HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(around.get(PATIENT, 9).await, Err(HttpError::Redirects)));
        assert_eq!(around.requests.lock().unwrap().len(), MAX_REDIRECTS + 1);

        let to = Server::sending("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        let location = to.url.clone();
        let from = Server::start(async move |_: &str, stream: &mut TcpStream| {
            let text = format!("HTTP/1.1 307 Elsewhere\r\nlocation: {location}blob\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
        })
        .await;
        let mut request = HttpRequest::new(Method::GET, from.url.clone(), 9);
        request.authorization = Some(HeaderValue::from_static("Bearer opensesame"));
        let answer = client(&from.url, PATIENT).await.send(&request).await.unwrap();
        assert_eq!((answer.body.as_slice(), answer.url.path()), (&b"hi"[..], "/blob"));
        assert!(from.requests.lock().unwrap()[0].contains("authorization: Bearer opensesame\r\n"));
        let second = to.requests.lock().unwrap()[0].clone();
        assert!(second.starts_with("GET /blob HTTP/1.1\r\n") && !second.contains("opensesame"), "{second}");
        // What changes something is not sent elsewhere.
        request.method = Method::PUT;
        assert_eq!(client(&from.url, PATIENT).await.send(&request).await.unwrap().status, 307);
    });
}

#[test]
fn no_address_that_is_less_protected_is_followed() {
    let url = |text: &str| Url::parse(text).unwrap();
    let led =
        |from: &str, to: &str| led_to(&url(from), to).map(|url| url.to_string()).map_err(|error| error.to_string());
    let (public, local) = ("https://ghcr.io/v2/", "http://127.0.0.1:5000/v2/");
    for (from, to, expected) in [
        (public, "/x", "https://ghcr.io/x"),
        (public, "//cdn.example/x?y#z", "https://cdn.example/x?y"),
        (public, "https://cdn.example/x", "https://cdn.example/x"),
        (local, "http://localhost:5001/x", "http://localhost:5001/x"),
        (local, "https://cdn.example/x", "https://cdn.example/x"),
    ] {
        assert_eq!(led(from, to).as_deref(), Ok(expected));
    }
    for (from, to, expected) in [
        (public, "http://ghcr.io/x", "it leads to http://ghcr.io:80/x, without encryption"),
        (public, "http://127.0.0.1/", "it leads to http://127.0.0.1:80/, without encryption"),
        (local, "http://10.0.0.1/x", "it leads to http://10.0.0.1:80/x, which is another machine, without encryption"),
        (local, "http://169.254.169.254/", "which is another machine, without encryption"),
        (local, "file:///etc/passwd", "which is neither https nor http"),
        (public, "https://", "which is no address"),
        (public, "http://user:opensesame@ghcr.io/", "it leads to http://ghcr.io:80/, without encryption"),
    ] {
        let error = led(from, to).unwrap_err();
        assert!(error.contains(expected) && !error.contains("opensesame"), "{to}: {error}");
    }
}

#[test]
fn a_public_host_leads_to_public_addresses_and_no_host_to_special_ones() {
    let accepts = |scheme: &str, ceiling: Reach| {
        let all = [
            "1.1.1.1",
            "::ffff:1.1.1.1",
            "10.0.0.1",
            "fd12::1",
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
            "100.100.100.200",
        ];
        let accepted = accepted(scheme, ceiling);
        all.into_iter().filter(|address| accepted(address.parse().unwrap())).collect::<Vec<_>>()
    };
    let public = ["1.1.1.1", "::ffff:1.1.1.1"];
    let private = ["10.0.0.1", "fd12::1", "127.0.0.1", "::1", "::ffff:127.0.0.1"];
    assert_eq!(accepts("https", Reach::Public), public);
    assert_eq!(accepts("https", Reach::Private), [&public[..], &private].concat());
    assert_eq!(accepts("https", Reach::Special), accepts("https", Reach::Private));
    assert_eq!(accepts("http", Reach::Private), ["127.0.0.1", "::1"]);
    assert_eq!(accepts("http", Reach::Public), Vec::<&str>::new());
}

#[test]
fn addresses_are_checked_when_they_are_connected_to() {
    run(async {
        let local = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inside = Url::parse(&format!("https://127.0.0.1:{}/", local.local_addr().unwrap().port())).unwrap();
        let get = async |named: &str, url: &Url| {
            let client = client(&Url::parse(named).unwrap(), PATIENT).await;
            client.send(&HttpRequest::new(Method::GET, url.clone(), 9)).await.unwrap_err().to_string()
        };
        let expected = "127.0.0.1 has the address 127.0.0.1, which is this machine or one of a private network; 1.1.1.1 may \
                        not lead there";
        assert_eq!(get("https://1.1.1.1/", &inside).await, expected);
        // A name is checked by its addresses.
        let mut by_name = inside.clone();
        by_name.set_host(Some("localhost")).unwrap();
        assert!(get("https://1.1.1.1/", &by_name).await.contains("which is this machine or one of a private network"));
        let metadata = Url::parse("https://169.254.169.254/latest").unwrap();
        for named in ["https://1.1.1.1/", "http://localhost/", "https://10.0.0.1/", "https://169.254.169.254/"] {
            assert!(get(named, &metadata).await.contains("link-local, a metadata server, or reserved"), "{named}");
        }
        assert_eq!(reach(&by_name).await, Reach::Private);
        assert_eq!(reach(&Url::parse("https://no-such-host.invalid/").unwrap()).await, Reach::Public);
    });
}
