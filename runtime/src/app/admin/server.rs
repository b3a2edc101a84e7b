//! The side of the run: takes a request, checks who asks, answers. Every connection is bounded in size, number and time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use klines_delivery::manager::Commander;
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
use super::protocol::{Answer, Op, Request, Response, Row, VERSION};
use crate::app::observed::{Observed, Seen};
use crate::app::reload::Reloader;
use crate::telemetry::logbook::{Line, MOST_LINES, logbook};

/// Connections at one time, those that follow a log included.
const CONNECTIONS: usize = 16;
/// Bytes of a request.
const REQUEST: u64 = 4 << 10;
/// From the first byte of a connection to the end of its request.
const ASKING: Duration = Duration::from_secs(5);
/// How long one line of an answer may wait for its reader.
const READING: Duration = Duration::from_secs(10);
/// Lines of a log that are copied at one time.
const AT_ONCE: usize = 100;
/// The pause when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
const ROOT: u32 = 0;

/// What can be asked about and given orders.
pub struct Controls {
    /// The run.
    pub observed: Arc<Observed>,
    /// Its consumers.
    pub commanders: Vec<Commander>,
    /// Brings new versions of components.
    pub reloader: Reloader,
}

/// A connection's two directions.
struct Talk {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Socket {
    /// Answers until it is dropped.
    ///
    /// # Errors
    /// When the executor does not take the socket.
    pub async fn serve(self, controls: Controls) -> io::Result<()> {
        // The file goes when this does.
        let (listener, _place) = self.into_parts();
        let (listener, controls) = (UnixListener::from_std(listener)?, Arc::new(controls));
        let (places, mut talks) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
        loop {
            while talks.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let controls = controls.clone();
                    talks.spawn(async move {
                        if let Err(error) = talk(stream, &controls).await {
                            debug!(%error, "connection to the admin socket ended");
                        }
                        drop(place);
                    });
                }
                // Most often: no descriptor left.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

async fn talk(stream: UnixStream, controls: &Arc<Controls>) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), geteuid().as_raw());
    if peer != own && peer != ROOT {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user"));
    }
    let (reader, writer) = stream.into_split();
    let mut talk = Talk { reader: BufReader::new(reader), writer };
    match talk.request().await? {
        Ok(Op::List) => talk.say(Answer::Consumers(controls.observed.consumers.iter().map(row).collect())).await,
        Ok(Op::Logs { name, lines, follow }) => match controls.commander(&name) {
            Ok(_) => talk.logs(&name, lines, follow).await,
            Err(error) => talk.say(Answer::Error(error)).await,
        },
        Ok(op) => {
            let answer = order(controls.clone(), op).await;
            talk.say(answer.map_or_else(Answer::Error, Answer::Done)).await
        }
        Err(error) => talk.say(Answer::Error(error)).await,
    }
}

impl Talk {
    /// Reads the request; the inner error is for whoever sent it.
    async fn request(&mut self) -> io::Result<Result<Op, String>> {
        let mut text = Vec::new();
        let mut bounded = (&mut self.reader).take(REQUEST);
        timeout(ASKING, bounded.read_until(b'\n', &mut text)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if text.last() != Some(&b'\n') {
            return Ok(Err(format!("a request is one line of at most {REQUEST} bytes")));
        }
        Ok(understood(&text))
    }

    async fn say(&mut self, answer: Answer) -> io::Result<()> {
        let mut text = serde_json::to_vec(&Response::from(answer))?;
        text.push(b'\n');
        timeout(READING, self.writer.write_all(&text)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn logs(&mut self, name: &str, lines: usize, follow: bool) -> io::Result<()> {
        let book = logbook();
        let mut last = book.newest(name);
        let found = book.last(name, lines.min(MOST_LINES));
        // What came between the two looks is part of the second.
        last = found.last().map_or(last, |line| line.number);
        for line in found {
            self.say(Answer::Line(line)).await?;
        }
        if !follow {
            return self.say(Answer::Done(format!("that is the log of {name}"))).await;
        }
        loop {
            let changed = book.changed();
            tokio::pin!(changed);
            // From here on a line that comes is noticed, and those before are looked for.
            changed.as_mut().enable();
            let found = book.after(name, last, AT_ONCE);
            if found.is_empty() {
                tokio::select! {
                    () = changed => {}
                    gone = self.is_gone() => return gone,
                }
            }
            for line in found {
                self.follow(line, &mut last).await?;
            }
        }
    }

    async fn follow(&mut self, line: Line, last: &mut u64) -> io::Result<()> {
        let missed = line.number.saturating_sub(*last + 1);
        if missed > 0 {
            self.say(Answer::Missed(missed)).await?;
        }
        *last = line.number;
        self.say(Answer::Line(line)).await
    }

    /// Comes back when the other side has gone, or says something that it should not.
    async fn is_gone(&mut self) -> io::Result<()> {
        self.reader.fill_buf().await.map(|_| ())
    }
}

fn understood(text: &[u8]) -> Result<Op, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        _ => return Err(format!("this klines speaks version {VERSION} of the admin protocol: \"v\":{VERSION}")),
    }
    let request: Request = serde_json::from_value(value).map_err(|error| format!("not a request: {error}"))?;
    Ok(request.op)
}

impl Controls {
    fn commander(&self, name: &str) -> Result<&Commander, String> {
        self.commanders.iter().find(|commander| commander.name() == name).ok_or_else(|| {
            let names: Vec<&str> = self.commanders.iter().map(Commander::name).collect();
            format!("no consumer `{name}` runs here, but {}", names.join(", "))
        })
    }

    /// Carries an order out; blocks until the consumer has obeyed.
    fn obey(&self, op: &Op) -> Result<String, String> {
        let (name, order, done) = match op {
            Op::Pause { name } => (name, Order::Pause, "is paused"),
            Op::Resume { name } => (name, Order::Resume, "goes on"),
            Op::Reload { name } => {
                self.commander(name)?;
                let sha256 = self.reloader.reload(name)?;
                return Ok(format!("{name} runs its component of sha256 {sha256}"));
            }
            Op::List | Op::Logs { .. } => return Err("that is no order".to_owned()),
        };
        info!(consumer = name, ?order, "order received");
        self.commander(name)?.order(order).map_err(|error| format!("{name}: {error}"))?;
        Ok(format!("{name} {done}"))
    }
}

async fn order(controls: Arc<Controls>, op: Op) -> Result<String, String> {
    spawn_blocking(move || controls.obey(&op)).await.unwrap_or_else(|_| Err("the order went wrong".to_owned()))
}

fn row(seen: &Seen) -> Row {
    let (stats, depth) = (seen.view.stats.snapshot(), seen.view.queue.depth());
    let takes = seen.view.stats.footprint();
    Row {
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
        memory: takes.map(|takes| takes.memory),
        loaded: takes.map(|takes| takes.loaded),
        version: seen.view.stats.version(),
    }
}
