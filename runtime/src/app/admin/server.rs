//! The server side: checks the user of a connection, reads its request and answers. Connections are bounded in number,
//! size and time.

mod status;
mod tail;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use klines_delivery::manager::{Commander, Manager};
use klines_delivery::order::Order;
use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::Socket;
use super::protocol::{Answer, ConsumerStatus, Op, Request, Response, VERSION};
use crate::app::observed::{Observed, ObservedConsumer};
use crate::app::reconfigure::{Outcome, Reconfigurer};
use crate::app::reload::Reloader;
use crate::telemetry::logbook::{LogLine, MAX_LINES, logbook};

/// Largest number of open connections, including those that follow a log.
const CONNECTIONS: usize = 16;
/// Largest size of a request in bytes.
const MAX_REQUEST_BYTES: u64 = 4 << 10;
/// Time from the start of a connection to the end of its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the write of one answer line may wait for its reader.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of log lines that are copied at a time.
const LINES_AT_A_TIME: usize = 100;
/// The pause after a failed `accept`, most often because no file descriptor is free.
const PAUSE: Duration = Duration::from_millis(100);
const ROOT: u32 = 0;

/// What requests can query and control.
pub struct Controls {
    /// State of the run.
    pub observed: Arc<Observed>,
    /// Takes orders for its consumers.
    pub manager: Arc<Manager>,
    /// Loads new versions of components.
    pub reloader: Reloader,
    /// Reads the configuration again.
    pub reconfigurer: Reconfigurer,
}

/// The two directions of a client's connection.
struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Socket {
    /// Serves requests until the future is dropped.
    ///
    /// # Errors
    /// When the executor cannot register the socket.
    pub async fn serve(self, controls: Controls) -> io::Result<()> {
        // Dropping this guard removes the file.
        let (listener, _file) = self.into_parts();
        let (listener, controls) = (UnixListener::from_std(listener)?, Arc::new(controls));
        let (permits, mut connections) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let controls = controls.clone();
                    connections.spawn(async move {
                        if let Err(error) = serve_connection(stream, &controls).await {
                            debug!(%error, "connection to the admin socket ended");
                        }
                        drop(permit);
                    });
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, controls: &Arc<Controls>) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), geteuid().as_raw());
    if peer != own && peer != ROOT {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user"));
    }
    let (reader, writer) = stream.into_split();
    let mut connection = Connection { reader: BufReader::new(reader), writer };
    match connection.request().await? {
        Ok(Op::List) => connection.send(Answer::Consumers(rows(&controls.observed, &controls.reloader))).await,
        Ok(Op::Logs { name, lines, follow }) => match controls.commander(&name) {
            Ok(_) => connection.logs(&name, lines, follow).await,
            Err(error) => connection.send(Answer::Error(error)).await,
        },
        Ok(Op::Status) => {
            connection.send(Answer::Status(Box::new(status::status(&controls.observed, &controls.reloader)))).await
        }
        Ok(Op::Tail { topics, updates }) => match tail::selection(&controls.observed, &topics, updates) {
            Ok(selection) => connection.tail(controls.observed.hub.taps().open(selection)).await,
            Err(error) => connection.send(Answer::Error(error)).await,
        },
        Ok(Op::Reconfigure) => {
            let reconfigurer = controls.reconfigurer.clone();
            let answer = match spawn_blocking(move || reconfigurer.reload()).await {
                Ok(refused @ Outcome::Refused(_)) => Answer::Refused(refused.to_string()),
                Ok(taken) => Answer::Done(taken.to_string()),
                Err(_) => Answer::Error("the configuration could not be read".to_owned()),
            };
            connection.send(answer).await
        }
        Ok(op) => {
            let answer = order(controls.clone(), op).await;
            connection.send(answer.map_or_else(Answer::Error, Answer::Done)).await
        }
        Err(error) => connection.send(Answer::Error(error)).await,
    }
}

impl Connection {
    /// Reads the request; the inner error is sent to the client.
    async fn request(&mut self) -> io::Result<Result<Op, String>> {
        let mut text = Vec::new();
        let mut bounded = (&mut self.reader).take(MAX_REQUEST_BYTES);
        timeout(REQUEST_TIMEOUT, bounded.read_until(b'\n', &mut text)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if text.last() != Some(&b'\n') {
            return Ok(Err(format!("a request is one line of at most {MAX_REQUEST_BYTES} bytes")));
        }
        Ok(parse_request(&text))
    }

    async fn send(&mut self, answer: Answer) -> io::Result<()> {
        let mut text = serde_json::to_vec(&Response::from(answer))?;
        text.push(b'\n');
        timeout(WRITE_TIMEOUT, self.writer.write_all(&text)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn logs(&mut self, name: &str, lines: usize, follow: bool) -> io::Result<()> {
        let book = logbook();
        let mut last = book.newest(name);
        let found = book.last(name, lines.min(MAX_LINES));
        // A line that is written between the two reads is part of the second one.
        last = found.last().map_or(last, |line| line.number);
        for line in found {
            self.send(Answer::Line(line)).await?;
        }
        if !follow {
            return self.send(Answer::Done(format!("end of the log of {name}"))).await;
        }
        loop {
            let changed = book.changed();
            tokio::pin!(changed);
            // From here on, a new line completes `changed`; lines that were written before are read below.
            changed.as_mut().enable();
            let found = book.after(name, last, LINES_AT_A_TIME);
            if found.is_empty() {
                tokio::select! {
                    () = changed => {}
                    closed = self.closed() => return closed,
                }
            }
            for line in found {
                self.follow(line, &mut last).await?;
            }
        }
    }

    async fn follow(&mut self, line: LogLine, last: &mut u64) -> io::Result<()> {
        let missed = line.number.saturating_sub(*last + 1);
        if missed > 0 {
            self.send(Answer::Missed(missed)).await?;
        }
        *last = line.number;
        self.send(Answer::Line(line)).await
    }

    /// Completes when the client closes the connection, or sends data after its request.
    async fn closed(&mut self) -> io::Result<()> {
        self.reader.fill_buf().await.map(|_| ())
    }
}

fn parse_request(text: &[u8]) -> Result<Op, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        _ => return Err(format!("this klines speaks version {VERSION} of the admin protocol: \"v\":{VERSION}")),
    }
    let request: Request = serde_json::from_value(value).map_err(|error| format!("not a request: {error}"))?;
    Ok(request.op)
}

impl Controls {
    fn commander(&self, name: &str) -> Result<Commander, String> {
        self.manager.commander(name).ok_or_else(|| {
            let names: Vec<String> = self.manager.views().into_iter().map(|view| view.name).collect();
            format!("no consumer `{name}` runs here, but {}", names.join(", "))
        })
    }

    /// Executes an order; blocks until the consumer has carried it out.
    fn execute(&self, op: &Op) -> Result<String, String> {
        let (name, order, done) = match op {
            Op::Pause { name } => (name, Order::Pause, "is paused"),
            Op::Resume { name } => (name, Order::Resume, "is resumed"),
            Op::Reload { name } => {
                self.commander(name)?;
                let sha256 = self.reloader.reload(name)?;
                return Ok(format!("{name} runs its component of sha256 {sha256}"));
            }
            Op::List | Op::Status | Op::Logs { .. } | Op::Tail { .. } | Op::Reconfigure => {
                return Err("not an order".to_owned());
            }
        };
        info!(consumer = name, ?order, "order received");
        self.commander(name)?.order(order).map_err(|error| format!("{name}: {error}"))?;
        Ok(format!("{name} {done}"))
    }
}

async fn order(controls: Arc<Controls>, op: Op) -> Result<String, String> {
    spawn_blocking(move || controls.execute(&op)).await.unwrap_or_else(|_| Err("the order failed".to_owned()))
}

fn rows(observed: &Observed, reloader: &Reloader) -> Vec<ConsumerStatus> {
    let locks = reloader.locks();
    let row = |seen: &ObservedConsumer| {
        let lock = locks.get(&seen.view.name).map(ToString::to_string);
        ConsumerStatus { lock, ..row(seen) }
    };
    observed.consumers.read().iter().map(row).collect()
}

fn row(seen: &ObservedConsumer) -> ConsumerStatus {
    let (stats, depth) = (seen.view.stats.snapshot(), seen.view.queue.depth());
    let footprint = seen.view.stats.footprint();
    ConsumerStatus {
        name: seen.view.name.clone(),
        kind: seen.kind.to_owned(),
        state: stats.state.to_string(),
        klines: stats.delivered,
        lost: stats.lost(),
        queue: depth.closed,
        queue_capacity: depth.capacity,
        updates: depth.updates,
        retries: stats.retries,
        restarts: stats.restarts,
        crashes: stats.crashes(),
        set_aside: stats.set_aside,
        memory: footprint.map(|footprint| footprint.memory),
        loaded: footprint.map(|footprint| footprint.loaded),
        version: seen.view.stats.version(),
        lock: None,
        lag: status::delays(&seen.view.stats.waited()),
    }
}
