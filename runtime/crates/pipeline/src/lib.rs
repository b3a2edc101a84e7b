//! Turns feed messages and ticks into batches of klines. The only place that converts local time to exchange time in a
//! live run.
//!
//! A window closes when the connections report that they have read everything sent until its end. The pipeline sends
//! them only the time at which that could next be. It never waits for a consumer: the hub's queues take a batch or drop
//! their oldest klines. It never waits for the answers of a repair either: they come in like messages. `playback` drives
//! the same aggregator on recorded time.

mod category_pipeline;
mod clocks;
mod connection;
pub mod playback;
mod progress;
pub mod repair;
mod union;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use klines_delivery::hub::Hub;
use klines_domain::aggregator::Tally;
use klines_domain::feed::{FeedMessage, Renewals};
use klines_domain::interval::Interval;
use klines_domain::kline::Batch;
use klines_domain::repair::{Answer, Failure, Request};
use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{LocalMillis, Millis, SECOND};
use klines_system::clock::LocalClock;
use tokio::sync::{mpsc, watch};

pub use self::category_pipeline::{CategoryPipeline, Published};
use self::repair::RepairStatus;

/// The longest pause between two ticks: the exchange's clock may be faster than expected.
const MAX_PAUSE: Duration = Duration::from_millis(50);
/// How long a repair waits after a request that could not be sent.
const UNSENT_WAIT: Millis = 10 * SECOND;
/// How often the state of the repairs is recorded: it counts symbols, which would cost too much at each message.
const STATUS_INTERVAL: Millis = 100;

/// What one category has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CategoryTally {
    /// The category.
    pub category: Category,
    /// Its trades and gaps, at most one tick old.
    pub tally: Tally,
    /// The state of its repairs, at most 100 ms old; `None` if gaps are not repaired.
    pub repair: Option<RepairStatus>,
}

/// The tallies of each category; readable while the pipeline runs.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<Vec<CategoryTally>>>);

impl Tallies {
    /// Returns the tallies of the categories.
    #[must_use]
    pub fn read(&self) -> Vec<CategoryTally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A category and what it is connected to.
pub struct CategoryFeed {
    /// Its pipeline.
    pub pipeline: CategoryPipeline,
    /// For each of its connections the channel that announces when the next boundary could close, in local time.
    pub boundaries: Vec<watch::Sender<LocalMillis>>,
    /// Takes the requests of its repairs; `None` if gaps are not repaired.
    pub requests: Option<mpsc::Sender<Request>>,
    /// Announces the symbols whose topics are to be subscribed to again.
    pub renewals: watch::Sender<Renewals>,
}

/// What the pipeline learns about its categories while it runs.
pub enum CategoryUpdate {
    /// The symbols of a category are known.
    Opened(Box<CategoryFeed>),
    /// Other symbols of a category are watched.
    Changed(SymbolChange),
    /// Klines of these intervals are made, in all categories.
    Intervals(Vec<Interval>),
}

/// A change of the symbols of a category.
#[derive(Debug)]
pub struct SymbolChange {
    /// The category.
    pub category: Category,
    /// Symbols that are watched from now on. They get the next numbers, in order.
    pub joined: Vec<Symbol>,
    /// What others have published of those.
    pub published: Published,
    /// Symbols that are no longer watched.
    pub left: Vec<SymbolId>,
    /// For each of the category's connections, earlier ones included, the channel as in [`CategoryFeed`].
    pub boundaries: Vec<watch::Sender<LocalMillis>>,
}

/// The pipelines of all categories, driven by messages, answers and the local clock.
pub struct Pipeline {
    categories: Vec<CategoryFeed>,
    /// The intervals, if they have changed: a category may have been opened with earlier ones.
    intervals: Option<Vec<Interval>>,
    /// Delivers further categories, symbols and intervals; `None` when the channel is closed.
    joining: Option<mpsc::Receiver<CategoryUpdate>>,
    /// Delivers the answers to requests; `None` when the channel is closed.
    answers: Option<mpsc::Receiver<(Category, Answer)>>,
    clock: LocalClock,
    hub: Arc<Hub>,
    tallies: Tallies,
    /// When the state of the repairs was last recorded.
    status_at: LocalMillis,
    out: Vec<Batch>,
}

impl Pipeline {
    /// Builds a pipeline that publishes to `hub`, and receives its categories and their changes from `joining` and the
    /// answers to their requests from `answers`. The first message of a connection waits until the connection has been
    /// received.
    #[must_use]
    pub fn new(
        joining: mpsc::Receiver<CategoryUpdate>,
        answers: mpsc::Receiver<(Category, Answer)>,
        clock: LocalClock,
        hub: Arc<Hub>,
        tallies: Tallies,
    ) -> Self {
        let (joining, answers) = (Some(joining), Some(answers));
        let status_at = LocalMillis::new(0);
        Self {
            categories: Vec::new(),
            intervals: None,
            joining,
            answers,
            clock,
            hub,
            tallies,
            status_at,
            out: Vec::new(),
        }
    }

    /// Runs until every sender of the inbox is gone, then emits the open windows. Answers that are still to come are not
    /// awaited.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<FeedMessage>) {
        loop {
            let pause = self.pause();
            tokio::select! { biased;
                // At most as many as REST requests are allowed, so that messages do not wait.
                answer = next(&mut self.answers) => self.answer(answer),
                message = inbox.recv() => match message {
                    Some(message) => {
                        self.await_connection(message.category, message.connection).await;
                        self.take(message);
                    }
                    None => break,
                },
                update = next(&mut self.joining) => self.join(update),
                () = tokio::time::sleep(pause) => {}
            }
            self.tick();
        }
        self.finish();
    }

    fn take(&mut self, message: FeedMessage) {
        if let Some(feed) = self.categories.iter_mut().find(|feed| feed.pipeline.category() == message.category) {
            feed.pipeline.take(message, &mut self.out);
            self.publish();
        }
    }

    fn answer(&mut self, answer: Option<(Category, Answer)>) {
        let Some((category, answer)) = answer else {
            self.answers = None;
            return;
        };
        let local = self.clock.now();
        if let Some(feed) = self.categories.iter_mut().find(|feed| feed.pipeline.category() == category) {
            feed.pipeline.answer(answer, local, &mut self.out);
            self.publish();
        }
    }

    /// Waits for a connection of a category, unless it is already known or the channel is closed. The code that spawns
    /// connections sends them first.
    async fn await_connection(&mut self, category: Category, connection: Option<usize>) {
        while self.joining.is_some() && !self.knows(category, connection) {
            let update = next(&mut self.joining).await;
            self.join(update);
        }
    }

    fn knows(&self, category: Category, connection: Option<usize>) -> bool {
        let feed = self.categories.iter().find(|feed| feed.pipeline.category() == category);
        feed.is_some_and(|feed| connection.is_none_or(|number| number < feed.boundaries.len()))
    }

    fn join(&mut self, update: Option<CategoryUpdate>) {
        match update {
            None => self.joining = None,
            Some(CategoryUpdate::Opened(mut feed)) => {
                if let Some(intervals) = &self.intervals {
                    feed.pipeline.set_intervals(intervals.clone(), &mut self.out);
                }
                self.categories.push(*feed);
                self.categories.sort_by_key(|feed| feed.pipeline.category());
            }
            Some(CategoryUpdate::Changed(SymbolChange { category, joined, published, left, boundaries })) => {
                if let Some(feed) = self.categories.iter_mut().find(|feed| feed.pipeline.category() == category) {
                    feed.pipeline.expect(published);
                    feed.pipeline.change(&joined, &left, &mut self.out);
                    feed.boundaries = boundaries;
                    self.publish();
                }
            }
            Some(CategoryUpdate::Intervals(intervals)) => {
                for feed in &mut self.categories {
                    feed.pipeline.set_intervals(intervals.clone(), &mut self.out);
                }
                self.intervals = Some(intervals);
            }
        }
    }

    fn tick(&mut self) {
        let local = self.clock.now();
        for feed in &mut self.categories {
            feed.pipeline.tick(local, &mut self.out);
            feed.send_requests(local, &mut self.out);
            feed.renew();
        }
        self.publish();
        self.announce();
        self.record(local - self.status_at >= STATUS_INTERVAL);
    }

    fn finish(&mut self) {
        let mut is_more = true;
        while is_more {
            is_more = false;
            for feed in &mut self.categories {
                is_more |= feed.pipeline.finish(&mut self.out);
            }
            self.publish();
        }
        self.record(true);
    }

    fn publish(&mut self) {
        for batch in self.out.drain(..) {
            self.hub.publish(&batch);
        }
    }

    /// Announces to connections when the next boundary could close, if that has changed.
    fn announce(&self) {
        for CategoryFeed { pipeline, boundaries, .. } in &self.categories {
            for (number, connection) in boundaries.iter().enumerate() {
                let boundary = pipeline.boundary(number);
                connection.send_if_modified(|known| std::mem::replace(known, boundary) != boundary);
            }
        }
    }

    /// Records the tallies, and the state of the repairs if `has_status`.
    fn record(&mut self, has_status: bool) {
        if has_status {
            self.status_at = self.clock.now();
        }
        let mut tallies = self.tallies.0.lock().unwrap_or_else(PoisonError::into_inner);
        for CategoryFeed { pipeline, requests, .. } in &self.categories {
            let (category, tally) = (pipeline.category(), pipeline.tally());
            let status = || requests.is_some().then(|| pipeline.repair_status());
            match tallies.iter_mut().find(|known| known.category == category) {
                Some(known) if !has_status => known.tally = tally,
                Some(known) => (known.tally, known.repair) = (tally, status()),
                None => {
                    tallies.push(CategoryTally { category, tally, repair: status() });
                    tallies.sort_by_key(|known| known.category);
                }
            }
        }
    }

    fn pause(&mut self) -> Duration {
        let local = self.clock.now();
        self.categories.iter_mut().map(|feed| feed.pipeline.pause(local)).min().unwrap_or(MAX_PAUSE)
    }
}

impl CategoryFeed {
    /// Sends the requests that are due, without waiting. One that cannot be sent, because nothing executes requests any
    /// more, is answered here: its symbol would wait for the answer for ever.
    fn send_requests(&mut self, local: LocalMillis, out: &mut Vec<Batch>) {
        for request in self.pipeline.take_requests() {
            let is_sent = self.requests.as_ref().is_some_and(|requests| requests.try_send(request).is_ok());
            if !is_sent {
                let result = Err(Failure::Later { wait: UNSENT_WAIT });
                self.pipeline.answer(Answer { request, result }, local, out);
            }
        }
    }

    /// Announces the symbols whose topics are dead.
    fn renew(&mut self) {
        let dead = self.pipeline.take_renewals();
        if !dead.is_empty() {
            self.renewals.send_modify(|renewals| {
                dead.into_iter().for_each(|symbol| *renewals.entry(symbol).or_default() += 1);
            });
        }
    }
}

/// Waits for the next item; forever if the channel is closed.
async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}
