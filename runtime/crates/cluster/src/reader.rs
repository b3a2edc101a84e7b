//! Reads the streams of a cluster and hands each kline on, once and in the order of its partition: the source of a serve
//! node. A thread of its own waits for entries; what it reads is untrusted.

pub(crate) mod entry;
mod positions;
pub(crate) mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ::redis::aio::PubSubStream;
use ::redis::{Value, cmd};
use futures_util::StreamExt as _;
use klines_domain::kline::{Batch, Kline};
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::time::LocalMillis;
use klines_system::backoff::Backoff;
use klines_system::clock::LocalClock;
use tokio::runtime::Builder;
use tracing::{info, warn};

pub use self::entry::Entry;
pub use self::positions::{Positions, PositionsError};
use self::seen::{Seen, Verdict};
use crate::epochs::SharedEpochs;
use crate::keys::ClusterKeys;
use crate::member::Name;
use crate::partition::Partition;
use crate::server::{ConnectError, Connected, Server};
use crate::stream_id::StreamId;
use crate::trouble::Trouble;
use crate::updates;

/// How long one request waits for entries. It is less than the time in which an answer has to come.
const BLOCK: Duration = Duration::from_secs(1);
/// How many entries of each stream one request returns.
const COUNT: usize = 50;
/// How far a reader goes back when Redis is another one: nodes send their last minute again, and the clock of the new one may
/// be behind that of the old one.
const BACK: u64 = 120_000;
/// The pauses between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a reader reads, and from where.
#[derive(Debug)]
pub struct Settings {
    /// The name of the cluster.
    pub cluster: Name,
    /// The partitions that are read.
    pub partitions: BTreeSet<Partition>,
    /// Where the positions are kept.
    pub positions: PathBuf,
    /// The last sequence of each series that was handed on earlier.
    pub last: BTreeMap<SeriesKey, u64>,
}

/// Takes what is read.
pub trait Sink: Send {
    /// Returns the id of a series that is wanted; `None` for others.
    fn find(&mut self, key: &SeriesKey) -> Option<SeriesId>;

    /// The series that the next klines need are known: `find` was asked for all of them.
    fn found(&mut self);

    /// Takes klines of one category, closed ones or updates. `is_old` says that the reader catches up: it can wait a moment.
    fn publish(&mut self, batch: Batch, is_old: bool);

    /// Learns whether there is a connection.
    fn connected(&mut self, is_connected: bool);
}

/// What a reader has counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries that were read.
    pub entries: AtomicU64,
    /// Klines that were handed on.
    pub klines: AtomicU64,
    /// Klines that had been handed on before.
    pub repeated: AtomicU64,
    /// Sequences that are missing.
    pub missing: AtomicU64,
    /// Fields that are no klines.
    pub unreadable: AtomicU64,
    /// Klines with a number that another content had before.
    pub conflicting: AtomicU64,
    /// How long after it was written the newest entry was read, by the clock of Redis against that of this machine, in ms.
    pub lag: AtomicU64,
}

/// A running reader.
#[derive(Debug)]
pub struct Reader {
    is_ending: Arc<AtomicBool>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses one.
    pub fn start(
        server: Server,
        settings: Settings,
        epochs: Arc<SharedEpochs>,
        sink: Box<dyn Sink>,
        clock: LocalClock,
    ) -> io::Result<Self> {
        let (is_ending, counters) = (Arc::new(AtomicBool::new(false)), Arc::new(Counters::default()));
        let reading = Reading::new(settings, epochs, sink, counters.clone(), clock);
        let (ending, runtime) = (is_ending.clone(), Builder::new_current_thread().enable_all().build()?);
        let thread = std::thread::Builder::new().name("klines-reader".to_owned());
        let thread = Some(thread.spawn(move || runtime.block_on(reading.run(&server, &ending)))?);
        Ok(Self { is_ending, counters, thread })
    }

    /// Returns its counters.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Ends it; afterwards nothing is published.
    pub fn end(mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// The state of the thread.
struct Reading {
    keys: Vec<(Partition, String)>,
    /// The channels of updates.
    channels: Vec<String>,
    positions: Positions,
    seen: Seen,
    epochs: Arc<SharedEpochs>,
    sink: Box<dyn Sink>,
    counters: Arc<Counters>,
    clock: LocalClock,
    began: LocalMillis,
    replication: Option<Arc<str>>,
    trouble: Trouble,
}

impl Reading {
    fn new(
        settings: Settings,
        epochs: Arc<SharedEpochs>,
        sink: Box<dyn Sink>,
        counters: Arc<Counters>,
        clock: LocalClock,
    ) -> Self {
        let Settings { cluster, partitions, positions, last } = settings;
        let keys = ClusterKeys::new(&cluster);
        let channels = partitions.iter().map(|partition| keys.partition(*partition).updates).collect();
        let keys = partitions.iter().map(|partition| (*partition, keys.partition(*partition).stream)).collect();
        let positions = Positions::read(positions, &cluster).unwrap_or_else(|error| {
            warn!(%error, "the reader begins with the oldest entries");
            error.empty()
        });
        for (partition, epoch) in positions.epochs() {
            epochs.resume(partition, epoch);
        }
        let (began, seen) = (clock.now(), Seen::new(last));
        Self {
            keys,
            channels,
            positions,
            seen,
            epochs,
            sink,
            counters,
            clock,
            began,
            replication: None,
            trouble: Trouble::default(),
        }
    }

    /// Returns the time since the reader began.
    fn now(&self) -> Duration {
        Duration::from_millis((self.clock.now() - self.began).unsigned_abs())
    }

    async fn run(mut self, server: &Server, is_ending: &AtomicBool) {
        let mut pauses = Backoff::between(PAUSES.0, PAUSES.1);
        while !is_ending.load(Ordering::Relaxed) {
            match self.connect(server).await {
                Ok((connected, listener)) => {
                    pauses.reset();
                    self.connected(&connected, server);
                    let ended = self.follow(connected, listener, is_ending).await;
                    self.sink.connected(false);
                    if let Err(reason) = ended {
                        self.report(server, &reason);
                    }
                }
                Err(error) => self.report(server, &error.to_string()),
            }
            if !is_ending.load(Ordering::Relaxed) {
                tokio::time::sleep(pauses.wait()).await;
            }
        }
        self.positions.save(self.now(), true);
    }

    /// Connects twice: for the streams, and for updates.
    async fn connect(&self, server: &Server) -> Result<(Connected, PubSubStream), ConnectError> {
        Ok((server.connect().await?, server.listen(&self.channels).await?))
    }

    fn connected(&mut self, connected: &Connected, server: &Server) {
        info!(redis = server.shown(), partitions = self.keys.len(), "reading the cluster");
        if self.replication.as_ref().is_some_and(|known| *known != connected.replication) {
            self.positions.go_back(BACK);
        }
        self.replication = Some(connected.replication.clone());
        self.trouble.end();
        self.sink.connected(true);
    }

    fn report(&mut self, server: &Server, trouble: &str) {
        let now = self.now();
        if self.trouble.is_news(trouble, now) {
            warn!(redis = server.shown(), trouble, "the cluster cannot be read");
        }
    }

    /// Reads until the reader ends, or a connection does.
    async fn follow(
        &mut self,
        mut connected: Connected,
        mut listener: PubSubStream,
        is_ending: &AtomicBool,
    ) -> Result<(), String> {
        while !is_ending.load(Ordering::Relaxed) {
            let mut command = cmd("XREAD");
            let block = BLOCK.as_millis().to_string();
            command.arg("COUNT").arg(COUNT).arg("BLOCK").arg(block).arg("STREAMS");
            let (keys, from): (Vec<&str>, Vec<String>) =
                self.keys.iter().map(|(of, key)| (key.as_str(), self.positions.of(*of).to_string())).unzip();
            command.arg(keys).arg(from);
            let mut reading = pin!(command.query_async::<Value>(&mut connected.connection));
            let answer = loop {
                tokio::select! { biased;
                    answer = &mut reading => break answer,
                    message = listener.next() => {
                        let message = message.ok_or("the connection for updates has ended")?;
                        self.updates(message.get_payload_bytes());
                    }
                }
            };
            self.take(&answer.map_err(|error| entry::words(&error.to_string()))?);
            self.positions.save(self.now(), false);
            self.seen.forget(self.now());
        }
        Ok(())
    }

    fn take(&mut self, answer: &Value) {
        let streams = entry::streams(answer);
        let names: BTreeMap<&str, Partition> =
            self.keys.iter().map(|(partition, key)| (key.as_str(), *partition)).collect();
        let named = streams.into_iter().filter_map(|(key, entries)| Some((*names.get(key.as_str())?, entries)));
        let mut read = Vec::new();
        for (partition, entries) in named {
            let is_old = entries.len() >= COUNT;
            for entry in entries {
                let (klines, unreadable) = entry.klines(|key| self.sink.find(key));
                self.counters.unreadable.fetch_add(unreadable, Ordering::Relaxed);
                read.push((partition, entry, klines, is_old));
            }
        }
        self.sink.found();
        for (partition, entry, klines, is_old) in read {
            self.entry(partition, &entry, klines, is_old);
        }
    }

    /// Hands on updates of open windows.
    fn updates(&mut self, message: &[u8]) {
        let (updates, unreadable) = updates::decode(message, |key| self.sink.find(key));
        self.counters.unreadable.fetch_add(unreadable, Ordering::Relaxed);
        self.sink.found();
        let updates: Vec<Kline> = updates.iter().filter_map(|update| self.seen.update(update)).collect();
        for of_category in updates.chunk_by(|one, next| one.series.category == next.series.category) {
            let klines = of_category.iter().cloned().map(Arc::new).collect();
            self.sink.publish(Batch { klines }, false);
        }
    }

    /// Hands on the klines of one entry.
    fn entry(&mut self, partition: Partition, entry: &Entry, klines: Vec<Kline>, is_old: bool) {
        self.counters.entries.fetch_add(1, Ordering::Relaxed);
        let wall = u64::try_from(self.clock.now().get()).unwrap_or_default();
        self.counters.lag.store(wall.saturating_sub(entry.id.millis), Ordering::Relaxed);
        let known = self.positions.epoch(partition);
        self.positions.note(partition, entry.id, entry.epoch.or(known).unwrap_or_default());
        let Some(epoch) = entry.epoch else { return };
        self.epochs.begin(partition, epoch);
        let now = self.now();
        let mut batch = Batch::default();
        for kline in klines {
            let verdict = self.seen.judge(&kline, epoch, now);
            if verdict != Verdict::Conflicting {
                self.epochs.note(kline.series, kline.sequence, epoch);
            }
            let counter = match verdict {
                Verdict::New { missing } => {
                    self.counters.missing.fetch_add(missing, Ordering::Relaxed);
                    if batch.klines.first().is_some_and(|first| first.series.category != kline.series.category) {
                        self.sink.publish(std::mem::take(&mut batch), is_old);
                    }
                    batch.klines.push(Arc::new(kline));
                    &self.counters.klines
                }
                Verdict::Repeated => &self.counters.repeated,
                Verdict::Conflicting => &self.counters.conflicting,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if !batch.klines.is_empty() {
            self.sink.publish(batch, is_old);
        }
    }
}

/// The first position of a stream.
pub(crate) const BEGIN: StreamId = StreamId { millis: 0, number: 0 };
