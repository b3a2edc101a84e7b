//! What one call of the function `append` costs a real Redis: klines a second, of one connection that waits for each
//! answer and of one that sends ahead, and those of a plain `XADD` of the same texts in the same run.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench prints, and may stop"
)]

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klines_cluster::encoding;
use klines_cluster::keys::{ClusterKeys, PartitionKeys};
use klines_cluster::lease::Token;
use klines_cluster::library::{Append, Call, Hold, Resend, source};
use klines_cluster::member::{Instance, Name};
use klines_cluster::membership::Phase;
use klines_cluster::model::Caller;
use klines_cluster::partition::Partitions;
use klines_cluster::version::{Identity, Version};
use klines_delivery::fixture;
use redis::{Client, Cmd, Connection, Value, cmd};

/// Klines in a call.
const KLINES: usize = 64;
/// Calls in a measurement.
const CALLS: usize = 1_000;
const REPLICATION: &str = "r1";

/// A Redis in a separate process; ends when dropped.
struct Server(Child, tempfile::TempDir);

impl Server {
    fn start() -> (Self, Connection) {
        let folder = tempfile::TempDir::new().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(folder.path().join("socket"));
        let child = command.stdout(Stdio::null()).spawn();
        let server = Self(child.expect("redis-server; on Debian: apt-get install -y redis-server"), folder);
        let client = Client::open(format!("unix://{}/socket", server.1.path().display())).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(connection) = client.get_connection() {
                return (server, connection);
            }
            assert!(Instant::now() < deadline, "redis-server does not answer");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The klines of one boundary: the window `number` of 64 symbols.
fn boundary(number: i64, trades: u64) -> Vec<(Identity, Version)> {
    let klines = (0..KLINES).map(|symbol| {
        let mut kline = fixture::kline(&format!("COIN{symbol}USDT"), "1m", number, true);
        kline.trades = trades;
        let identity = encoding::identity(&kline).unwrap();
        let version = encoding::version(&identity, &kline);
        (identity, version)
    });
    klines.collect()
}

struct Fixture {
    keys: PartitionKeys,
    callers: [Caller; 2],
    tokens: [Token; 2],
    first: i64,
}

impl Fixture {
    fn new(connection: &mut Connection) -> Self {
        let partition = Partitions::default().get(0).unwrap();
        let keys = ClusterKeys::new(&Name::new("bench").unwrap()).partition(partition);
        let callers = ["a", "b"].map(|name| Caller { name: Name::new(name).unwrap(), instance: Instance(1) });
        cmd("FUNCTION").arg("LOAD").arg(source()).exec(connection).unwrap();
        let tokens = [0, 1].map(|at| {
            let (caller, lease) = (&callers[at], Duration::from_secs(30));
            let hold = Hold { keys: &keys, caller, token: None, lease, phase: Phase::Counting };
            let token = hold.read(&hold.command().query(connection).unwrap()).unwrap().token;
            let resend = Resend { keys: &keys, caller, token, replication: REPLICATION, epoch: 0, klines: &[] };
            resend.command().exec(connection).unwrap();
            token
        });
        let (seconds, _): (i64, i64) = cmd("TIME").query(connection).unwrap();
        Self { keys, callers, tokens, first: seconds / 60 - 1_300 }
    }

    fn append(&self, replica: usize, klines: &[(Identity, Version)]) -> Cmd {
        let (keys, caller, token) = (&self.keys, &self.callers[replica], self.tokens[replica]);
        Append { keys, caller, token, replication: REPLICATION, klines }.command()
    }
}

fn measure(what: &str, connection: &mut Connection, commands: &[Cmd], ahead: usize) {
    let began = Instant::now();
    for some in commands.chunks(ahead) {
        let mut pipeline = redis::pipe();
        for command in some {
            pipeline.add_command(command.clone());
        }
        let _: Vec<Value> = pipeline.query(connection).unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    let klines = commands.len() * KLINES;
    println!(
        "{what:<58} {:>9.0} klines/s {:>8.0} us a call",
        klines as f64 / seconds,
        seconds * 1e6 / commands.len() as f64
    );
}

fn main() {
    let (_server, mut connection) = Server::start();
    let fixture = Fixture::new(&mut connection);
    let boundaries: Vec<_> = (0..CALLS as i64).map(|at| boundary(fixture.first + at, 7)).collect();
    let plain = |klines: &Vec<(Identity, Version)>| {
        let mut command = cmd("XADD");
        command.arg("plain").arg("*");
        for (identity, version) in klines {
            command.arg(format!("{} {}", identity.series, identity.start)).arg(encoding::value(version, 0, 1));
        }
        command
    };
    println!("{KLINES} klines a call, {CALLS} calls, one connection to one Redis on this machine");
    let commands: Vec<Cmd> = boundaries.iter().map(plain).collect();
    measure("baseline: XADD of the same texts, each awaited", &mut connection, &commands, 1);
    for (replica, what) in
        ["append, published, each awaited", "append of the second replica, dropped, each awaited"].iter().enumerate()
    {
        let commands: Vec<Cmd> = boundaries.iter().map(|klines| fixture.append(replica, klines)).collect();
        measure(what, &mut connection, &commands, 1);
    }
    let revised: Vec<_> = (0..CALLS as i64).map(|at| boundary(fixture.first + at, 8)).collect();
    let commands: Vec<Cmd> = revised.iter().map(|klines| fixture.append(1, klines)).collect();
    measure("append of revisions by the second replica, 16 sent ahead", &mut connection, &commands, 16);
    let memory: u64 = cmd("MEMORY")
        .arg("USAGE")
        .arg(fixture.keys.bucket(revised[500][0].0.bucket))
        .arg("SAMPLES")
        .arg(0)
        .query(&mut connection)
        .unwrap();
    println!("memory: {} bytes a kept kline with two versions", memory / (60 * KLINES as u64));
}
