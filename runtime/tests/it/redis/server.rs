//! Runs a real `redis-server` for one test: starts it on a free port, kills, restarts and freezes it, and ends it when
//! it is dropped.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Connection, Value};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a condition is checked.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for a condition.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited long for: {what}");
        thread::park_timeout(LOOK);
    }
}

/// The server. Dropping it kills it.
pub struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server that keeps what it has acknowledged, even when it is killed.
    pub fn start() -> Self {
        // Data is written before it is acknowledged, so that it survives the end of the server, but not synced to the
        // disk: a busy disk takes seconds for that, and a run that ends gives Redis two.
        Self::with(&["--appendonly", "yes", "--appendfsync", "no"])
    }

    /// Starts a server with more arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Another process may take the port meanwhile.
        let started = (0..20).find_map(|_| {
            let folder = TempDir::new().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = spawn(folder.path(), port, &arguments);
            let mut server = Self { child, folder, port, arguments: arguments.clone() };
            server.is_up().then_some(server)
        });
        started.expect("redis-server starts")
    }

    /// Waits until it answers. Returns `false` if it has ended.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            let answer = self.client().get_connection().and_then(|mut made| redis::cmd("PING").exec(&mut made));
            // A server that asks for a password is up.
            if !answer.is_err_and(|error| error.code().is_none() || error.code() == Some("LOADING")) {
                return true;
            }
            assert!(Instant::now() < deadline, "redis-server does not answer");
            thread::park_timeout(LOOK);
        }
        false
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn client(&self) -> Client {
        let password = self.arguments.iter().skip_while(|argument| *argument != "--requirepass").nth(1);
        let login = password.map_or_else(String::new, |password| format!(":{password}@"));
        Client::open(format!("redis://{login}127.0.0.1:{}/0", self.port)).unwrap()
    }

    pub fn connection(&self) -> Connection {
        self.client().get_connection().unwrap()
    }

    /// Executes one command on a new connection.
    #[track_caller]
    pub fn execute(&self, command: &str) -> Value {
        let mut words = command.split_whitespace();
        let mut sent = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            sent.arg(word);
        });
        sent.query(&mut self.connection()).unwrap()
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port and folder.
    pub fn revive(&mut self) {
        self.child = spawn(self.folder.path(), self.port, &self.arguments);
        assert!(self.is_up(), "its port is taken");
    }

    /// Sends SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Subscribes to channels for as long as the connection lasts.
    pub fn subscribe(&self, channels: &[&str]) -> Heard {
        let heard = Heard::default();
        let (mut connection, kept) = (self.connection(), heard.0.clone());
        let (wanted, channels) = (channels.len(), channels.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        thread::spawn(move || {
            let mut subscription = connection.as_pubsub();
            subscription.subscribe(&channels).unwrap();
            while let Ok(message) = subscription.get_message() {
                let text = message.get_payload().unwrap();
                kept.lock().unwrap().push((message.get_channel_name().to_owned(), text));
            }
        });
        eventually("subscribed", || match self.execute("PUBSUB CHANNELS") {
            Value::Array(found) => found.len() >= wanted,
            other => panic!("{other:?}"),
        });
        heard
    }

    /// Returns the records of a stream, oldest first.
    pub fn stream(&self, name: &str) -> Vec<serde_json::Value> {
        type Entry = (String, Vec<(String, String)>);
        let mut connection = self.connection();
        let entries: Vec<Entry> = redis::cmd("XRANGE").arg(name).arg("-").arg("+").query(&mut connection).unwrap();
        entries.iter().map(|(_, fields)| serde_json::from_str(&fields[0].1).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, port: u16, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is missing; on Debian: apt-get install -y redis-server")
}

/// The published messages: channel and text.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Vec<(String, String)>>>);

impl Heard {
    pub fn messages(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the klines in the messages of a channel.
    pub fn klines(&self, channel: &str) -> Vec<serde_json::Value> {
        let messages = self.messages();
        let of_channel = messages.iter().filter(|(name, _)| name == channel);
        of_channel.flat_map(|(_, text)| serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap()).collect()
    }
}
