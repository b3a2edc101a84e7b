//! Layer 2: feed messages and ticks in, batches of klines out. Local time becomes exchange time here, and nowhere else.
//!
//! A window closes when the connections say that they have read what was sent until its end; the only word that goes
//! back to them is when that could next be. Never waits for a consumer: the hub's queues take a batch or drop their own oldest. `playback` drives the same
//! aggregator on recorded time.

mod clocks;
mod connection;
mod lane;
pub mod playback;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use klines_delivery::hub::Hub;
use klines_domain::aggregator::Tally;
use klines_domain::feed::FeedMessage;
use klines_domain::kline::Batch;
use klines_domain::symbol::Category;
use klines_domain::time::LocalMillis;
use klines_system::clock::LocalClock;
use tokio::sync::{mpsc, watch};

pub use self::lane::Lane;

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
pub type Watched = (Lane, Vec<watch::Sender<LocalMillis>>);

/// All categories, driven by messages and the local clock.
pub struct Pipeline {
    lanes: Vec<Watched>,
    /// Categories that are still to come; none when the channel is closed.
    joining: Option<mpsc::Receiver<Watched>>,
    clock: LocalClock,
    hub: Arc<Hub>,
    tallies: Tallies,
    out: Vec<Batch>,
}

impl Pipeline {
    /// Joins categories to the consumers' hub, each when it comes. The first message of one that is announced waits for its
    /// lane.
    #[must_use]
    pub fn new(joining: mpsc::Receiver<Watched>, clock: LocalClock, hub: Arc<Hub>, tallies: Tallies) -> Self {
        Self { lanes: Vec::new(), joining: Some(joining), clock, hub, tallies, out: Vec::new() }
    }

    /// Runs until every sender of the inbox is gone, then gives out what is open.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<FeedMessage>) {
        loop {
            let pause = self.pause();
            tokio::select! { biased;
                message = inbox.recv() => match message {
                    Some(message) => {
                        self.expect(message.category).await;
                        self.take(message);
                    }
                    None => break,
                },
                lane = next(&mut self.joining) => self.join(lane),
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

    /// Waits for the lane of a category, unless it is there or none will come. Whoever spawns a feed sends its lane.
    async fn expect(&mut self, category: Category) {
        while self.joining.is_some() && !self.lanes.iter().any(|(lane, _)| lane.category() == category) {
            let lane = next(&mut self.joining).await;
            self.join(lane);
        }
    }

    fn join(&mut self, lane: Option<Watched>) {
        let Some(lane) = lane else {
            self.joining = None;
            return;
        };
        self.lanes.push(lane);
        self.lanes.sort_by_key(|(lane, _)| lane.category());
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
        let mut is_more = true;
        while is_more {
            is_more = false;
            for (lane, _) in &mut self.lanes {
                is_more |= lane.finish(&mut self.out);
            }
            self.publish();
        }
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

/// Waits for the next lane; for ever once there are no more.
async fn next(joining: &mut Option<mpsc::Receiver<Watched>>) -> Option<Watched> {
    match joining {
        Some(joining) => joining.recv().await,
        None => std::future::pending().await,
    }
}
