//! Layer 2: feed messages and ticks in, batches of klines out. Local time becomes exchange time here, and nowhere else.
//!
//! A window closes when the connections say that they have read what was sent until its end; the only word that goes
//! back to them is when that could next be. Never waits for a consumer: the hub's queues take a batch or drop their own oldest. `playback` drives the same
//! aggregator on recorded time.

mod connection;
mod lane;
pub mod playback;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::LocalClock;
use crate::consumer::hub::Hub;
use crate::domain::aggregator::Tally;
use crate::domain::feed::FeedMessage;
use crate::domain::kline::Batch;
use crate::domain::symbol::Category;
use crate::domain::time::Millis;

pub use lane::Lane;

/// The longest pause between two ticks: the exchange's clock may run ahead of what was expected.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What became of the trades of each category; readable while the pipeline runs.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<Vec<(Category, Tally)>>>);

impl Tallies {
    /// The categories' tallies, at most one tick old.
    #[must_use]
    pub fn read(&self) -> Vec<(Category, Tally)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A category and where each of its connections is told when the next boundary could close, in local time.
pub type Watched = (Lane, Vec<watch::Sender<Millis>>);

/// All categories, driven by messages and the local clock.
pub struct Pipeline {
    lanes: Vec<Watched>,
    clock: LocalClock,
    hub: Arc<Hub>,
    tallies: Tallies,
    out: Vec<Batch>,
}

impl Pipeline {
    /// Joins categories to the consumers' hub.
    #[must_use]
    pub fn new(lanes: Vec<Watched>, clock: LocalClock, hub: Arc<Hub>, tallies: Tallies) -> Self {
        Self { lanes, clock, hub, tallies, out: Vec::new() }
    }

    /// Runs until every sender of the inbox is gone, then gives out what is open.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<FeedMessage>) {
        loop {
            let pause = self.pause();
            tokio::select! { biased;
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = tokio::time::sleep(pause) => {}
            }
            self.tick();
        }
        self.finish();
    }

    fn take(&mut self, message: FeedMessage) {
        if let Some((lane, _)) = self.lanes.iter_mut().find(|(lane, _)| lane.category() == message.category) {
            lane.take(message, &mut self.out);
            self.publish();
        }
    }

    fn tick(&mut self) {
        let local = self.clock.now();
        for (lane, _) in &mut self.lanes {
            lane.tick(local, &mut self.out);
        }
        self.publish();
        self.announce();
        self.record();
    }

    fn finish(&mut self) {
        for (lane, _) in &mut self.lanes {
            lane.finish(&mut self.out);
        }
        self.publish();
        self.record();
    }

    fn publish(&mut self) {
        for batch in self.out.drain(..) {
            self.hub.publish(&batch);
        }
    }

    /// Tells connections when the next boundary could close, where that has changed.
    fn announce(&self) {
        for (lane, connections) in &self.lanes {
            for (number, connection) in connections.iter().enumerate() {
                let boundary = lane.boundary(number);
                connection.send_if_modified(|known| std::mem::replace(known, boundary) != boundary);
            }
        }
    }

    fn record(&self) {
        let mut tallies = self.tallies.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.clear();
        tallies.extend(self.lanes.iter().map(|(lane, _)| (lane.category(), lane.tally())));
    }

    fn pause(&mut self) -> Duration {
        let local = self.clock.now();
        self.lanes.iter_mut().map(|(lane, _)| lane.pause(local)).min().unwrap_or(LONGEST_PAUSE)
    }
}
