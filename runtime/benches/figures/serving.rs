//! Measures deliveries and memory of the WebSocket server, compared with a naive server (plain tokio-tungstenite, a
//! broadcast channel, one task per client). Server and clients are separate processes; the measured value is the CPU
//! time of the whole server process.
//!
//! The limit of open files bounds the number of clients: the last row needs `ulimit -n` of at least 9,100.

#[path = "serving/latency.rs"]
mod latency;
#[path = "serving/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) use server::{blueprint, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::{Runs, measured, row};

/// The environment variable that selects the kind of server that this process runs.
pub(crate) const ROLE: &str = "KLINES_BENCH_SERVER";

/// A server in a separate process; stops when dropped.
struct Served {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: String,
}

impl Served {
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut process =
            command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut served = Self { process, commands, answers, address: String::new() };
        served.address = served.answer();
        served
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.answer()
    }

    /// Returns the CPU time of the server so far in seconds.
    fn cpu(&mut self) -> f64 {
        self.ask("cpu").parse().unwrap()
    }

    /// Returns the resident memory of the server in bytes.
    fn resident(&mut self) -> f64 {
        self.ask("memory").parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Connects clients and subscribes each to the same topic.
async fn connect(address: &str, clients: usize) -> Vec<TcpStream> {
    let mut connected = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /v1/stream HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![0; 1_024];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head[..read]));
        let text = br#"{"op":"subscribe","topics":["kline.1m.BTCUSDT"]}"#;
        // A mask of zeros leaves the text unchanged.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(text);
        stream.write_all(&frame).await.unwrap();
        connected.push(stream);
    }
    connected
}

/// Reads from every client until each has received `wanted` bytes.
async fn receive(clients: &mut [TcpStream], wanted: usize) {
    let mut scrap = vec![0; 64 << 10];
    for client in clients {
        let mut received = 0;
        while received < wanted {
            received += client.read(&mut scrap).await.unwrap();
        }
    }
}

/// Reads the responses to the subscriptions until no client has more data.
async fn settle(clients: &mut [TcpStream]) {
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let mut scrap = vec![0; 64 << 10];
    for client in clients {
        while client.try_read(&mut scrap).is_ok_and(|read| read > 0) {}
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns thousands of deliveries per second of CPU time, with `batch` klines per flush to `clients` clients.
fn deliveries(role: &str, clients: usize, batch: usize, rounds: usize) -> Runs {
    let mut served = Served::start(role);
    let runtime = runtime();
    let mut connected = runtime.block_on(connect(&served.address, clients));
    runtime.block_on(settle(&mut connected));
    let rate = |_| {
        let before = served.cpu();
        for _ in 0..rounds {
            let bytes: usize = served.ask(&format!("publish {batch}")).parse().unwrap();
            runtime.block_on(receive(&mut connected, bytes));
        }
        (clients * batch * rounds) as f64 / (served.cpu() - before) / 1_000.0
    };
    (0..3).map(rate).collect()
}

/// Prints the rows about deliveries.
pub(crate) fn fan_out() {
    for (clients, batch, rounds, floor) in
        [(1_000, 1, 200, "120 k / 160 k"), (9_000, 1, 30, "80 k / 120 k"), (1_000, 16, 50, "1 M / 2 M")]
    {
        let ours = deliveries("klines", clients, batch, rounds);
        let naive = deliveries("naive", clients, batch, rounds);
        let name = format!("deliveries a core-second, {clients} clients, {batch} a flush");
        row(&name, ours, naive, "k", floor);
    }
}

/// Prints the rows about latency.
pub(crate) fn latencies() {
    latency::socket_to_socket();
    latency::boundary_to_client();
}

/// Prints the rows about memory.
pub(crate) fn idle_clients() {
    let per_client = |role: &str, clients: usize| {
        let mut served = Served::start(role);
        let runtime = runtime();
        // The first clients include the memory that all clients share.
        let mut connected = runtime.block_on(connect(&served.address, 100));
        runtime.block_on(settle(&mut connected));
        let before = served.resident();
        let mut more = runtime.block_on(connect(&served.address, clients));
        runtime.block_on(settle(&mut more));
        (served.resident() - before) / clients as f64 / 1_024.0
    };
    let (ours, naive) = (per_client("klines", 5_000), per_client("naive", 2_000));
    row("memory per idle client, plain", ours, naive, "KiB", "10 / 4 KiB");
    let encrypted = {
        let mut served = Served::start("tls");
        let mut connected = latency::encrypted(&served.address, 50);
        let before = served.resident();
        connected.extend(latency::encrypted(&served.address, 1_000));
        (served.resident() - before) / 1_000.0 / 1_024.0
    };
    measured("memory per idle client, TLS", &format!("{encrypted:.2} KiB"), "-", "40 / 20 KiB");
}
