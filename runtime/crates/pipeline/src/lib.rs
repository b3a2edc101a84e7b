//! Feed messages and ticks in, batches of klines out. Local time becomes exchange time here, and nowhere else.
//!
//! A window closes when the connections say that they have read what was sent until its end; the only word that goes
//! back to them is when that could next be. Never waits for a consumer: the hub's queues take a batch or drop their own oldest. `playback` drives the same
//! aggregator on recorded time.

mod category_pipeline;
mod clocks;
mod connection;
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

pub use self::category_pipeline::CategoryPipeline;

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

/// A category, and for each of its connections where to say when the next boundary could close, in local time.
pub type Watched = (CategoryPipeline, Vec<watch::Sender<LocalMillis>>);

/// All categories, driven by messages and the local clock.
pub struct Pipeline {
    categories: Vec<Watched>,
    /// Categories that are still to come; none when the channel is closed.
    joining: Option<mpsc::Receiver<Watched>>,
    clock: LocalClock,
    hub: Arc<Hub>,
    tallies: Tallies,
    out: Vec<Batch>,
}

impl Pipeline {
    /// Joins categories to the consumers' hub, each when it comes. The first message of one that is announced waits for its
    /// pipeline.
    #[must_use]
    pub fn new(joining: mpsc::Receiver<Watched>, clock: LocalClock, hub: Arc<Hub>, tallies: Tallies) -> Self {
        Self { categories: Vec::new(), joining: Some(joining), clock, hub, tallies, out: Vec::new() }
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
                pipeline = next(&mut self.joining) => self.join(pipeline),
                () = tokio::time::sleep(pause) => {}
            }
            self.tick();
        }
        self.finish();
    }

    fn take(&mut self, message: FeedMessage) {
        if let Some((pipeline, _)) =
            self.categories.iter_mut().find(|(pipeline, _)| pipeline.category() == message.category)
        {
            pipeline.take(message, &mut self.out);
            self.publish();
        }
    }

    /// Waits for a category's pipeline, unless it is there or none will come. Whoever spawns a feed sends it.
    async fn expect(&mut self, category: Category) {
        while self.joining.is_some() && !self.categories.iter().any(|(pipeline, _)| pipeline.category() == category) {
            let pipeline = next(&mut self.joining).await;
            self.join(pipeline);
        }
    }

    fn join(&mut self, pipeline: Option<Watched>) {
        let Some(pipeline) = pipeline else {
            self.joining = None;
            return;
        };
        self.categories.push(pipeline);
        self.categories.sort_by_key(|(pipeline, _)| pipeline.category());
    }

    fn tick(&mut self) {
        let local = self.clock.now();
        for (pipeline, _) in &mut self.categories {
            pipeline.tick(local, &mut self.out);
        }
        self.publish();
        self.announce();
        self.record();
    }

    fn finish(&mut self) {
        let mut is_more = true;
        while is_more {
            is_more = false;
            for (pipeline, _) in &mut self.categories {
                is_more |= pipeline.finish(&mut self.out);
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

    /// Announces to connections when the next boundary could close, where that has changed.
    fn announce(&self) {
        for (pipeline, connections) in &self.categories {
            for (number, connection) in connections.iter().enumerate() {
                let boundary = pipeline.boundary(number);
                connection.send_if_modified(|known| std::mem::replace(known, boundary) != boundary);
            }
        }
    }

    fn record(&self) {
        let mut tallies = self.tallies.0.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.clear();
        tallies.extend(self.categories.iter().map(|(pipeline, _)| (pipeline.category(), pipeline.tally())));
    }

    fn pause(&mut self) -> Duration {
        let local = self.clock.now();
        self.categories.iter_mut().map(|(pipeline, _)| pipeline.pause(local)).min().unwrap_or(LONGEST_PAUSE)
    }
}

/// Waits for the next category; for ever once there are no more.
async fn next(joining: &mut Option<mpsc::Receiver<Watched>>) -> Option<Watched> {
    match joining {
        Some(joining) => joining.recv().await,
        None => std::future::pending().await,
    }
}
