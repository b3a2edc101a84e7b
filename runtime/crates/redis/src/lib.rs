//! The Redis consumer: publishes closed klines as Bybit Klines Streamer did, and optionally appends them to streams,
//! sets last values and publishes the values of other consumers.
//!
//! Each of these four outputs has a writer with its own thread, connection and backlog, so that an output that is
//! refused or slow never blocks another. `consume` sends klines to the writers and does not wait for Redis.

mod backlog;
mod connection;
mod journal;
mod meter;
mod output;
mod settings;
pub mod spill;
mod tally;
mod writer;

use std::sync::{Arc, Mutex};

use klines_delivery::consumer::KlineKeeper;
use klines_delivery::emit::Point;
use klines_delivery::encode::StreamerFilter;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Profile, Subscription};
use klines_domain::kline::Kline;
use tracing::error;

use self::backlog::{Backlog, Newest, Ordered, Published};
pub use self::connection::{Address, AddressError};
use self::journal::Journal;
use self::output::{Commands, Names, Output, Values};
pub use self::settings::{LastValue, Settings, SpillSettings, Stream};
pub use self::tally::{Link, Tallies, Tally, Totals};
use self::writer::{RedisWriter, Sender};
use crate::settings::{PUBLISH, STREAM};
use crate::spill::{Found, Spill};

/// Creates Redis consumers.
#[derive(Clone, Debug)]
pub struct RedisBlueprint {
    settings: Settings,
    tallies: Tallies,
    filter: Arc<Mutex<StreamerFilter>>,
}

impl RedisBlueprint {
    /// Builds the blueprint of a consumer. Does not connect.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let tallies = Tallies::new(&settings);
        let filter = Arc::new(Mutex::new(StreamerFilter::new(settings.extras)));
        Self { settings, tallies, filter }
    }

    /// Returns the counters of its outputs.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }
}

impl Blueprint for RedisBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        // The `config` crate has validated them and reported their source locations.
        Vec::new()
    }

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let (settings, tallies, filter) = (self.settings.clone(), self.tallies.clone(), self.filter.clone());
        Ok(Box::new(Redis { settings, tallies, filter, writers: Vec::new(), values: None, accepted: 0 }))
    }

    fn profile(&self) -> Profile {
        let (meter, keeper) = (Arc::new(self.tallies.clone()), Arc::new(self.clone()));
        Profile { takes_values: true, meter: Some(meter), keeper: Some(keeper), ..Profile::default() }
    }
}

impl KlineKeeper for RedisBlueprint {
    /// Writes them to disk for the next run if there is a spill; counts as lost what has no room there.
    fn keep(&self, klines: &[Arc<Kline>]) -> bool {
        let outputs = self.settings.ordered_outputs(&self.filter);
        for (name, output) in &outputs {
            let wanted: Vec<_> = klines.iter().filter(|kline| output.wants(kline)).cloned().collect();
            if wanted.is_empty() {
                continue;
            }
            let (spill, tally) = (self.settings.open_spill(name).map(|(spill, _)| spill), self.tallies.of(name));
            let mut backlog = Ordered::new(spill, self.settings.journal(name), tally.clone());
            // Klines that were emitted together are published together.
            wanted.chunk_by(|one, other| one.emitted == other.emitted).for_each(|chunk| backlog.admit(chunk.to_vec()));
            backlog.finish();
            tally.set_waiting(backlog.waiting());
        }
        !outputs.is_empty()
    }
}

/// A running Redis consumer.
struct Redis {
    settings: Settings,
    tallies: Tallies,
    filter: Arc<Mutex<StreamerFilter>>,
    writers: Vec<KlineWriter>,
    values: Option<Sender<Point>>,
    /// How many writers have accepted the delivery in progress: the others get it when it is repeated.
    accepted: usize,
}

/// An output of klines with its writer.
struct KlineWriter {
    output: Output,
    sender: Sender<Kline>,
}

impl Settings {
    /// Returns the outputs that every closed kline goes to, with their names.
    fn ordered_outputs(&self, filter: &Arc<Mutex<StreamerFilter>>) -> Vec<(&'static str, Output)> {
        let names = |base: &str| Names::new(base, self.first);
        let publish = self.publish.then(|| Output::Publish { names: names(&self.channel), filter: filter.clone() });
        let append = |stream: &Stream| Output::Append { names: names(&stream.name), max_len: stream.max_len };
        let stream = self.stream.as_ref().map(append);
        [publish.map(|output| (PUBLISH, output)), stream.map(|output| (STREAM, output))].into_iter().flatten().collect()
    }

    fn journal(&self, output: &'static str) -> Journal {
        Journal::new(&self.name, output, self.address.shown())
    }

    /// Opens the spill of an output. Without a spill, klines wait in memory and then in the queue.
    fn open_spill(&self, output: &'static str) -> Option<(Spill, Found)> {
        let SpillSettings { folder, most_bytes, data_dir } = self.spill.as_ref()?;
        let folder = folder.join(output);
        // Each of two outputs gets half of the bytes.
        let outputs = u64::from(self.publish) + u64::from(self.stream.is_some());
        let opened = Spill::open(&folder, most_bytes / outputs.max(1), data_dir);
        opened
            .inspect_err(|error| {
                let (consumer, folder) = (&self.name, folder.display());
                error!(consumer, output, %folder, %error, "klines cannot wait on disk while redis is away");
            })
            .ok()
    }
}

impl Redis {
    /// Starts the writers of the enabled outputs.
    fn start_writers(&mut self) -> Result<(), Failure> {
        let (settings, tallies) = (&self.settings, &self.tallies);
        let mut started = Vec::new();
        for (name, output) in settings.ordered_outputs(&self.filter) {
            started.push(self.start_kline_writer(output, name, self.ordered(name), tallies.of(name))?);
        }
        if let Some(which) = settings.last_value {
            let output = Output::Set { prefix: settings.channel.clone(), which };
            let backlog = Newest::new(settings.journal("last_value"), tallies.last_value.clone());
            started.push(self.start_kline_writer(output, "last_value", backlog, &tallies.last_value)?);
        }
        let values = if settings.values {
            let backlog = Published::new(settings.journal("values"), tallies.values.clone());
            Some(self.start_writer(Values { first: settings.first }, "values", backlog, &tallies.values)?)
        } else {
            None
        };
        (self.writers, self.values) = (started, values);
        Ok(())
    }

    fn start_kline_writer(
        &self,
        output: Output,
        name: &'static str,
        backlog: impl Backlog<Item = Kline> + Send + 'static,
        tally: &Arc<Tally>,
    ) -> Result<KlineWriter, Failure> {
        let sender = self.start_writer(output.clone(), name, backlog, tally)?;
        Ok(KlineWriter { output, sender })
    }

    fn start_writer<B: Backlog + Send + 'static>(
        &self,
        output: impl Commands<B::Item>,
        name: &'static str,
        backlog: B,
        tally: &Arc<Tally>,
    ) -> Result<Sender<B::Item>, Failure> {
        let settings = &self.settings;
        let writer = RedisWriter::new(output, settings.address.clone(), backlog, settings.journal(name), tally.clone());
        writer.start().map_err(|error| Failure::Retry(format!("no thread for its writer: {error}")))
    }

    /// Creates an ordered backlog with the klines that an earlier run left on disk.
    fn ordered(&self, output: &'static str) -> Ordered {
        let mut journal = self.settings.journal(output);
        let opened = self.settings.open_spill(output);
        if let Some((_, found)) = &opened {
            journal.found(*found);
        }
        Ordered::new(opened.map(|(spill, _)| spill), journal, self.tallies.of(output).clone())
    }
}

impl Consumer for Redis {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        let closed_only = self.settings.last_value != Some(LastValue::Open);
        Ok(Subscription { closed_only, ..Subscription::default() })
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.start_writers()
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        if delivery.ending {
            self.writers.iter().for_each(|writer| writer.sender.end());
            self.values.iter().for_each(Sender::end);
        }
        for writer in self.writers.iter_mut().skip(self.accepted) {
            let wanted: Vec<Arc<Kline>> =
                delivery.klines.iter().filter(|kline| writer.output.wants(kline)).cloned().collect();
            if !wanted.is_empty() {
                writer.sender.send(wanted)?;
            }
            self.accepted += 1;
        }
        if let Some(values) = self.values.as_ref().filter(|_| !delivery.values.is_empty()) {
            values.send(delivery.values.clone())?;
        }
        self.accepted = 0;
        Ok(Next::Deliver)
    }

    fn is_settled(&self) -> bool {
        self.tallies.in_memory() == 0
    }

    fn stop(&mut self) {
        // Closes all writers before it waits for any, so that they end at the same time.
        let mut threads: Vec<_> = self.writers.drain(..).map(|writer| writer.sender.close()).collect();
        threads.extend(self.values.take().map(Sender::close));
        for thread in threads {
            if thread.join().is_err() {
                error!(consumer = self.settings.name, "a writer's thread panicked");
            }
        }
    }
}
