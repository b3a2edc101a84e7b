//! Measures the latency from the exchange's socket to a client's socket through the whole program, one trade at a time;
//! compared with the minimum work: read a frame, parse it, write a frame.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use klines_system::clock::LocalClock;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, client};

/// Number of measured trades; the same number is sent before, to warm up.
const ROUNDS: usize = 2_000;
/// A pause after which caches and cores are no longer warm.
const APART: Duration = Duration::from_micros(500);

/// Prints the latency rows.
pub(super) fn socket_to_socket() {
    let at = |times: &[f64], part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let kinds = [
        ("socket in to socket out, p50, one client", Duration::ZERO),
        ("the same, half a millisecond apart: on cores that sleep", APART),
    ];
    for (what, pause) in kinds {
        let ours = through_klines(pause);
        let naive = through_relay(pause);
        crate::row(what, at(&ours, 0.5), at(&naive, 0.5), "us", "40 / 25 us (baseline: bare relay)");
        println!("{:<58} p99 {:.1} us, relay p99 {:.1} us", "", at(&ours, 0.99), at(&naive, 0.99));
    }
}

/// Returns a frame with one trade in the exchange's format, with its own price and id.
fn trade(number: usize, now: i64) -> String {
    format!(
        r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{now},"data":[{{"T":{now},"s":"BTCUSDT","S":"Buy","v":"0.001","p":"{}.50","L":"PlusTick","i":"t{number}","BT":false,"RPI":false,"seq":{number}}}]}}"#,
        20_000 + number % 1_000
    )
}

/// Sends trades one at a time, waits for the update that each causes, and pauses. Returns the sorted latencies in µs.
fn measure(exchange: &mut WebSocket<TcpStream>, reader: &mut WebSocket<TcpStream>, pause: Duration) -> Vec<f64> {
    let (clock, mut times) = (LocalClock::start(), Vec::with_capacity(ROUNDS));
    for number in 0..2 * ROUNDS {
        let text = trade(number, clock.now().get());
        let price = format!(r#""close":"{}.5""#, 20_000 + number % 1_000);
        let start = Instant::now();
        exchange.send(Message::text(text)).unwrap();
        loop {
            let message = reader.read().unwrap();
            if message.to_text().is_ok_and(|text| text.contains(&price)) {
                break;
            }
        }
        if number >= ROUNDS {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        if !pause.is_zero() {
            std::thread::park_timeout(pause);
        }
    }
    times.sort_by(f64::total_cmp);
    times
}

fn dial(address: &str, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("Authorization", "Bearer 0123456789abcdefghij".parse().unwrap());
    client(request, stream).unwrap().0
}

/// The whole program, with this process as its exchange; stops when dropped.
struct Program {
    process: Child,
    exchange: WebSocket<TcpStream>,
    served: String,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start(klines: &str, symbols: &[String]) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = format!(
            "[exchange]\nsymbols = {symbols:?}\n[klines]\n{klines}\n\
             [websocket]\nport = 0\nkeys = [\"bench:0123456789abcdefghij\"]\n"
        );
        std::fs::write(folder.path().join("klines.toml"), config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_klines"))
            .args(["run", "--consumers", "websocket"])
            .env("BYBIT_WS_URL", format!("ws://{address}"))
            .env("BYBIT_REST_URL", format!("http://{address}/none"))
            // This exchange accepts one connection.
            .env("BYBIT_FEEDS", "1")
            .env("LOG_FORMAT", "json")
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let address_in = |line: String| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            (line["message"] == "serving klines").then(|| line["address"].as_str().map(str::to_owned))?
        };
        let served = lines.by_ref().find_map(address_in).unwrap();
        // The rest of the log must be read, or the pipe fills and blocks the program.
        std::thread::spawn(move || lines.for_each(drop));
        let exchange = exchange(&listener);
        Self { process, exchange, served, _folder: folder }
    }

    fn follow(&self, topics: &[String]) -> WebSocket<TcpStream> {
        let mut reader = dial(&self.served, "/v1/stream");
        reader.send(Message::text(format!(r#"{{"op":"subscribe","topics":{topics:?}}}"#))).unwrap();
        // Reads the feed states, the response, and a snapshot of each topic.
        for _ in 0..topics.len() + 2 {
            reader.read().unwrap();
        }
        reader
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Accepts the program's stream and acknowledges its subscription.
fn exchange(listener: &TcpListener) -> WebSocket<TcpStream> {
    let mut exchange = loop {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        // Requests for other paths than the stream get no response.
        let mut head = [0; 16];
        stream.peek(&mut head).unwrap();
        if head.starts_with(b"GET /v5/public") {
            break accept(stream).unwrap();
        }
    };
    loop {
        let request = exchange.read().unwrap();
        let request: serde_json::Value = serde_json::from_str(request.to_text().unwrap()).unwrap_or_default();
        if request["op"] == "subscribe" {
            let id = request["req_id"].as_str().unwrap_or_default();
            let answer = format!(r#"{{"success":true,"ret_msg":"","conn_id":"x","req_id":"{id}","op":"subscribe"}}"#);
            exchange.send(Message::text(answer)).unwrap();
            return exchange;
        }
    }
}

fn through_klines(pause: Duration) -> Vec<f64> {
    let mut program = Program::start("intervals = [\"1m\"]\nupdate_interval = \"0s\"", &["BTCUSDT".to_owned()]);
    let mut reader = program.follow(&["kline.1m.BTCUSDT".to_owned()]);
    measure(&mut program.exchange, &mut reader, pause)
}

/// Prints the time from the end of a window until its closed kline arrives at a client: 50 symbols at 1s, each traded
/// 50 times per second.
pub(super) fn boundary_to_client() {
    const SYMBOLS: usize = 50;
    const SECONDS: usize = 20;
    let symbols: Vec<String> = (0..SYMBOLS).map(|number| format!("S{number:02}USDT")).collect();
    let program = Program::start("intervals = [\"1s\"]", &symbols);
    let topics: Vec<String> = symbols.iter().map(|symbol| format!("kline.1s.{symbol}")).collect();
    let mut reader = program.follow(&topics);
    let clock = LocalClock::start();
    let mut exchange = program.exchange.get_ref().try_clone().unwrap();
    let feeding = std::thread::spawn(move || {
        let mut exchange = WebSocket::from_raw_socket(&mut exchange, Role::Server, None);
        for number in 0.. {
            let text = trade(number, clock.now().get()).replace("BTCUSDT", &symbols[number % SYMBOLS]);
            if exchange.send(Message::text(text)).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_micros(400));
        }
    });
    let mut late = Vec::new();
    while late.len() < SYMBOLS * SECONDS {
        let message = reader.read().unwrap();
        let now = clock.now().get();
        let push: serde_json::Value = serde_json::from_str(message.to_text().unwrap_or_default()).unwrap_or_default();
        if push["data"]["confirm"] == true {
            late.push((now - push["data"]["end"].as_i64().unwrap() - 1) as f64);
        }
    }
    drop(program);
    feeding.join().unwrap();
    late.sort_by(f64::total_cmp);
    crate::measured(
        "window's end to its closed kline at a client, p50",
        &format!("{} ms", late[late.len() / 2]),
        "-",
        &format!("grace (80 ms) + 1 / + 5 ms (p99 {} ms)", late[late.len() * 99 / 100]),
    );
}

fn through_relay(pause: Duration) -> Vec<f64> {
    let mut relay = super::Served::start("relay");
    let mut exchange = dial(&relay.address, "/in");
    let mut reader = dial(&relay.address, "/out");
    relay.answer();
    measure(&mut exchange, &mut reader, pause)
}

/// Runs the baseline relay: one thread, a JSON tree, the last price as the close.
pub(super) fn relay() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let connect = || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        accept(stream).unwrap()
    };
    let (mut input, mut output) = (connect(), connect());
    println!("ready");
    std::io::stdout().flush().unwrap();
    while let Ok(message) = input.read() {
        let trade: serde_json::Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        let price = trade["data"][0]["p"].as_str().unwrap().trim_end_matches('0');
        output.send(Message::text(format!(r#"{{"close":"{price}"}}"#))).unwrap();
    }
}

/// Connects clients over TLS and subscribes them.
pub(super) fn encrypted(address: &str, clients: usize) -> Vec<WebSocket<StreamOwned<ClientConnection, TcpStream>>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth();
    let config = Arc::new(config);
    let connect = || {
        let connection = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        let stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
        let request = format!("wss://{address}/v1/stream").into_client_request().unwrap();
        let mut socket = client(request, stream).unwrap().0;
        socket.send(Message::text(r#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#)).unwrap();
        socket.read().unwrap();
        socket
    };
    (0..clients).map(|_| connect()).collect()
}

/// Accepts any certificate, because the benchmark's server has a self-signed one.
#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
