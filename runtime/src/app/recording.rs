//! The store of a run: its recorder, what reads it beside the run, and what the run continues of earlier ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use klines_config::Config;
use klines_config::consumers::{Component, Consumer};
use klines_config::native::Native;
use klines_delivery::earlier::{EarlierRuns, EarlierSlot};
use klines_delivery::history::History;
use klines_delivery::history::composed::Composed;
use klines_delivery::hub::Hub;
use klines_delivery::missed::Missed;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;
use klines_store::error::StoreError;
use klines_store::file;
use klines_store::reader::Reader;
use klines_store::recorder::{Observer, Recorder, Unstored};
use klines_store::replay::{self, Replay};
use klines_store::run::{EarlierSymbols, Left};
use klines_store::writer::Limits;
use klines_system::clock::LocalClock;
use tokio::runtime::Handle;
use tracing::{error, info, warn};
use url::Host;

/// The part of `data_dir_max` that the store may take, in fifths: the rest is for what consumers keep.
const FIFTHS: u64 = 4;

/// The origin of klines of an exchange on this machine.
pub(super) const SIMULATED: &str = "simulated";

/// The part of the WebSocket server's memory that klines of earlier runs may take when it begins, in halves.
const HALVES: u64 = 2;
/// The memory of a kline there, in bytes, about.
const KLINE: u64 = 400;

/// How often a run without its store notes until when nothing was stored, and how far ahead in ms: what is published until the next
/// note is noted already.
const BETWEEN_NOTES: Duration = Duration::from_secs(5);
const NOTED_AHEAD: Millis = 10_000;

/// A run's store.
struct Recording {
    recorder: Recorder,
    path: PathBuf,
    left: Left,
}

/// A run's store, and what is continued.
#[derive(Default)]
pub struct Begun {
    /// Reads the counters of the store; `None` if nothing is to be stored.
    pub observer: Option<Observer>,
    /// Stores what the hub publishes; `None` if nothing is stored.
    pub recorder: Option<Recorder>,
    /// The klines that consumers have not acknowledged.
    pub missed: BTreeMap<String, Box<dyn Missed>>,
    /// Where the klines of each symbol go on.
    pub symbols: EarlierSymbols,
    /// The last sequence of each series.
    pub last: BTreeMap<SeriesKey, u64>,
}

/// Begins to store what a hub publishes. `earlier` gets what the WebSocket server knows of earlier runs. If the store cannot be
/// used, the run goes on without it.
pub fn begin(config: &Config, hub: &Hub, earlier: &EarlierSlot, executor: &Handle) -> Begun {
    if !config.store.enabled {
        return Begun::default();
    }
    let path = file::path_in(&config.data_dir);
    match record(config, &path, hub, earlier) {
        Ok(recording) => {
            let (missed, symbols) = (recording.missed(config), recording.left.symbols(config.klines.repair));
            let last = recording.left.last.iter().map(|(key, last)| (key.clone(), last.sequence)).collect();
            let observer = Some(recording.recorder.observer());
            Begun { observer, recorder: Some(recording.recorder), missed, symbols, last }
        }
        Err(error) => {
            error!(%error, "klines are not stored in this run");
            let unstored = Unstored::of(&path);
            let observer = Some(unstored.observer());
            executor.spawn(note_unstored(unstored));
            Begun { observer, ..Begun::default() }
        }
    }
}

/// Notes again and again that klines are published and not stored, so that the next run knows it also after a crash.
async fn note_unstored(unstored: Unstored) {
    let clock = LocalClock::start();
    let mut turns = tokio::time::interval(BETWEEN_NOTES);
    loop {
        turns.tick().await;
        unstored.note(clock.now().get() + NOTED_AHEAD);
    }
}

impl Recording {
    /// Returns the klines that consumers have not acknowledged, as far back as the configuration says.
    fn missed(&self, config: &Config) -> BTreeMap<String, Box<dyn Missed>> {
        let Some(newest) = self.left.newest() else { return BTreeMap::new() };
        let replay = |consumer: &Consumer| {
            let position = self.left.positions.get(&consumer.name).copied()?;
            let is_behind = consumer.replay_on_start > 0 && position < self.left.entry;
            let replay = || Replay::new(&self.path, &self.left, position, newest - consumer.replay_on_start);
            is_behind.then(|| (consumer.name.clone(), Box::new(replay()) as Box<dyn Missed>))
        };
        config.consumers.iter().filter_map(replay).collect()
    }

    /// Returns what the WebSocket server knows of earlier runs. If their newest klines cannot be read, it has none of them: the
    /// recorder has begun and goes on.
    fn for_clients(&self, config: &Config) -> EarlierRuns {
        let newest = replay::newest(&self.path, config.websocket.memory / HALVES / KLINE);
        let after = newest.unwrap_or_else(|error| {
            warn!(%error, "clients cannot resume what they have of earlier runs: it cannot be read");
            self.left.entry
        });
        EarlierRuns {
            epoch: self.left.epoch,
            crashed: self.left.crashed,
            sequences: self.left.last.iter().map(|(key, last)| (key.clone(), last.sequence)).collect(),
            newest: Box::new(Replay::new(&self.path, &self.left, after, Millis::MIN)),
        }
    }
}

/// Begins to store what a hub publishes, and puts what the WebSocket server knows of earlier runs into `earlier`.
fn record(config: &Config, path: &Path, hub: &Hub, earlier: &EarlierSlot) -> Result<Recording, StoreError> {
    let retain = config.store.retain.clone();
    let max_bytes = max_bytes(config);
    let limits = Limits { retain: Box::new(move |interval| retain.of(interval)), max_bytes };
    let random = getrandom::u64().map_err(|error| StoreError::of_file(path, &std::io::Error::other(error)))?;
    let (recorder, left) = Recorder::start(path, origin(config), limits, (hub, random, config.klines.repair))?;
    let recording = Recording { recorder, path: path.to_owned(), left };
    let has_clients = |consumer: &Consumer| consumer.component == Component::Native(Native::WebSocket);
    if config.consumers.iter().any(has_clients) {
        earlier.put(recording.for_clients(config));
    }
    let Left { last, crashed, .. } = &recording.left;
    let (series, after_crash) = (last.len(), crashed.is_some());
    info!(file = %path.display(), max_bytes, continued_series = series, after_crash, "storing klines");
    Ok(recording)
}

/// Returns the bytes that the store may take.
pub(super) fn max_bytes(config: &Config) -> u64 {
    config.store.max_size.min(config.data_dir_max / 5 * FIFTHS)
}

/// Returns what reads the store of a run; `None` if nothing is stored.
pub fn history(config: &Config) -> Option<Arc<dyn History>> {
    let composed = || {
        let reader = Arc::new(Reader::of(&file::path_in(&config.data_dir), origin(config)));
        Arc::new(Composed::new(reader, &config.klines.intervals)) as Arc<dyn History>
    };
    config.store.enabled.then(composed)
}

/// Returns what kind of klines a run makes: an exchange on this machine is a simulator.
pub(super) fn origin(config: &Config) -> &'static str {
    let host = config.exchange.ws_url.as_ref().and_then(|url| url.host());
    let is_local = host.is_some_and(|host| match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    });
    match (is_local, config.exchange.testnet) {
        (true, _) => SIMULATED,
        (false, true) => "testnet",
        (false, false) => "live",
    }
}
