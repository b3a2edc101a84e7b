//! A simple client: a WebSocket stream, and GET requests over a bare socket.

use std::{io::ErrorKind, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message},
};

use crate::{Category, Sim};

/// Long enough for a loaded machine; only a failing test waits this long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    CloseFrame,
    Reset,
    Other(String),
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn connect(sim: &Sim, category: Category) -> Self {
        let url = format!("{}/v5/public/{category}?token=x", sim.ws_url());
        Self { socket: connect_async(url).await.unwrap().0 }
    }

    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Returns the next text frame, or an error at the end of the connection.
    pub async fn next(&mut self) -> Result<String, tungstenite::Error> {
        loop {
            let message = timeout(TIMEOUT, self.socket.next()).await.expect("no frame came");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(tungstenite::Error::ConnectionClosed),
            }
        }
    }

    pub async fn text(&mut self) -> String {
        self.next().await.unwrap()
    }

    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Sends a request and returns the answer with `?` as connection id; skips data frames.
    pub async fn ask(&mut self, request: &str) -> String {
        self.send(request).await;
        loop {
            let text = self.text().await;
            let Some((before, rest)) = text.split_once(r#""conn_id":""#) else { continue };
            let (id, after) = rest.split_once('"').unwrap();
            assert_eq!(id.len(), 26, "{id}");
            return format!(r#"{before}"conn_id":"?"{after}"#);
        }
    }

    pub async fn subscribe(&mut self, topics: &[&str]) -> String {
        self.ask(&serde_json::json!({ "op": "subscribe", "args": topics }).to_string()).await
    }

    /// Sends a ping and returns the frames that arrive before its pong, which are all that were sent before it.
    pub async fn frames_until_pong(&mut self) -> Vec<String> {
        self.send(r#"{"op":"ping"}"#).await;
        let mut frames = Vec::new();
        loop {
            let text = self.text().await;
            if text.contains(r#""op":"ping""#) {
                return frames;
            }
            frames.push(text);
        }
    }

    /// Reads until the connection ends. Returns how it ended.
    pub async fn end(&mut self) -> Ending {
        loop {
            match timeout(TIMEOUT, self.socket.next()).await.expect("the connection is still open") {
                Some(Ok(Message::Close(_))) => return Ending::CloseFrame,
                Some(Ok(_)) => {}
                Some(Err(tungstenite::Error::Io(error))) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ending::Reset;
                }
                other => return Ending::Other(format!("{other:?}")),
            }
        }
    }
}

/// Returns status and body of a GET request.
pub async fn get(sim: &Sim, path: &str) -> (u16, Value) {
    try_get(sim, path).await.expect("no answer")
}

/// Returns status and body of a GET request, or `None` if the connection is reset.
pub async fn try_get(sim: &Sim, path: &str) -> Option<(u16, Value)> {
    let (head, body) = get_text(sim, path).await?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
}

/// Returns head and body of a GET request, or `None` if the connection is reset.
pub async fn get_text(sim: &Sim, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(sim.addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    match timeout(TIMEOUT, stream.read_to_string(&mut response)).await.expect("the answer did not end") {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        other => drop(other.unwrap()),
    }
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    Some((head.to_owned(), body.to_owned()))
}

/// Polls until the condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, wait).await.unwrap_or_else(|_| panic!("did not happen: {what}"));
}
