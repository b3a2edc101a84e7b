//! A client of `/v1/stream` that misbehaves as planned, reconnects, and records all requests and answers. Checks
//! nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::plan::{Dice, Fault, Step};

/// How long a read waits before the plan is checked again.
const TURN: Duration = Duration::from_millis(20);
/// How long the other side may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many requests for all topics a client makes without reading the answers: fewer than the limit of commands.
const REQUESTS: usize = 100;

/// Small, so that frames which a client does not read soon wait in the server.
const RECEIVE_BUFFER: usize = 16 << 10;

/// Epoch and number of the last push, by topic.
pub type Positions = BTreeMap<String, (String, u64)>;

/// One thing that happened to a client.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The client connected, in this life of the server.
    Opened { life: u32 },
    /// The client subscribed.
    Asked { id: u64, topics: Vec<String>, since: Positions, history: usize },
    /// A text message was received.
    Heard(String),
    /// A fault has been carried out.
    Did(Fault),
    /// The server closed the connection with this code.
    Closed(Option<u16>),
}

/// The state that all clients share.
pub struct Shared {
    pub address: SocketAddr,
    /// The bearer's key.
    pub key: &'static str,
    pub began: Instant,
    /// How often the server has been started.
    pub life: AtomicU32,
    /// From here on no client reconnects.
    pub closing: AtomicBool,
    /// All clients end at once.
    pub over: AtomicBool,
}

/// The part of a client's state that the test reads.
#[derive(Default)]
pub struct View {
    pub positions: Mutex<Positions>,
    /// All steps are done, and everything that was received is read.
    pub idle: AtomicBool,
}

/// A client, which runs on its own thread.
pub struct Client {
    shared: Arc<Shared>,
    view: Arc<View>,
    topics: Vec<String>,
    steps: VecDeque<Step>,
    dice: Dice,
    socket: Option<WebSocket<TcpStream>>,
    recording: Vec<Entry>,
    /// The number of the last request, and of the last one that was answered.
    asked: u64,
    answered: u64,
}

impl Client {
    pub fn new(shared: Arc<Shared>, view: Arc<View>, topics: Vec<String>, steps: VecDeque<Step>, dice: Dice) -> Self {
        Self { shared, view, topics, steps, dice, socket: None, recording: Vec::new(), asked: 0, answered: 0 }
    }

    /// Follows the topics through all faults until the end of the run. Returns the recording.
    pub fn run(mut self) -> Vec<Entry> {
        while !self.shared.over.load(Ordering::SeqCst) {
            if self.socket.is_none() && !self.connect() {
                if self.shared.closing.load(Ordering::SeqCst) {
                    break;
                }
                thread::park_timeout(self.dice.millis(20..150));
            } else if self.steps.front().is_some_and(|step| self.shared.began.elapsed() >= step.at) {
                let step = self.steps.pop_front().unwrap();
                self.carry_out(step);
            } else {
                self.read();
            }
        }
        self.recording
    }

    /// Connects and subscribes from its positions. Returns whether it is connected.
    fn connect(&mut self) -> bool {
        let life = self.shared.life.load(Ordering::SeqCst);
        if self.shared.closing.load(Ordering::SeqCst) {
            return false;
        }
        let Ok(stream) = TcpStream::connect(self.shared.address) else { return false };
        // The kernel can give a port without a listener to the very socket that connects to it.
        if stream.local_addr().ok() == stream.peer_addr().ok() {
            return false;
        }
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        set_socket_recv_buffer_size(&stream, RECEIVE_BUFFER).unwrap();
        let mut request = format!("ws://{}/v1/stream", self.shared.address).into_client_request().unwrap();
        request.headers_mut().insert("Authorization", format!("Bearer {}", self.shared.key).parse().unwrap());
        let Ok((socket, _)) = client(request, stream) else { return false };
        // The server was restarted meanwhile: which life accepted the connection is unknown.
        if self.shared.life.load(Ordering::SeqCst) != life {
            return false;
        }
        socket.get_ref().set_read_timeout(Some(TURN)).unwrap();
        self.socket = Some(socket);
        self.recording.push(Entry::Opened { life });
        // In one request or two.
        let split = self.dice.within(0..self.topics.len() as u64) as usize;
        let (left, right) = self.topics.split_at(split);
        let parts = [left.to_vec(), right.to_vec()];
        for topics in parts.into_iter().filter(|topics| !topics.is_empty()) {
            let since = self.view.positions.lock().unwrap().clone();
            let since = since.into_iter().filter(|(topic, _)| topics.contains(topic)).collect();
            let history = self.dice.within(0..200) as usize;
            self.ask(topics, since, history);
        }
        true
    }

    fn ask(&mut self, topics: Vec<String>, since: Positions, history: usize) {
        let Some(socket) = &mut self.socket else { return };
        self.asked += 1;
        let known: BTreeMap<_, _> =
            since.iter().map(|(topic, (epoch, seq))| (topic, json!({"epoch": epoch, "seq": seq}))).collect();
        let mut text = json!({"op": "subscribe", "id": self.asked, "topics": topics, "history": history});
        if !known.is_empty() {
            text["since"] = json!(known);
        }
        let is_sent = socket.send(Message::text(text.to_string())).is_ok();
        self.recording.push(Entry::Asked { id: self.asked, topics, since, history });
        if !is_sent {
            // Messages from before the end still have to be read.
            self.read();
        }
    }

    fn carry_out(&mut self, Step { fault, pause, forgets, .. }: Step) {
        let Some(socket) = &mut self.socket else { return };
        match fault {
            Fault::Kill => self.socket = None,
            Fault::Reset => {
                set_socket_linger(socket.get_ref(), Some(Duration::ZERO)).unwrap();
                self.socket = None;
            }
            Fault::Leave => {
                // The connection may already be closed.
                let _ = socket.close(None);
                let deadline = Instant::now() + PATIENCE;
                while self.socket.is_some() {
                    let last = &self.recording[self.recording.len().saturating_sub(3)..];
                    assert!(Instant::now() < deadline, "the close was not answered, after {last:?}");
                    self.read();
                }
            }
            Fault::Stall | Fault::Flood => {
                if fault == Fault::Flood {
                    (0..REQUESTS).for_each(|_| self.ask(self.topics.clone(), Positions::new(), 1_000));
                }
                thread::park_timeout(pause);
                let waits =
                    |socket: &WebSocket<TcpStream>| socket.get_ref().peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
                if self.socket.as_ref().is_some_and(waits) {
                    self.recording.push(Entry::Did(fault));
                }
                // Reads until all requests are answered or the connection is found to be cut.
                let deadline = Instant::now() + PATIENCE;
                while self.socket.is_some() && self.answered < self.asked {
                    assert!(Instant::now() < deadline, "request {} was not answered", self.answered + 1);
                    self.read();
                }
                return;
            }
        }
        self.recording.push(Entry::Did(fault));
        if forgets {
            self.view.positions.lock().unwrap().clear();
        }
        thread::park_timeout(pause);
    }

    /// Reads the next message, if one comes soon.
    fn read(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        match socket.read() {
            Ok(Message::Text(text)) => {
                self.note(&text);
                self.recording.push(Entry::Heard(text.as_str().to_owned()));
            }
            Ok(Message::Close(frame)) => self.recording.push(Entry::Closed(frame.map(|frame| frame.code.into()))),
            Ok(_) => {}
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.view.idle.store(self.steps.is_empty(), Ordering::SeqCst);
            }
            Err(_) => {
                self.socket = None;
                self.view.idle.store(false, Ordering::SeqCst);
            }
        }
    }

    /// Records its position.
    fn note(&mut self, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        if message["op"] == "subscribe" {
            self.answered = message["id"].as_u64().unwrap_or(self.answered);
        }
        let is_position = message["type"] == "snapshot" || message["data"]["confirm"] == true;
        if let (true, Some(topic), Some(epoch), Some(seq)) =
            (is_position, message["topic"].as_str(), message["epoch"].as_str(), message["seq"].as_u64())
        {
            self.view.positions.lock().unwrap().insert(topic.to_owned(), (epoch.to_owned(), seq));
        }
    }
}
