//! The Redis consumer: closed klines published as the predecessor did, and if wanted appended to streams and kept as
//! last values.
//!
//! What other consumers publish is published beside them. Each of the four is a lane with a thread, a connection and a backlog of its own, so that what one may not do or
//! cannot do now holds up nothing else. `consume` hands klines to the lanes and does not wait for Redis.

mod backlog;
mod connection;
mod journal;
mod lane;
mod output;

use std::path::PathBuf;
use std::sync::Arc;

use tracing::error;

use super::emit::Point;
use super::encode::Extras;
use super::spill::{Found, Spill};
use super::{Blueprint, Consumer, Delivery, Failure, Problem, Subscription};
use crate::domain::kline::Kline;
use crate::domain::symbol::Category;
use backlog::{Backlog, Newest, Ordered, Published};
use journal::Journal;
use lane::{HandOver, Lane};
use output::{Commands, Names, Output, Values};

pub use backlog::{Tally, Totals};
pub use connection::{Address, AddressError};

/// What the consumer is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, for the log.
    pub name: String,
    /// Where Redis is.
    pub address: Address,
    /// Channel of the first category; another's has the category's name behind it.
    pub channel: String,
    /// The category whose channel and stream have no suffix.
    pub first: Category,
    /// Whether closed klines are published.
    pub publish: bool,
    /// What is published beyond what the predecessor knew.
    pub extras: Extras,
    /// The stream that closed klines are appended to, if any.
    pub stream: Option<Stream>,
    /// Whether the last value of each series is kept in a key of its own, and whether that may be an open kline.
    pub last_value: Option<LastValue>,
    /// Whether values that consumers publish are published here too.
    pub values: bool,
    /// Where closed klines wait while Redis is away, and in how many bytes; nowhere if absent.
    pub spill: Option<(PathBuf, u64)>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Key of the first category; another's has the category's name behind it.
    pub name: String,
    /// About how many entries it keeps.
    pub max_len: u32,
}

/// What last values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastValue {
    /// The last closed kline.
    Closed,
    /// The last kline, open ones included.
    Open,
}

/// Makes Redis consumers.
#[derive(Debug)]
pub struct RedisBlueprint {
    settings: Settings,
    tallies: Tallies,
}

/// What each lane has done so far; they count on when an instance is made anew.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// Klines published.
    pub publish: Arc<Tally>,
    /// Klines appended to streams.
    pub stream: Arc<Tally>,
    /// Klines set as last values.
    pub last_value: Arc<Tally>,
    /// Values of consumers published.
    pub values: Arc<Tally>,
}

impl RedisBlueprint {
    /// Prepares a consumer. Connects to nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, tallies: Tallies::default() }
    }

    /// What its lanes count.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }
}

impl Blueprint for RedisBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        // The configuration's reader has checked them, with their places.
        Vec::new()
    }

    fn takes_values(&self) -> bool {
        true
    }

    fn instantiate(&mut self) -> Result<Box<dyn Consumer>, Failure> {
        let (settings, tallies) = (self.settings.clone(), self.tallies.clone());
        Ok(Box::new(Redis { settings, tallies, lanes: Vec::new(), values: None, handed: 0 }))
    }
}

/// A running Redis consumer.
struct Redis {
    settings: Settings,
    tallies: Tallies,
    lanes: Vec<Running>,
    values: Option<HandOver<Point>>,
    /// How many lanes have taken the delivery that is being consumed: the others get it when it comes again.
    handed: usize,
}

/// A lane and what it wants.
struct Running {
    output: Output,
    hand_over: HandOver<Kline>,
}

impl Redis {
    /// Starts the lanes that are switched on.
    fn start_lanes(&mut self) -> Result<(), Failure> {
        let settings = &self.settings;
        let names = |base: &str| Names::new(base, settings.first);
        let mut started = Vec::new();
        if settings.publish {
            let output = Output::Publish { names: names(&settings.channel), extras: settings.extras };
            started.push(self.lane(output, "publish", self.ordered("publish", &self.tallies.publish))?);
        }
        if let Some(stream) = &settings.stream {
            let output = Output::Append { names: names(&stream.name), max_len: stream.max_len };
            started.push(self.lane(output, "stream", self.ordered("stream", &self.tallies.stream))?);
        }
        if let Some(which) = settings.last_value {
            let output = Output::Set { prefix: settings.channel.clone(), which };
            started.push(self.lane(
                output,
                "last_value",
                Newest::new(self.journal("last_value"), self.tallies.last_value.clone()),
            )?);
        }
        self.lanes = started;
        if settings.values {
            let backlog = Published::new(self.journal("values"), self.tallies.values.clone());
            self.values = Some(self.start_lane(Values { first: settings.first }, "values", backlog)?);
        }
        Ok(())
    }

    fn lane(
        &self,
        output: Output,
        name: &'static str,
        backlog: impl Backlog<Item = Kline> + Send + 'static,
    ) -> Result<Running, Failure> {
        let hand_over = self.start_lane(output.clone(), name, backlog)?;
        Ok(Running { output, hand_over })
    }

    fn start_lane<B: Backlog + Send + 'static>(
        &self,
        output: impl Commands<B::Item>,
        name: &'static str,
        backlog: B,
    ) -> Result<HandOver<B::Item>, Failure> {
        let lane = Lane::new(output, self.settings.address.clone(), backlog, self.journal(name));
        lane.start().map_err(|error| Failure::Retry(format!("no thread for its lane: {error}")))
    }

    fn journal(&self, lane: &'static str) -> Journal {
        Journal::new(&self.settings.name, lane, self.settings.address.shown())
    }

    /// Makes a backlog with what an earlier run left in it.
    fn ordered(&self, lane: &'static str, tally: &Arc<Tally>) -> Ordered {
        let mut journal = self.journal(lane);
        let opened = self.open_spill(lane);
        if let Some((_, found)) = &opened {
            journal.found(*found);
        }
        Ordered::new(opened.map(|(spill, _)| spill), journal, tally.clone())
    }

    /// Opens a lane's folder; without it, klines wait in memory and then in the queue.
    fn open_spill(&self, lane: &'static str) -> Option<(Spill, Found)> {
        let (folder, most_bytes) = self.settings.spill.as_ref()?;
        let folder = folder.join(lane);
        // Two lanes stay within the whole with half of it each.
        let lanes = u64::from(self.settings.publish) + u64::from(self.settings.stream.is_some());
        let opened = Spill::open(&folder, most_bytes / lanes.max(1));
        opened
            .inspect_err(|error| {
                let (consumer, folder) = (&self.settings.name, folder.display());
                error!(consumer, lane, %folder, %error, "klines cannot wait on disk while redis is away");
            })
            .ok()
    }
}

impl Consumer for Redis {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        let closed_only = self.settings.last_value != Some(LastValue::Open);
        Ok(Subscription { closed_only, ..Subscription::default() })
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.start_lanes()
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        for lane in self.lanes.iter_mut().skip(self.handed) {
            let wanted: Vec<Arc<Kline>> =
                delivery.klines.iter().filter(|kline| lane.output.wants(kline)).cloned().collect();
            if !wanted.is_empty() {
                lane.hand_over.give(wanted)?;
            }
            self.handed += 1;
        }
        if let Some(values) = self.values.as_ref().filter(|_| !delivery.values.is_empty()) {
            values.give(delivery.values.clone())?;
        }
        self.handed = 0;
        Ok(())
    }

    fn stop(&mut self) {
        // All are told before any is waited for.
        let mut told: Vec<_> = self.lanes.drain(..).map(|lane| lane.hand_over.close()).collect();
        told.extend(self.values.take().map(HandOver::close));
        for thread in told {
            if thread.join().is_err() {
                error!(consumer = self.settings.name, "a lane's thread panicked");
            }
        }
    }
}
