//! Runs a real `redis-server` on a socket in a folder of its own, with the functions loaded, and ends it when it is
//! dropped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use klines_cluster::keys::{ClusterKeys, PartitionKeys};
use klines_cluster::lease::Token;
use klines_cluster::library::{Call, Hold, LibraryError, Resend, source};
use klines_cluster::member::{Instance, Name};
use klines_cluster::membership::Phase;
use klines_cluster::model::Caller;
use klines_cluster::partition::Partitions;
use redis::{Client, Connection, FromRedisValue, IntoConnectionInfo, Value};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(90);
/// The replication id in tests.
pub const REPLICATION: &str = "r1";

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn caller(text: &str) -> Caller {
    Caller { name: name(text), instance: Instance(7) }
}

pub fn cluster() -> ClusterKeys {
    ClusterKeys::new(&name("main"))
}

pub fn partition() -> PartitionKeys {
    cluster().partition(Partitions::default().get(3).unwrap())
}

/// Waits until the clock of Redis shows a time, in milliseconds.
pub fn wait_until(server: &mut Server, time: u64) {
    while server.now() < time {
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// The server, with a connection. Dropping it kills it.
pub struct Server {
    child: Child,
    folder: TempDir,
    connection: Connection,
}

impl Server {
    /// Starts a server that has the functions. Streams have one entry a node, so that trimming is exact.
    pub fn start() -> Self {
        let mut server = Self::bare();
        server.run::<Value>(&["FUNCTION", "LOAD", source()]);
        server
    }

    /// Starts a server without the functions.
    pub fn bare() -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = spawn(folder.path());
        let connection = connect(&mut child, folder.path());
        Self { child, folder, connection }
    }

    /// Kills the server and starts another one on its files, as after a crash.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.folder.path());
        self.connection = connect(&mut self.child, self.folder.path());
    }

    pub fn client(&self) -> Client {
        Client::open(format!("unix://{}/socket", self.folder.path().display())).unwrap()
    }

    /// Returns a client with the name of a user and the password `secret`.
    pub fn user_client(&self, user: &str) -> Client {
        let socket = self.folder.path().join("socket");
        let info = format!("unix://{}?user={user}&pass=secret", socket.display()).into_connection_info().unwrap();
        // As klines connects: `CLIENT SETINFO` would need a right.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        Client::open(info.set_redis_settings(settings)).unwrap()
    }

    pub fn user(&self, user: &str) -> Connection {
        self.user_client(user).get_connection().unwrap()
    }

    #[track_caller]
    pub fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        command(words).query(&mut self.connection).unwrap()
    }

    pub fn call<C: Call>(&mut self, call: &C) -> Result<C::Answer, LibraryError> {
        call.result(call.command().query(&mut self.connection))
    }

    pub fn query(&mut self, command: &redis::Cmd) -> Result<Value, redis::RedisError> {
        command.query(&mut self.connection)
    }

    /// Returns the clock of Redis in milliseconds.
    pub fn now(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = self.run(&["TIME"]);
        seconds * 1_000 + micros / 1_000
    }

    /// Makes a node a holder of the partition for half a minute, in a partition that has an epoch.
    pub fn hold(&mut self, node: &str) -> Token {
        let (keys, caller, lease) = (partition(), caller(node), Duration::from_secs(30));
        let held = Hold { keys: &keys, caller: &caller, token: None, lease, phase: Phase::Counting };
        let token = self.call(&held).unwrap().token;
        let replication = REPLICATION;
        self.call(&Resend { keys: &keys, caller: &caller, token, replication, epoch: 0, klines: &[] }).unwrap();
        token
    }
}

pub fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--unixsocket"]).arg(folder.join("socket")).arg("--dir").arg(folder);
    command.args(["--save", "", "--stream-node-max-entries", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server is missing; on Debian: apt-get install -y redis-server")
}

fn connect(child: &mut Child, folder: &Path) -> Connection {
    let client = Client::open(format!("unix://{}/socket", folder.display())).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(child.try_wait().unwrap().is_none(), "redis-server has ended");
        let ready = client.get_connection().and_then(|mut made| redis::cmd("PING").exec(&mut made).map(|()| made));
        if let Ok(connection) = ready {
            return connection;
        }
        assert!(Instant::now() < deadline, "redis-server does not answer");
        thread::park_timeout(Duration::from_millis(10));
    }
}
