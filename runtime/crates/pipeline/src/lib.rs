//! Turns feed messages and ticks into batches of klines. The only place that converts local time to exchange time in a
//! live run.
//!
//! A window closes when the connections report that they have read everything sent until its end. The pipeline sends
//! them only the time at which that could next be. It never waits for a consumer: the hub's queues take a batch or drop
//! their oldest klines. `playback` drives the same aggregator on recorded time.

mod category_pipeline;
mod clocks;
mod connection;
pub mod playback;
pub mod repair;
mod union;

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

/// The longest pause between two ticks: the exchange's clock may be faster than expected.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// The tallies of each category; readable while the pipeline runs.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<Vec<(Category, Tally)>>>);

impl Tallies {
    /// Returns the tallies of the categories, at most one tick old.
    #[must_use]
    pub fn read(&self) -> Vec<(Category, Tally)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A category, and for each of its connections the channel that announces when the next boundary could close, in local
/// time.
pub type CategoryFeed = (CategoryPipeline, Vec<watch::Sender<LocalMillis>>);

/// The pipelines of all categories, driven by messages and the local clock.
pub struct Pipeline {
    categories: Vec<CategoryFeed>,
    /// Delivers further categories; `None` when the channel is closed.
    joining: Option<mpsc::Receiver<CategoryFeed>>,
    clock: LocalClock,
    hub: Arc<Hub>,
    tallies: Tallies,
    out: Vec<Batch>,
}

impl Pipeline {
    /// Builds a pipeline that publishes to `hub` and receives its categories from `joining`. The first message of a
    /// category waits until the category has been received.
    #[must_use]
    pub fn new(joining: mpsc::Receiver<CategoryFeed>, clock: LocalClock, hub: Arc<Hub>, tallies: Tallies) -> Self {
        Self { categories: Vec::new(), joining: Some(joining), clock, hub, tallies, out: Vec::new() }
    }

    /// Runs until every sender of the inbox is gone, then emits the open windows.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<FeedMessage>) {
        loop {
            let pause = self.pause();
            tokio::select! { biased;
                message = inbox.recv() => match message {
                    Some(message) => {
                        self.await_category(message.category).await;
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

    /// Waits for a category, unless it is already there or the channel is closed. The code that spawns a feed sends its
    /// category.
    async fn await_category(&mut self, category: Category) {
        while self.joining.is_some() && !self.categories.iter().any(|(pipeline, _)| pipeline.category() == category) {
            let pipeline = next(&mut self.joining).await;
            self.join(pipeline);
        }
    }

    fn join(&mut self, pipeline: Option<CategoryFeed>) {
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

    /// Announces to connections when the next boundary could close, if that has changed.
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
        self.categories.iter_mut().map(|(pipeline, _)| pipeline.pause(local)).min().unwrap_or(MAX_PAUSE)
    }
}

/// Waits for the next category; forever if the channel is closed.
async fn next(joining: &mut Option<mpsc::Receiver<CategoryFeed>>) -> Option<CategoryFeed> {
    match joining {
        Some(joining) => joining.recv().await,
        None => std::future::pending().await,
    }
}
