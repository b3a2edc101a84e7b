//! A client that uses an independent library (tungstenite), and raw HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// How long an answer may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);
/// The receive buffer of a client that does not read. By default the kernel buffers up to `net.ipv4.tcp_rmem`, tens of
/// MB on some machines, and small answers take minutes to fill that.
const NARROW: usize = 16 << 10;

pub struct Peer {
    pub socket: WebSocket<TcpStream>,
    /// The received status messages of the feeds.
    pub statuses: Vec<Value>,
}

impl Peer {
    /// Connects. The error is the HTTP status of a refusal.
    pub fn connect(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::over(TcpStream::connect(address).unwrap(), path, headers)
    }

    /// Performs the handshake on a connected socket. The error is the HTTP status of a refusal.
    pub fn over(stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let address = stream.peer_addr().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket, statuses: Vec::new() }),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Reads the next text that is not a status of the feeds.
    #[track_caller]
    pub fn text(&mut self) -> String {
        loop {
            let text = self.any_text();
            if let Some(text) = self.take_status(text) {
                return text;
            }
        }
    }

    #[track_caller]
    fn any_text(&mut self) -> String {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return text.as_str().to_owned(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("not a text: {other:?}"),
            }
        }
    }

    /// Stores a status of the feeds; returns any other text.
    fn take_status(&mut self, text: String) -> Option<String> {
        if !text.starts_with(r#"{"v":1,"type":"status","#) {
            return Some(text);
        }
        self.statuses.push(serde_json::from_str(&text).unwrap());
        None
    }

    /// Reads the next status of the feeds.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        let known = self.statuses.len();
        while self.statuses.len() == known {
            let text = self.any_text();
            self.take_status(text);
        }
        self.statuses[known].clone()
    }

    /// Reads the next text and parses it as JSON.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Sends a text and returns the next one as the answer.
    #[track_caller]
    pub fn ask(&mut self, text: &str) -> Value {
        self.say(text);
        self.json()
    }

    /// Reads to the end. Returns the texts, except the status of the feeds, and the code of the close frame if there
    /// was one.
    pub fn end(&mut self) -> (Vec<String>, Option<u16>) {
        let (mut texts, mut code) = (Vec::new(), None);
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => texts.extend(self.take_status(text.as_str().to_owned())),
                Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return (texts, code),
            }
        }
    }
}

/// Connects with a small receive buffer: frames that the client does not read soon wait in the server.
pub fn narrow(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, NARROW).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    socket.into()
}

/// Sends raw bytes and returns everything that comes back.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A connection that is cut while the other side still sends ends with an error; the bytes before it count.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a GET request. Returns the status and body of the answer.
pub fn get(address: SocketAddr, target: &str, headers: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    let answer = raw(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, body.to_owned())
}
