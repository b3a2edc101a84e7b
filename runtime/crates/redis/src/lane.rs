//! One way of klines into Redis: a thread with a connection and a backlog, which connects anew whenever it has to.
//!
//! Sends pipelines, several on their way at a time; after a loss a single parcel, until that is acknowledged. Knows
//! neither what waits where (`backlog`) nor what the commands are (`output`).

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
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backlog::{Backlog, Parcel};
use super::connection::{Address, Trouble};
use super::journal::Journal;
use super::output::Commands;
use super::tally::{Link, Tally};

/// Klines between the consumer and the lane. When they are that many the consumer waits, and its queue does what it
/// does with one that is slow.
const INBOX: usize = 8_192;
/// How long the consumer waits for room before it asks to be called again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Parcels taken from the inbox at once, and in one pipeline.
const PARCELS: usize = 128;
/// Klines at which a pipeline has enough.
const ENOUGH: usize = 2_048;
/// Pipelines on their way at a time.
const DEPTH: usize = 8;
/// Pauses between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// An interruption that lasts so long is more than a moment.
const MOMENT: Duration = Duration::from_secs(1);
/// How long Redis may acknowledge nothing at the end of a run: then what is left is kept, if it can be.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// How long the end may take, whatever is acknowledged. The manager waits 10 s.
const LAST_ANSWERS: Duration = Duration::from_secs(7);

type Items<T> = Vec<Arc<T>>;

/// What the thread owns.
pub(super) struct Lane<B: Backlog, O> {
    output: O,
    address: Address,
    backlog: B,
    journal: Journal,
    tally: Arc<Tally>,
    inbox: Option<Receiver<Items<B::Item>>>,
    room: Arc<Semaphore>,
    /// Cancelled when the run ends.
    ending: CancellationToken,
    /// What is on its way, oldest first.
    sent: VecDeque<Flight<B::Item>>,
    backoff: Backoff,
    /// When Redis was lost.
    lost: Option<Instant>,
    /// Once the run ends: when to give up, and when at the latest.
    until: Option<(Instant, Instant)>,
    text: String,
}

/// The parcels of a pipeline, each with the number of its commands.
type Flight<T> = VecDeque<(Parcel<T>, usize)>;

/// The consumer's end.
pub(super) struct HandOver<T> {
    sender: Sender<Items<T>>,
    room: Arc<Semaphore>,
    ending: EndOnDrop,
    tally: Arc<Tally>,
    handle: Handle,
    thread: JoinHandle<()>,
}

impl<T> HandOver<T> {
    /// Hands klines, or values, to the lane. Waits for room, but not at the end of a run.
    pub(super) fn give(&self, items: Items<T>) -> Result<(), Failure> {
        let (is_ending, count) = (self.ending.0.is_cancelled(), items.len());
        if !is_ending {
            self.reserve(weight(&items))?;
        }
        self.tally.handed(count);
        // At the end the lane takes what comes, whatever room it has: there is no more of it than the queue holds.
        let sent =
            if is_ending { self.sender.blocking_send(items).is_ok() } else { self.sender.try_send(items).is_ok() };
        if !sent {
            self.tally.received(count);
            return Err(gone());
        }
        Ok(())
    }

    fn reserve(&self, permits: u32) -> Result<(), Failure> {
        let permit = match self.room.clone().try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let room = self.room.clone();
                // Made inside, where there is a clock.
                let waited = async move { tokio::time::timeout(PATIENCE, room.acquire_many_owned(permits)).await };
                match self.handle.block_on(waited) {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(gone()),
                    Err(_) => return Err(Failure::Retry("redis takes no klines, and no more can wait".to_owned())),
                }
            }
        };
        permit.forget();
        Ok(())
    }

    /// Tells the lane that the run ends: it takes whatever is still handed over, and soon gives up what Redis does not
    /// acknowledge.
    pub(super) fn end(&self) {
        self.ending.0.cancel();
    }

    /// Tells the lane that nothing more comes; its thread ends soon.
    pub(super) fn close(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Tells the lane that nothing more comes, also when the consumer is dropped without being stopped.
struct EndOnDrop(CancellationToken);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn gone() -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: "its lane to redis has ended".to_owned() }
}

/// How much of the inbox klines take up.
fn weight<T>(klines: &Items<T>) -> u32 {
    u32::try_from(klines.len().clamp(1, INBOX)).unwrap_or(u32::MAX)
}

/// Tells the consumer that waits for room when the lane is gone.
struct Closing(Arc<Semaphore>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<B: Backlog + Send + 'static, O: Commands<B::Item>> Lane<B, O> {
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
    /// The operating system gives no thread or no events.
    pub(super) fn start(mut self) -> io::Result<HandOver<B::Item>> {
        // A place for every permit of `room`.
        let (sender, inbox) = mpsc::channel(INBOX);
        self.inbox = Some(inbox);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, room) = (runtime.handle().clone(), self.room.clone());
        let (ending, tally) = (EndOnDrop(self.ending.clone()), self.tally.clone());
        let thread = thread::Builder::new().name("redis".to_owned()).spawn(move || {
            let _closing = Closing(self.room.clone());
            runtime.block_on(self.run());
        })?;
        Ok(HandOver { sender, room, ending, tally, handle, thread })
    }

    async fn run(mut self) {
        while !self.is_done() {
            let address = self.address.clone();
            let dialled = self.meanwhile(async move { address.dial().await }).await;
            let trouble = match dialled {
                Some(Ok(connection)) => match self.serve(connection).await {
                    Ok(()) => break,
                    Err(trouble) => trouble,
                },
                Some(Err(trouble)) => trouble,
                None => break,
            };
            self.lose(&trouble);
            let pause = self.backoff.wait();
            if self.meanwhile(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.recall();
        // Whatever the consumer still hands over is not sent, but it is kept or counted.
        let mut arrived = Vec::with_capacity(PARCELS);
        while self.inbox.is_some() {
            let received = receive(&mut self.inbox, &mut arrived).await;
            self.admit(received, &mut arrived);
        }
        self.backlog.conclude();
        self.show();
    }

    /// Whether nothing comes and nothing is left.
    fn is_done(&self) -> bool {
        self.inbox.is_none() && self.backlog.is_idle() && self.sent.is_empty()
    }

    /// Whether it takes what comes; if not, that waits before it.
    fn takes(&self) -> bool {
        self.until.is_some() || self.backlog.has_room()
    }

    /// When the time for Redis is up; never before the run ends.
    async fn give_up(until: Option<(Instant, Instant)>) {
        match until {
            Some((until, _)) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// The run ends.
    fn end(&mut self) {
        let now = Instant::now();
        self.until = Some((now + LAST_ANSWER, now + LAST_ANSWERS));
        let waiting = self.tally.in_memory() + self.tally.on_disk();
        if waiting > 0 {
            self.journal.ending(waiting);
        }
    }

    /// Publishes what waits.
    fn show(&self) {
        self.tally.show(self.backlog.waiting());
    }

    /// Sends what there is until the connection is of no more use, or all is done.
    async fn serve(&mut self, connection: MultiplexedConnection) -> Result<(), Trouble> {
        let (mut flights, mut arrived) = (FuturesOrdered::new(), Vec::with_capacity(PARCELS));
        let mut is_proven = self.backlog.is_idle();
        if is_proven {
            self.prove();
        }
        loop {
            let (depth, parcels) = if is_proven { (DEPTH, PARCELS) } else { (1, 1) };
            while flights.len() < depth
                && let Some(pipeline) = self.load(parcels)
            {
                let mut connection = connection.clone();
                flights.push_back(async move {
                    let commands = pipeline.len();
                    connection.send_packed_commands(&pipeline, 0, commands).await
                });
            }
            if self.is_done() {
                return Ok(());
            }
            self.show();
            tokio::select! {
                biased;
                () = self.ending.cancelled(), if self.until.is_none() => self.end(),
                Some(answer) = flights.next() => {
                    self.landed(answer)?;
                    if !is_proven {
                        is_proven = true;
                        self.prove();
                    }
                }
                received = receive(&mut self.inbox, &mut arrived), if self.takes() => {
                    self.admit(received, &mut arrived);
                }
                () = Self::give_up(self.until) => return Ok(()),
            }
        }
    }

    /// Takes a pipeline out of the backlog.
    fn load(&mut self, parcels: usize) -> Option<Pipeline> {
        let (mut pipeline, mut flight, mut klines) = (Pipeline::with_capacity(parcels), Flight::new(), 0);
        while flight.len() < parcels
            && klines < ENOUGH
            && let Some(parcel) = self.backlog.next()
        {
            klines += parcel.items.len();
            let commands = self.output.commands(&parcel.items, &mut pipeline, &mut self.text);
            flight.push_back((parcel, commands));
        }
        if flight.is_empty() {
            return None;
        }
        self.sent.push_back(flight);
        Some(pipeline)
    }

    /// Takes note of a pipeline's answers, up to the first that is an error.
    fn landed(&mut self, answer: Result<Vec<Value>, RedisError>) -> Result<(), Trouble> {
        let answer = answer.map_err(|error| Trouble::from(&error))?;
        let mut answers = answer.iter();
        let Some(flight) = self.sent.front_mut() else { return Ok(()) };
        while let Some((parcel, commands)) = flight.front() {
            for answer in answers.by_ref().take(*commands) {
                if let Value::ServerError(error) = answer {
                    return Err(Trouble::from(error));
                }
            }
            self.backlog.acknowledged(parcel);
            flight.pop_front();
        }
        self.sent.pop_front();
        if let Some((until, latest)) = &mut self.until {
            *until = (Instant::now() + LAST_ANSWER).min(*latest);
        }
        Ok(())
    }

    /// Redis takes klines.
    fn prove(&mut self) {
        self.backoff.reset();
        self.lost = None;
        self.tally.set_link(Link::Up);
        self.backlog.back();
        self.journal.up();
    }

    /// Redis takes no klines.
    fn lose(&mut self, trouble: &Trouble) {
        self.lost.get_or_insert_with(Instant::now);
        self.tally.set_link(Link::Down);
        self.journal.down(trouble, &self.output.rights());
        self.recall();
    }

    fn recall(&mut self) {
        let sent = self.sent.drain(..).flatten().map(|(parcel, _)| parcel).collect();
        self.backlog.recall(sent);
    }

    /// Waits for something while klines go on coming in; nothing when time is up.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut arrived = Vec::with_capacity(PARCELS);
        tokio::pin!(future);
        loop {
            if self.lost.is_some_and(|lost| lost.elapsed() >= MOMENT) {
                self.backlog.away();
            }
            if self.is_done() {
                return None;
            }
            self.show();
            tokio::select! {
                biased;
                () = self.ending.cancelled(), if self.until.is_none() => self.end(),
                done = &mut future => return Some(done),
                received = receive(&mut self.inbox, &mut arrived), if self.takes() => {
                    self.admit(received, &mut arrived);
                }
                () = Self::give_up(self.until) => return None,
            }
        }
    }

    /// Takes in what was received; nothing received means that nothing more comes.
    fn admit(&mut self, received: usize, arrived: &mut Vec<Items<B::Item>>) {
        if received == 0 {
            self.inbox = None;
        }
        let mut freed = 0;
        for klines in arrived.drain(..) {
            freed += weight(&klines) as usize;
            self.tally.received(klines.len());
            self.backlog.admit(klines);
        }
        self.room.add_permits(freed);
    }
}

/// Receives several at once. Never returns when the inbox is closed and that is known.
async fn receive<T>(inbox: &mut Option<Receiver<Items<T>>>, arrived: &mut Vec<Items<T>>) -> usize {
    match inbox {
        Some(inbox) => inbox.recv_many(arrived, PARCELS).await,
        None => std::future::pending().await,
    }
}
