//! HTTP servers on loopback with scripted answers, and fake resolvers.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use klines_wasm::http::{Egress, HttpGrant, Resolve};

/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A received request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// A server that reads one request from each connection and answers as the test defines.
pub struct Peer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<AtomicBool>,
}

impl Peer {
    /// Starts a server that calls `answer` after each complete request.
    pub fn start(answer: impl Fn(&Seen, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = Self { address: listener.local_addr().unwrap(), seen: Arc::default(), ended: Arc::default() };
        let (seen, ended, answer) = (peer.seen.clone(), peer.ended.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = stream;
                    // Some tests let the client close the connection.
                    let Ok(request) = read(&mut stream) else { return };
                    seen.lock().unwrap().push(request.clone());
                    let _ = answer(&request, &mut stream);
                });
            }
        });
        peer
    }

    /// Starts a server that answers every request with this status and body.
    pub fn answering(status: u16, body: &'static str) -> Self {
        Self::start(move |_, stream| stream.write_all(response(status, "", body.as_bytes()).as_slice()))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Grants plain requests with this method to the address of this server.
    pub fn grant(&self, method: &str) -> HttpGrant {
        HttpGrant { host: self.address.ip().to_string(), ..self.grant_to("", method) }
    }

    /// Grants plain requests with this method to a name, which a fake resolver has to resolve to this server.
    pub fn grant_to(&self, host: &str, method: &str) -> HttpGrant {
        HttpGrant {
            host: host.to_owned(),
            port: self.address.port(),
            methods: vec![method.to_owned()],
            plain: true,
            private: true,
            authorities: None,
        }
    }

    /// Returns an egress that can reach this server.
    pub fn egress(&self, method: &str) -> Egress {
        Egress::new(vec![self.grant(method)], Vec::new())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn read(stream: &mut TcpStream) -> io::Result<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length").and_then(|length| length.parse().ok()) {
        body = vec![0; length];
        reader.read_exact(&mut body)?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece)?;
            if size == 0 {
                break;
            }
            body.extend(&piece[..size]);
        }
    }
    Ok(Seen { line: line.trim_end().to_owned(), headers, body })
}

/// Returns a response with its `content-length`.
pub fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Whatever\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Resolves every name to the given answers in turn, and then to the last one for ever.
#[derive(Debug)]
pub struct FakeResolver(Mutex<Vec<Vec<IpAddr>>>);

impl FakeResolver {
    pub fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(answers.iter().rev().map(parse).collect())))
    }
}

impl Resolve for FakeResolver {
    fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop() } else { answers.first().cloned() };
        next.ok_or_else(|| io::Error::other("no such name"))
    }
}

/// Waits until a condition is true.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited long for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}
