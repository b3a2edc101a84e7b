//! A client of `/v1/stream` that misbehaves as planned, comes back, and writes down all that it asked and heard. Judges
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

/// How long a read waits before the plan is looked at again.
const TURN: Duration = Duration::from_millis(20);
/// How long the other side may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests for everything that a client makes without reading the answers: fewer than may come at once.
const GREED: usize = 100;

/// Little, so that what a client does not read soon waits at the server.
const RECEIVE_BUFFER: usize = 16 << 10;

/// By topic, epoch and number of the last push.
pub type Positions = BTreeMap<String, (String, u64)>;

/// One thing that happened to a client.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Connected, in this life of the server.
    Opened { life: u32 },
    /// Subscribed.
    Asked { id: u64, topics: Vec<String>, since: Positions, history: usize },
    /// A text came.
    Heard(String),
    /// A fault has been carried out.
    Did(Fault),
    /// The server closed the connection with this code.
    Closed(Option<u16>),
}

/// What all clients know.
pub struct Stage {
    pub address: SocketAddr,
    /// The bearer's key.
    pub key: &'static str,
    pub began: Instant,
    /// How often the server has been started.
    pub life: AtomicU32,
    /// Nobody comes back from here on.
    pub last_call: AtomicBool,
    /// Everybody leaves at once.
    pub over: AtomicBool,
}

/// What others may see of a client.
#[derive(Default)]
pub struct View {
    pub positions: Mutex<Positions>,
    /// The plan is carried out, and everything that has come is read.
    pub calm: AtomicBool,
}

/// A client on a thread of its own.
pub struct Client {
    stage: Arc<Stage>,
    view: Arc<View>,
    topics: Vec<String>,
    steps: VecDeque<Step>,
    dice: Dice,
    socket: Option<WebSocket<TcpStream>>,
    recording: Vec<Entry>,
    /// The last request's number, and that of the last one that was answered.
    asked: u64,
    answered: u64,
}

impl Client {
    pub fn new(stage: Arc<Stage>, view: Arc<View>, topics: Vec<String>, steps: VecDeque<Step>, dice: Dice) -> Self {
        Self { stage, view, topics, steps, dice, socket: None, recording: Vec::new(), asked: 0, answered: 0 }
    }

    /// Follows the topics through all faults until the last call, or until it is over.
    pub fn run(mut self) -> Vec<Entry> {
        while !self.stage.over.load(Ordering::SeqCst) {
            if self.socket.is_none() && !self.enter() {
                if self.stage.last_call.load(Ordering::SeqCst) {
                    break;
                }
                thread::park_timeout(self.dice.millis(20..150));
            } else if self.steps.front().is_some_and(|step| self.stage.began.elapsed() >= step.at) {
                let step = self.steps.pop_front().unwrap();
                self.suffer(step);
            } else {
                self.read();
            }
        }
        self.recording
    }

    /// Connects and subscribes with what it has. Returns whether it is in.
    fn enter(&mut self) -> bool {
        let life = self.stage.life.load(Ordering::SeqCst);
        if self.stage.last_call.load(Ordering::SeqCst) {
            return false;
        }
        let Ok(stream) = TcpStream::connect(self.stage.address) else { return false };
        // A port without a listener can be given to the very socket that calls it.
        if stream.local_addr().ok() == stream.peer_addr().ok() {
            return false;
        }
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        set_socket_recv_buffer_size(&stream, RECEIVE_BUFFER).unwrap();
        let mut request = format!("ws://{}/v1/stream", self.stage.address).into_client_request().unwrap();
        request.headers_mut().insert("Authorization", format!("Bearer {}", self.stage.key).parse().unwrap());
        let Ok((socket, _)) = client(request, stream) else { return false };
        // Between two lives nobody can tell which one it was.
        if self.stage.life.load(Ordering::SeqCst) != life {
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
            // What came before the end is still to be read.
            self.read();
        }
    }

    fn suffer(&mut self, Step { fault, pause, forgets, .. }: Step) {
        let Some(socket) = &mut self.socket else { return };
        match fault {
            Fault::Kill => self.socket = None,
            Fault::Reset => {
                set_socket_linger(socket.get_ref(), Some(Duration::ZERO)).unwrap();
                self.socket = None;
            }
            Fault::Leave => {
                // It may have ended by itself, which is fine.
                let _ = socket.close(None);
                let deadline = Instant::now() + PATIENCE;
                while self.socket.is_some() {
                    let last = &self.recording[self.recording.len().saturating_sub(3)..];
                    assert!(Instant::now() < deadline, "the close was not answered, after {last:?}");
                    self.read();
                }
            }
            Fault::Stall | Fault::Gorge => {
                if fault == Fault::Gorge {
                    (0..GREED).for_each(|_| self.ask(self.topics.clone(), Positions::new(), 1_000));
                }
                thread::park_timeout(pause);
                let waits =
                    |socket: &WebSocket<TcpStream>| socket.get_ref().peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
                if self.socket.as_ref().is_some_and(waits) {
                    self.recording.push(Entry::Did(fault));
                }
                // Reads on, until it has everything or sees that it is cut.
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

    /// Takes the next message, if one comes soon.
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
                self.view.calm.store(self.steps.is_empty(), Ordering::SeqCst);
            }
            Err(_) => {
                self.socket = None;
                self.view.calm.store(false, Ordering::SeqCst);
            }
        }
    }

    /// Remembers where it is.
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
