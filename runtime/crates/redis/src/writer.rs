//! The writer of one output: a thread with a Redis connection and a backlog. It reconnects whenever the connection is
//! lost.
//!
//! Sends pipelines, several in flight at a time; after a disconnection it sends a single batch until that is
//! acknowledged. Knows neither where klines wait (`backlog`) nor what the commands are (`output`).

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, RedisError, Value};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use klines_delivery::{CrashKind, Failure};
use klines_system::backoff::Backoff;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backlog::{Backlog, Batch};
use super::connection::{Address, Trouble};
use super::journal::Journal;
use super::output::Commands;
use super::tally::{Link, Tally};

/// Maximum number of klines between the consumer and the writer. When it is reached the consumer waits, and its queue
/// handles it like any slow consumer.
const INBOX: usize = 8_192;
/// How long the consumer waits for room before it answers `Retry`.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of batches that are received at once, and of one pipeline.
const MAX_BATCHES: usize = 128;
/// Number of klines after which no batch is added to a pipeline.
const PIPELINE_KLINES: usize = 2_048;
/// Maximum number of pipelines in flight.
const MAX_IN_FLIGHT: usize = 8;
/// Shortest and longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// An interruption that lasts this long is an outage: klines go to disk.
const OUTAGE_AFTER: Duration = Duration::from_secs(1);
/// How long Redis may acknowledge nothing at the end of a run. Then the writer stops sending; the backlog keeps the
/// rest if it can.
const SHUTDOWN_IDLE: Duration = Duration::from_secs(2);
/// How long the writer sends at the end of a run, even if Redis goes on acknowledging. The manager waits 10 s.
const SHUTDOWN_TOTAL: Duration = Duration::from_secs(7);

type Items<T> = Vec<Arc<T>>;

/// Everything that the thread owns.
pub(super) struct RedisWriter<B: Backlog, O> {
    output: O,
    address: Address,
    backlog: B,
    journal: Journal,
    tally: Arc<Tally>,
    inbox: Option<Receiver<Items<B::Item>>>,
    room: Arc<Semaphore>,
    /// Cancelled when the run ends.
    ending: CancellationToken,
    /// The pipelines in flight, oldest first.
    sent: VecDeque<InFlight<B::Item>>,
    backoff: Backoff,
    /// Since when Redis takes no klines; `None` while it does.
    lost: Option<Instant>,
    /// Set when the run ends: when to stop sending, and the latest time to which an acknowledgement extends that.
    until: Option<(Instant, Instant)>,
    text: String,
}

/// The batches of a pipeline in flight, each with the number of its commands.
type InFlight<T> = VecDeque<(Batch<T>, usize)>;

/// The consumer's handle of a writer.
pub(super) struct Sender<T> {
    sender: mpsc::Sender<Items<T>>,
    room: Arc<Semaphore>,
    ending: EndOnDrop,
    tally: Arc<Tally>,
    handle: Handle,
    thread: JoinHandle<()>,
}

impl<T> Sender<T> {
    /// Sends klines or values to the writer. Waits for room, except at the end of a run.
    pub(super) fn send(&self, items: Items<T>) -> Result<(), Failure> {
        let (is_ending, count) = (self.ending.0.is_cancelled(), items.len());
        if !is_ending {
            self.reserve(weight(&items))?;
        }
        self.tally.enqueued(count);
        // At the end of a run the writer takes everything, without a bound: it is at most what the queue holds.
        let sent =
            if is_ending { self.sender.blocking_send(items).is_ok() } else { self.sender.try_send(items).is_ok() };
        if !sent {
            self.tally.dequeued(count);
            return Err(ended());
        }
        Ok(())
    }

    fn reserve(&self, permits: u32) -> Result<(), Failure> {
        let permit = match self.room.clone().try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let room = self.room.clone();
                // The timeout is created inside the future because it needs the runtime's clock.
                let waited = async move { tokio::time::timeout(ROOM_TIMEOUT, room.acquire_many_owned(permits)).await };
                match self.handle.block_on(waited) {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(ended()),
                    Err(_) => return Err(Failure::Retry("redis takes no klines, and no more can wait".to_owned())),
                }
            }
        };
        permit.forget();
        Ok(())
    }

    /// Signals that the run ends: the writer still takes all klines, and soon stops waiting for acknowledgements.
    pub(super) fn end(&self) {
        self.ending.0.cancel();
    }

    /// Closes the inbox and signals that the run ends. Returns the thread, which ends soon.
    pub(super) fn close(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Signals that the run ends when it is dropped, so that a consumer which is dropped without `stop` ends its writers
/// too.
struct EndOnDrop(CancellationToken);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn ended() -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: "its writer to redis has ended".to_owned() }
}

/// Returns the permits that klines take up in the inbox.
fn weight<T>(klines: &Items<T>) -> u32 {
    u32::try_from(klines.len().clamp(1, INBOX)).unwrap_or(u32::MAX)
}

/// Closes the semaphore when the writer's thread ends, so that a consumer that waits for room stops waiting.
struct CloseOnDrop(Arc<Semaphore>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<B: Backlog + Send + 'static, O: Commands<B::Item>> RedisWriter<B, O> {
    pub(super) fn new(output: O, address: Address, backlog: B, journal: Journal, tally: Arc<Tally>) -> Self {
        Self {
            output,
            address,
            backlog,
            journal,
            tally,
            inbox: None,
            room: Arc::new(Semaphore::new(INBOX)),
            ending: CancellationToken::new(),
            sent: VecDeque::new(),
            backoff: Backoff::between(PAUSES.0, PAUSES.1),
            lost: Some(Instant::now()),
            until: None,
            text: String::new(),
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system cannot create the thread or the event queue.
    pub(super) fn start(mut self) -> io::Result<Sender<B::Item>> {
        // One slot for each permit of `room`: `try_send` finds a slot whenever permits were granted.
        let (sender, inbox) = mpsc::channel(INBOX);
        self.inbox = Some(inbox);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, room) = (runtime.handle().clone(), self.room.clone());
        let (ending, tally) = (EndOnDrop(self.ending.clone()), self.tally.clone());
        let thread = thread::Builder::new().name("redis".to_owned()).spawn(move || {
            let _close = CloseOnDrop(self.room.clone());
            runtime.block_on(self.run());
        })?;
        Ok(Sender { sender, room, ending, tally, handle, thread })
    }

    async fn run(mut self) {
        while !self.is_done() {
            let address = self.address.clone();
            let dialled = self.receive_during(async move { address.dial().await }).await;
            let trouble = match dialled {
                Some(Ok(connection)) => match self.serve(connection).await {
                    Ok(()) => break,
                    Err(trouble) => trouble,
                },
                Some(Err(trouble)) => trouble,
                None => break,
            };
            self.disconnected(&trouble);
            let pause = self.backoff.wait();
            if self.receive_during(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.requeue();
        // Klines that the consumer still sends do not go to Redis any more: they are kept on disk or counted as lost.
        let mut arrived = Vec::with_capacity(MAX_BATCHES);
        while self.inbox.is_some() {
            let received = receive(&mut self.inbox, &mut arrived).await;
            self.admit(received, &mut arrived);
        }
        self.backlog.finish();
        self.publish_waiting();
    }

    /// Returns whether the inbox is closed and everything is acknowledged.
    fn is_done(&self) -> bool {
        self.inbox.is_none() && self.backlog.is_idle() && self.sent.is_empty()
    }

    /// Returns whether it receives from the inbox; if not, klines wait there.
    fn receives(&self) -> bool {
        self.until.is_some() || self.backlog.has_room()
    }

    /// Waits until the time to stop sending; forever while the run does not end.
    async fn wait_until(until: Option<(Instant, Instant)>) {
        match until {
            Some((until, _)) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Starts the shutdown: sets the time to stop sending.
    fn end(&mut self) {
        let now = Instant::now();
        self.until = Some((now + SHUTDOWN_IDLE, now + SHUTDOWN_TOTAL));
        let waiting = self.tally.in_memory() + self.tally.on_disk();
        if waiting > 0 {
            self.journal.ending(waiting);
        }
    }

    /// Publishes in the tally what waits.
    fn publish_waiting(&self) {
        self.tally.set_waiting(self.backlog.waiting());
    }

    /// Sends the backlog until the connection fails, everything is done, or the time at the end of the run is over.
    async fn serve(&mut self, connection: MultiplexedConnection) -> Result<(), Trouble> {
        let (mut pipelines, mut arrived) = (FuturesOrdered::new(), Vec::with_capacity(MAX_BATCHES));
        let mut is_confirmed = self.backlog.is_idle();
        if is_confirmed {
            self.connected();
        }
        loop {
            let (depth, batches) = if is_confirmed { (MAX_IN_FLIGHT, MAX_BATCHES) } else { (1, 1) };
            while pipelines.len() < depth
                && let Some(pipeline) = self.next_pipeline(batches)
            {
                let mut connection = connection.clone();
                pipelines.push_back(async move {
                    let commands = pipeline.len();
                    connection.send_packed_commands(&pipeline, 0, commands).await
                });
            }
            if self.is_done() {
                return Ok(());
            }
            self.publish_waiting();
            tokio::select! {
                biased;
                () = self.ending.cancelled(), if self.until.is_none() => self.end(),
                Some(answer) = pipelines.next() => {
                    self.acknowledge(answer)?;
                    if !is_confirmed {
                        is_confirmed = true;
                        self.connected();
                    }
                }
                received = receive(&mut self.inbox, &mut arrived), if self.receives() => {
                    self.admit(received, &mut arrived);
                }
                () = Self::wait_until(self.until) => return Ok(()),
            }
        }
    }

    /// Builds the next pipeline of at most `batches` batches of the backlog; `None` if the backlog has none.
    fn next_pipeline(&mut self, batches: usize) -> Option<Pipeline> {
        let (mut pipeline, mut in_flight, mut klines) = (Pipeline::with_capacity(batches), InFlight::new(), 0);
        while in_flight.len() < batches
            && klines < PIPELINE_KLINES
            && let Some(batch) = self.backlog.next()
        {
            klines += batch.items.len();
            let commands = self.output.commands(&batch.items, &mut pipeline, &mut self.text);
            in_flight.push_back((batch, commands));
        }
        if in_flight.is_empty() {
            return None;
        }
        self.sent.push_back(in_flight);
        Some(pipeline)
    }

    /// Acknowledges the batches of the oldest pipeline by its answers, up to the first error.
    fn acknowledge(&mut self, answer: Result<Vec<Value>, RedisError>) -> Result<(), Trouble> {
        let answer = answer.map_err(|error| Trouble::from(&error))?;
        let mut answers = answer.iter();
        let Some(in_flight) = self.sent.front_mut() else { return Ok(()) };
        while let Some((batch, commands)) = in_flight.front() {
            for answer in answers.by_ref().take(*commands) {
                if let Value::ServerError(error) = answer {
                    return Err(Trouble::from(error));
                }
            }
            self.backlog.acknowledged(batch);
            in_flight.pop_front();
        }
        self.sent.pop_front();
        if let Some((until, latest)) = &mut self.until {
            *until = (Instant::now() + SHUTDOWN_IDLE).min(*latest);
        }
        Ok(())
    }

    /// Notes that Redis takes klines.
    fn connected(&mut self) {
        self.backoff.reset();
        self.lost = None;
        self.tally.set_link(Link::Up);
        self.backlog.on_connected();
        self.journal.up();
    }

    /// Notes that Redis takes no klines, and requeues what it has not acknowledged.
    fn disconnected(&mut self, trouble: &Trouble) {
        self.lost.get_or_insert_with(Instant::now);
        self.tally.set_link(Link::Down);
        self.journal.down(trouble, &self.output.rights());
        self.requeue();
    }

    fn requeue(&mut self) {
        let sent = self.sent.drain(..).flatten().map(|(batch, _)| batch).collect();
        self.backlog.requeue(sent);
    }

    /// Waits for `future` and receives klines meanwhile. Returns `None` when the inbox is
    /// closed and everything is acknowledged, or when the time limit for the end of the run has passed.
    async fn receive_during<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut arrived = Vec::with_capacity(MAX_BATCHES);
        tokio::pin!(future);
        loop {
            if self.lost.is_some_and(|lost| lost.elapsed() >= OUTAGE_AFTER) {
                self.backlog.on_outage();
            }
            if self.is_done() {
                return None;
            }
            self.publish_waiting();
            tokio::select! {
                biased;
                () = self.ending.cancelled(), if self.until.is_none() => self.end(),
                done = &mut future => return Some(done),
                received = receive(&mut self.inbox, &mut arrived), if self.receives() => {
                    self.admit(received, &mut arrived);
                }
                () = Self::wait_until(self.until) => return None,
            }
        }
    }

    /// Moves received klines to the backlog. `received` is 0 when the inbox is closed.
    fn admit(&mut self, received: usize, arrived: &mut Vec<Items<B::Item>>) {
        if received == 0 {
            self.inbox = None;
        }
        let mut freed = 0;
        for klines in arrived.drain(..) {
            freed += weight(&klines) as usize;
            let count = klines.len();
            self.backlog.admit(klines);
            self.tally.dequeued(count);
        }
        self.room.add_permits(freed);
    }
}

/// Receives up to [`MAX_BATCHES`] at once. Never returns when `inbox` is `None`, because it is known to be closed.
async fn receive<T>(inbox: &mut Option<Receiver<Items<T>>>, arrived: &mut Vec<Items<T>>) -> usize {
    match inbox {
        Some(inbox) => inbox.recv_many(arrived, MAX_BATCHES).await,
        None => std::future::pending().await,
    }
}
