//! The Redis consumer: closed klines published as the predecessor did, and if wanted appended to streams and kept as
//! last values.
//!
//! What other consumers publish is published beside them. Each of the four is a lane with a thread, a connection and a backlog of its own, so that what one may not do or
//! cannot do now holds up nothing else. `consume` hands klines to the lanes and does not wait for Redis.

mod backlog;
mod connection;
mod journal;
mod lane;
mod meter;
mod output;
mod settings;
pub mod spill;
mod tally;

use std::sync::Arc;

use klines_delivery::consumer::KlineKeeper;
use klines_delivery::emit::Point;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Profile, Subscription};
use klines_domain::kline::Kline;
use tracing::error;

use self::backlog::{Backlog, Newest, Ordered, Published};
pub use self::connection::{Address, AddressError};
use self::journal::Journal;
use self::lane::{HandOver, Lane};
use self::output::{Commands, Names, Output, Values};
pub use self::settings::{LastValue, Settings, SpillSettings, Stream};
pub use self::tally::{Link, Tallies, Tally, Totals};
use crate::settings::{PUBLISH, STREAM};
use crate::spill::{Found, Spill};

/// Makes Redis consumers.
#[derive(Clone, Debug)]
pub struct RedisBlueprint {
    settings: Settings,
    tallies: Tallies,
}

impl RedisBlueprint {
    /// Prepares a consumer. Connects to nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let tallies = Tallies::new(&settings);
        Self { settings, tallies }
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

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let (settings, tallies) = (self.settings.clone(), self.tallies.clone());
        Ok(Box::new(Redis { settings, tallies, lanes: Vec::new(), values: None, handed: 0 }))
    }

    fn profile(&self) -> Profile {
        let (meter, keeper) = (Arc::new(self.tallies.clone()), Arc::new(self.clone()));
        Profile { takes_values: true, meter: Some(meter), keeper: Some(keeper), ..Profile::default() }
    }
}

impl KlineKeeper for RedisBlueprint {
    /// Puts them on disk for the next run, where there is a spill; what has no room there is counted.
    fn keep(&self, klines: &[Arc<Kline>]) -> bool {
        let outputs = self.settings.ordered_outputs();
        for (name, output) in &outputs {
            let wanted: Vec<_> = klines.iter().filter(|kline| output.wants(kline)).cloned().collect();
            if wanted.is_empty() {
                continue;
            }
            let (spill, tally) = (self.settings.open_spill(name).map(|(spill, _)| spill), self.tallies.of(name));
            let mut backlog = Ordered::new(spill, self.settings.journal(name), tally.clone());
            // A boundary that was made at once is published at once.
            wanted.chunk_by(|one, other| one.emitted == other.emitted).for_each(|chunk| backlog.admit(chunk.to_vec()));
            backlog.conclude();
            tally.show(backlog.waiting());
        }
        !outputs.is_empty()
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

impl Settings {
    /// The outputs that every closed kline goes to.
    fn ordered_outputs(&self) -> Vec<(&'static str, Output)> {
        let names = |base: &str| Names::new(base, self.first);
        let publish = self.publish.then(|| Output::Publish { names: names(&self.channel), extras: self.extras });
        let append = |stream: &Stream| Output::Append { names: names(&stream.name), max_len: stream.max_len };
        let stream = self.stream.as_ref().map(append);
        [publish.map(|output| (PUBLISH, output)), stream.map(|output| (STREAM, output))].into_iter().flatten().collect()
    }

    fn journal(&self, lane: &'static str) -> Journal {
        Journal::new(&self.name, lane, self.address.shown())
    }

    /// Opens a lane's folder; without it, klines wait in memory and then in the queue.
    fn open_spill(&self, lane: &'static str) -> Option<(Spill, Found)> {
        let SpillSettings { folder, most_bytes, data_dir } = self.spill.as_ref()?;
        let folder = folder.join(lane);
        // Two lanes stay within the whole with half of it each.
        let lanes = u64::from(self.publish) + u64::from(self.stream.is_some());
        let opened = Spill::open(&folder, most_bytes / lanes.max(1), data_dir);
        opened
            .inspect_err(|error| {
                let (consumer, folder) = (&self.name, folder.display());
                error!(consumer, lane, %folder, %error, "klines cannot wait on disk while redis is away");
            })
            .ok()
    }
}

impl Redis {
    /// Starts the lanes that are switched on.
    fn start_lanes(&mut self) -> Result<(), Failure> {
        let (settings, tallies) = (&self.settings, &self.tallies);
        let mut started = Vec::new();
        for (name, output) in settings.ordered_outputs() {
            started.push(self.lane(output, name, self.ordered(name), tallies.of(name))?);
        }
        if let Some(which) = settings.last_value {
            let output = Output::Set { prefix: settings.channel.clone(), which };
            let backlog = Newest::new(settings.journal("last_value"), tallies.last_value.clone());
            started.push(self.lane(output, "last_value", backlog, &tallies.last_value)?);
        }
        let values = if settings.values {
            let backlog = Published::new(settings.journal("values"), tallies.values.clone());
            Some(self.start_lane(Values { first: settings.first }, "values", backlog, &tallies.values)?)
        } else {
            None
        };
        (self.lanes, self.values) = (started, values);
        Ok(())
    }

    fn lane(
        &self,
        output: Output,
        name: &'static str,
        backlog: impl Backlog<Item = Kline> + Send + 'static,
        tally: &Arc<Tally>,
    ) -> Result<Running, Failure> {
        let hand_over = self.start_lane(output.clone(), name, backlog, tally)?;
        Ok(Running { output, hand_over })
    }

    fn start_lane<B: Backlog + Send + 'static>(
        &self,
        output: impl Commands<B::Item>,
        name: &'static str,
        backlog: B,
        tally: &Arc<Tally>,
    ) -> Result<HandOver<B::Item>, Failure> {
        let settings = &self.settings;
        let lane = Lane::new(output, settings.address.clone(), backlog, settings.journal(name), tally.clone());
        lane.start().map_err(|error| Failure::Retry(format!("no thread for its lane: {error}")))
    }

    /// Makes a backlog with what an earlier run left in it.
    fn ordered(&self, lane: &'static str) -> Ordered {
        let mut journal = self.settings.journal(lane);
        let opened = self.settings.open_spill(lane);
        if let Some((_, found)) = &opened {
            journal.found(*found);
        }
        Ordered::new(opened.map(|(spill, _)| spill), journal, self.tallies.of(lane).clone())
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

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        if delivery.ending {
            self.lanes.iter().for_each(|lane| lane.hand_over.end());
            self.values.iter().for_each(HandOver::end);
        }
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
        Ok(Next::Deliver)
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
